"""An election: of all candidates for a name, one leads.

It is a queue of tickets (:mod:`tenure.recipes._queue`). A candidate whose turn comes puts its ticket once more, marked
as the leader's. The revision of that put is the token, so it grows with each leader, also when a leader hands over to a
candidate that is not the next in the queue. Handing over marks that candidate's ticket: the mark ends with the ticket.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from tenure._client.store import Store
from tenure._runtime.clock import TimeLimit
from tenure._steps.effects import Commit, ListKeys, Steps
from tenure._steps.threads import run
from tenure.errors import Conflict, LeaseLost, LeaseNotFound, OutcomeUnknown, TenureError, Unavailable
from tenure.recipes import _names
from tenure.recipes._acquirable import Acquirable
from tenure.recipes._entered import EnteredByMethod
from tenure.recipes._held_state import HeldState
from tenure.recipes._holding import Held, Holding, acquire
from tenure.recipes._janitor import janitor_of
from tenure.recipes._observing import Changes
from tenure.recipes._owner import fields_of, owner_value, with_mark
from tenure.recipes._queue import Acquired, Queue, Ticket, Turn, View, view_of
from tenure.recipes.session import Session
from tenure.spi.types import Delete, KeyValue, Put, RevisionEquals

H = TypeVar("H", bound=HeldState)

_CANDIDATE, _DATA, _LEADING, _HEIR = "owner", "data", "leading", "heir"


@dataclass(frozen=True, slots=True)
class Leader:
    """Who leads.

    Attributes:
        candidate: the name that the leader gave itself.
        token: the fencing token of its term. It grows with each leader.
        data: the text that the leader attached, such as its address.
    """

    candidate: str
    token: int
    data: str


class InOrderOrHeir(Turn):
    """One at a time: the candidate that the last leader named, else the first in order."""

    values = True

    def blocker(self, view: View, mine: Ticket) -> Ticket | None:
        """Return the ticket before ``mine`` unless it is its turn, the ticket whose turn it is if none is before."""
        first = view.tickets[0]
        if not leads(first):
            named = next((ticket for ticket in view.tickets if _marked(ticket, _HEIR)), first)
            first = next((ticket for ticket in view.tickets if leads(ticket)), named)
        if first.key == mine.key:
            return None
        before = view.before(mine)
        return before[-1] if before else first

    def passed(self, blocker: Ticket, now: KeyValue) -> bool:
        """Whether a leader has changed ``blocker``, as it named the candidate behind. A leader's own mark is none."""
        return super().passed(blocker, now) and not leads(Ticket(now.key, now.create_revision, now.value, 0))


@dataclass(frozen=True, slots=True)
class Campaign:
    """The queue of an election, whose winner marks its ticket."""

    queue: Queue

    def acquire(self, value: bytes, limit: TimeLimit) -> Steps[Acquired]:
        """Steps that wait until the candidate leads."""
        acquired = yield from self.queue.acquire(value, limit)
        try:
            return (yield from self._mark(acquired, value, limit))
        except BaseException:
            self.give_up(acquired)
            raise

    def try_acquire(self, value: bytes, limit: TimeLimit) -> Steps[Acquired | None]:
        """Steps that make the candidate the leader if there is no other candidate."""
        acquired = yield from self.queue.try_acquire(value, limit)
        try:
            return None if acquired is None else (yield from self._mark(acquired, value, limit))
        except BaseException:
            if acquired is not None:
                self.give_up(acquired)
            raise

    def release(self, held: Acquired, limit: TimeLimit) -> Steps[bool]:
        """Steps that let the next candidate lead."""
        return (yield from self.queue.release(held, limit))

    def give_up(self, held: Acquired) -> None:
        """Let the janitor end the term. Never blocks or raises."""
        self.queue.give_up(held)

    def hand_over(self, held: Acquired, candidate: str, limit: TimeLimit) -> Steps[bool]:
        """Steps that let ``candidate`` lead next. Return ``False`` if it isn't a candidate; then nothing changes."""
        mine = held.ticket
        while True:
            listing = yield from ListKeys(self.queue.folder, limit, values=True)
            view = view_of(self.queue.folder, listing.items)
            if view.find(mine.key) is None:
                raise LeaseLost(f"handing over {self.queue.what}: this candidate no longer leads")
            named = (one for one in view.tickets if fields_of(one.value).get(_CANDIDATE) == candidate)
            heir = next((one for one in named if one.key != mine.key), None)
            if heir is None:
                return False
            commit, untold = self._handing_over(view, mine, heir, limit)
            try:
                yield from commit
            except (Conflict, LeaseNotFound):
                continue  # the heir has gone, or the one before it, or this leader
            except OutcomeUnknown:
                self.give_up(held)
                raise
            if held.uncertain:
                self.give_up(held)
            for before in untold:
                yield from self._call(before, limit)
            return True

    def _handing_over(self, view: View, mine: Ticket, heir: Ticket, limit: TimeLimit) -> tuple[Commit, list[Ticket]]:
        """Return the transaction that lets ``heir`` lead, and the ticket that has to be put once more after it.

        The heir looks at the ticket before it alone. That is put in the same transaction if the store can do so.
        """
        before = [one for one in view.before(heir)[-1:] if one.key != mine.key]
        leases = {one.lease_id for one in (heir, *before)}
        together = before if len(leases) <= self.queue.store.capabilities.max_transaction_leases else []
        guards = tuple(RevisionEquals(one.key, one.revision) for one in (mine, heir, *together))
        again = (Put(one.key, one.value, one.lease_id) for one in together)
        mark = Put(heir.key, with_mark(heir.value, _HEIR), heir.lease_id)
        return Commit(guards, (Delete(mine.key), *again, mark), limit), [one for one in before if one not in together]

    def _call(self, before: Ticket, limit: TimeLimit) -> Steps[None]:
        """Steps that let the heir look, in a transaction of its own. Without it, the heir looks after its TTL."""
        put = Put(before.key, before.value, before.lease_id)
        with suppress(Conflict, LeaseNotFound, OutcomeUnknown, Unavailable):
            yield from Commit((RevisionEquals(before.key, before.revision),), (put,), limit)

    def _mark(self, acquired: Acquired, value: bytes, limit: TimeLimit) -> Steps[Acquired]:
        return self.queue.change(acquired, with_mark(value, _LEADING), limit)


def _marked(ticket: Ticket, mark: str) -> bool:
    return fields_of(ticket.value).get(mark) is True


def leads(ticket: Ticket) -> bool:
    """Whether the candidate with this ticket leads."""
    return _marked(ticket, _LEADING)


def leader_of(view: View) -> Leader | None:
    """Return who leads, as the tickets tell."""
    for ticket in view.tickets:
        if leads(ticket):
            fields = fields_of(ticket.value)
            return Leader(str(fields.get(_CANDIDATE, "")), ticket.revision, str(fields.get(_DATA, "")))
    return None


class Candidate(Acquirable[H]):
    """One candidate. Steps, without I/O."""

    def __init__(self, campaign: Campaign, make: Callable[..., H], *, name: str) -> None:
        super().__init__(campaign.queue.store, campaign, make, kind="election", name=name)
        self._campaign = campaign

    def hand_over(self, candidate: str, limit: TimeLimit) -> Steps[bool]:
        """Steps that end this candidate's term and let ``candidate`` lead next."""
        term, acquired = self.held, self._acquired
        if term is None or acquired is None:
            raise LeaseLost(f"handing over the election {self.name!r}: this candidate doesn't lead")
        try:
            self._pass_on(term, True)
            done = yield from self._campaign.hand_over(acquired, candidate, limit)
            if done:
                term.end(passed_on=True)
            return done
        except BaseException as exc:
            # Other errors tell that nothing was changed. An interrupt doesn't: another candidate may lead already.
            if isinstance(exc, LeaseLost | OutcomeUnknown) or not isinstance(exc, TenureError):
                term.lose("handing it over failed half way")
                self._campaign.give_up(acquired)
            raise
        finally:
            self._pass_on(term, False)


class Election(EnteredByMethod):
    """An election of one leader among candidates, with a fencing token for each term.

    * Candidates lead in the order in which they began to campaign, unless a leader hands over to another one.
    * A leader that dies, hangs or is cut off loses its term when its session ends. It knows by its local clock before
      another candidate can lead.
    * The term ends after the work has ended: leaving the block of :meth:`lead` resigns.

    One object is one candidate: a second campaign by it is an error.

    >>> import tenure
    >>> with tenure.connect("memory://") as store:
    ...     election = tenure.Election(store, "scheduler", candidate="node-a", data="10.0.0.1:80")
    ...     with election.lead() as term:
    ...         leader = election.leader()
    ...         print(leader.candidate, leader.data, leader.token == term.token)
    ...     print(election.leader())
    node-a 10.0.0.1:80 True
    None

    Args:
        store: the store.
        name: the name that candidates share, at most 400 bytes.
        candidate: this candidate's name for observers; by default host and process id.
        data: a text for observers, such as the candidate's address.
        session: a session of one's own; by default one that all recipes of the store object share.

    Raises:
        InvalidArgument: the name is empty, too long, or no text without NUL.
    """

    _block = "{0}.lead(timeout=10) as term"

    def __init__(
        self,
        store: Store,
        name: str,
        *,
        candidate: str | None = None,
        data: str = "",
        session: Session | None = None,
    ) -> None:
        self._folder = _names.folder("election", name)
        self._store = store
        queue = Queue(
            store,
            self._folder,
            f"the election {name!r}",
            InOrderOrHeir(),
            janitor_of(store),
            session,
            "election",
            name,
            again=True,
        )
        self._steps = Candidate(Campaign(queue), Held, name=name)
        self._value = owner_value(candidate, data=data)

    @property
    def name(self) -> str:
        """The name that candidates share."""
        return self._steps.name

    @property
    def term(self) -> Held | None:
        """This candidate's term if it leads now. Reads the local clock and makes no call to the store."""
        return self._steps.held

    def campaign(self, *, timeout: float | None = None) -> Held:
        """Wait until this candidate leads.

        Args:
            timeout: seconds to wait; ``None`` waits as long as the session lives.

        Returns:
            The term. Its ``release`` resigns.

        Raises:
            WaitTimeout: others led all the time.
            AlreadyHeld: this object leads, or is a candidate already.
            LeaseLost: the session ended during the wait.
            Unavailable: the store can't be reached. ``DeadlineExceeded`` if the time ran out.
            OutcomeUnknown: the time ran out while a write had no answer. What it left is removed in the background.
            PermissionDenied: the store forbids the call. ``AuthenticationFailed`` if it no longer accepts the
                credentials.
            StoreClosed: the store was closed. ``UsedAfterFork`` if it belongs to the parent process.
        """
        return acquire(self._steps, self._value, timeout)

    def lead(self, *, timeout: float | None = None) -> Holding:
        """Lead for the block of ``with``. Leaving the block resigns, unless the block did so or handed over.

        If the term was lost before the end of the block, and the block raised nothing, leaving it raises ``LeaseLost``.

        Args:
            timeout: seconds to wait for the term; ``None`` waits as long as the session lives.

        Returns:
            A context manager that gives the term.

        Raises:
            AlreadyHeld: entered while this object leads, or is a candidate already. What :meth:`campaign` raises is
                raised on entering, too.
        """
        return Holding(lambda: self.campaign(timeout=timeout), self)

    def hand_over(self, candidate: str, *, timeout: float | None = None) -> bool:
        """End this candidate's term, and let ``candidate`` lead next, before those that have waited longer.

        During the call the term is not held: the other candidate may lead before the store's answer is here.

        Args:
            candidate: the name of another candidate that campaigns now.
            timeout: seconds that the call may take; by default the store's timeout for each of its requests.

        Returns:
            Whether it was handed over. ``False``: there is no such candidate, and the term continues.

        Raises:
            LeaseLost: this candidate doesn't lead.
            OutcomeUnknown: no answer came. The term has ended; if it was not handed over, the next in order leads.
            Unavailable: the store can't be reached; the term continues. ``DeadlineExceeded`` if the time ran out.
            PermissionDenied: the store forbids the call. ``AuthenticationFailed`` if it no longer accepts the
                credentials.
            StoreClosed: the store was closed. ``UsedAfterFork`` if it belongs to the parent process.
        """
        return run(self._store, self._steps.hand_over(candidate, TimeLimit(self._store.clock, timeout)))

    def leader(self, *, timeout: float | None = None) -> Leader | None:
        """Read who leads now.

        Args:
            timeout: seconds that the call may take; by default the store's timeout.

        Returns:
            The leader; ``None`` while there is none, also between two terms.

        Raises:
            Unavailable: the store can't be reached. ``DeadlineExceeded`` if the time ran out.
            PermissionDenied: the store forbids the call. ``AuthenticationFailed`` if it no longer accepts the
                credentials.
            StoreClosed: the store was closed. ``UsedAfterFork`` if it belongs to the parent process.
        """
        return leader_of(view_of(self._folder, self._store.list(self._folder, timeout=timeout).items))

    def observe(self) -> Changes[Leader | None]:
        """Follow who leads.

        Returns:
            An iterator over the leaders: the present one first, then one item whenever it changes, ``None`` while
            there is none. Close it when done, or use it in ``with``.

        Raises:
            Unavailable: the store can't be reached. ``DeadlineExceeded`` if the time ran out.
            PermissionDenied: the store forbids the call. ``AuthenticationFailed`` if it no longer accepts the
                credentials.
            StoreClosed: the store was closed. ``UsedAfterFork`` if it belongs to the parent process.
        """
        return Changes(
            self._store,
            self._folder,
            self._read,
            what=f"the election {self.name!r}",
            timeout=None,
        )

    def _read(self, present: Iterable[KeyValue]) -> Leader | None:
        return leader_of(view_of(self._folder, present))

    def __repr__(self) -> str:
        return f"<Election {self.name!r} {self.term or 'not leading'}>"
