"""Claim an item of a work queue, acknowledge it, give it back. Steps, without I/O.

A claim counts the attempt and puts the key of the claim in one transaction, at the item's revision: of several tries at
most one is applied. A consumer takes the first item that is due. One that was too late chooses among the next ones at
random, so that many consumers don't try the same items one after the other.
"""

from __future__ import annotations

import random
import secrets
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from tenure._runtime.clock import TimeLimit
from tenure._steps.effects import Commit, Get, ListKeys, Steps, WaitUntil
from tenure.errors import (
    Conflict,
    LeaseLost,
    LeaseNotFound,
    OutcomeUnknown,
    StoreCorrupted,
    TenureError,
    Unavailable,
)
from tenure.leases.lease import HeldLease
from tenure.recipes._owner import fields_of, owner_value
from tenure.recipes._patience import beside, over, patiently
from tenure.recipes._work_items import CLAIM, Item, Layout, items_of
from tenure.recipes.session import Session, session_for
from tenure.spi.types import Delete, KeyAbsent, KeyValue, Operation, Precondition, Put, RevisionEquals

_TRIES = 4
"""Items that are tried before the consumer looks again what is there."""
_FIRST_ONES = 16
"""Consumers that were too late choose among so many."""


Writes = tuple[tuple[Precondition, ...], tuple[Operation, ...], tuple[HeldLease, ...]]
"""What a caller writes together with an acknowledgement: preconditions, operations, and the leases that they name."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """An item that a consumer has.

    Attributes:
        item: the item, its attempts counted with this one.
        value: the item's value.
        token: the revision of the claim.
        key: the key of the claim.
        mark: the value of the claim, which no other claim has.
        session: the session that the claim is on.
    """

    item: Item
    value: bytes
    token: int
    key: str
    mark: bytes
    session: Session


def claim(layout: Layout, owner: str | None, limit: TimeLimit, *, wait: bool = True) -> Steps[Claimed | None]:
    """Steps that claim the first item that is due, and wait for one until ``limit``. ``None``: there was none."""
    got: list[Claimed] = []
    try:
        yield from _claim_first(layout, owner, limit, got, wait=wait)
        return got[0] if got else None
    except BaseException:
        if got:
            give_up(layout, got[0])
        raise


def _claim_first(layout: Layout, owner: str | None, limit: TimeLimit, got: list[Claimed], *, wait: bool) -> Steps[None]:
    present: list[Item] | None = None
    calls = beside(layout.store, limit)
    while True:
        session = yield from session_for(layout.store, layout.session, calls)
        try:
            present = present or (yield from _present(layout, session, calls))
            for item in _in_order(_due(layout, present)):
                yield from _claim(layout, item, owner, session, calls, got=got)
                if got:
                    return
            if not wait or over(limit):
                return
            present = yield from _wait(layout, present, limit, session)
        except (LeaseLost, LeaseNotFound):
            if layout.session is not None:
                raise
            present = None
        if present is None and over(limit):
            return


def _present(layout: Layout, session: Session, limit: TimeLimit) -> Steps[list[Item]]:
    listing = yield from patiently(ListKeys(layout.items, limit, values=True), limit, session)
    return items_of(listing.items, layout.items)


def acknowledge(layout: Layout, claimed: Claimed, writes: Writes, limit: TimeLimit) -> Steps[None]:
    """Steps that remove the item, in one transaction with what the caller writes.

    Raise ``LeaseLost`` if the consumer no longer has the item, and ``Conflict`` if one of the caller's preconditions
    did not hold; then it still has the item.
    """
    claimed.session.check()
    preconditions, operations, leases = writes
    place, guard = claimed.item.place, RevisionEquals(claimed.key, claimed.token)
    done = Delete(layout.item(place)), Delete(claimed.key), Delete(layout.data(place))
    lease = leases[0] if leases else None
    commit = Commit((guard, *preconditions), (*done, *operations), limit, lease)
    error = yield from _until_known(layout, claimed, commit, limit)
    if error is not None:
        raise error


def _until_known(layout: Layout, claimed: Claimed, commit: Commit, limit: TimeLimit) -> Steps[TenureError | None]:
    """Try an acknowledgement until its outcome is known. Returns the error of one that was not applied, or may be."""
    unknown: OutcomeUnknown | None = None
    while True:
        conflict: Conflict | None = None
        try:
            yield from commit
        except OutcomeUnknown as exc:
            unknown = exc
        except Conflict as exc:
            conflict = exc
        except TenureError as exc:
            return unknown or exc
        else:
            return None
        try:
            has_it = yield from _has_it(layout, claimed, unknown, limit)
        except TenureError as exc:
            return unknown or exc
        if not has_it:
            return None
        if conflict is not None or over(limit):
            return unknown or conflict


def give_back(layout: Layout, claimed: Claimed, delay: float, limit: TimeLimit) -> Steps[bool]:
    """Steps that give the item back. Return whether the consumer had it until then.

    If the store can't be reached, the janitor goes on, without the delay.
    """
    item, guard = claimed.item, RevisionEquals(claimed.key, claimed.token)
    operations: tuple[Operation, ...] = (Delete(claimed.key),)
    if delay:
        later = replace(item.header, due=layout.wall() + delay)
        operations = *operations, Put(layout.item(item.place), later.encode())
    there = True
    try:
        yield from Commit((guard,), operations, limit)
    except Conflict:
        there = False
        give_up(layout, claimed)  # a backup may have it, whose revisions are no longer known
    except (OutcomeUnknown, Unavailable):
        give_up(layout, claimed)
    except BaseException:
        give_up(layout, claimed)
        raise
    return there and claimed.session.alive


def give_up(layout: Layout, claimed: Claimed) -> None:
    """Let the janitor give the item back. Never blocks or raises."""
    layout.janitor.remove(claimed.key, claimed.session, value=claimed.mark)


def _due(layout: Layout, items: Iterable[Item]) -> list[Item]:
    now = layout.wall()
    return [item for item in items if not item.claimed and not item.dead and item.header.due <= now]


def _wait(layout: Layout, items: Iterable[Item], limit: TimeLimit, session: Session) -> Steps[list[Item] | None]:
    """Wait until an item is due, and return what is there then. ``None``: look again, or the time is up."""
    seen: list[Item] = []

    def ready(present: Mapping[str, KeyValue]) -> bool:
        seen[:] = items_of(present.values(), layout.items)
        return bool(_due(layout, seen))

    left, now = limit.left(), layout.wall()
    times = [item.header.due - now for item in items if item.header.due > now and not item.claimed]
    first = min(times if left is None else [*times, left], default=None)
    try:
        done = yield from WaitUntil(layout.items, ready, TimeLimit(layout.store.clock, first), session.lease)
    except Unavailable:
        return None  # the list that follows goes on trying
    session.check()
    return seen if done else None


def _in_order(due: list[Item]) -> Iterator[Item]:
    """Return the items that a consumer tries: the first, and then, as others were quicker, some of the next ones."""
    for number in range(min(_TRIES, len(due))):
        at = random.randrange(min(_FIRST_ONES, len(due))) if number else 0  # noqa: S311 - spreads consumers, no secret
        yield due.pop(at)


def _claim(
    layout: Layout, item: Item, owner: str | None, session: Session, limit: TimeLimit, *, got: list[Claimed]
) -> Steps[None]:
    key, lease = layout.item(item.place), session.lease
    claim_key, mark = key + CLAIM, owner_value(owner, claim=secrets.token_hex(8))
    header = replace(item.header, attempts=item.header.attempts + 1)
    guards = RevisionEquals(key, item.revision), KeyAbsent(claim_key)
    commit = Commit(guards, (Put(key, header.encode()), Put(claim_key, mark, lease.id)), limit, lease)
    token, uncertain = 0, False
    try:
        while not token:
            try:
                token = (yield from commit).revision
            except (OutcomeUnknown, Conflict) as exc:
                uncertain = uncertain or isinstance(exc, OutcomeUnknown)
                if not uncertain:
                    return
                found = yield from patiently(Get(claim_key, limit), limit, session)
                if found is not None and found.value == mark:
                    token = found.mod_revision
                elif isinstance(exc, Conflict):
                    # The item has changed, so no try can be applied any more. One may have been, on a lease that ended.
                    layout.janitor.remove(claim_key, session, value=mark)
                    return
                elif over(limit):
                    raise
        value = yield from _value(layout, item, session, limit)
        session.check()
        mine = item._replace(header=header, revision=token, claimed=True)
        got.append(Claimed(mine, value, token, claim_key, mark, session))
    except BaseException as exc:
        if uncertain or token or not isinstance(exc, TenureError):
            layout.janitor.remove(claim_key, session, value=mark, uncertain=not token)
        raise


def _value(layout: Layout, item: Item, session: Session, limit: TimeLimit) -> Steps[bytes]:
    key = layout.data(item.place)
    found = yield from patiently(Get(key, limit), limit, session)
    if found is None:
        raise StoreCorrupted(
            f"claiming from {layout.what}: the value {key!r} is missing; remove {layout.item(item.place)!r}, too"
        )
    return found.value


def _has_it(layout: Layout, claimed: Claimed, unknown: OutcomeUnknown | None, limit: TimeLimit) -> Steps[bool]:
    """Return whether the consumer still has the item. ``False``: a try that had no answer has removed it."""
    found = yield from patiently(Get(claimed.key, limit), limit, claimed.session)
    if found is not None and found.mod_revision == claimed.token:
        return True
    if unknown is not None:
        item = yield from patiently(Get(layout.item(claimed.item.place), limit), limit, claimed.session)
        claimed.session.check()  # while it lives, no other consumer can have had the item
        if item is None or fields_of(item.value).get("id") != claimed.item.header.id:
            return False
    raise LeaseLost(
        f"acknowledging an item of {layout.what}: this consumer no longer has it, and another one may do it again; let "
        "what the work writes be part of the acknowledgement"
    )
