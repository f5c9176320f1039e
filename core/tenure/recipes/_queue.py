"""A fair queue of tickets: one key per acquisition, in the order of create revisions. Steps, without I/O.

Locks, read-write locks, semaphores and elections are this queue with different turns. An acquisition

1. puts a key that nobody else ever writes, its *ticket*, on the session's lease: one transaction;
2. lists the folder. If no other ticket is in its way, it holds, and the ticket's create revision is its token;
3. otherwise waits until the ticket in its way is gone, and lists again: the one that left may have been another waiter.

Each waiter watches one key, so a release wakes one waiter; several of one process may share a watch
(:mod:`tenure.recipes._line`). The one that wakes reads a page of the folder, however long the queue
is: the names of tickets sort nearly as their revisions do (:mod:`tenure.recipes._ticket_names`), and the tickets before
a waiter only become fewer. Whatever ends an acquisition early, an interrupt included, leaves its ticket to the janitor.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

from tenure._client.store import Store
from tenure._runtime.clock import TimeLimit
from tenure._steps.effects import Commit, Get, Hear, ListKeys, Steps, WaitUntil, Word
from tenure.errors import Conflict, LeaseLost, LeaseNotFound, OutcomeUnknown, Unavailable, WaitTimeout
from tenure.recipes._janitor import Janitor
from tenure.recipes._line import SHARE, lines_of
from tenure.recipes._owner import with_mark
from tenure.recipes._patience import patiently
from tenure.recipes._ticket_names import DIGITS, earlier, new_name
from tenure.recipes.session import Session, session_for
from tenure.spi.types import Delete, KeyAbsent, KeyValue, LeaseId, Put, RevisionEquals

T = TypeVar("T")

PAGE = 64
"""Tickets that a newcomer reads of a long queue."""
_FRONT = 32
"""Tickets that one reads whose predecessor has gone: it is likely to be the first."""
_NEAR = 0.5, 16.0, 512.0
"""Seconds before its own name from which a newcomer reads a long queue, until it finds one that is in its way."""
_HOLDS = "holds"
"""The mark of a ticket whose turn has come, where another waits for a sign."""
_MOST = 64
"""Keys that one transaction asks for."""


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
        whole: whether these are all tickets and settings.
        last: the last key that was read.
    """

    tickets: tuple[Ticket, ...]
    settings: Mapping[str, bytes]
    whole: bool = True
    last: str = ""

    def find(self, key: str) -> Ticket | None:
        """Return the ticket with this key."""
        return next((ticket for ticket in self.tickets if ticket.key == key), None)

    def before(self, mine: Ticket) -> tuple[Ticket, ...]:
        """Return the tickets before ``mine``, in order."""
        return self.tickets[: self.tickets.index(mine)]

    def joined(self, more: View) -> View:
        """Return what this and another part show together."""
        tickets = sorted((*self.tickets, *more.tickets), key=_order)
        return View(tuple(tickets), {**self.settings, **more.settings}, more.whole, more.last)


class Turn:
    """Decides whose turn it is. In this one, no ticket waits for another."""

    values = False
    """Whether the values of tickets matter, and are read."""
    part = False
    """Whether a ticket that is in the way, seen in a part of the queue, is in the way in the whole."""
    signs = False
    """Whether one whose turn it is puts its ticket again if there is another behind it, who waits for that sign."""

    def blocker(self, view: View, mine: Ticket) -> Ticket | None:
        """Return the ticket that ``mine`` has to wait for, ``None`` if it is its turn."""
        return None

    def together(self, value: bytes) -> int:
        """Return how many of the first tickets have their turn if one with this value is among them; 0: that varies."""
        return 0

    def fits(self, value: bytes, first: bytes) -> bool:
        """Whether one with ``value`` may wait unread behind the ``first`` ticket's. Otherwise it looks at the queue."""
        return True

    def watches_folder(self, view: View, mine: Ticket) -> bool:
        """Whether ``mine``, which has to wait, looks at the whole folder, because no single ticket is in its way."""
        return False

    def passed(self, blocker: Ticket, now: KeyValue) -> bool:
        """Whether ``mine`` looks again, as the ticket that it waits for has become ``now``."""
        return now.mod_revision != blocker.revision


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
        again: whether a waiter looks again after each TTL, as participants of earlier versions give no sign.
        page: the number of tickets that a waiter reads of a long queue.
    """

    store: Store
    folder: str
    what: str
    turn: Turn
    janitor: Janitor
    session: Session | None
    kind: str = ""
    name: str = ""
    again: bool = False
    page: int = PAGE

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
        # Each waiter is served by one line: what ended that may end another, too.
        shares = self.store.capabilities.lossless_watch and self.turn.together(attempt.value) > 0
        word = (yield from self._join_unread(attempt, limit)) if shares else None
        while word is None or not word.first:
            shares = shares and word is None
            view = yield from self._look(attempt, limit)
            mine = yield from self._find(view, attempt)
            if mine is None:
                continue
            blocker = self.turn.blocker(view, mine)
            if blocker is None:
                return (yield from self._hold(mine, attempt, limit, followed=view.tickets[-1] != mine))
            observers = self.store._observers
            if observers.of_recipes:
                ahead, waiters = view.tickets.index(mine), len(view.tickets)
                observers.tell("recipe_queued", kind=self.kind, name=self.name, ahead=ahead, waiters=waiters)
            word = (yield from self._share(view, attempt, limit)) if shares else None
            if word is not None:
                continue
            if self.turn.watches_folder(view, mine):
                yield from self._wait_in_folder(mine, limit, attempt.session)
            else:
                yield from self._wait(blocker, limit, attempt.session)
        return (yield from self._hold(attempt.first(), attempt, limit, followed=word.followed))

    def try_acquire(self, value: bytes, limit: TimeLimit) -> Steps[Acquired | None]:
        """Steps that acquire if nothing is in the way now, and leave no ticket otherwise."""
        last = Ticket("", sys.maxsize, value, 0)
        if self.turn.part and self._blocks((yield from self._view(limit, None, most=self.page)), last):
            return None
        if self._blocks((yield from self._view(limit, None)), last):
            return None
        attempt = yield from self.enter(value, limit)
        try:
            mine = None
            while mine is None:
                view = yield from self._look(attempt, limit)
                mine = yield from self._find(view, attempt)
            if self.turn.blocker(view, mine) is None:
                return (yield from self._hold(mine, attempt, limit, followed=view.tickets[-1] != mine))
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
            raise OutcomeUnknown(f"holding {self.what}: no answer says whether it changed; acquire it again") from exc
        session.check()
        return replace(held, ticket=replace(ticket, value=value, revision=revision))

    def give_up(self, held: Acquired) -> None:
        """Let the janitor give back what is held. Never blocks or raises."""
        self.janitor.remove(held.ticket.key, held.session, uncertain=held.uncertain)

    def enter(self, value: bytes, limit: TimeLimit) -> Steps[Attempt]:
        """Steps that put a ticket. The store's own session may end at that moment; then another one is taken, once."""
        for last in (False, True):
            session = yield from session_for(self.store, self.session, limit)
            attempt = Attempt(self.folder + new_name(), value, session)
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
        attempt.sent = True
        try:
            while attempt.place == 0:
                put = Commit((KeyAbsent(attempt.key),), (Put(attempt.key, value, lease.id),), limit, lease)
                try:
                    attempt.place = (yield from put).revision
                except Conflict:
                    # Either a put without an answer was applied, or another process has the same name.
                    yield from self._recognize(attempt, value, limit)
                except OutcomeUnknown:
                    attempt.uncertain = True
                    if (limit.left() or 1.0) <= 0:
                        raise
                    yield from self._recognize(attempt, value, limit)
        except (Unavailable, LeaseLost, LeaseNotFound):
            attempt.sent = attempt.uncertain  # certainly not applied, unless an earlier put had no answer
            raise

    def _recognize(self, attempt: Attempt, value: bytes, limit: TimeLimit) -> Steps[None]:
        """Find out whether the ticket is there, and take another name if it is another participant's."""
        attempt.sent = attempt.uncertain  # until it is known: nothing of another participant may be removed
        item = yield from patiently(Get(attempt.key, limit), limit, attempt.session)
        if item is not None and item.lease_id == attempt.session.lease.id:
            attempt.uncertain = True
            attempt.place = item.create_revision
        elif item is not None:
            if attempt.uncertain:
                self.janitor.remove(attempt.key, attempt.session, value=value, uncertain=True)
            attempt.key, attempt.uncertain = self.folder + new_name(), False
        attempt.sent = True

    def _begin(self, mine: Ticket, attempt: Attempt) -> Acquired:
        """Return what a participant has whose turn it is."""
        attempt.session.check()
        return Acquired(mine, attempt.session, attempt.uncertain)

    def _hold(self, mine: Ticket, attempt: Attempt, limit: TimeLimit, *, followed: bool) -> Steps[Acquired]:
        """Steps that begin, and give the one behind its sign. Without it, that one looks after the TTL."""
        acquired = self._begin(mine, attempt)
        if followed and self.turn.signs:
            with suppress(Unavailable):
                acquired = yield from self.change(acquired, with_mark(mine.value, _HOLDS), limit)
        return acquired

    def _blocks(self, view: View, mine: Ticket) -> bool:
        """Whether a ticket of ``view``, which doesn't have ``mine``, is in its way."""
        return self.turn.blocker(view.joined(View((mine,), {})), mine) is not None

    def _view(self, limit: TimeLimit, session: Session | None, **part: Any) -> Steps[View]:
        listing = yield from patiently(ListKeys(self.folder, limit, self.turn.values, **part), limit, session)
        view = view_of(self.folder, listing.items)
        return replace(view, whole=not listing.has_more, last=listing.items[-1].key if listing.items else "")

    def _look(self, attempt: Attempt, limit: TimeLimit) -> Steps[View]:
        """Steps that read as much of the queue as tells whether it is the turn of ``attempt``."""
        history = self.store._history.name
        view = (yield from self._look_at_part(attempt, limit)) if self.turn.part else None
        if view is None:
            view = yield from self._view(limit, attempt.session)
        if view.whole:
            attempt.note(view, history)
        return view

    def _look_at_part(self, attempt: Attempt, limit: TimeLimit) -> Steps[View | None]:
        """Steps that read a part of the queue. ``None``: only the whole tells enough."""
        history = self.store._history.name
        front = yield from self._front(attempt, limit)
        if front.whole:
            return front
        if attempt.history != self.store._history.name:
            attempt.late = None  # the store's data were replaced: others may be in the way
        mine = front.find(attempt.key)
        if mine is not None and self.turn.blocker(front, mine) is None:
            if attempt.late is None:
                return None
            unseen = [key for key in attempt.late if key > front.last]
            return front if (yield from self._absent(unseen, attempt, limit)) else None
        if self.store._observers.of_recipes:
            return None  # they are told of the whole queue
        return (yield from self._near(attempt, history, limit))

    def _near(self, attempt: Attempt, history: object, limit: TimeLimit) -> Steps[View | None]:
        """Steps that read the tickets which came shortly before ``attempt``. ``None``: none of them is in its way."""
        for seconds in _NEAR:
            # A newcomer reads all that came with it or later, as it has to know them: that is little.
            start = self.folder + earlier(attempt.key[len(self.folder) :], seconds)
            bound = None if attempt.late is None else self.page
            near = replace((yield from self._view(limit, attempt.session, after=start, most=bound)), whole=False)
            mine = near.find(attempt.key)
            if mine is None:
                break
            if attempt.late is None:
                attempt.note(near, history)
            if self.turn.blocker(near, mine) is not None:
                return near
        return None

    def _front(self, attempt: Attempt, limit: TimeLimit) -> Steps[View]:
        """Steps that read the tickets with the first names, until one blocks ``attempt``, or its own is there."""
        most = self.page if attempt.late is None else min(self.page, _FRONT)
        front = yield from self._view(limit, attempt.session, most=most)
        mine = Ticket(attempt.key, attempt.place, attempt.value, attempt.place)
        while not front.whole and front.find(attempt.key) is None and not self._blocks(front, mine):
            most *= 2
            more = yield from self._view(limit, attempt.session, after=front.last, most=most)
            front = front.joined(more)
        return front

    def _absent(self, keys: list[str], attempt: Attempt, limit: TimeLimit) -> Steps[bool]:
        """Steps that tell whether none of ``keys`` is there, if one transaction can ask for all."""
        if not keys:
            return True
        if len(keys) > min(_MOST, self.store.capabilities.max_transaction_operations):
            return False
        guards = tuple(KeyAbsent(key) for key in keys)
        try:
            yield from patiently(Commit(guards, (), limit), limit, attempt.session)
        except (Conflict, OutcomeUnknown):
            return False
        return True

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

    def _wait(self, blocker: Ticket, limit: TimeLimit, session: Session) -> Steps[None]:
        """Steps that wait until ``blocker`` is gone, or has become another that may not be in the way."""

        def gone(present: Mapping[str, KeyValue]) -> bool:
            item = present.get(blocker.key)
            return item is None or self.turn.passed(blocker, item)

        soon = limit
        if self.again:
            left, ttl = limit.left(), session.lease.ttl
            soon = TimeLimit(self.store.clock, ttl if left is None else min(left, ttl))
        yield from self._watch(WaitUntil(blocker.key, gone, soon, session.lease, exact=True), limit, session)

    def _wait_in_folder(self, mine: Ticket, limit: TimeLimit, session: Session) -> Steps[None]:
        """Steps that wait until it is the turn of ``mine``."""

        def ready(present: Mapping[str, KeyValue]) -> bool:
            view = view_of(self.folder, present.values())
            me = view.find(mine.key)
            return me is None or self.turn.blocker(view, me) is None

        yield from self._watch(WaitUntil(self.folder, ready, limit, session.lease), limit, session)

    def _share(self, view: View, attempt: Attempt, limit: TimeLimit) -> Steps[Word | None]:
        """Steps that wait in the line of this process, if it has a good part of the queue. ``None``: there is none."""
        lines, lease = lines_of(self.store), attempt.session.lease
        own = sum(ticket.lease_id == lease.id for ticket in view.tickets)
        if view.settings or (lines.find(self.folder) is None and not (view.whole and len(view.tickets) <= SHARE * own)):
            return None
        prepare = partial(lines.open, self.store, self.folder)
        word = yield from Hear(self._joining(attempt), limit, lease, prepare)
        if word is not None and not word.first:
            self.store._check_process()  # a store that closes ends its lines before its leases
            self._check(limit, attempt.session)
        return word

    def _join_unread(self, attempt: Attempt, limit: TimeLimit) -> Steps[Word | None]:
        """Steps that wait in the line that is there, without a look at the queue."""
        if self.store._observers.of_recipes or lines_of(self.store).find(self.folder) is None:
            return None
        return (yield from Hear(self._joining(attempt), limit, attempt.session.lease))

    def _joining(self, attempt: Attempt) -> Callable[[Callable[[], object]], Word | None]:
        """Return what lets ``attempt`` join the line that is there."""

        def join(tell: Callable[[], object]) -> Word | None:
            line = lines_of(self.store).find(self.folder)
            if line is None:
                return None
            together, fits = self.turn.together(attempt.value), partial(self.turn.fits, attempt.value)
            lease_id = attempt.session.lease.id
            return line.join(attempt.key, attempt.place, lease_id, tell, together=together, fits=fits)

        return join

    def _watch(self, wait: WaitUntil, limit: TimeLimit, session: Session) -> Steps[None]:
        try:
            done = yield from wait
        except Unavailable:
            done = False  # the list that follows goes on trying
        if not done:
            self._check(limit, session)

    def _check(self, limit: TimeLimit, session: Session) -> None:
        """Raise if one that waited has to stop."""
        session.check()
        left = limit.left()
        if left is not None and left <= 0:
            raise WaitTimeout(
                f"acquiring {self.what}: others held it all the time; give a longer timeout, or try again"
            )


class Attempt:
    """A ticket that is being put, and what is known of it: its place, once it is there.

    Attributes:
        late: the tickets before it whose names sort after its own; ``None`` until that is known. Of those whose names
            sort before its own, the beginning of the folder tells.
        history: the history of the store in which that was seen.
    """

    __slots__ = ("history", "key", "late", "place", "sent", "session", "uncertain", "value")

    def __init__(self, key: str, value: bytes, session: Session) -> None:
        self.key = key
        self.value = value
        self.session = session
        self.place = 0
        self.sent = False
        self.uncertain = False
        self.late: tuple[str, ...] | None = None
        self.history: object = None

    def first(self) -> Ticket:
        """Return the ticket, which nobody has changed."""
        return Ticket(self.key, self.place, self.value, self.place, self.session.lease.id)

    def note(self, view: View, history: object) -> None:
        """Note what a view tells that has all tickets whose names sort after this one's."""
        mine = view.find(self.key)
        if mine is not None:
            self.late = tuple(ticket.key for ticket in view.before(mine) if ticket.key > self.key)
            self.history = history


def _order(ticket: Ticket) -> tuple[int, str]:
    return ticket.place, ticket.key


def view_of(folder: str, items: Iterable[KeyValue]) -> View:
    """Return what the keys of a folder mean."""
    start, length = len(folder), len(folder) + DIGITS
    tickets, settings = [], {}
    for item in items:
        if len(item.key) == length:
            tickets.append(Ticket(item.key, item.create_revision, item.value, item.mod_revision, item.lease_id))
        else:
            settings[item.key[start:]] = item.value
    tickets.sort(key=_order)
    return View(tuple(tickets), settings)
