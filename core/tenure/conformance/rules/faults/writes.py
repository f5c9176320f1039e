"""Rules about writes, deadlines and slow connections while something goes wrong on the way to the server or in it."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial

from tenure._client.store import Store
from tenure.conformance.checkers import write_history
from tenure.conformance.fault_injection.faults import (
    FAILS,
    MOMENT,
    RECOVERY,
    SHORT,
    WAYS,
    fails_in_time,
    fault,
    hole,
    outage,
    setback,
    shows,
    works_again,
)
from tenure.conformance.fault_injection.unanswered_writes import Kind, Outcome, Trial
from tenure.conformance.fault_injection.workload import Ride
from tenure.conformance.harness.context import World
from tenure.conformance.harness.rule import Rules, needs, requires
from tenure.conformance.network import (
    BOTH,
    Bandwidth,
    Cut,
    CutPoint,
    Direction,
    Latency,
    Network,
    Slicer,
    Together,
)
from tenure.conformance.workloads.recording_watcher import Follower
from tenure.conformance.workloads.sample_keys import BINARY_VALUES, ODD_KEYS
from tenure.conformance.workloads.threads import Running, together
from tenure.errors import Conflict, OutcomeUnknown, StoreFull, TenureError, Unavailable

_HELD = "bytes held back"


class FaultRules(Rules, area="faults"):
    """The way to the server, and the server, at their worst."""

    # -- answers that are lost --

    @needs("network")
    def test_faults_a_lost_answer_is_unknown_and_applied_at_most_once(self, world: World) -> None:
        """A write whose connection breaks is done, surely not applied, or unknown, and never applied twice."""
        store, reader = world.connect(), world.connect(direct=True)
        trials: list[Trial] = []
        recognised = shows(world, store, b"0123456789abcdef" * 2)
        for point in CutPoint:
            with world.evidence.fault(f"cut {point.replace('_', ' ')}") as window:
                window.what = "requests whose connection was broken"
                for _ in range(world.profile.pick(quick=2, full=10)):
                    for kind in Kind:
                        trial = Trial(kind, point)
                        trials.append(trial)
                        needle = trial.token if recognised else b""
                        with world.network.add(Cut(point=point, needle=needle), Direction.UP) as cut:
                            trial.write(store, 5.0)
                        window.effects += cut.effects
                        works_again(world, store)
            world.check.enough(window.effects, len(Kind), f"a request cut {point.replace('_', ' ')}")
        there = {item.key: item for item in reader.list("trial/", timeout=RECOVERY)}
        problems = [problem for trial in trials for problem in trial.problems(there)]
        world.check.no_problems(problems, "broke the connection of writes", expected="each applied as it was told")
        for outcome, number in Counter(trial.outcome for trial in trials).items():
            world.evidence.count(f"write {outcome}", number)
        told = sum(trial.outcome in (Outcome.DONE, Outcome.UNKNOWN) for trial in trials)
        world.check.enough(told, len(trials) // 2, "a write that may have been applied")

    @needs("network")
    def test_faults_a_counter_counts_every_acknowledged_step(self, world: World) -> None:
        """A compare-and-set counter over broken connections ends at acknowledged + k, 0 <= k <= unknown."""
        token = b"0123456789abcdef" * 2
        stores = [world.connect(timeout=5.0) for _ in range(3)]
        recognised = shows(world, stores[0], token)
        world.store.put("counter", token + b"0")
        counts: Counter[str] = Counter()
        stop = threading.Event()

        def step(store: Store) -> None:
            while not stop.is_set():
                item = store.get("counter", timeout=RECOVERY)
                if item is None:
                    raise world.check.fail("read a counter", expected="the counter", seen=None)
                value = int(item.value.removeprefix(token)) + 1
                try:
                    store.put_if_unchanged("counter", token + str(value).encode(), revision=item.mod_revision)
                    counts["acknowledged"] += 1
                except Conflict:
                    counts["conflicts"] += 1
                except OutcomeUnknown:
                    counts["unknown"] += 1
                except Unavailable:
                    counts["refused"] += 1

        running = Running(world.check, [partial(step, store) for store in stores], "three that count")
        try:
            with world.evidence.fault("cuts in the middle of writes") as window:
                window.what = "requests whose connection was broken"
                for number in range(world.profile.pick(quick=9, full=60)):
                    point = tuple(CutPoint)[number % len(CutPoint)]
                    needle = token if recognised else b""
                    with world.network.add(Cut(point=point, needle=needle), Direction.UP) as cut:
                        _wait(lambda cut=cut: cut.effects > 0 or running.failed, 5.0)  # type: ignore[misc]
                        window.effects += cut.effects
                    world.check.enough(window.effects + running.failed, number + 1, "a write that was cut")
                    before = counts["acknowledged"]
                    _wait(lambda before=before: counts["acknowledged"] > before + 1 or running.failed, RECOVERY)  # type: ignore[misc]
        finally:
            stop.set()
            running.join()
        item = world.connect(direct=True).get("counter")
        for what, number in counts.items():
            world.evidence.count(f"step {what}", number)
        world.check.enough(counts["acknowledged"], 10, "an acknowledged step")
        data = {
            "start": 0,
            "acknowledged": counts["acknowledged"],
            "unknown": counts["unknown"],
            "final": item and int(item.value.removeprefix(token)),
        }
        world.check.no_problems(
            world.evidence.judge("counter", data),
            f"counted over {window.effects} broken connections",
            expected="every acknowledged step, and of the unknown ones some",
        )

    # -- deadlines --

    @needs("network")
    def test_faults_calls_keep_their_deadlines_in_a_partition(self, world: World) -> None:
        """Calls that can't reach the server, or whose answers can't come back, fail within their timeout."""

        def suffer(directions: tuple[Direction, ...]) -> None:
            network = world.another_network()
            store = world.connect(through=network)
            _fail_in_time(world, store, hole(directions), network, directions)

        together(world.check, [partial(suffer, ways) for ways in WAYS], "three partitions at once")

    @needs("pause", "resume")
    def test_faults_calls_keep_their_deadlines_on_a_frozen_server(self, world: World) -> None:
        """Calls that a frozen server doesn't answer fail within their timeout, and work again when it goes on."""
        calls = _calls(world, world.store)
        with outage(world, "pause", "resume"):
            _all_fail(world, calls)
        _well_again(world, world.store)

    # -- long faults under load --

    @needs("pause", "resume")
    def test_faults_a_frozen_server_loses_and_doubles_nothing(self, world: World) -> None:
        """Writes and watches that meet a frozen server go on with it: nothing acknowledged is lost, nothing doubled."""
        with Ride(world, every_acknowledged=True) as ride:
            ride.settle()
            with outage(world, "pause", "resume"):
                ride.suffer()
            ride.judge()

    @needs("network")
    def test_faults_a_partition_loses_and_doubles_nothing(self, world: World) -> None:
        """Over partitions, one-way ones too, nothing acknowledged is lost, nothing doubled, and watchers converge."""
        with Ride(world, every_acknowledged=True) as ride:
            for directions in WAYS:
                ride.settle()
                name = hole(directions)
                with fault(world, name, partial(world.network.black_hole, *directions), _HELD):
                    ride.suffer()
            ride.judge()

    @requires("durable")
    @needs("kill_leader", "start")
    def test_faults_a_lost_leader_loses_and_doubles_nothing(self, world: World) -> None:
        """When the leading server is killed, the others take over: nothing acknowledged is lost, nothing doubled."""
        with Ride(world, every_acknowledged=True) as ride:
            ride.settle()
            with setback(world, "kill_leader", "start"):
                ride.go_on(50)
            ride.judge()

    @requires("durable")
    @needs("fill_disk", "free_disk")
    def test_faults_a_full_disk_leaves_no_halves(self, world: World) -> None:
        """On a full disk writes fail in time; afterwards what was acknowledged is there, and nothing half-applied."""
        trials: list[Trial] = []

        def write() -> Outcome:
            trials.append(Trial(Kind.TRANSACTION, CutPoint.AFTER_REQUEST))
            trial = trials[-1]
            started = time.monotonic()
            trial.write(world.store, 3.0)
            took = time.monotonic() - started
            world.check.true(took <= 3.0 + MOMENT, "a write on a full disk", expected="an end in 3 s", seen=took)
            if isinstance(trial.error, StoreFull):
                trial.outcome = Outcome.REFUSED
            return trial.outcome

        world.check.equal(write(), Outcome.DONE, "a transaction before the disk was full")
        filler = b"\0" * min(64_000, world.capabilities.max_value_bytes)
        with world.evidence.fault("full disk") as window:
            window.what = "writes that failed"
            world.driver.do("fill_disk")
            try:
                for number in range(500):
                    if write() is not Outcome.DONE:
                        window.effects += 1
                    if window.effects >= 2:
                        break
                    try:
                        world.store.put(f"filler/{number}", filler, timeout=3.0)
                    except (StoreFull, *FAILS):
                        window.effects += 1
            finally:
                world.driver.do("free_disk")
        world.check.enough(window.effects, 1, "a write that failed for the full disk")
        works_again(world, world.store)
        world.check.equal(write(), Outcome.DONE, "a transaction after there was room again")
        there = {item.key: item for item in world.store.list("trial/", timeout=RECOVERY)}
        problems = [problem for trial in trials for problem in trial.problems(there)]
        world.check.no_problems(problems, "wrote on a full disk", expected="each applied as it was told")

    # -- connections that are bad, not broken --

    @needs("network")
    def test_faults_a_slow_link_only_makes_slow(self, world: World) -> None:
        """Over a link that delays and throttles, every operation gives the same answers as ever, only later."""
        slow = Latency(latency=0.02, jitter=0.01)

        def start() -> Together:
            parts = [*world.network.add(slow, *BOTH).parts, *world.network.add(Bandwidth(rate=200_000.0), *BOTH).parts]
            return Together(parts)

        _workout(world, "slow link", start, "pieces delayed and bytes throttled")

    @needs("network")
    def test_faults_one_byte_slices_change_nothing(self, world: World) -> None:
        """Whatever pieces requests and answers arrive in, down to single bytes, every operation works."""
        # No large value: cut into bytes it takes the proxy seconds on a busy machine, in which signs of life, waiting
        # behind it, come too late for clients that want them.
        start = partial(world.network.add, Slicer(size=1), *BOTH)
        _workout(world, "one-byte slices", start, "pieces made", largest=1_000)


def _wait(until: Callable[[], bool], within: float) -> None:
    deadline = time.monotonic() + within
    while not until() and time.monotonic() < deadline:
        time.sleep(0.005)


def _calls(world: World, store: Store) -> dict[str, Callable[[], object]]:
    store.put("key", b"")
    lease = store.lease(world.long_ttl)
    fresh = f"once/{id(store)}"
    return {
        "get": lambda: store.get("key", timeout=SHORT),
        "list": lambda: store.list("", timeout=SHORT),
        "put": lambda: store.put(fresh, b"1", timeout=SHORT),
        "put_if_absent": lambda: store.put_if_absent(f"{fresh}/absent", b"1", timeout=SHORT),
        "lease": lambda: store.lease(world.long_ttl, timeout=SHORT),
        "refresh": lambda: lease.refresh(timeout=SHORT),
        "watch": lambda: _open_watch(store),
    }


def _open_watch(store: Store) -> None:
    """Opening a watch may go through, since it says nothing of the store yet; but it doesn't hang."""
    store.watch("watched/", timeout=SHORT)
    raise Unavailable("the watch was opened, and can't deliver anything")


def _all_fail(world: World, calls: dict[str, Callable[[], object]]) -> None:
    together(
        world.check,
        [partial(fails_in_time, world, name, call) for name, call in calls.items()],
        f"{', '.join(calls)} that can't be answered",
    )


def _well_again(world: World, store: Store) -> None:
    works_again(world, store)
    twice = [item for item in store.list("once/", timeout=RECOVERY) if item.mod_revision != item.create_revision]
    world.check.equal(twice, [], "keys that were put once, without an answer, and are there as put twice")


def _workout(world: World, name: str, start: Callable[[], Together], what: str, *, largest: int = 20_000) -> None:
    """A bit of everything, with a value of ``largest`` bytes."""
    store = world.connect(timeout=RECOVERY)
    keys, values = ODD_KEYS[:24:2], [*BINARY_VALUES[:11], b"large" * (largest // 5)]
    expected = {f"v/{key}": value for key, value in zip(keys, values, strict=True)}
    with (
        fault(world, name, start, what),
        _answered(world, name),
        Follower(world.check, store.watch("v/", previous=True)) as follower,
    ):
        follower.wait_in_sync()
        for key, value in expected.items():
            store.put(key, value)
        read = {key: (item := store.get(key)) and item.value for key in expected}
        world.check.equal(read, expected, f"get of each key put, over {name}")
        lease = store.lease(world.long_ttl)
        revision = (
            store.transaction().if_exists(next(iter(expected))).put("v/leased", b"", lease=lease).commit().revision
        )
        world.check.raises(Conflict, lambda: store.put_if_absent("v/leased", b""), f"put_if_absent over {name}")
        lease.refresh()
        follower.wait_for("v/leased", revision, f"wrote over {name}", within=RECOVERY)
        lease.revoke()
        last = store.put("v/~last", b"").revision
        follower.wait_for("v/~last", last, f"wrote over {name}", within=RECOVERY)
        listed = store.list("v/")
        world.check.equal({item.key: item.value for item in listed}, {**expected, "v/~last": b""}, f"list over {name}")
        batches = list(follower.batches)
    problems = (
        write_history.check_shape(batches)
        + write_history.check_order(batches)
        + write_history.check_kinds(batches, previous=True)
    )
    problems += write_history.check_convergence(batches, listed)
    world.check.no_problems(problems, f"watched over {name}", expected="the truth")


def _fail_in_time(world: World, store: Store, name: str, network: Network, directions: tuple[Direction, ...]) -> None:
    calls = _calls(world, store)
    with fault(world, name, lambda: network.black_hole(*directions), _HELD):
        _all_fail(world, calls)
    _well_again(world, store)


@contextlib.contextmanager
def _answered(world: World, name: str) -> Iterator[None]:
    """Every call gets an answer."""
    try:
        yield
    except TenureError as exc:
        seen = f"{type(exc).__name__}: {exc}"
        raise world.check.fail(f"worked over {name}", expected="an answer to every call", seen=seen) from exc
