"""Rules about writes, deadlines and slow connections during faults of the network or the server."""

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
    DEADLINE_TOLERANCE,
    FAILS,
    RECOVERY,
    SHORT,
    WAYS,
    black_hole_name,
    degraded_window,
    fails_in_time,
    fault,
    outage,
    visible,
    works_again,
)
from tenure.conformance.fault_injection.unanswered_writes import Kind, Outcome, UnansweredWrite
from tenure.conformance.fault_injection.workload import FaultWorkload
from tenure.conformance.harness.context import RuleContext
from tenure.conformance.harness.rule import Rules, requires_capability, requires_control
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
    """Faults of the network and the server."""

    # -- lost answers --

    @requires_control("network")
    def test_faults_a_lost_answer_is_unknown_and_applied_at_most_once(self, context: RuleContext) -> None:
        """A write whose connection breaks is done, surely not applied, or unknown; it is never applied twice."""
        store, reader = context.connect(), context.connect(direct=True)
        attempts: list[UnansweredWrite] = []
        recognised = visible(context, store, b"0123456789abcdef" * 2)
        for point in CutPoint:
            with context.evidence.fault(f"cut {point.replace('_', ' ')}") as window:
                window.what = "requests whose connection was broken"
                for _ in range(context.profile.pick(quick=2, full=10)):
                    for kind in Kind:
                        attempt = UnansweredWrite(kind, point)
                        attempts.append(attempt)
                        needle = attempt.token if recognised else b""
                        with context.network.add(Cut(point=point, needle=needle), Direction.UP) as cut:
                            attempt.write(store, 5.0)
                        window.effects += cut.effects
                        works_again(context, store)
            context.check.enough(window.effects, len(Kind), f"a request cut {point.replace('_', ' ')}")
        present = {item.key: item for item in reader.list("unanswered/", timeout=RECOVERY)}
        problems = [problem for attempt in attempts for problem in attempt.problems(present)]
        context.check.no_problems(
            problems, "broke the connection of writes", expected="each applied as its outcome says"
        )
        for outcome, number in Counter(attempt.outcome for attempt in attempts).items():
            context.evidence.count(f"write {outcome}", number)
        possible = sum(attempt.outcome in (Outcome.DONE, Outcome.UNKNOWN) for attempt in attempts)
        context.check.enough(possible, len(attempts) // 2, "a write that may have been applied")

    @requires_control("network")
    def test_faults_a_counter_counts_every_acknowledged_step(self, context: RuleContext) -> None:
        """A compare-and-set counter over broken connections ends at acknowledged + k, 0 <= k <= unknown."""
        token = b"0123456789abcdef" * 2
        stores = [context.connect(timeout=5.0) for _ in range(3)]
        recognised = visible(context, stores[0], token)
        context.store.put("counter", token + b"0")
        counts: Counter[str] = Counter()
        stop = threading.Event()

        clients = [partial(_count_up, context, store, token, counts, stop) for store in stores]
        running = Running(context.check, clients, "three clients that count")
        try:
            with context.evidence.fault("cuts in the middle of writes") as window:
                window.what = "requests whose connection was broken"
                for number in range(context.profile.pick(quick=9, full=60)):
                    point = tuple(CutPoint)[number % len(CutPoint)]
                    needle = token if recognised else b""
                    with context.network.add(Cut(point=point, needle=needle), Direction.UP) as cut:
                        _wait(lambda cut=cut: cut.effects > 0 or running.failed, 5.0)  # type: ignore[misc]
                        window.effects += cut.effects
                    context.check.enough(window.effects + running.failed, number + 1, "a write that was cut")
                    before = counts["acknowledged"]
                    _wait(lambda before=before: counts["acknowledged"] > before + 1 or running.failed, RECOVERY)  # type: ignore[misc]
        finally:
            stop.set()
            running.join()
        item = context.connect(direct=True).get("counter")
        for what, number in counts.items():
            context.evidence.count(f"step {what}", number)
        context.check.enough(counts["acknowledged"], 10, "an acknowledged step")
        data = {
            "start": 0,
            "acknowledged": counts["acknowledged"],
            "unknown": counts["unknown"],
            "final": item and int(item.value.removeprefix(token)),
        }
        context.check.no_problems(
            context.evidence.check("counter", data),
            f"counted over {window.effects} broken connections",
            expected="every acknowledged step, and some of the unknown ones",
        )

    # -- deadlines --

    @requires_control("network")
    def test_faults_calls_keep_their_deadlines_in_a_partition(self, context: RuleContext) -> None:
        """Calls whose request or answer can't pass the network fail within their timeout."""

        def fail_during_partition(directions: tuple[Direction, ...]) -> None:
            network = context.another_network()
            store = context.connect(through=network)
            _fail_in_time(context, store, black_hole_name(directions), network, directions)

        together(context.check, [partial(fail_during_partition, ways) for ways in WAYS], "three partitions at once")

    @requires_control("pause", "resume")
    def test_faults_calls_keep_their_deadlines_on_a_frozen_server(self, context: RuleContext) -> None:
        """Calls to a frozen server fail within their timeout, and calls work again when the server resumes."""
        calls = _calls(context, context.store)
        with outage(context, "pause", "resume"):
            _all_fail(context, calls)
        _check_recovery(context, context.store)

    # -- long faults under load --

    @requires_control("pause", "resume")
    def test_faults_a_frozen_server_loses_and_doubles_nothing(self, context: RuleContext) -> None:
        """Writes and watches resume with a frozen server: no acknowledged write is lost, and none is applied twice."""
        with FaultWorkload(context, every_acknowledged=True) as workload:
            workload.settle()
            with outage(context, "pause", "resume"):
                workload.wait_for_failures()
            workload.check()

    @requires_control("network")
    def test_faults_a_partition_loses_and_doubles_nothing(self, context: RuleContext) -> None:
        """Over partitions, also one-way, no acknowledged write is lost or applied twice, and watchers converge."""
        with FaultWorkload(context, every_acknowledged=True) as workload:
            for directions in WAYS:
                workload.settle()
                name = black_hole_name(directions)
                with fault(context, name, partial(context.network.black_hole, *directions), _HELD):
                    workload.wait_for_failures()
            workload.check()

    @requires_capability("durable")
    @requires_control("kill_leader", "start")
    def test_faults_a_lost_leader_loses_and_doubles_nothing(self, context: RuleContext) -> None:
        """When the leader is killed, no acknowledged write is lost, and none is applied twice."""
        with FaultWorkload(context, every_acknowledged=True) as workload:
            workload.settle()
            with degraded_window(context, "kill_leader", "start"):
                workload.wait_for_progress(50)
            workload.check()

    @requires_capability("durable")
    @requires_control("fill_disk", "free_disk")
    def test_faults_a_full_disk_leaves_no_halves(self, context: RuleContext) -> None:
        """On a full disk writes fail in time; afterwards acknowledged writes are there, and none is half applied."""
        attempts: list[UnansweredWrite] = []

        def write() -> Outcome:
            attempts.append(UnansweredWrite(Kind.TRANSACTION, CutPoint.AFTER_REQUEST))
            attempt = attempts[-1]
            started = time.monotonic()
            attempt.write(context.store, 3.0)
            took = time.monotonic() - started
            context.check.true(
                took <= 3.0 + DEADLINE_TOLERANCE, "a write on a full disk", expected="an end in 3 s", seen=took
            )
            if isinstance(attempt.error, StoreFull):
                attempt.outcome = Outcome.REFUSED
            return attempt.outcome

        context.check.equal(write(), Outcome.DONE, "a transaction before the disk was full")
        filler = b"\0" * min(64_000, context.capabilities.max_value_bytes)
        with context.evidence.fault("full disk") as window:
            window.what = "writes that failed"
            context.controls.do("fill_disk")
            try:
                for number in range(500):
                    if write() is not Outcome.DONE:
                        window.effects += 1
                    if window.effects >= 2:
                        break
                    try:
                        context.store.put(f"filler/{number}", filler, timeout=3.0)
                    except (StoreFull, *FAILS):
                        window.effects += 1
            finally:
                context.controls.do("free_disk")
        context.check.enough(window.effects, 1, "a write that failed on the full disk")
        works_again(context, context.store)
        context.check.equal(write(), Outcome.DONE, "a transaction after the disk had space again")
        present = {item.key: item for item in context.store.list("unanswered/", timeout=RECOVERY)}
        problems = [problem for attempt in attempts for problem in attempt.problems(present)]
        context.check.no_problems(problems, "wrote on a full disk", expected="each applied as its outcome says")

    # -- slow connections --

    @requires_control("network")
    def test_faults_a_slow_link_only_makes_slow(self, context: RuleContext) -> None:
        """Over a connection that delays and throttles, every operation returns the same results, only later."""
        slow = Latency(latency=0.02, jitter=0.01)

        def start() -> Together:
            parts = [
                *context.network.add(slow, *BOTH).parts,
                *context.network.add(Bandwidth(rate=200_000.0), *BOTH).parts,
            ]
            return Together(parts)

        _workout(context, "slow link", start, "pieces delayed and bytes throttled")

    @requires_control("network")
    def test_faults_byte_by_byte_transfer_changes_nothing(self, context: RuleContext) -> None:
        """Every operation works if requests and answers arrive in pieces, down to single bytes."""
        # No large value: on a busy machine the proxy takes seconds to cut it into bytes, and heartbeats waiting behind
        # it come too late for some clients.
        start = partial(context.network.add, Slicer(size=1), *BOTH)
        _workout(context, "one-byte slices", start, "pieces made", largest=1_000)


def _count_up(context: RuleContext, store: Store, token: bytes, counts: Counter[str], stop: threading.Event) -> None:
    """Add one to the counter, whose value begins with ``token``, until ``stop``; count what became of each step."""
    while not stop.is_set():
        item = store.get("counter", timeout=RECOVERY)
        if item is None:
            raise context.check.fail("read a counter", expected="the counter", seen=None)
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


def _wait(until: Callable[[], bool], within: float) -> None:
    deadline = time.monotonic() + within
    while not until() and time.monotonic() < deadline:
        time.sleep(0.005)


def _calls(context: RuleContext, store: Store) -> dict[str, Callable[[], object]]:
    store.put("key", b"")
    lease = store.lease(context.long_ttl)
    fresh = f"once/{id(store)}"
    return {
        "get": lambda: store.get("key", timeout=SHORT),
        "list": lambda: store.list("", timeout=SHORT),
        "put": lambda: store.put(fresh, b"1", timeout=SHORT),
        "put_if_absent": lambda: store.put_if_absent(f"{fresh}/absent", b"1", timeout=SHORT),
        "lease": lambda: store.lease(context.long_ttl, timeout=SHORT),
        "refresh": lambda: lease.refresh(timeout=SHORT),
        "watch": lambda: _open_watch(store),
    }


def _open_watch(store: Store) -> None:
    """Open a watch: it may succeed, since it shows nothing about the store yet, but it must not hang."""
    store.watch("watched/", timeout=SHORT)
    raise Unavailable("opening a watch: it was opened, and can't deliver anything")


def _all_fail(context: RuleContext, calls: dict[str, Callable[[], object]]) -> None:
    together(
        context.check,
        [partial(fails_in_time, context, name, call) for name, call in calls.items()],
        f"{', '.join(calls)} that can't be answered",
    )


def _check_recovery(context: RuleContext, store: Store) -> None:
    works_again(context, store)
    twice = [item for item in store.list("once/", timeout=RECOVERY) if item.mod_revision != item.create_revision]
    context.check.equal(twice, [], "keys that were put once, without an answer, and exist as put twice")


def _workout(
    context: RuleContext, name: str, start: Callable[[], Together], what: str, *, largest: int = 20_000
) -> None:
    """Use every operation, with a value of ``largest`` bytes."""
    store = context.connect(timeout=RECOVERY)
    keys, values = ODD_KEYS[:24:2], [*BINARY_VALUES[:11], b"large" * (largest // 5)]
    expected = {f"v/{key}": value for key, value in zip(keys, values, strict=True)}
    with (
        fault(context, name, start, what),
        _all_return(context, name),
        Follower(context.check, store.watch("v/", previous=True)) as follower,
    ):
        follower.wait_in_sync()
        for key, value in expected.items():
            store.put(key, value)
        read = {key: (item := store.get(key)) and item.value for key in expected}
        context.check.equal(read, expected, f"get of each key put, over {name}")
        lease = store.lease(context.long_ttl)
        revision = (
            store.transaction().if_exists(next(iter(expected))).put("v/leased", b"", lease=lease).commit().revision
        )
        context.check.raises(Conflict, lambda: store.put_if_absent("v/leased", b""), f"put_if_absent over {name}")
        lease.refresh()
        follower.wait_for("v/leased", revision, f"wrote over {name}", within=RECOVERY)
        lease.revoke()
        last = store.put("v/~last", b"").revision
        follower.wait_for("v/~last", last, f"wrote over {name}", within=RECOVERY)
        listed = store.list("v/")
        context.check.equal(
            {item.key: item.value for item in listed}, {**expected, "v/~last": b""}, f"list over {name}"
        )
        batches = list(follower.batches)
    problems = (
        write_history.check_shape(batches)
        + write_history.check_order(batches)
        + write_history.check_kinds(batches, previous=True)
    )
    problems += write_history.check_convergence(batches, listed)
    context.check.no_problems(problems, f"watched over {name}", expected="true events")


def _fail_in_time(
    context: RuleContext, store: Store, name: str, network: Network, directions: tuple[Direction, ...]
) -> None:
    calls = _calls(context, store)
    with fault(context, name, lambda: network.black_hole(*directions), _HELD):
        _all_fail(context, calls)
    _check_recovery(context, store)


@contextlib.contextmanager
def _all_return(context: RuleContext, name: str) -> Iterator[None]:
    """Check that every call returns."""
    try:
        yield
    except TenureError as exc:
        seen = f"{type(exc).__name__}: {exc}"
        raise context.check.fail(f"worked over {name}", expected="a result of every call", seen=seen) from exc
