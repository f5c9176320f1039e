"""How members of a double barrier meet: steps, without I/O.

A double barrier is a queue of tickets (:mod:`tenure.recipes._queue`), one for each member.

1. A member that sees enough free tickets announces the *round*: it puts its own ticket again, with the names of the
   round's tickets, if none of them has changed. So no ticket gets into two rounds.
2. A member that sees its name in another's announcement puts the same into its own ticket, if that one is still there.
3. To leave, a member waits until each ticket of its round has the announcement or is gone, so that a quick member
   leaves nobody behind. Then it removes its own, and waits until the others are gone.

A member whose time is up announces a round of itself alone, so that no other round can have it from then on. If one had
it before, the member enters that round after all. All keys are on the members' sessions: a member that dies has left.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from tenure._runtime.clock import TimeLimit
from tenure._runtime.monitor import Monitor
from tenure._steps.effects import Commit, ListKeys, Steps, WaitUntil
from tenure.errors import (
    AlreadyHeld,
    Conflict,
    InvalidArgument,
    LeaseLost,
    OutcomeUnknown,
    TenureError,
    Unavailable,
    WaitTimeout,
)
from tenure.recipes._owner import fields_of
from tenure.recipes._patience import over, pause, wait
from tenure.recipes._queue import Acquired, Attempt, Queue, Ticket, Turn, View, view_of
from tenure.spi.types import Delete, KeyValue, Put, RevisionEquals

_COUNT, _ROUND = "count", "round"


Seen = tuple[tuple[str, ...], tuple[Ticket, ...]]
"""The members of a round, and the tickets that prove it."""


class Gathering(Turn):
    """A member's turn comes when it can announce its round.

    Attributes:
        count: the number of members of a round.
        seen: the round that the last look showed.
    """

    values = True

    def __init__(self, what: str, count: int) -> None:
        self.count = count
        self.seen: Seen | None = None
        self._what = what

    def blocker(self, view: View, mine: Ticket) -> Ticket | None:
        """Return ``mine`` if no round is there yet."""
        count = _count_of(view.tickets[0])
        if count != self.count:
            raise InvalidArgument(
                f"entering {self._what}: the member that came first was made with count={count}, this one with "
                f"count={self.count}; give the same everywhere"
            )
        if round_of(mine):
            return None
        self.seen = announced(view, mine) or self._complete(view, mine)
        return None if self.seen else mine

    def watches_folder(self, view: View, mine: Ticket) -> bool:
        """Any member may be the one that was missing."""
        return True

    def _complete(self, view: View, mine: Ticket) -> Seen | None:
        taken = {name for ticket in view.tickets for name in round_of(ticket)}
        free = (one for one in view.tickets if not round_of(one) and name_of(one) not in taken)
        # Another count is that of a member which is about to be refused.
        first = tuple([one for one in free if _count_of(one) == self.count][: self.count])
        return (tuple(map(name_of, first)), first) if mine in first and len(first) == self.count else None


def announced(view: View, mine: Ticket) -> Seen | None:
    """Return the round that another ticket has announced with ``mine`` in it."""
    name = name_of(mine)
    for ticket in view.tickets:
        members = round_of(ticket)
        if name in members and ticket != mine:
            return members, (ticket, mine)
    return None


def _count_of(ticket: Ticket) -> object:
    return fields_of(ticket.value).get(_COUNT)


def name_of(ticket: Ticket) -> str:
    """Return the ticket's own part of its key."""
    return ticket.key.rpartition("/")[2]


def round_of(ticket: Ticket) -> tuple[str, ...]:
    """Return the members of the round that a ticket announces, none if it doesn't."""
    members = fields_of(ticket.value).get(_ROUND)
    return tuple(name for name in members if isinstance(name, str)) if isinstance(members, list) else ()


class Meeting:
    """A double barrier as one member sees it. Steps, without I/O."""

    def __init__(self, queue: Queue, gathering: Gathering) -> None:
        self.queue = queue
        self._gathering = gathering
        self._lock = Monitor()
        self._entering = False
        self._entered: Acquired | None = None

    @property
    def inside(self) -> bool:
        """Whether this member has entered, hasn't left, and can rely on its session."""
        entered = self._entered
        return entered is not None and entered.session.alive

    def enter(self, value: bytes, limit: TimeLimit) -> Steps[None]:
        """Steps that wait until the round is complete."""
        entered: Acquired | None = None
        ours: list[bool] = []
        try:
            self._begin(ours)
            entered = yield from self._enter(value, limit)
            self._entered = entered
            self._entering = False
        except BaseException:  # an interrupt: the caller doesn't know that it has entered
            if ours:
                self._entering = False
            if entered is not None:
                self._entered = None
                self.queue.give_up(entered)
            raise

    def _begin(self, ours: list[bool]) -> None:
        """Begin to enter. ``ours`` is no longer empty then."""
        with self._lock:
            if self._entering or self.inside:
                state = "has entered" if self.inside else "is entering"
                raise AlreadyHeld(f"entering {self.queue.what}: this object {state}; use an object for each member")
            ours[:], self._entering = [True], True  # at once: an interrupt comes between lines

    def give_up(self) -> None:
        """Leave in the background if this member has entered, as its caller doesn't know of it. Never blocks."""
        entered, self._entered = self._entered, None
        if entered is not None and not self.queue.store._inherited:
            self.queue.give_up(entered)

    def leave(self, limit: TimeLimit) -> Steps[None]:
        """Steps that leave, and wait until the others of the round have left."""
        entered: Acquired | None = None
        try:
            with self._lock:
                entered, self._entered = self._entered, None
            if entered is not None:
                yield from self._leave(entered, limit)
        except TenureError:
            raise
        except BaseException:  # an interrupt, maybe before anything was done
            if entered is not None:
                self.queue.give_up(entered)
            raise
        if entered is None:
            raise LeaseLost(f"leaving {self.queue.what}: this member has not entered; enter it first")

    # -- inside --

    def _enter(self, value: bytes, limit: TimeLimit) -> Steps[Acquired]:
        attempt = yield from self.queue.enter(value, limit)
        try:
            while True:
                try:
                    acquired = yield from self.queue.await_turn(attempt, limit)
                except WaitTimeout:
                    return (yield from self._last_look(attempt))
                if round_of(acquired.ticket):
                    return acquired
                assert self._gathering.seen is not None
                yield from self._announce(acquired.ticket, self._gathering.seen, attempt, limit)
        except BaseException:
            self.queue.janitor.remove(attempt.key, attempt.session, uncertain=attempt.uncertain)
            raise

    def _leave(self, entered: Acquired, limit: TimeLimit) -> Steps[None]:
        queue, session, mine = self.queue, entered.session, entered.ticket
        others = {queue.folder + name for name in round_of(mine)} - {mine.key}

        def all_know(present: Mapping[str, KeyValue]) -> bool:
            tickets = view_of(queue.folder, (present[key] for key in others & present.keys())).tickets
            return all(name_of(mine) in round_of(ticket) for ticket in tickets)

        timed_out = f"leaving {queue.what}: others have not left; this member has. Give a longer timeout"
        try:
            yield from wait(WaitUntil(queue.folder, all_know, limit, session.lease), timed_out, session)
        except BaseException:
            queue.give_up(entered)
            raise
        if not (yield from queue.release(entered, limit)):
            raise LeaseLost(f"leaving {queue.what}: this member was lost, so the others may have left before it")
        gone = WaitUntil(queue.folder, lambda present: not others & present.keys(), limit, session.lease)
        yield from wait(gone, timed_out, session)

    def _announce(self, mine: Ticket, seen: Seen, attempt: Attempt, limit: TimeLimit) -> Steps[None]:
        """Announce a round. The caller looks again, whatever becomes of it."""
        members, proofs = seen
        lease = attempt.session.lease
        value = json.dumps({**fields_of(mine.value), _ROUND: members}, ensure_ascii=False).encode()
        guards = tuple(RevisionEquals(ticket.key, ticket.revision) for ticket in proofs)
        try:
            yield from Commit(guards, (Put(mine.key, value, lease.id),), limit, lease)
        except Conflict:
            return  # a member has gone, or was quicker
        except (OutcomeUnknown, Unavailable):
            if over(limit):
                raise
            yield from pause()

    def _last_look(self, attempt: Attempt) -> Steps[Acquired]:
        """Enter the round that has this member, or withdraw from all: then raise ``WaitTimeout``."""
        queue = self.queue
        limit = TimeLimit(queue.store.clock, queue.store.timeout)
        while True:
            listing = yield from ListKeys(queue.folder, limit, values=True)
            view = view_of(queue.folder, listing.items)
            mine = view.find(attempt.key)
            attempt.session.check()
            if mine is None:
                raise LeaseLost(f"entering {queue.what}: its key was removed from the store while it waited")
            alone = (name_of(mine),), (mine,)
            if round_of(mine) not in ((), alone[0]):
                return Acquired(mine, attempt.session, attempt.uncertain)
            seen = announced(view, mine)
            if seen is None and round_of(mine):
                yield from Commit((), (Delete(mine.key),), limit)
                raise WaitTimeout(
                    f"entering {queue.what}: fewer than {self._gathering.count} members came in time; give a longer "
                    "timeout, or try again"
                )
            yield from self._announce(mine, seen or alone, attempt, limit)
