"""Inject a fault and verify that it took effect: fault windows, calls in flight, the time that calls may take.

A fault without effect shows nothing. So a rule is inconclusive if the network saw no effect inside :func:`fault`,
whatever the rule met there. :func:`outage` asks the store instead, since the network can't see its effect.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self

from tenure._client.store import Store
from tenure.conformance.harness.assertions import EVENT_TIMEOUT
from tenure.conformance.harness.context import RuleContext
from tenure.conformance.harness.evidence import FaultWindow
from tenure.conformance.harness.lateness import Lateness
from tenure.conformance.network import BOTH, Direction, Sight, Together
from tenure.conformance.workloads.leases import CLOCK_TOLERANCE
from tenure.conformance.workloads.threads import Running
from tenure.errors import OutcomeUnknown, TenureError, Unavailable
from tenure.spi import KeyValue
from tenure.watch import Watch

RECOVERY = 30.0
"""Seconds that clients may take to recover once their server runs."""

DEADLINE_TOLERANCE = 1.5
"""Seconds by which a call may exceed its deadline on a busy machine."""

SHORT = 1.0
"""Seconds; the timeout of a call that can't succeed."""

_POLL = 0.05
_LOOK = 0.0005
_USUAL = 50
_LONG = 0.3
"""Seconds. An election takes longer, or breaks connections; a busy machine rarely delays a put this long."""
_TURNS = 5
"""Threads of this machine that a put may wait for, one after the other."""

WAYS: tuple[tuple[Direction, ...], ...] = ((Direction.UP,), (Direction.DOWN,), BOTH)
"""The two one-way partitions, and the whole one."""

FAILS = (Unavailable, OutcomeUnknown)
"""The errors of a call that the store doesn't answer."""


@contextlib.contextmanager
def fault(context: RuleContext, name: str, start: Callable[[], Together], what: str) -> Iterator[Together]:
    """Apply what ``start`` adds to the network while the block runs, and require an effect."""
    with context.evidence.fault(name) as window:
        window.what = what
        toxic = start()
        with _requiring_effect(context, window, lambda: toxic.effects):
            try:
                yield toxic
            finally:
                toxic.remove()


def wait_for_effects(
    toxic: Together, number: int, within: float, *, unless: Callable[[], bool] = lambda: False
) -> None:
    """Wait until a toxic has had so many effects, for ``within`` seconds at most, and while ``unless`` is false."""
    deadline = time.monotonic() + within
    while toxic.effects < number and not unless() and time.monotonic() < deadline:
        time.sleep(_LOOK)


def black_hole_name(directions: tuple[Direction, ...]) -> str:
    """Return the name of a black hole in these directions."""
    return f"black hole {'+'.join(directions)}"


@contextlib.contextmanager
def outage(context: RuleContext, begin: str, end: str) -> Iterator[FaultWindow]:
    """Keep the server from answering, between the controls ``begin`` and ``end``.

    A control may return before the last client notices, so the effect is awaited. A store that returns the right value
    all the while shows that the control had none. The rule checks any other result.
    """
    known = _some_key(context)
    with context.evidence.fault(begin) as window:
        window.what = "calls that failed or were delayed"
        context.controls.do(begin)
        try:
            deadline = time.monotonic() + RECOVERY
            while (unaffected := _returns(context, known)) and time.monotonic() < deadline:
                time.sleep(_POLL)
            context.check.enough(0 if unaffected else 1, 1, f"an effect of the control {begin!r}")
            yield window
        finally:
            context.controls.do(end)
        window.effects = affected_calls(context, window, (context.evidence.now - window.began) / 2)
    context.check.enough(window.effects, 1, f"a call affected by the control {begin!r}")


@contextlib.contextmanager
def degraded_window(context: RuleContext, begin: str, end: str) -> Iterator[FaultWindow]:
    """Remove one of several servers, between the controls ``begin`` and ``end``; the others need a moment to take over.

    Puts run all the while. Some of them fail, or take much longer than the slowest put before. How late this process
    was itself is no effect of the fault.
    """
    store, stop = context.connect(timeout=SHORT), threading.Event()

    def put() -> None:
        while not stop.is_set():
            with contextlib.suppress(*FAILS):
                store.put("beside", b"")

    for _ in range(_USUAL):
        store.put("beside", b"", timeout=RECOVERY)
    slowest = max(seen.seconds for seen in context.evidence.operations[-_USUAL:])
    running = Running(context.check, [put], "puts during the fault")
    try:
        with Lateness() as lateness, context.evidence.fault(begin) as window:
            window.what = "calls that failed or were slow"
            try:
                context.controls.do(begin)
                yield window
            finally:
                context.controls.do(end)
    finally:
        stop.set()
        running.join()
    window.effects = affected_calls(context, window, max(_LONG, 3 * slowest, _TURNS * lateness.longest))
    context.check.enough(window.effects, 1, f"a call affected by the control {begin!r}")


def _some_key(context: RuleContext) -> KeyValue:
    """Return a key that exists: one of the rule's own if there is one, so that none is written after those."""
    while True:
        for item in context.store.list("", limit=1, timeout=RECOVERY):
            return item
        context.store.put("outage", b"", timeout=RECOVERY)


def _returns(context: RuleContext, known: KeyValue) -> bool:
    try:
        item = context.store.get(known.key, timeout=SHORT)
    except FAILS:
        return False
    return item is not None and item.value == known.value


@contextlib.contextmanager
def _requiring_effect(context: RuleContext, window: FaultWindow, effects: Callable[[], int]) -> Iterator[None]:
    did = f"an effect of the fault {window.fault!r} ({window.what})"
    try:
        yield
    except Exception:
        window.effects = effects()
        context.check.enough(window.effects, 1, did)
        raise
    window.effects = effects()
    context.check.enough(window.effects, 1, did)


def in_flight(context: RuleContext, window: FaultWindow) -> int:
    """Return the number of calls of the context's stores that were under way during the fault."""
    return sum(1 for _ in _during(context, window))


def affected_calls(context: RuleContext, window: FaultWindow, long: float) -> int:
    """Return the number of calls under way then that failed, or took longer than ``long`` seconds."""
    return sum(1 for seconds, error in _during(context, window) if error is not None or seconds > long)


def _during(context: RuleContext, window: FaultWindow) -> Iterator[tuple[float, str | None]]:
    end = context.evidence.now if window.ended is None else window.ended
    for seen in list(context.evidence.operations):
        if seen.ended >= window.began and seen.ended - seen.seconds <= end:
            yield seen.seconds, seen.error


def visible(context: RuleContext, store: Store, needle: bytes) -> bool:
    """Return whether a value can be recognised on its way to the server; not on an encrypted connection."""
    with context.network.add(Sight(needle=needle), Direction.UP) as sight:
        store.put("sight", needle)
        return sight.effects > 0


def retry_until_answered(call: Callable[[], object], within: float = RECOVERY) -> None:
    """Repeat ``call`` until the store answers it; only for a call that may be applied twice."""
    deadline = time.monotonic() + within
    while True:
        try:
            call()
            return
        except FAILS:
            if time.monotonic() > deadline:
                raise


def fails_in_time(
    context: RuleContext, what: str, call: Callable[[], object], *, timeout: float = SHORT
) -> TenureError:
    """Check that ``call`` fails within ``timeout`` and a tolerance, on a store that can't answer; return the error."""
    with Lateness() as lateness:
        started = time.monotonic()
        error = context.check.raises(FAILS, call, f"{what} with a timeout of {timeout:g} s")
        took = time.monotonic() - started
    tolerance = max(DEADLINE_TOLERANCE, _TURNS * lateness.longest)
    context.check.true(
        took <= timeout + tolerance,
        f"{what} with a timeout of {timeout:g} s",
        expected=f"an end within {timeout:g} s (and {tolerance:.3g} s for a busy machine)",
        seen=f"{type(error).__name__} after {took:.2f} s",
    )
    return error


def works_again(context: RuleContext, store: Store) -> None:
    """Wait until ``store`` reads and writes again, automatically and in bounded time, after a fault."""
    started = time.monotonic()
    error: TenureError | None = None
    while time.monotonic() < started + RECOVERY:
        try:
            store.get("again", timeout=EVENT_TIMEOUT)
            store.put("again", b"", timeout=EVENT_TIMEOUT)
        except FAILS as exc:
            error = exc
        else:
            return
    raise context.check.fail(
        "used the store after the fault", expected=f"answers within {RECOVERY:g} s", seen=repr(error)
    )


def cut(context: RuleContext) -> int:
    """Break every connection; return how many the network broke, or 1 if the author's own control did it."""
    if not _cut_by_network(context):
        context.controls.do("cut")
        return 1
    before = context.network.traffic.broken
    context.controls.do("cut")
    return context.network.traffic.broken - before


class Canary:
    """Cut connections and verify that they broke: by the network's count, or by a watch that is not read meanwhile."""

    def __init__(self, context: RuleContext) -> None:
        self._context = context
        self._watch = None if _cut_by_network(context) else context.connect().watch("canary/")
        self._wait_in_sync()

    def cut(self, then: Callable[[], object] = lambda: None) -> int:
        """Break every connection, call ``then`` at once, and return how many are known to have broken."""
        broken = cut(self._context)
        then()
        if self._watch is None:
            return broken
        noticed = self._wait_until_stale(self._watch)
        self._wait_in_sync()
        return int(noticed)

    def _wait_until_stale(self, watch: Watch) -> bool:
        deadline = time.monotonic() + self._context.capabilities.max_watch_failure_detection + CLOCK_TOLERANCE
        while watch.staleness == 0.0:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.005)
        return True

    def _wait_in_sync(self) -> None:
        """Wait until the watch is connected and delivers a new change."""
        if self._watch is None:
            return
        key = "canary/seen"
        revision = self._context.store.put(key, b"", timeout=RECOVERY).revision
        deadline = time.monotonic() + RECOVERY
        while self._watch.revision < revision:
            if time.monotonic() > deadline:
                raise self._context.check.fail(
                    "cut every connection, then put a key that is watched",
                    expected=f"the watch delivers it within {RECOVERY:g} s",
                    seen="it delivered nothing",
                )
            self._watch.next(0.1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._watch is not None:
            self._watch.close()


def _cut_by_network(context: RuleContext) -> bool:
    return context.networked and context.controls.cut == context.network.cut
