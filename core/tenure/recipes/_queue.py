"""A fair queue of tickets: one key per acquisition, in the order of create revisions. Steps, without I/O.

Locks, read-write locks, semaphores and elections are this queue with different turns. An acquisition

1. puts a key that nobody else ever writes, its *ticket*, on the session's lease: one transaction;
2. lists the folder. If no other ticket is in its way, it holds, and the ticket's create revision is its token;
3. otherwise waits until the ticket in its way is gone, and lists again: the one that left may have been another waiter.

Each waiter watches one key, so a release wakes one waiter. Whatever ends an acquisition early, an interrupt included,
leaves its ticket to the janitor.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

from tenure._client.store import Store
from tenure._runtime.clock import TimeLimit
from tenure._steps.effects import Commit, Get, ListKeys, Steps, WaitUntil
from tenure.errors import Conflict, LeaseLost, LeaseNotFound, OutcomeUnknown, Unavailable, WaitTimeout
from tenure.recipes._janitor import Janitor
from tenure.recipes._patience import patiently
from tenure.recipes.session import Session, session_for
from tenure.spi.types import Delete, KeyAbsent, KeyValue, LeaseId, Put, RevisionEquals

T = TypeVar("T")

_FIRST_PAUSE = 0.05
_LONGEST_PAUSE = 1.0
_DIGITS = 16
"""Length of a ticket's own part of its key. The names of settings in the same folder have another length."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """A place in the queue.

    Attributes:
        key: the ticket's key.
        place: its create revision, by which the queue is ordered.
        value: its value, if the queue reads values.
        revision: the revision of its last put. The first put's is the place.
        lease_id: the lease that it is on.
    """

    key: str
    place: int
    value: bytes
    revision: int
    lease_id: LeaseId | None = None


@dataclass(frozen=True, slots=True)
class View:
    """What a participant sees of a queue.

    Attributes:
        tickets: the tickets, in order.
        settings: the values of other keys in the queue's folder, by their names in it.
    """

    tickets: tuple[Ticket, ...]
    settings: Mapping[str, bytes]

    def find(self, key: str) -> Ticket | None:
        """Return the ticket with this key."""
        return next((ticket for ticket in self.tickets if ticket.key == key), None)

    def before(self, mine: Ticket) -> tuple[Ticket, ...]:
        """Return the tickets before ``mine``, in order."""
        return self.tickets[: self.tickets.index(mine)]


class Turn(Protocol):
    """Decides whose turn it is."""

    values: bool
    """Whether the values of tickets matter, and are read."""
    whole_folder: bool
    """Whether a waiter has to look at the whole folder, because no single ticket is in its way."""

    def blocker(self, view: View, mine: Ticket) -> Ticket | None:
        """Return a ticket that ``mine`` has to wait for, ``None`` if it is its turn."""
        ...


class Together:
    """No ticket waits for another one."""

    values = False
    whole_folder = False

    def blocker(self, view: View, mine: Ticket) -> Ticket | None:
        """Return no ticket."""
        return None


@dataclass(frozen=True, slots=True)
class Acquired:
    """What an acquisition got.

    Attributes:
        ticket: the ticket that holds.
        session: the session that it is on.
        uncertain: whether the ticket may appear again after it was removed, as a write of it had no answer.
    """

    ticket: Ticket
    session: Session
    uncertain: bool


@dataclass(frozen=True, slots=True)
class Queue:
    """One queue and who takes part in it.

    Attributes:
        store: the store.
        folder: the prefix of the tickets.
        what: what is acquired, for messages, such as ``the lock 'job'``.
        turn: whose turn it is.
        janitor: removes what is left behind.
        session: a session of the participant's own; ``None`` for the store's.
        kind: what it is called for observers.
        name: its name for observers.
    """

    store: Store
    folder: str
    what: str
    turn: Turn
    janitor: Janitor
    session: Session | None
    kind: str = ""
    name: str = ""

    def acquire(self, value: bytes, limit: TimeLimit) -> Steps[Acquired]:
        """Steps that take a ticket and wait for its turn until ``limit``.

        Raises ``WaitTimeout`` when the time is up, ``LeaseLost`` when the session or the ticket is lost.
        """
        attempt = yield from self.enter(value, limit)
        try:
            return (yield from self.await_turn(attempt, limit))
        except BaseException:
            self.janitor.remove(attempt.key, attempt.session, uncertain=attempt.uncertain)
            raise

    def await_turn(self, attempt: Attempt, limit: TimeLimit) -> Steps[Acquired]:
        """Steps that wait for the turn of a ticket. They raise what :meth:`acquire` does, and leave the ticket."""
        while True:
            view = yield from self._view(limit, attempt.session)
            mine = yield from self._find(view, attempt)
            if mine is None:
                continue
            blocker = self.turn.blocker(view, mine)
            if blocker is None:
                attempt.session.check()
                return Acquired(mine, attempt.session, attempt.uncertain)
            observers = self.store._observers
            if observers.of_recipes:
                ahead, waiters = view.tickets.index(mine), len(view.tickets)
                observers.tell("recipe_queued", kind=self.kind, name=self.name, ahead=ahead, waiters=waiters)
            yield from self._wait(blocker, mine, limit, attempt.session)

    def try_acquire(self, value: bytes, limit: TimeLimit) -> Steps[Acquired | None]:
        """Steps that acquire if nothing is in the way now, and leave no ticket otherwise."""
        view = yield from self._view(limit, None)
        after = view.tickets[-1].place + 1 if view.tickets else 1
        last = Ticket("", after, value, after)
        if self.turn.blocker(View((*view.tickets, last), view.settings), last) is not None:
            return None
        attempt = yield from self.enter(value, limit)
        try:
            mine = None
            while mine is None:
                view = yield from self._view(limit, attempt.session)
                mine = yield from self._find(view, attempt)
            if self.turn.blocker(view, mine) is None:
                attempt.session.check()
                return Acquired(mine, attempt.session, attempt.uncertain)
            yield from Commit((), (Delete(attempt.key),), limit)
        except BaseException:
            self.janitor.remove(attempt.key, attempt.session, uncertain=attempt.uncertain)
            raise
        if attempt.uncertain:
            self.janitor.remove(attempt.key, attempt.session, uncertain=True)
        return None

    def release(self, held: Acquired, limit: TimeLimit) -> Steps[bool]:
        """Steps that give back what is held. Returns whether it was still held; another holder's key is safe.

        If the store can't be reached, the janitor goes on; nothing is raised but an interrupt.
        """
        key = held.ticket.key
        removed, there = False, True
        try:
            yield from Commit((RevisionEquals(key, held.ticket.revision),), (Delete(key),), limit)
            removed = True
        except Conflict:
            there = False  # it is gone, or a backup has it, whose revisions are no longer known: the janitor sees to it
        except (OutcomeUnknown, Unavailable):
            pass
        finally:
            if not removed or held.uncertain:
                self.janitor.remove(key, held.session, uncertain=held.uncertain)
        return there and held.session.alive

    def change(self, held: Acquired, value: bytes, limit: TimeLimit) -> Steps[Acquired]:
        """Steps that give the ticket another value in its place in the queue. The token grows.

        Raises ``LeaseLost`` if it is not held any more.
        """
        ticket, session = held.ticket, held.session
        operation = Put(ticket.key, value, session.lease.id)
        put = Commit((RevisionEquals(ticket.key, ticket.revision),), (operation,), limit, session.lease)
        revision, uncertain = 0, False
        try:
            while not revision:
                try:
                    revision = (yield from put).revision
                except (Conflict, OutcomeUnknown) as exc:
                    uncertain = True
                    session.check()
                    item = yield from Get(ticket.key, limit)
                    if item is not None and item.value == value:  # an earlier put had no answer and was applied
                        revision = item.mod_revision
                    elif item is None or isinstance(exc, Conflict):
                        raise LeaseLost(
                            f"holding {self.what}: another client removed its key; acquire it again"
                        ) from exc
        except Unavailable as exc:
            if not uncertain:
                raise
            raise OutcomeUnknown(f"holding {self.what}: no answer tells whether it changed; acquire it again") from exc
        session.check()
        return replace(held, ticket=replace(ticket, value=value, revision=revision))

    def give_up(self, held: Acquired) -> None:
        """Let the janitor give back what is held. Never blocks or raises."""
        self.janitor.remove(held.ticket.key, held.session, uncertain=held.uncertain)

    def enter(self, value: bytes, limit: TimeLimit) -> Steps[Attempt]:
        """Steps that put a ticket. The store's own session may end at that moment; then another one is taken, once."""
        for last in (False, True):
            session = yield from session_for(self.store, self.session, limit)
            attempt = Attempt(self.folder + secrets.token_hex(_DIGITS // 2), session)
            try:
                yield from self._put(attempt, value, limit)
                return attempt
            except BaseException as exc:
                if attempt.sent:
                    uncertain = attempt.uncertain or not attempt.place
                    self.janitor.remove(attempt.key, attempt.session, uncertain=uncertain)
                if last or self.session is not None or not isinstance(exc, LeaseLost | LeaseNotFound):
                    raise
        raise AssertionError

    # -- inside --

    def _put(self, attempt: Attempt, value: bytes, limit: TimeLimit) -> Steps[None]:
        lease = attempt.session.lease
        put = Commit((KeyAbsent(attempt.key),), (Put(attempt.key, value, lease.id),), limit, lease)
        attempt.sent = True
        try:
            while attempt.place == 0:
                try:
                    attempt.place = (yield from put).revision
                except (OutcomeUnknown, Conflict) as exc:
                    # The key is nobody else's: a conflict means that a put without an answer was applied.
                    attempt.uncertain = True
                    if isinstance(exc, OutcomeUnknown) and (limit.left() or 1.0) <= 0:
                        raise
                    item = yield from patiently(Get(attempt.key, limit), limit, attempt.session)
                    if item is not None:
                        attempt.place = item.create_revision
        except (Unavailable, LeaseLost, LeaseNotFound):
            attempt.sent = attempt.uncertain  # certainly not applied, unless an earlier put had no answer
            raise

    def _view(self, limit: TimeLimit, session: Session | None) -> Steps[View]:
        listing = yield from patiently(ListKeys(self.folder, limit, self.turn.values), limit, session)
        return view_of(self.folder, listing.items)

    def _find(self, view: View, attempt: Attempt) -> Steps[Ticket | None]:
        """Find the ticket of ``attempt``. ``None``: the list was older than the ticket."""
        mine = view.find(attempt.key)
        if mine is not None:
            return mine
        attempt.session.check()
        whole = TimeLimit(self.store.clock, None)  # the ticket's life is longer than the wait
        item = yield from patiently(Get(attempt.key, whole), whole, attempt.session)
        if item is not None:
            return None
        raise LeaseLost(f"acquiring {self.what}: its key was removed from the store while it waited; acquire it again")

    def _wait(self, blocker: Ticket, mine: Ticket, limit: TimeLimit, session: Session) -> Steps[None]:
        if self.turn.whole_folder:

            def ready(present: Mapping[str, KeyValue]) -> bool:
                view = view_of(self.folder, present.values())
                me = view.find(mine.key)
                return me is None or self.turn.blocker(view, me) is None

            wait = WaitUntil(self.folder, ready, limit, session.lease)
        else:

            def gone(present: Mapping[str, KeyValue]) -> bool:
                item = present.get(blocker.key)
                return item is None or item.mod_revision != blocker.revision

            wait = WaitUntil(blocker.key, gone, limit, session.lease, exact=True)
        try:
            done = yield from wait
        except Unavailable:
            done = False  # the list that follows goes on trying
        if not done:
            session.check()
            left = limit.left()
            if left is not None and left <= 0:
                raise WaitTimeout(
                    f"acquiring {self.what}: others held it all the time; give a longer timeout, or try again"
                )


class Attempt:
    """A ticket that is being put, and what is known of it: its place, once it is there."""

    __slots__ = ("key", "place", "sent", "session", "uncertain")

    def __init__(self, key: str, session: Session) -> None:
        self.key = key
        self.session = session
        self.place = 0
        self.sent = False
        self.uncertain = False


def view_of(folder: str, items: Iterable[KeyValue]) -> View:
    """Return what the keys of a folder mean."""
    start, length = len(folder), len(folder) + _DIGITS
    tickets, settings = [], {}
    for item in items:
        if len(item.key) == length:
            tickets.append(Ticket(item.key, item.create_revision, item.value, item.mod_revision, item.lease_id))
        else:
            settings[item.key[start:]] = item.value
    tickets.sort(key=lambda ticket: (ticket.place, ticket.key))
    return View(tuple(tickets), settings)
