"""Put an item into a work queue exactly once, whatever answer is lost. Steps, without I/O.

The producer first puts a ticket, a key that nobody else writes. The transaction that puts the item deletes the ticket,
and is refused without it. So the ticket's presence tells whether a put that had no answer was applied, of several tries
at most one is, and a producer that gives up deletes the ticket, after which none can be any more.

The place of the item is chosen at random, as most queues are nearly empty: a put needs to know nothing of the others.
"""

from __future__ import annotations

import random
import secrets

from tenure._runtime.clock import TimeLimit
from tenure._steps.effects import Commit, Get, ListKeys, Steps
from tenure.errors import Conflict, LeaseLost, LimitExceeded, OutcomeUnknown, TenureError
from tenure.recipes._patience import over, patiently
from tenure.recipes._queue import Attempt, Queue, Together
from tenure.recipes._work_items import Header, Layout
from tenure.spi.types import Delete, KeyAbsent, Put, RevisionEquals

_TRIES = 4
"""Places that are tried at random before the free ones are listed."""


def put(layout: Layout, value: bytes, limit: TimeLimit, *, priority: int, delay: float, attempts: int) -> Steps[str]:
    """Steps that put an item, and return its id.

    Raise ``LimitExceeded`` if no place is free, ``OutcomeUnknown`` if the time is up, or the session has ended, while a
    try had no answer.
    """
    header = Header(secrets.token_hex(8), priority, layout.wall() + delay if delay else 0.0, 0, attempts)
    tickets = Queue(layout.store, f"{layout.folder}putting/", layout.what, Together(), layout.janitor, layout.session)
    ticket = None
    try:
        ticket = yield from tickets.enter(b"", limit)
        yield from _put(layout, header, value, ticket, limit)
        if ticket.uncertain:
            layout.janitor.remove(ticket.key, ticket.session, uncertain=True)
        return header.id
    except BaseException:
        if ticket is not None:
            layout.janitor.remove(ticket.key, ticket.session, uncertain=ticket.uncertain)
        raise


def _put(layout: Layout, header: Header, value: bytes, ticket: Attempt, limit: TimeLimit) -> Steps[None]:
    guard = RevisionEquals(ticket.key, ticket.place)
    unknown: OutcomeUnknown | None = None
    places = [_name(random.randrange(layout.most)) for _ in range(_TRIES)]  # noqa: S311 - no secret
    while True:
        try:
            if not places:
                places = yield from _free_places(layout, limit)
            place = places.pop()
            key = layout.item(place)
            operations = Delete(ticket.key), Put(key, header.encode()), Put(layout.data(place), value)
            try:
                yield from Commit((guard, KeyAbsent(key)), operations, limit)
                return
            except OutcomeUnknown as exc:
                unknown = exc
            except Conflict:
                pass  # the place is taken, or an earlier try was applied
            if (yield from _used(layout, ticket, unknown, limit)):
                return
        except TenureError as exc:
            if unknown is None:
                raise
            raise unknown from exc
        if unknown is not None and over(limit):
            raise unknown


def _used(layout: Layout, ticket: Attempt, unknown: OutcomeUnknown | None, limit: TimeLimit) -> Steps[bool]:
    """Return whether a try that had no answer was applied. Raise ``LeaseLost`` if the ticket has gone otherwise."""
    if (yield from patiently(Get(ticket.key, limit), limit, ticket.session)) is not None:
        return False
    ticket.session.check()
    if unknown is None:
        raise LeaseLost(f"putting into {layout.what}: another client removed {ticket.key!r}; put the item again")
    return True


def _free_places(layout: Layout, limit: TimeLimit) -> Steps[list[str]]:
    taken = set((yield from ListKeys(layout.items, limit)).keys)
    free = [place for number in range(layout.most) if layout.item(place := _name(number)) not in taken]
    if not free:
        raise LimitExceeded(
            f"putting into {layout.what}: it has {layout.most} items, dead letters included; wait until consumers have "
            "done some, drop dead letters, or let all programs give a larger max_items"
        )
    return random.sample(free, min(_TRIES, len(free)))


def _name(number: int) -> str:
    return f"{number:05}"
