"""From the caller's arguments to what the plugin receives: a checked transaction with complete keys."""

from __future__ import annotations

from collections.abc import Sequence

from tenure._client.keys import check_key, check_value
from tenure._text import shown
from tenure.errors import Conflict, InvalidArgument, LimitExceeded
from tenure.spi.capabilities import Capabilities
from tenure.spi.types import Delete, KeyAbsent, KeyExists, Operation, Precondition, Put, RevisionEquals, Transaction

_TOO_MANY_OPERATIONS = (
    "committing: the transaction has {preconditions} preconditions and {operations} operations, this store takes "
    "{limit} together; split the transaction"
)
_TOO_MANY_BYTES = (
    "committing: the transaction has {used} bytes of keys and values, this store takes {limit}; split the transaction"
)
_TOO_MANY_LEASES = (
    "committing: the transaction puts keys on {used} different leases, this store takes {limit} in one transaction; "
    "split the transaction, or use one lease"
)


def validate_and_prefix(
    preconditions: tuple[Precondition, ...], operations: tuple[Operation, ...], prefix: str, limits: Capabilities
) -> Transaction:
    """Check keys, values and sizes, and put ``prefix`` in front of every key.

    Raises ``InvalidKey``, ``InvalidArgument``, or ``LimitExceeded`` if a limit of the opened store is exceeded.
    """
    _check_preconditions(preconditions)
    total = _check_operations(operations, limits)
    _check_limits(preconditions, operations, total, limits)
    if not prefix:
        return Transaction(preconditions, operations)
    return Transaction(
        tuple(_precondition_with_prefix(precondition, prefix) for precondition in preconditions),
        tuple(_operation_with_prefix(operation, prefix) for operation in operations),
    )


def restore_caller_keys(error: Conflict, preconditions: tuple[Precondition, ...], sent: Transaction) -> None:
    """Replace the keys of a conflict over the transaction ``sent`` by the keys of the caller's ``preconditions``."""
    names = {physical.key: own.key for physical, own in zip(sent.preconditions, preconditions, strict=True)}
    error.keys = tuple(names.get(key, key) for key in error.keys)


def check_distinct_keys(keys: Sequence[str], *, most: int) -> None:
    """Raise ``InvalidKey``, ``InvalidArgument`` or ``LimitExceeded`` unless these keys can be read at once."""
    for key in keys:
        check_key(key)
    if not keys or len(set(keys)) < len(keys):
        raise InvalidArgument(
            f"reading {len(keys)} keys at once: give at least one key, and each key once; "
            f"{len(keys) - len(set(keys))} of them are given again"
        )
    if len(keys) > most:
        raise LimitExceeded(
            f"reading {len(keys)} keys at once: this store takes {most} in one call; read them in several calls"
        )


def check_unique_keys(operations: tuple[Operation, ...]) -> None:
    """Raise ``InvalidArgument`` if a key is written more than once: stores would disagree on which write wins."""
    seen: set[str] = set()
    for operation in operations:
        check_key(operation.key)
        if operation.key in seen:
            raise InvalidArgument(
                f"committing: a transaction writes each key once, {operation.key!r} is written more often; leave out "
                "all but one of its operations"
            )
        seen.add(operation.key)


def _check_preconditions(preconditions: tuple[Precondition, ...]) -> None:
    """Raise ``InvalidKey`` or ``InvalidArgument`` if a precondition has a wrong key or revision."""
    for precondition in preconditions:
        check_key(precondition.key)
        if isinstance(precondition, RevisionEquals) and (
            not isinstance(precondition.revision, int) or precondition.revision < 0
        ):
            raise InvalidArgument(
                f"checking {precondition.key!r}: a revision is the mod_revision of an item, not "
                f"{shown(precondition.revision)}; read the key first"
            )


def _check_operations(operations: tuple[Operation, ...], limits: Capabilities) -> int:
    """Return how many bytes all keys and values have.

    Raises ``InvalidKey``, ``InvalidArgument`` or ``LimitExceeded`` if a key or a value is wrong.
    """
    total = 0
    for operation in operations:
        check_key(operation.key)
        total += len(operation.key) if operation.key.isascii() else len(operation.key.encode())
        if isinstance(operation, Put):
            check_value(operation.value)
            total += len(operation.value)
            if len(operation.value) > limits.max_value_bytes:
                raise LimitExceeded(
                    f"writing {operation.key!r}: the value has {len(operation.value)} bytes, this store takes "
                    f"{limits.max_value_bytes}; keep large data elsewhere and a reference to it here"
                )
    return total


def _check_limits(
    preconditions: tuple[Precondition, ...], operations: tuple[Operation, ...], total: int, limits: Capabilities
) -> None:
    """Raise ``LimitExceeded`` if the transaction as a whole is more than the store takes."""
    count = len(preconditions) + len(operations)
    if count > limits.max_transaction_operations:
        counts = {"preconditions": len(preconditions), "operations": len(operations)}
        raise LimitExceeded(_TOO_MANY_OPERATIONS.format(limit=limits.max_transaction_operations, **counts))
    if len(operations) < 2:
        return  # a single write is limited by its value alone, and has one lease at most
    if total > limits.max_transaction_bytes:
        raise LimitExceeded(_TOO_MANY_BYTES.format(used=total, limit=limits.max_transaction_bytes))
    leases = {operation.lease_id for operation in operations if isinstance(operation, Put)} - {None}
    if len(leases) > limits.max_transaction_leases:
        raise LimitExceeded(_TOO_MANY_LEASES.format(used=len(leases), limit=limits.max_transaction_leases))


def _precondition_with_prefix(precondition: Precondition, prefix: str) -> Precondition:
    key = prefix + precondition.key
    if isinstance(precondition, RevisionEquals):
        return RevisionEquals(key, precondition.revision)
    return KeyAbsent(key) if isinstance(precondition, KeyAbsent) else KeyExists(key)


def _operation_with_prefix(operation: Operation, prefix: str) -> Operation:
    key = prefix + operation.key
    return Put(key, operation.value, operation.lease_id) if isinstance(operation, Put) else Delete(key)
