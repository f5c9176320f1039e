"""Doing harm to a store and being sure of it: fault windows with effects, calls in flight, the time calls may take.

A fault that did nothing says nothing: whatever a rule meets inside :func:`fault`, it ends as vacuous if nothing of it
was seen on the network; and :func:`outage` asks the store, for there the network doesn't know.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self

from tenure._client.store import Store
from tenure.conformance.harness.assertions import PATIENCE
from tenure.conformance.harness.context import World
from tenure.conformance.harness.evidence import FaultWindow
from tenure.conformance.network import BOTH, Direction, Sight, Together
from tenure.conformance.workloads.leases import NOISE
from tenure.conformance.workloads.threads import Running
from tenure.errors import OutcomeUnknown, TenureError, Unavailable
from tenure.spi import KeyValue
from tenure.watch import Watch

RECOVERY = 30.0
"""Seconds that clients may take to work again once their server does."""

MOMENT = 1.5
"""Seconds by which a call may miss its deadline on a busy machine."""

SHORT = 1.0
"""Seconds given to a call that can't succeed."""

_USUAL = 50
_LONG = 0.3
"""Seconds; an election takes longer, or breaks connections, and a busy machine rarely holds up a put for so long."""

WAYS: tuple[tuple[Direction, ...], ...] = ((Direction.UP,), (Direction.DOWN,), BOTH)
"""Both halves of a one-way partition, and a whole one."""

FAILS = (Unavailable, OutcomeUnknown)
"""How a call ends that the store doesn't answer."""


@contextlib.contextmanager
def fault(world: World, name: str, start: Callable[[], Together], what: str) -> Iterator[Together]:
    """What ``start`` adds to the network is there while the block runs, and has to have an effect."""
    with world.evidence.fault(name) as window:
        window.what = what
        toxic = start()
        with _real(world, window, lambda: toxic.effects):
            try:
                yield toxic
            finally:
                toxic.remove()


def hole(directions: tuple[Direction, ...]) -> str:
    """What a black hole in these directions is called."""
    return f"black hole {'+'.join(directions)}"


@contextlib.contextmanager
def outage(world: World, begin: str, end: str) -> Iterator[FaultWindow]:
    """Between two controls of the driver nobody answers.

    A store that still answers as ever shows that the control did nothing; what else it may answer is for the rule
    to judge.
    """
    known = _something(world)
    with world.evidence.fault(begin) as window:
        window.what = "calls that failed or were held up"
        world.driver.do(begin)
        try:
            as_ever = _answers_as_ever(world, known)
            world.check.enough(0 if as_ever else 1, 1, f"an effect of the driver's {begin!r}")
            yield window
        finally:
            world.driver.do(end)
        window.effects = hurt(world, window, (world.evidence.now - window.began) / 2)
    world.check.enough(window.effects, 1, f"a call that suffered from the driver's {begin!r}")


@contextlib.contextmanager
def setback(world: World, begin: str, end: str) -> Iterator[FaultWindow]:
    """Between two controls of the driver one server is missing and others go on, which takes them a moment.

    It shows in puts that are made all the while: some fail, or take much longer than the slowest of those before.
    """
    store, stop = world.connect(timeout=SHORT), threading.Event()

    def put() -> None:
        while not stop.is_set():
            with contextlib.suppress(*FAILS):
                store.put("beside", b"")

    for _ in range(_USUAL):
        store.put("beside", b"", timeout=RECOVERY)
    slowest = max(seen.seconds for seen in world.evidence.operations[-_USUAL:])
    running = Running(world.check, [put], "puts made all the while")
    try:
        with world.evidence.fault(begin) as window:
            window.what = "calls that failed or took long"
            try:
                world.driver.do(begin)
                yield window
            finally:
                world.driver.do(end)
    finally:
        stop.set()
        running.join()
    window.effects = hurt(world, window, max(_LONG, 3 * slowest))
    world.check.enough(window.effects, 1, f"a call that suffered from the driver's {begin!r}")


def _something(world: World) -> KeyValue:
    """A key that is there: one of the rule's own where it has any, so that nothing is written after those."""
    while True:
        for item in world.store.list("", limit=1, timeout=RECOVERY):
            return item
        world.store.put("outage", b"", timeout=RECOVERY)


def _answers_as_ever(world: World, known: KeyValue) -> bool:
    try:
        item = world.store.get(known.key, timeout=SHORT)
    except FAILS:
        return False
    return item is not None and item.value == known.value


@contextlib.contextmanager
def _real(world: World, window: FaultWindow, effects: Callable[[], int]) -> Iterator[None]:
    did = f"an effect of the fault {window.fault!r} ({window.what})"
    try:
        yield
    except Exception:
        window.effects = effects()
        world.check.enough(window.effects, 1, did)
        raise
    window.effects = effects()
    world.check.enough(window.effects, 1, did)


def in_flight(world: World, window: FaultWindow) -> int:
    """Calls of any store of this world that were under way while the fault was there."""
    return sum(1 for _ in _during(world, window))


def hurt(world: World, window: FaultWindow, long: float) -> int:
    """Calls that were under way then and failed, or took longer than ``long`` seconds."""
    return sum(1 for seconds, error in _during(world, window) if error is not None or seconds > long)


def _during(world: World, window: FaultWindow) -> Iterator[tuple[float, str | None]]:
    end = world.evidence.now if window.ended is None else window.ended
    for seen in list(world.evidence.operations):
        if seen.ended >= window.began and seen.ended - seen.seconds <= end:
            yield seen.seconds, seen.error


def shows(world: World, store: Store, needle: bytes) -> bool:
    """Whether a value can be recognised on its way to the server; not if the connection is encrypted."""
    with world.network.add(Sight(needle=needle), Direction.UP) as sight:
        store.put("sight", needle)
        return sight.effects > 0


def insist(call: Callable[[], object], within: float = RECOVERY) -> None:
    """Do it again until the store answers; only for what may be done twice."""
    deadline = time.monotonic() + within
    while True:
        try:
            call()
            return
        except FAILS:
            if time.monotonic() > deadline:
                raise


def fails_in_time(world: World, what: str, call: Callable[[], object], *, timeout: float = SHORT) -> TenureError:
    """``call``, of a store that can't answer, raises such an error within ``timeout`` plus a moment."""
    started = time.monotonic()
    error = world.check.raises(FAILS, call, f"{what} with a timeout of {timeout:g} s")
    took = time.monotonic() - started
    world.check.true(
        took <= timeout + MOMENT,
        f"{what} with a timeout of {timeout:g} s",
        expected=f"an end within {timeout:g} s (and {MOMENT:g} s for a busy machine)",
        seen=f"{type(error).__name__} after {took:.2f} s",
    )
    return error


def works_again(world: World, store: Store) -> None:
    """``store`` reads and writes once nothing stands in its way, by itself and in bounded time."""
    started = time.monotonic()
    error: TenureError | None = None
    while time.monotonic() < started + RECOVERY:
        try:
            store.get("again", timeout=PATIENCE)
            store.put("again", b"", timeout=PATIENCE)
        except FAILS as exc:
            error = exc
        else:
            return
    raise world.check.fail(
        "used the store after the fault", expected=f"answers within {RECOVERY:g} s", seen=repr(error)
    )


def cut(world: World) -> int:
    """Every connection breaks; answers how many the network broke, or 1 where the author's own control did it."""
    if not _cut_by_network(world):
        world.driver.do("cut")
        return 1
    before = world.network.traffic.broken
    world.driver.do("cut")
    return world.network.traffic.broken - before


class Canary:
    """Cuts connections and knows that they broke: told by the network, or by a watch that nobody reads meanwhile."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._watch = None if _cut_by_network(world) else world.connect().watch("canary/")
        self._in_sync()

    def cut(self, then: Callable[[], object] = lambda: None) -> int:
        """Every connection breaks, and ``then`` is called at once; answers how many are known to have broken."""
        broken = cut(self._world)
        then()
        if self._watch is None:
            return broken
        noticed = self._notices(self._watch)
        self._in_sync()
        return int(noticed)

    def _notices(self, watch: Watch) -> bool:
        deadline = time.monotonic() + self._world.capabilities.max_watch_failure_detection + NOISE
        while watch.staleness == 0.0:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.005)
        return True

    def _in_sync(self) -> None:
        """The watch is connected, and hears of what comes next."""
        if self._watch is None:
            return
        key = "canary/seen"
        revision = self._world.store.put(key, b"", timeout=RECOVERY).revision
        deadline = time.monotonic() + RECOVERY
        while self._watch.revision < revision:
            if time.monotonic() > deadline:
                raise self._world.check.fail(
                    "cut every connection, then put a key that is watched",
                    expected=f"the watch tells it within {RECOVERY:g} s",
                    seen="it told nothing",
                )
            self._watch.next(0.1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._watch is not None:
            self._watch.close()


def _cut_by_network(world: World) -> bool:
    return world.networked and world.driver.cut == world.network.cut
