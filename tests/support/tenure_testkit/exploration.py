"""Try participants' steps in every order, with crashes, lost sessions, lost answers and cancels at every place.

A *run* drives several participants over one memory store and ends when none can continue. At each point some actions
are possible: a participant takes its next step, or something befalls it. A run is decided by the numbers of the actions
chosen, its *trace*, and the same trace repeats the same run: there are no threads and no real time in here.

:func:`explore_all` makes every run with at most so many faults; :func:`explore_some` makes runs by a seed.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from tenure._client.store import Store
from tenure._runtime.clock import ManualClock, TimeLimit
from tenure._steps.effects import Commit, Effect, Get, Grant, Hear, ListKeys, Sleep, Steps, WaitUntil, Word
from tenure._steps.threads import perform
from tenure.errors import OutcomeUnknown, TenureError, Unavailable
from tenure.leases.lease import HeldLease, Lease
from tenure.recipes import _janitor, _line
from tenure.recipes.session import Session
from tenure.spi.feed import FeedItem, Sink, Snapshot
from tenure_memory.backend import MemoryBackend
from tenure_memory.server import MemoryServer

TTL = 10.0
_LATEST = 3.0
"""Seconds after which a write without an answer is applied at the latest; ``OutcomeUnknown`` calls it a moment."""


class Fault(StrEnum):
    """What can befall a participant at a step."""

    CRASH = "its process dies"
    CANCEL = "its call is cancelled"
    EXPIRE = "it is paused until its session has expired"
    REFUSED = "its call fails, and nothing was applied"
    APPLIED = "its write is applied, and the answer is lost"
    NOT_APPLIED = "its write is lost"
    LATE = "the answer to its write is lost, and the write is applied later"


class Cancelled(BaseException):
    """What a cancelled participant's steps see: no ``Exception``, like the interrupts of threads and event loops."""


class Violation(AssertionError):
    """A run broke a promise. The message has the trace that repeats it."""


class _NoReaper:
    """In place of the thread that ends leases: each call to the store ends what is due anyway."""

    def ensure(self, deadline: float) -> None:
        """Start nothing."""

    def stop(self) -> None:
        """Nothing runs."""

    def join(self) -> None:
        """Nothing runs."""


class _Keeper:
    """In place of the thread that refreshes leases: a world refreshes them itself."""

    def refresh_now(self, lease: HeldLease, timeout: float | None) -> None:
        raise NotImplementedError

    def revoke(self, lease: HeldLease, timeout: float | None) -> None:
        """Leave the store's lease to its end."""

    def lost(self, lease: HeldLease) -> None:
        """Tell the session, as the pool for callbacks would."""
        if lease.on_lost is not None:
            lease.on_lost(lease)

    def busy_since(self) -> float | None:
        return None

    def forget(self, lease: HeldLease) -> None:
        """Nothing is kept."""


@dataclass(eq=False)
class Participant:
    """One participant: its steps, and the effect that they wait for."""

    name: str
    steps: Steps[Any]
    session: Session | None = None
    background: bool = False
    shares: bool = False
    effect: Effect[Any] | None = None
    done: bool = False
    crashed: bool = False
    result: Any = None
    error: BaseException | None = None


@dataclass(frozen=True)
class Mark(Effect[None]):
    """A moment at which a scenario checks something: others may act before and after it."""

    look: Callable[[], None] = field(default=lambda: None)


@dataclass(frozen=True)
class _Joined(Effect[Word]):
    """A participant that waits for a word: others may act before it joins, and between the word and its next step."""

    word: Word
    hear: Hear


class _Lagging:
    """A sink that gets what comes after the first state only when the run lets it."""

    def __init__(self, sink: Sink, undelivered: deque[Callable[[], None]]) -> None:
        self._sink = sink
        self._undelivered = undelivered

    def deliver(self, item: FeedItem, /) -> None:
        if isinstance(item, Snapshot):
            self._sink.deliver(item)
        else:
            self._undelivered.append(lambda: self._sink.deliver(item))

    def fail(self, error: TenureError, /) -> None:
        self._undelivered.append(lambda: self._sink.fail(error))


class World:
    """One run's store, clock and participants."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.server = MemoryServer("exploration")
        self.backend = MemoryBackend(self.server, clock=self.clock, history=None)
        self.server._reaper = _NoReaper()  # type: ignore[assignment]
        self.store = Store.from_backend(self.backend, url="memory://exploration", clock=self.clock)
        self.participants: list[Participant] = []
        self.store._timers.close()  # a line that nobody uses stays
        self._keeper = _Keeper()
        self._late: list[tuple[float, Commit]] = []
        self._undelivered: deque[Callable[[], None]] = deque()
        watch = self.backend.watch
        self.backend.watch = lambda request, *, sink, timeout: watch(  # type: ignore[method-assign]
            request, sink=_Lagging(sink, self._undelivered), timeout=timeout
        )

    # -- for scenarios --

    def session(self) -> Session:
        """Return a session that the world keeps alive until its participant crashes or is paused."""
        session = Session()
        session._lease = self._grant(Grant(TTL, 1.0, session._on_lost, TimeLimit(self.clock, None)))
        return session

    def add(self, name: str, steps: Steps[Any], session: Session | None = None, *, shares: bool = False) -> Participant:
        """Let a participant take part from now on. ``shares``: it waits in one line with the others that do."""
        participant = Participant(name, steps, session, shares=shares)
        self.participants.append(participant)
        self._advance(participant, None, None)
        return participant

    def remove(self, key: str, session: Session, *, value: bytes | None = None, uncertain: bool = False) -> None:
        """Be the janitor of the world: its work is one more participant, which needs no session of its own."""
        owner = next((one for one in self.participants if one.session is session), None)
        if owner is not None and owner.crashed:
            return  # the janitor has died with the process
        steps = _janitor.remove(self.store, key, session, value=value, uncertain=uncertain)
        self.add(f"janitor of {owner.name if owner else '?'}", steps).background = True

    # -- for the explorer --

    def actions(self, faults: frozenset[Fault]) -> list[tuple[Participant | None, Fault | None]]:
        """Return what may happen next.

        ``(None, LATE)``: a write without an answer is applied now. ``(None, None)``: the line hears of a change.
        """
        possible: list[tuple[Participant | None, Fault | None]] = []
        if self._late:
            possible.append((None, Fault.LATE))
        if self._undelivered and any(one.shares and not one.done for one in self.participants):
            possible.append((None, None))
        awake = [one for one in self.participants if not (one.background and isinstance(one.effect, Sleep))]
        # A janitor sleeps until the others can't continue, and one at a time: its second look changes little.
        for one in awake:
            if one.effect is None or one.done:
                continue
            if self._can_continue(one):
                possible.append((one, None))
            if one.background:
                continue
            # In the order of the enum: that of a set differs from process to process, and a trace has to repeat a run.
            possible += [(one, fault) for fault in Fault if fault in faults and _applies(fault, one)]
        if not any(fault is None or one is None for one, fault in possible):
            possible += [(one, None) for one in self.participants if one.background and not one.done][:1]
        return possible

    def act(self, one: Participant | None, fault: Fault | None) -> None:
        """Let it happen."""
        if one is None and fault is None:
            self._undelivered.popleft()()
        elif one is None:
            self._apply_late()
        elif fault is None:
            self._step(one)
        elif fault is Fault.CRASH:
            one.crashed = one.done = True
            one.effect = None
        elif fault is Fault.CANCEL:
            self._advance(one, None, Cancelled())
        elif fault is Fault.EXPIRE:
            self.expire(one)
        elif fault is Fault.REFUSED:
            self._advance(one, None, Unavailable("the exploration refused this call"))
        else:
            self._lose_answer(one, fault)

    def expire(self, one: Participant) -> None:
        """Let the session of ``one`` expire; the others are refreshed in time."""
        for _ in range(3):
            self._let_time_pass(TTL / 2, but=one.session)

    def close(self) -> None:
        """End the run: the steps of participants that did not finish end without doing anything."""
        for one in self.participants:
            one.crashed = True
            with suppress(BaseException):
                one.steps.close()
        self.backend.close()
        _line._by_store.pop(self.store, None)  # its watch refers to the store

    def abandon_crashed(self) -> bool:
        """Let the sessions of crashed participants expire. Returns whether there was one."""
        crashed = [one for one in self.participants if one.crashed and one.session is not None and one.session.alive]
        for one in crashed:
            self.expire(one)
        return bool(crashed)

    def let_a_wait_end(self) -> bool:
        """Let time pass until the first wait with a limit is over. Returns whether there was one."""
        waits = [one.effect.limit.left() for one in self.participants if isinstance(one.effect, WaitUntil)]
        left = min((left for left in waits if left is not None and left > 0), default=0.0)
        ends = self.clock.now() + left
        while self.clock.now() < ends:
            self._let_time_pass(min(TTL / 2, ends - self.clock.now()))
        return left > 0

    # -- inside --

    def _grant(self, effect: Grant) -> Lease:
        started = self.clock.now()
        return Lease(
            self.backend.grant(effect.ttl, timeout=1.0),
            requested_ttl=effect.ttl,
            max_lifetime_after_refresh=effect.ttl,
            keep_alive=True,
            margin=effect.margin,
            started=started,
            clock=self.clock,
            keeper=self._keeper,
            on_lost=effect.on_lost,
        )

    def _let_time_pass(self, seconds: float, *, but: Session | None = None) -> None:
        while self._late and self.clock.now() + seconds > self._late[0][0] + _LATEST:
            self._apply_late()
        self.clock.jump(seconds)
        for one in self.participants:
            session = one.session
            if session is None or session is but or one.crashed or not session.alive:
                continue
            answer = self.backend.refresh([session.lease.id], timeout=1.0)
            if session.lease.id in answer:
                session.lease.mark_refreshed(self.clock.now(), answer[session.lease.id], self.clock.now())
            else:
                session.lease.mark_lost("the store no longer knows the lease")

    def _can_continue(self, one: Participant) -> bool:
        effect = one.effect
        if isinstance(effect, _Joined):
            left = effect.hear.limit.left()
            return effect.word.first is not None or not effect.hear.lease.alive or (left is not None and left <= 0)
        if not isinstance(effect, WaitUntil):
            return True
        left = effect.limit.left()
        ended = effect.lease is not None and not effect.lease.alive
        return ended or (left is not None and left <= 0) or self._ready(effect)

    def _ready(self, effect: WaitUntil) -> bool:
        found = self.store.list(effect.prefix).items
        present = {item.key: item for item in found if not effect.exact or item.key == effect.prefix}
        return effect.ready(present)

    def _step(self, one: Participant) -> None:
        effect = one.effect
        assert effect is not None
        if isinstance(effect, Hear) and (word := self._join(effect)) is not None:
            one.effect = _Joined(word, effect)
            return
        try:
            result = self._perform(effect)
        except TenureError as exc:
            self._advance(one, None, exc)
        else:
            self._advance(one, result, None)

    def _join(self, effect: Hear) -> Word | None:
        if effect.prepare is not None:
            effect.prepare(1.0)
        return effect.join(lambda: None)

    def _perform(self, effect: Effect[Any]) -> Any:
        if isinstance(effect, Hear):
            return None
        if isinstance(effect, _Joined):
            effect.word.leave()
            return effect.word
        if isinstance(effect, Grant):
            return self._grant(effect)
        if isinstance(effect, WaitUntil):
            return (effect.lease is None or effect.lease.alive) and self._ready(effect)
        if isinstance(effect, Sleep):
            return self._let_time_pass(effect.seconds)
        if isinstance(effect, Mark):
            return effect.look()
        return perform(self.store, effect)

    def _lose_answer(self, one: Participant, fault: Fault) -> None:
        effect = one.effect
        assert isinstance(effect, Commit)
        if fault is Fault.APPLIED:
            with suppress(TenureError):
                perform(self.store, effect)
        elif fault is Fault.LATE:
            self._late.append((self.clock.now(), effect))
        self._advance(one, None, OutcomeUnknown("the exploration lost the answer"))

    def _apply_late(self) -> None:
        _, effect = self._late.pop(0)
        with suppress(TenureError):
            perform(self.store, effect)

    def _advance(self, one: Participant, result: Any, error: BaseException | None) -> None:
        try:
            one.effect = one.steps.send(result) if error is None else one.steps.throw(error)
            while isinstance(one.effect, Hear) and not one.shares:  # nobody serves it
                one.effect = one.steps.send(None)
        except StopIteration as stop:
            one.effect, one.done, one.result = None, True, stop.value
        except (TenureError, Cancelled) as exc:
            one.effect, one.done, one.error = None, True, exc


def _applies(fault: Fault, one: Participant) -> bool:
    effect = one.effect
    if fault is Fault.EXPIRE:
        return one.session is not None and one.session.alive
    if fault in (Fault.APPLIED, Fault.NOT_APPLIED, Fault.LATE):
        return isinstance(effect, Commit)
    if fault is Fault.REFUSED:
        return isinstance(effect, Commit | Get | ListKeys)
    return True


class Scenario(ABC):
    """What is explored: it adds participants to a world, and knows what must hold at the end of each run."""

    @abstractmethod
    def begin(self, world: World) -> None:
        """Add the participants."""

    @abstractmethod
    def check_end(self, world: World) -> None:
        """Raise ``AssertionError`` if the end of the run breaks a promise."""


@dataclass(frozen=True)
class Result:
    """What an exploration did.

    Attributes:
        runs: the number of runs, each in another order.
        complete: whether these were all orders.
    """

    runs: int
    complete: bool


class _Choices:
    """Decides at each point, by a trace first and then by ``pick``, and remembers what was possible."""

    def __init__(self, trace: list[int], pick: Callable[[int], int]) -> None:
        self._trace = trace
        self._pick = pick
        self.made: list[tuple[int, int]] = []

    def choose(self, count: int) -> int:
        at = len(self.made)
        choice = self._trace[at] if at < len(self._trace) else self._pick(count)
        self.made.append((choice, count))
        return choice


def run_once(
    make: Callable[[], Scenario],
    trace: list[int],
    pick: Callable[[int], int],
    *,
    faults: frozenset[Fault],
    most_faults: int,
    most_steps: int = 400,
) -> tuple[list[tuple[int, int]], list[str]]:
    """Make one run. Returns the choices with how many there were, and what happened, as text."""
    scenario, world, choices = make(), World(), _Choices(trace, pick)
    told: list[str] = []
    left = most_faults
    try:
        scenario.begin(world)
        for _ in range(most_steps):
            happened = _next(world, choices, faults if left else frozenset(), told)
            if happened is None:
                break
            left -= happened
        else:
            raise Violation("the run does not end")
        stuck = [one.name for one in world.participants if not one.done]
        if stuck:
            raise Violation(f"{', '.join(stuck)} can't continue: {[one.effect for one in world.participants]}")
        scenario.check_end(world)
    except AssertionError as exc:
        made = [choice for choice, _ in choices.made]
        raise Violation(f"{exc}\ntrace: {made}\n" + "\n".join(told)) from exc
    finally:
        world.close()
    return choices.made, told


def _next(world: World, choices: _Choices, faults: frozenset[Fault], told: list[str]) -> int | None:
    """Let one thing happen. Returns how many faults that was, ``None`` if nothing more can happen."""
    actions = world.actions(faults)
    if not any(fault is None or one is None for one, fault in actions):
        if world.abandon_crashed():
            told.append("sessions of dead processes expire")
        elif world.let_a_wait_end():
            told.append("a wait is over")
        else:
            return None
        return 0
    one, fault = actions[choices.choose(len(actions))] if len(actions) > 1 else actions[0]
    if one is None:
        told.append(f"the store: {fault or 'the line hears of a change'}")
    else:
        told.append(f"{one.name}: {fault or type(one.effect).__name__}")
    world.act(one, fault)
    return int(one is not None and fault is not None)


def _traces(
    make: Callable[[], Scenario], faults: frozenset[Fault], most_faults: int
) -> Iterator[list[tuple[int, int]]]:
    trace: list[int] = []
    while True:
        made, _ = run_once(make, trace, lambda count: 0, faults=faults, most_faults=most_faults)
        yield made
        while made and made[-1][0] + 1 >= made[-1][1]:
            made.pop()
        if not made:
            return
        trace = [choice for choice, _ in made]
        trace[-1] += 1


def explore_all(
    make: Callable[[], Scenario],
    *,
    faults: frozenset[Fault] = frozenset(Fault),
    most_faults: int = 1,
    most_runs: int | None = None,
) -> Result:
    """Make every run with at most ``most_faults`` faults, or the first ``most_runs`` of them.

    Raises:
        Violation: a run broke a promise.
    """
    runs = 0
    for _ in _traces(make, faults, most_faults):
        runs += 1
        if most_runs is not None and runs >= most_runs:
            return Result(runs, complete=False)
    return Result(runs, complete=True)


def explore_some(
    make: Callable[[], Scenario],
    *,
    runs: int,
    seed: int,
    faults: frozenset[Fault] = frozenset(Fault),
    most_faults: int = 3,
) -> Result:
    """Make ``runs`` runs whose orders a seed decides.

    Raises:
        Violation: a run broke a promise.
    """
    source = random.Random(seed)
    for _ in range(runs):
        run_once(make, [], source.randrange, faults=faults, most_faults=most_faults)
    return Result(runs, complete=False)


__all__ = [
    "Cancelled",
    "Fault",
    "Mark",
    "Participant",
    "Result",
    "Scenario",
    "Violation",
    "World",
    "explore_all",
    "explore_some",
    "run_once",
]
