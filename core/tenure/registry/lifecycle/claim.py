"""Writing one's own entry so that the answer is true: registered, refused, or surely unknown; never twice.

Each lease of this registration is known to nobody else, so an entry that carries one of them was written
here. That is what tells an unanswered write that arrived from one that didn't, and the remains of a lost
registration from another's.
"""

from __future__ import annotations

from collections.abc import Callable, Container

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
    ours: Container[LeaseId],
    revision: int | None = None,
    may_replace: Callable[[KeyValue], bool] = lambda _item: False,
) -> int:
    """Make ``value`` stand at ``key`` under a living lease of ours; answers the revision of the write.

    ``lease`` gives the present lease, a new one if that has ended. ``revision`` is that of our entry where one is
    thought to stand. An entry that isn't ours is replaced only if ``may_replace`` says so, else
    ``AlreadyRegistered``. Every write is guarded by what was read, so a late one of ours can't undo a later one.
    All calls together end by ``deadline``. Raises ``OutcomeUnknown`` if a write wasn't answered and reading back
    wasn't either.
    """
    unknown: OutcomeUnknown | None = None
    for _ in range(_TRIES):
        try:
            held = lease()
            # A write that isn't answered leaves time to read what became of it.
            seconds = min(store.timeout, deadline.remaining() * _FOR_WRITING)
            if revision is None:
                return store.put_if_absent(key, value, lease=held, timeout=seconds).revision
            return store.put_if_unchanged(key, value, revision=revision, lease=held, timeout=seconds).revision
        except Conflict:
            pass
        except OutcomeUnknown as exc:
            unknown = exc
        except (LeaseLost, LeaseNotFound):
            continue
        except TenureError as exc:
            raise unknown or exc from exc
        try:
            item = store.get(key, timeout=deadline.within(store.timeout))
        except TenureError as exc:
            raise unknown or exc from exc
        if item is None:
            revision = None
        elif item.lease_id == held.id and item.value == value:
            return item.mod_revision
        elif item.lease_id in ours or may_replace(item):
            revision = item.mod_revision
        else:
            raise AlreadyRegistered(describe_holder(key, item))
    raise Unavailable(f"{key!r} changed {_TRIES} times while it was being written: try again")


def describe_holder(key: str, item: KeyValue) -> str:
    """Who holds ``key``, and what can be done about it."""
    if item.lease_id is None:
        return (
            f"{key!r} exists already, without a lease, so nobody keeps it alive and it won't go away: delete it, or "
            "register with take_over=True"
        )
    return (
        f"{key!r} is registered already, under lease {item.lease_id}. If that is a predecessor that died, its entry "
        "goes when its lease ends: register with wait=<seconds>. Else choose another id, or take_over=True"
    )
