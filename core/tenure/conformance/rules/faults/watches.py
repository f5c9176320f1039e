"""Rules about watches whose server falls silent: a watch that is dead says so, and lives again by itself."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

from tenure._client.store import Store
from tenure.conformance.checkers import write_history
from tenure.conformance.fault_injection.faults import (
    RECOVERY,
    SHORT,
    WAYS,
    black_hole_name,
    fails_in_time,
    fault,
    outage,
    retry_until_answered,
)
from tenure.conformance.harness.context import RuleContext
from tenure.conformance.harness.rule import Rules, requires_control
from tenure.conformance.network import Direction
from tenure.conformance.workloads.leases import CLOCK_TOLERANCE
from tenure.conformance.workloads.recording_watcher import Follower
from tenure.conformance.workloads.threads import together


class FaultWatchRules(Rules, area="faults"):
    """The silence of a server."""

    @requires_control("network")
    def test_faults_a_watch_notices_a_partition_in_time(self, context: RuleContext) -> None:
        """A watch that is cut off without a word notices within max_watch_failure_detection, and then continues."""
        together(context.check, [partial(_cut_off, context, each) for each in WAYS], "three watches cut off")

    @requires_control("pause", "resume")
    def test_faults_a_watch_notices_a_frozen_server_in_time(self, context: RuleContext) -> None:
        """A watch whose server is frozen notices within max_watch_failure_detection, and continues after it."""
        store = context.connect()
        with Follower(context.check, store.watch("w/", previous=True)) as follower:
            _follows(follower, context.store, "w/before", "before the fault")
            with outage(context, "pause", "resume"):
                _notices(context, follower, "frozen server")
            _follows(follower, context.store, "w/after", "after the server was frozen")
            batches = list(follower.batches)
        problems = write_history.check_convergence(batches, context.store.list("w/")) + write_history.check_order(
            batches
        )
        problems += write_history.check_shape(batches) + write_history.check_kinds(batches, previous=True)
        context.check.no_problems(problems, "watched a server that was frozen", expected="the truth")


def _cut_off(context: RuleContext, directions: tuple[Direction, ...]) -> None:
    network = context.another_network()
    store, writer = context.connect(through=network), context.connect(direct=True)
    name = black_hole_name(directions)
    prefix = f"w/{'+'.join(directions)}/"
    with Follower(context.check, store.watch(prefix, previous=True)) as follower:
        _follows(follower, writer, f"{prefix}before", "before the fault")
        writer.put(f"{prefix}deleted", b"")
        _follows(follower, writer, f"{prefix}early", "before the fault")
        with fault(context, name, partial(network.black_hole, *directions), "bytes held back"):
            revision = writer.put(f"{prefix}meanwhile", b"").revision
            writer.delete(f"{prefix}deleted")

            def told() -> bool:
                return follower.moment(f"{prefix}meanwhile", revision) is not None

            # Where only its requests are lost, a watch may well be told everything.
            _notices(context, follower, name, may_be_told=told if Direction.DOWN not in directions else None)
            fails_in_time(context, f"get through a {name}", lambda: store.get(f"{prefix}before", timeout=SHORT))
        follower.wait_for(f"{prefix}meanwhile", revision, f"watched through a {name}", within=RECOVERY)
        _follows(follower, writer, f"{prefix}after", f"after a {name}")
        batches = list(follower.batches)
    problems = write_history.check_convergence(batches, writer.list(prefix)) + write_history.check_order(batches)
    problems += write_history.check_shape(batches) + write_history.check_kinds(batches, previous=True)
    context.check.no_problems(problems, f"watched through a {name}", expected="the truth")


def _follows(follower: Follower, writer: Store, key: str, when: str) -> None:
    """The watch tells a change that is made now."""
    follower.wait_in_sync()
    revision = 0

    def put() -> None:
        nonlocal revision
        revision = writer.put(key, b"").revision

    retry_until_answered(put)
    follower.wait_for(key, revision, f"wrote {when}", within=RECOVERY)


def _notices(
    context: RuleContext, follower: Follower, name: str, *, may_be_told: Callable[[], bool] | None = None
) -> None:
    limit = context.capabilities.max_watch_failure_detection + CLOCK_TOLERANCE
    deadline = time.monotonic() + limit
    while follower.watch.staleness == 0.0:
        if may_be_told is not None and may_be_told():
            return
        if time.monotonic() > deadline:
            raise context.check.fail(
                f"watched in silence: {name}",
                expected=(
                    f"staleness grows within {limit - CLOCK_TOLERANCE:g} s (and {CLOCK_TOLERANCE:g} s if it is busy)"
                ),
                seen="it is 0.0, the connection is said to stand",
            )
        time.sleep(0.01)
