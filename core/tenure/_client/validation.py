"""From what the caller asked to what the plugin gets: a checked transaction with complete keys."""

from __future__ import annotations

from tenure._client.keys import check_key, check_value
from tenure.errors import Conflict, InvalidArgument, LimitExceeded
from tenure.spi.capabilities import Capabilities
from tenure.spi.types import Delete, KeyAbsent, KeyExists, Operation, Precondition, Put, RevisionEquals, Transaction


def prepare(
    preconditions: tuple[Precondition, ...], operations: tuple[Operation, ...], prefix: str, limits: Capabilities
) -> Transaction:
    """Check keys, values and sizes, and put ``prefix`` in front of every key.

    Raises ``InvalidKey``, ``InvalidArgument``, or ``LimitExceeded`` for what the opened store doesn't take.
    """
    for precondition in preconditions:
        check_key(precondition.key)
        if isinstance(precondition, RevisionEquals) and (
            not isinstance(precondition.revision, int) or precondition.revision < 0
        ):
            raise InvalidArgument(f"a revision is the mod_revision of an item, not {precondition.revision!r}")
    total = 0
    leases = set()
    for operation in operations:
        check_key(operation.key)
        total += len(operation.key) if operation.key.isascii() else len(operation.key.encode())
        if isinstance(operation, Put):
            check_value(operation.value)
            total += len(operation.value)
            if operation.lease_id is not None:
                leases.add(operation.lease_id)
            if len(operation.value) > limits.max_value_bytes:
                raise LimitExceeded(
                    f"the value of {operation.key!r} has {len(operation.value)} bytes, this store takes "
                    f"{limits.max_value_bytes}: keep large data elsewhere and a reference to it here"
                )
    if len(operations) + len(preconditions) > limits.max_transaction_operations:
        raise LimitExceeded(
            f"the transaction has {len(preconditions)} guards and {len(operations)} operations, this store takes "
            f"{limits.max_transaction_operations} together: split it"
        )
    if len(operations) > 1 and total > limits.max_transaction_bytes:
        raise LimitExceeded(
            f"the transaction has {total} bytes of keys and values, this store takes "
            f"{limits.max_transaction_bytes}: split it"
        )
    if len(leases) > limits.max_transaction_leases:
        raise LimitExceeded(
            f"the transaction puts keys on {len(leases)} different leases, this store takes "
            f"{limits.max_transaction_leases} in one transaction: split it, or use one lease"
        )
    if not prefix:
        return Transaction(preconditions, operations)
    return Transaction(
        tuple(_moved_guard(precondition, prefix) for precondition in preconditions),
        tuple(_moved_operation(operation, prefix) for operation in operations),
    )


def named_by_caller(error: Conflict, preconditions: tuple[Precondition, ...], sent: Transaction) -> None:
    """Give the keys of a conflict over what was ``sent`` the names that they have in the caller's ``preconditions``."""
    names = {physical.key: own.key for physical, own in zip(sent.preconditions, preconditions, strict=True)}
    error.keys = tuple(names.get(key, key) for key in error.keys)


def check_distinct(operations: tuple[Operation, ...]) -> None:
    """Raise ``InvalidArgument`` if a key is written more than once: which write should win?"""
    seen: set[str] = set()
    for operation in operations:
        check_key(operation.key)
        if operation.key in seen:
            raise InvalidArgument(f"a transaction writes each key once, {operation.key!r} is written more often")
        seen.add(operation.key)


def _moved_guard(precondition: Precondition, prefix: str) -> Precondition:
    key = prefix + precondition.key
    if isinstance(precondition, RevisionEquals):
        return RevisionEquals(key, precondition.revision)
    return KeyAbsent(key) if isinstance(precondition, KeyAbsent) else KeyExists(key)


def _moved_operation(operation: Operation, prefix: str) -> Operation:
    key = prefix + operation.key
    return Put(key, operation.value, operation.lease_id) if isinstance(operation, Put) else Delete(key)
