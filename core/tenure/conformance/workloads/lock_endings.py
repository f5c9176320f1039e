"""Holders, waiters and leaders that lose their lease. Rules about locks and elections inspect it.

Times are seconds of the stores' clock, which all processes of a machine share.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from tenure._client.store import Store
from tenure.conformance.harness.assertions import EVENT_TIMEOUT, Checks, inconclusive
from tenure.conformance.harness.context import RuleContext
from tenure.conformance.harness.lateness import Lateness
from tenure.conformance.workloads.leases import CLOCK_TOLERANCE, Ending, paced_ttl
from tenure.conformance.workloads.lock_turns import Span
from tenure.conformance.workloads.participants import Client, unrefreshed_session
from tenure.conformance.workloads.threads import together
from tenure.errors import Conflict, LeaseLost, LeaseNotFound, WaitTimeout
from tenure.recipes._holding import Acquires, Held
from tenure.recipes._observing import Changes
from tenure.recipes.election import Election, Leader
from tenure.recipes.lock import Lock
from tenure.recipes.session import Session

_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Write:
    """The protected resource accepted a write."""

    who: str
    token: int
    revision: int

    def as_json(self) -> dict[str, object]:
        """Return the data for the checkers."""
        return {"who": self.who, "token": self.token, "revision": self.revision}


@dataclass(frozen=True, slots=True)
class Fencing:
    """A holder lost its lease, another client took the lock, and then both wrote."""

    how: str
    """What became of the first holder's lease, and which lock it was."""
    guarded: tuple[Write, ...]
    """Accepted with a guard of the lock."""
    control: tuple[Write, ...]
    """The same, and then the former holder's write without a guard."""
    refused: bool
    """Whether the former holder's guarded write was refused."""


@dataclass(frozen=True, slots=True)
class Loss:
    """A leader whose lease expired, by its own clock."""

    sent: float
    ttl: float
    valid: float
    found: float
    taken: float

    def as_json(self) -> dict[str, object]:
        """Return the data for the checkers."""
        moments = {name: round(getattr(self, name) - self.sent, 6) for name in ("valid", "found", "taken")}
        late = self.found - self.valid  # the holder looks all the time, so a gap is this machine's
        return {"sent": 0.0, "ttl": self.ttl, "tolerance": round(CLOCK_TOLERANCE + late, 6), **moments}


@dataclass(frozen=True, slots=True)
class Leaders:
    """The terms of an election, and what an observer was told meanwhile."""

    terms: tuple[Span, ...]
    observed: tuple[Leader | None, ...]
    loss: Loss
    """The first leader's."""


@dataclass(frozen=True, slots=True)
class Endings:
    """Everything that waits for a lease to expire, done side by side."""

    expired: tuple[Fencing, ...]
    waiter: Ending
    """The lease of a dead waiter; notified and missed are when the next waiter had its turn."""
    leaders: Leaders
    late: float = 0.0
    """Seconds by which this process, or the slowest call, may have delayed what was seen."""

    @property
    def tolerance(self) -> float:
        """Seconds by which the end of a lease may be seen late."""
        return CLOCK_TOLERANCE + self.late


def observe_endings(context: RuleContext) -> Endings:
    """Observe holders whose lease expires, a waiter that dies in a queue, and successive leaders.

    A lease that ended before its holder had the lock shows nothing if calls or threads took long. Then all is done
    again, with a longer TTL.
    """
    ttl = paced_ttl(context)
    for attempt in range(1, _ATTEMPTS + 1):
        ttl = min(ttl * attempt, context.capabilities.max_ttl)
        with Lateness() as lateness:
            before = len(context.evidence.operations)
            try:
                endings = _observe_endings(context, ttl, f"{attempt}/")
                return dataclasses.replace(endings, late=_late(context, before, lateness))
            except (LeaseLost, LeaseNotFound, Conflict) as exc:
                late = _late(context, before, lateness)
                if late < ttl / _ATTEMPTS / 2:
                    did = f"took locks and led on leases of {ttl:g} s that nothing refreshed"
                    seen = f"{type(exc).__name__}: {exc}"
                    raise context.check.fail(did, expected="each is held until its lease ends", seen=seen) from exc
    raise inconclusive(
        context.rule,
        f"in {_ATTEMPTS} runs leases ended before their holders had the lock, and threads or calls took {late:.2f} s. "
        "The runs show nothing about the guarantee; the store may be too slow, or the machine overloaded",
    )


def _late(context: RuleContext, before: int, lateness: Lateness) -> float:
    """Return how late threads were at most, and the slowest call since the operation number ``before``, together."""
    calls = (seen.seconds for seen in context.evidence.operations[before:])
    return lateness.longest + max(calls, default=0.0)


def _observe_endings(context: RuleContext, ttl: float, place: str) -> Endings:
    """Do everything with names that begin with ``place``."""
    timeout = (
        context.capabilities.max_lifetime_after_refresh(ttl) + context.capabilities.max_watch_latency + EVENT_TIMEOUT
    )
    expired: dict[bool, Fencing] = {}
    waiter: list[Ending] = []
    led: list[Leaders] = []
    together(
        context.check,
        [
            lambda: expired.update({True: fence(context, timeout, expire=ttl, place=place, fair=True)}),
            lambda: expired.update({False: fence(context, timeout, expire=ttl, place=place, fair=False)}),
            lambda: waiter.append(_dead_waiter(context, timeout, ttl, f"{place}queue")),
            lambda: led.append(_leaders(context, timeout, ttl, f"{place}leader")),
        ],
        "let leases end",
        within=timeout * 2 + EVENT_TIMEOUT,
    )
    return Endings((expired[True], expired[False]), waiter[0], led[0])


# -- a former holder writes --


def fence(context: RuleContext, timeout: float, *, expire: float | None, fair: bool, place: str = "") -> Fencing:
    """Let a holder lose its lock to another client without knowing; both write to the protected resource.

    Its lease of ``expire`` seconds expires; with ``None`` another client revokes it.
    """
    holder, other = context.connect(), Client.connected(context)
    how = f"{'revoked' if expire is None else 'expired'}, {'fair' if fair else 'unfair'} lock"
    name, resource = f"{place}{how}", f"{place}resource of {how}"
    session = (
        context.make(Session.open, holder, ttl=context.long_ttl)
        if expire is None
        else unrefreshed_session(context, holder, expire)
    )
    first = _acquired(
        context.check, context.make(Lock, holder, name, session=session, fair=fair), "the first holder", timeout
    )
    writes = [_write(first, "the first holder", holder, resource)]
    late = first.guard(holder.transaction().put(resource, b"late"))  # made while it holds, sent when it no longer does
    if expire is None:
        other.store.revoke_lease(session.lease.id)
    lock = context.make(Lock, other.store, name, session=other.session, fair=fair)
    second = _acquired(context.check, lock, "the second holder", timeout)
    writes.append(_write(second, "the second holder", other.store, resource))
    refused = False
    try:
        writes.append(Write("the first holder", first.token, late.commit().revision))
    except Conflict:
        refused = True
    blind = holder.put(resource, b"unguarded").revision
    second.release()
    return Fencing(how, tuple(writes), (*writes, Write("the first holder", first.token, blind)), refused)


def _write(held: Held, who: str, store: Store, resource: str) -> Write:
    """Write to the resource if it is still held."""
    return Write(who, held.token, held.guard(store.transaction().put(resource, who.encode())).commit().revision)


def _acquired(check: Checks, lock: Acquires, who: str, timeout: float) -> Held:
    return _in_time(check, partial(lock.acquire, timeout=timeout), f"{who} waited for a lock for {timeout:.0f} s")


def _in_time(check: Checks, acquire: Callable[[], Held], did: str) -> Held:
    try:
        return acquire()
    except WaitTimeout as exc:
        raise check.fail(did, expected="its turn, once the holder's lease has ended", seen=str(exc)) from exc


# -- a waiter dies --


def _dead_waiter(context: RuleContext, timeout: float, ttl: float, name: str) -> Ending:
    """Put three clients in a queue; the second dies, the first leaves. When has the third its turn?"""
    check, first, third = context.check, Client.connected(context), Client.connected(context)
    second = context.connect()
    held = _acquired(check, context.make(Lock, first.store, name, session=first.session), "the first", timeout)
    sent = time.monotonic()
    session = unrefreshed_session(context, second, ttl)
    answered = time.monotonic()
    folder = held.key.rpartition("/")[0] + "/"
    turn: list[float] = []

    def tickets() -> int:
        return len(first.store.list(folder, keys_only=True).keys)

    def die() -> None:
        """Wait in the queue until the own session ends. The store may have made it the holder before."""
        with contextlib.suppress(LeaseLost, LeaseNotFound):
            context.make(Lock, second, name, session=session).acquire(timeout=timeout)

    def wait() -> None:
        did, expected = "the second one asked for the lock", "its key in the lock's folder"
        check.eventually(tickets, lambda number: number > 1 or not session.alive, did, expected=expected)
        session.check()  # it was in the queue while it lived, or all is done again
        _acquired(check, context.make(Lock, third.store, name, session=third.session), "the third", timeout)
        turn.append(time.monotonic())

    def leave() -> None:
        did, expected = "the third one asked for the lock", "its key in the lock's folder"
        check.eventually(tickets, lambda number: number > 2 or not session.alive, did, expected=expected)
        held.release()

    together(check, [die, wait, leave], "let a waiter die", within=timeout * 2)
    lease = session.lease
    return Ending("second", lease.ttl, lease.max_lifetime_after_refresh, sent, answered, None, turn[0], turn[0])


# -- leaders --


def _leaders(context: RuleContext, timeout: float, ttl: float, name: str) -> Leaders:
    """Let the first leader's session expire, the second hand over to the fourth, that one resign, the third end."""
    stalled = context.connect()
    sent = context.store.clock.now()
    session = unrefreshed_session(context, stalled, ttl)
    first = context.make(Election, stalled, name, candidate="candidate 1", session=session)
    term = _in_time(context.check, partial(first.campaign, timeout=timeout), "candidate 1 campaigned")
    began = context.store.clock.now()
    election = _Election(context, name, term, timeout)
    valid: list[float] = []

    def lead() -> None:
        """Rely on the lease as long as the own clock allows."""
        valid.append(began)
        while True:
            now = context.store.clock.now()
            try:
                term.check()
            except LeaseLost:
                valid.append(context.store.clock.now())
                return
            valid[0] = now
            time.sleep(0.002)

    with election.observe() as changes:
        parts = [lead, election.second, election.third, election.fourth]
        together(context.check, parts, "leaders followed each other", within=timeout * 2)
        observed = election.observed(changes)
    last_valid, found = valid
    terms = (Span("candidate 1", term.token, began, last_valid), *sorted(election.terms, key=lambda span: span.began))
    return Leaders(terms, observed, Loss(sent, session.lease.ttl, last_valid, found, terms[1].began))


class _Election:
    """The candidates after the first one, which has no session that lives on."""

    def __init__(self, context: RuleContext, name: str, first: Held, timeout: float) -> None:
        self.terms: list[Span] = []
        self._context = context
        self._name = name
        self._first = first
        self._timeout = timeout
        self._folder = first.key.rpartition("/")[0] + "/"
        self._clients = [Client.connected(context) for _ in range(3)]

    def observe(self) -> Changes[Leader | None]:
        """Follow who leads, on another connection."""
        return self._context.make(Election, self._context.connect(), self._name).observe()

    def observed(self, changes: Changes[Leader | None]) -> tuple[Leader | None, ...]:
        """Return what was told of all leaders. One more leads, so that there is an end to wait for."""
        election = self._candidate(0, "the last")
        found: list[Leader | None] = []
        with election.lead(timeout=self._timeout) as term, contextlib.suppress(WaitTimeout):
            while not found or found[-1] is None or found[-1].token < term.token:
                found.append(changes.next(EVENT_TIMEOUT))
        return tuple(found)

    def second(self) -> None:
        """Lead after the first, and hand over to the last in the queue when all are there."""

        def hand_over(election: Election, _: Held) -> None:
            self._wait_for(3)
            handed = election.hand_over("candidate 4")
            self._context.check.equal(handed, True, "handed over to a candidate that campaigns")

        self._lead(0, "candidate 2", hand_over)

    def third(self) -> None:
        """Come third, and lead last; end the session."""
        self._wait_for(1)
        self._lead(1, "candidate 3", lambda _, __: self._clients[1].session.close())

    def fourth(self) -> None:
        """Come last, and lead third; resign."""
        self._wait_for(2)
        self._lead(2, "candidate 4", lambda _, term: term.release())

    def _candidate(self, number: int, who: str) -> Election:
        client = self._clients[number]
        return self._context.make(Election, client.store, self._name, candidate=who, session=client.session)

    def _lead(self, number: int, who: str, end: Callable[[Election, Held], object]) -> None:
        election, clock = self._candidate(number, who), self._context.store.clock
        campaign = partial(election.campaign, timeout=self._timeout)
        term = _in_time(self._context.check, campaign, f"{who} campaigned for {self._timeout:.0f} s")
        began = clock.now()
        _write(term, who, self._clients[number].store, f"{self._name} did this")
        self.terms.append(Span(who, term.token, began, clock.now()))
        end(election, term)

    def _wait_for(self, candidates: int) -> None:
        """Wait until so many candidates are in the queue, the first leader not counted."""
        store, first = self._clients[0].store, self._first.key
        self._context.check.eventually(
            lambda: len({*store.list(self._folder, keys_only=True).keys} - {first}),
            lambda number: number >= candidates,
            "candidates asked to lead",
            expected=f"{candidates} keys of candidates in the election's folder",
            within=self._timeout,
        )
