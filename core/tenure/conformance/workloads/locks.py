"""Two runs that the rules about locks inspect: workers that take turns, and holders that lose their lease.

Times are seconds of the stores' clock, which all processes of a machine share.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from functools import partial

from tenure._client.store import Store
from tenure.conformance.checkers.linearizability.operations import Kind, Operation, Outcome
from tenure.conformance.harness.assertions import EVENT_TIMEOUT, inconclusive
from tenure.conformance.harness.context import RuleContext
from tenure.conformance.harness.lateness import Lateness
from tenure.conformance.workloads.leases import CLOCK_TOLERANCE, Ending, paced_ttl, seconds_of_a_put
from tenure.conformance.workloads.lock_recipe import acquire, enqueue, release, wait_for_turn
from tenure.conformance.workloads.threads import DEADLINE, together
from tenure.errors import Conflict, LeaseLost, LeaseNotFound

_WORKERS = 6
_SLOW = 0.05
"""Seconds; on a store that takes longer for a put, fewer workers take fewer turns."""
_FEW = 3
_TURNS, _FEW_TURNS = 20, 8
"""Turns that a run needs to be conclusive."""
_PATIENT = 3
"""So many times as long they may take."""
_CONTENDED_WITHIN = 1.0
"""Seconds that a holder waits until another worker wants the lock, or gets it."""
_ATTEMPTS = 3
_SHARED = "shared"
"""A number that workers increment while they hold the lock, without any precondition."""


@dataclass(frozen=True, slots=True)
class Span:
    """The time in which a worker believed that it held the lock."""

    who: str
    token: int
    began: float
    ended: float

    def as_json(self, since: float) -> dict[str, object]:
        """Return the data for the checkers."""
        began, ended = round(self.began - since, 6), round(self.ended - since, 6)
        return {"who": self.who, "token": self.token, "began": began, "ended": ended}


@dataclass(frozen=True, slots=True)
class Turns:
    """A run of workers that take turns."""

    spans: tuple[Span, ...]
    operations: tuple[Operation, ...]
    created: tuple[tuple[int, int | None], ...]
    """Each token, and the create revision of the lock's key that another connection read meanwhile."""
    contended: int
    """How often a worker waited for the lock while another held it."""
    least: int
    """Turns needed for the run to be conclusive."""
    shared: int | None
    """The final value of the number."""

    def as_json(self) -> dict[str, object]:
        """Return the spans, as data for the checkers."""
        return spans_as_json(self.spans)


def spans_as_json(spans: tuple[Span, ...]) -> dict[str, object]:
    """Return the data for the checkers."""
    since = min(span.began for span in spans)
    return {"spans": [span.as_json(since) for span in spans]}


def take_turns(context: RuleContext) -> Turns:
    """Let six workers on three connections take one lock repeatedly; a number shows when two hold it at once."""
    slow = seconds_of_a_put(context) > _SLOW
    count = _FEW if slow else _WORKERS
    turns = _Workers(context, count)
    workers = [partial(turns.work, number) for number in range(count)]
    together(context.check, workers, f"{count} workers taking turns", within=DEADLINE * _PATIENT if slow else DEADLINE)
    item = context.store.get(_SHARED)
    return Turns(
        tuple(turns.spans),
        tuple(turns.operations),
        tuple(turns.created),
        turns.contended,
        _FEW_TURNS if slow else _TURNS,
        item and int(item.value),
    )


class _Workers:
    """Workers, and what they recorded.

    A holder keeps the lock until another worker waits, and waits until another had it: every turn is contended.
    """

    def __init__(self, context: RuleContext, workers: int) -> None:
        self.spans: list[Span] = []
        self.operations: list[Operation] = []
        self.created: list[tuple[int, int | None]] = []
        self.contended = 0
        self._context = context
        self._rounds = context.profile.pick(quick=5, full=20) if workers == _WORKERS else _FEW
        self._patience = DEADLINE if workers == _WORKERS else DEADLINE * _PATIENT
        self._stores = [context.store, context.connect(), context.connect()]
        self._looker = context.connect()
        self._changed = threading.Condition()
        self._waiting: set[int] = set()
        self._active = workers
        self._taken = 0
        context.store.put(_SHARED, b"0")

    def work(self, number: int) -> None:
        """One worker's rounds."""
        context, name = self._context, f"worker {number}"
        clock = context.store.clock
        store = self._stores[number % len(self._stores)]
        lease = store.lease(context.long_ttl)
        for _ in range(self._rounds):
            asked = clock.now()
            token = acquire(
                context.check, store, "lock", name, lease, within=self._patience, refused=partial(self._refused, number)
            )
            began = clock.now()
            self._inside(number)
            item = store.get(_SHARED)
            lock = self._looker.get("lock")
            store.put(_SHARED, str((0 if item is None else int(item.value)) + 1).encode())
            ended = clock.now()
            outcome = Outcome.DONE
            try:
                release(store, "lock", token)
            except Conflict:
                outcome = Outcome.REFUSED  # another worker held it already; the rules find that
            left = clock.now()
            self._hand_over()
            self.spans.append(Span(name, token, began, ended))
            self.created.append((token, lock and lock.create_revision))
            self.operations.append(Operation(number, Kind.ACQUIRE, asked, began, Outcome.DONE, token))
            self.operations.append(Operation(number, Kind.RELEASE, ended, left, outcome))
        with self._changed:
            self._active -= 1
            self._changed.notify_all()

    def _refused(self, number: int) -> None:
        with self._changed:
            self._waiting.add(number)
            self._changed.notify_all()

    def _inside(self, number: int) -> None:
        with self._changed:
            self._waiting.discard(number)
            self._taken += 1
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._waiting or self._active == 1, _CONTENDED_WITHIN)
            self.contended += bool(self._waiting)

    def _hand_over(self) -> None:
        with self._changed:
            taken = self._taken
            self._changed.wait_for(lambda: self._taken > taken or not self._waiting, _CONTENDED_WITHIN)


# -- endings ---------------------------------------------------------------------------------------


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
    conditional: tuple[Write, ...]
    """Accepted with a precondition on the lock."""
    control: tuple[Write, ...]
    """The same, and then the former holder's write without the precondition."""
    refused: bool
    """Whether the former holder's conditional write was refused."""


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
        return {"sent": 0.0, "ttl": self.ttl, "tolerance": CLOCK_TOLERANCE, **moments}


@dataclass(frozen=True, slots=True)
class Endings:
    """Everything that waits for a lease to expire, done side by side."""

    expired: Fencing
    waiter: Ending
    """The lease of a dead waiter; notified and missed are when the next waiter had its turn."""
    leaders: tuple[Span, ...]
    loss: Loss


def observe_endings(context: RuleContext) -> Endings:
    """Observe a holder whose lease expires, a waiter that dies in a queue, and successive leaders.

    A lease that ended before its holder had the lock shows nothing if calls or threads took long. Then all is done
    again, with a longer TTL.
    """
    ttl = paced_ttl(context)
    for attempt in range(1, _ATTEMPTS + 1):
        ttl = min(ttl * attempt, context.capabilities.max_ttl)
        with Lateness() as lateness:
            before = len(context.evidence.operations)
            try:
                return _observe_endings(context, ttl, f"{attempt}/")
            except (LeaseLost, LeaseNotFound, Conflict):
                calls = [seen.seconds for seen in context.evidence.operations[before:]]
                late = lateness.longest + max(calls, default=0.0)
                if late < ttl / _ATTEMPTS / 2:
                    raise
    raise inconclusive(
        context.rule,
        f"in {_ATTEMPTS} runs leases ended before their holders had the lock, and threads or calls took {late:.2f} s. "
        "The runs show nothing about the guarantee; the store may be too slow, or the machine overloaded",
    )


def _observe_endings(context: RuleContext, ttl: float, place: str) -> Endings:
    """Do everything with keys under ``place``."""
    timeout = (
        context.capabilities.max_lifetime_after_refresh(ttl) + context.capabilities.max_watch_latency + EVENT_TIMEOUT
    )
    expired: list[Fencing] = []
    waiter: list[Ending] = []
    led: list[tuple[tuple[Span, ...], Loss]] = []
    together(
        context.check,
        [
            lambda: expired.append(fence(context, timeout, expire=ttl, place=place)),
            lambda: waiter.append(_dead_waiter(context, timeout, ttl, f"{place}queue/")),
            lambda: led.append(_leaders(context, timeout, ttl, f"{place}leader")),
        ],
        "let leases end",
        within=timeout * 2 + EVENT_TIMEOUT,
    )
    (leaders, loss), *_ = led
    return Endings(expired[0], waiter[0], leaders, loss)


def fence(context: RuleContext, timeout: float, *, expire: float | None, place: str = "") -> Fencing:
    """Let a holder lose its lock to another client without knowing; both write to the protected resource.

    Its lease of ``expire`` seconds expires; with ``None`` it is revoked.
    """
    holder, other = context.connect(), context.connect()
    how = "revoked" if expire is None else "expired"
    lock, resource = f"{place}fence/{how}/lock", f"{place}fence/{how}/resource"
    lease = holder.lease(expire or context.long_ttl, keep_alive=expire is None)
    stale = acquire(context.check, holder, lock, "the first holder", lease, within=timeout)
    writes = [Write("the first holder", stale, _write_if_held(holder, lock, stale, resource))]
    if expire is None:
        other.revoke_lease(lease.id)
    own = other.lease(context.long_ttl)
    token = acquire(context.check, other, lock, "the second holder", own, within=timeout)
    writes.append(Write("the second holder", token, _write_if_held(other, lock, token, resource)))
    refused = False
    try:
        writes.append(Write("the first holder", stale, _write_if_held(holder, lock, stale, resource)))
    except Conflict:
        refused = True
    blind = holder.put(resource, b"unguarded").revision
    return Fencing(how, tuple(writes), (*writes, Write("the first holder", stale, blind)), refused)


def _write_if_held(store: Store, lock: str, token: int, resource: str) -> int:
    """Write to the resource if the lock still has this token."""
    transaction = store.transaction().if_unchanged(lock, revision=token)
    return transaction.put(resource, str(token).encode()).commit().revision


def _dead_waiter(context: RuleContext, timeout: float, ttl: float, queue: str) -> Ending:
    """Put three clients in a queue; the second dies, the first leaves. When has the third its turn?"""
    first, second, third = context.connect(), context.connect(), context.connect()
    enqueue(first, queue, "first", first.lease(context.long_ttl))
    sent = time.monotonic()
    lease = second.lease(ttl, keep_alive=False)
    answered = time.monotonic()
    enqueue(second, queue, "second", lease)
    enqueue(third, queue, "third", third.lease(context.long_ttl))
    first.delete(f"{queue}first")
    wait_for_turn(context.check, third, queue, "third", within=timeout)
    turn = time.monotonic()
    return Ending("second", lease.ttl, lease.max_lifetime_after_refresh, sent, answered, notified=turn, missed=turn)


def _leaders(context: RuleContext, timeout: float, ttl: float, leader: str) -> tuple[tuple[Span, ...], Loss]:
    """Let the first leader's lease expire, the second resign, the third revoke its lease."""
    spans: list[Span] = []
    stores = [context.connect() for _ in range(4)]
    clock = context.store.clock
    sent = clock.now()
    lease = stores[0].lease(ttl, keep_alive=False)
    token = acquire(context.check, stores[0], leader, "candidate 1", lease, within=timeout)
    began = clock.now()

    def lead() -> tuple[float, float]:
        """Return the last time at which the first leader relied on its lease, and the first at which it didn't."""
        valid = began
        while True:
            now = clock.now()
            try:
                lease.ensure_valid()
            except LeaseLost:
                return valid, clock.now()
            valid = now
            time.sleep(0.002)

    def follow() -> tuple[float, float]:
        """Return when the second leader began, and when the last one ended."""
        for number in (1, 2, 3):
            name, own = f"candidate {number + 1}", stores[number].lease(ttl)
            mine = acquire(context.check, stores[number], leader, name, own, within=timeout)
            since = clock.now()
            own.ensure_valid()
            spans.append(Span(name, mine, since, clock.now()))
            if number == 1:
                release(stores[number], leader, mine)
            else:
                own.revoke()
        return spans[0].began, clock.now()

    (valid, lost), (taken, _) = together(
        context.check, [lead, follow], "leaders followed each other", within=timeout * 2
    )
    return (*spans, Span("candidate 1", token, began, valid)), Loss(sent, lease.ttl, valid, lost, taken)
