"""Write the registry's own entry with a definite outcome: registered, refused, or unknown; never twice.

No other client knows the leases of this registration, so an entry under one of them was written here. This shows
whether an unanswered write arrived, and whether an entry is left over from a lost registration or belongs to another.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import TypeGuard

from tenure._client.store import Store
from tenure._runtime.deadline import Deadline
from tenure.errors import (
    AlreadyRegistered,
    Conflict,
    LeaseLost,
    LeaseNotFound,
    OutcomeUnknown,
    TenureError,
    Unavailable,
)
from tenure.leases.lease import Lease
from tenure.spi.types import KeyValue, LeaseId

_TRIES = 10
_FOR_WRITING = 2 / 3


def claim(
    store: Store,
    key: str,
    value: bytes,
    *,
    deadline: Deadline,
    lease: Callable[[], Lease],
    own_lease_ids: Container[LeaseId],
    revision: int | None = None,
    may_replace: Callable[[KeyValue], bool] = lambda _item: False,
) -> int:
    """Write ``value`` to ``key`` under a living lease of this registration, and return the revision of the write.

    ``lease`` returns the present lease, or a new one if that ended. ``revision`` is that of the registration's entry,
    if it should exist. An entry of another client is replaced only if ``may_replace`` allows it; otherwise the call
    raises ``AlreadyRegistered``. A precondition on what was read protects every write, so a late write can't undo a
    later one. All calls together end by ``deadline``. Raises ``OutcomeUnknown`` if the store answered neither a write
    nor the read after it.
    """
    unknown: OutcomeUnknown | None = None
    for attempt in range(1, _TRIES + 1):
        try:
            held = _lease(lease, last=attempt == _TRIES or deadline.expired)
            if held is None:
                continue
            return _write(store, key, value, held, revision=revision, deadline=deadline)
        except Conflict:
            pass
        except _Unanswered as exc:
            unknown = exc.error
        except (LeaseLost, LeaseNotFound):
            continue
        except TenureError as exc:
            raise unknown or exc from exc
        assert held is not None
        item = _read(store, key, deadline=deadline, unknown=unknown)
        if _is_written(item, held, value):
            return item.mod_revision
        if item is not None and item.lease_id not in own_lease_ids and not may_replace(item):
            raise AlreadyRegistered(describe_holder(key, item))
        revision = None if item is None else item.mod_revision
    raise Unavailable(f"registering {key!r}: the key changed {_TRIES} times meanwhile; try again")


class _Unanswered(Exception):
    """The entry's write was not answered, unlike a grant's, which raises its ``OutcomeUnknown`` itself."""

    def __init__(self, error: OutcomeUnknown) -> None:
        super().__init__()
        self.error = error


def _lease(lease: Callable[[], Lease], *, last: bool) -> Lease | None:
    """Return the lease, ``None`` to try again: one whose grant wasn't answered has no keys and does no harm."""
    try:
        return lease()
    except OutcomeUnknown:
        if last:
            raise
        return None


def _is_written(item: KeyValue | None, lease: Lease, value: bytes) -> TypeGuard[KeyValue]:
    return item is not None and item.lease_id == lease.id and item.value == value


def _write(store: Store, key: str, value: bytes, lease: Lease, *, revision: int | None, deadline: Deadline) -> int:
    # If the store doesn't answer a write, there is time left to read the key.
    seconds = min(store.timeout, deadline.remaining() * _FOR_WRITING)
    try:
        if revision is None:
            return store.put_if_absent(key, value, lease=lease, timeout=seconds).revision
        return store.put_if_unchanged(key, value, revision=revision, lease=lease, timeout=seconds).revision
    except OutcomeUnknown as exc:
        raise _Unanswered(exc) from exc


def _read(store: Store, key: str, *, deadline: Deadline, unknown: OutcomeUnknown | None) -> KeyValue | None:
    """Read the key; if that fails, raise ``unknown`` if a write before was not answered."""
    try:
        return store.get(key, timeout=deadline.within(store.timeout))
    except TenureError as exc:
        raise unknown or exc from exc


def describe_holder(key: str, item: KeyValue) -> str:
    """Return who holds ``key``, and what the caller can do."""
    if item.lease_id is None:
        return (
            f"{key!r} exists already, without a lease, so it never expires; delete it, or register with take_over=True"
        )
    return (
        f"{key!r} is registered already, under lease {item.lease_id}; if its process died, register with "
        "wait=<seconds> to wait until the lease expires; otherwise choose another id, or take_over=True"
    )
