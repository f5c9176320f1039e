"""Rules about watches whose server falls silent: a broken watch reports it, and resumes automatically."""

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
    """Watches of a silent server."""

    @requires_control("network")
    def test_faults_a_watch_notices_a_partition_in_time(self, context: RuleContext) -> None:
        """A watch that is silently cut off notices within max_watch_failure_detection, and resumes when it can."""
        together(context.check, [partial(_cut_off, context, each) for each in WAYS], "three watches cut off")

    @requires_control("pause", "resume")
    def test_faults_a_watch_notices_a_frozen_server_in_time(self, context: RuleContext) -> None:
        """A watch of a frozen server notices within max_watch_failure_detection, and resumes with the server."""
        store = context.connect()
        with Follower(context.check, store.watch("w/", previous=True)) as follower:
            _check_delivery(follower, context.store, "w/before", "before the fault")
            with outage(context, "pause", "resume"):
                _wait_until_stale(context, follower, "frozen server")
            _check_delivery(follower, context.store, "w/after", "after the server was frozen")
            batches = list(follower.batches)
        problems = write_history.check_convergence(batches, context.store.list("w/")) + write_history.check_order(
            batches
        )
        problems += write_history.check_shape(batches) + write_history.check_kinds(batches, previous=True)
        context.check.no_problems(problems, "watched a server that was frozen", expected="true events")


def _cut_off(context: RuleContext, directions: tuple[Direction, ...]) -> None:
    network = context.another_network()
    store, writer = context.connect(through=network), context.connect(direct=True)
    name = black_hole_name(directions)
    prefix = f"w/{'+'.join(directions)}/"
    with Follower(context.check, store.watch(prefix, previous=True)) as follower:
        _check_delivery(follower, writer, f"{prefix}before", "before the fault")
        writer.put(f"{prefix}deleted", b"")
        _check_delivery(follower, writer, f"{prefix}early", "before the fault")
        with fault(context, name, partial(network.black_hole, *directions), "bytes held back"):
            revision = writer.put(f"{prefix}meanwhile", b"").revision
            writer.delete(f"{prefix}deleted")

            def delivered() -> bool:
                return follower.moment(f"{prefix}meanwhile", revision) is not None

            # If only its requests are lost, a watch may well receive every event.
            _wait_until_stale(
                context, follower, name, may_be_delivered=delivered if Direction.DOWN not in directions else None
            )
            fails_in_time(context, f"get through a {name}", lambda: store.get(f"{prefix}before", timeout=SHORT))
        follower.wait_for(f"{prefix}meanwhile", revision, f"watched through a {name}", within=RECOVERY)
        _check_delivery(follower, writer, f"{prefix}after", f"after a {name}")
        batches = list(follower.batches)
    problems = write_history.check_convergence(batches, writer.list(prefix)) + write_history.check_order(batches)
    problems += write_history.check_shape(batches) + write_history.check_kinds(batches, previous=True)
    context.check.no_problems(problems, f"watched through a {name}", expected="true events")


def _check_delivery(follower: Follower, writer: Store, key: str, when: str) -> None:
    """Check that the watch delivers a change that is made now."""
    follower.wait_in_sync()
    revision = 0

    def put() -> None:
        nonlocal revision
        revision = writer.put(key, b"").revision

    retry_until_answered(put)
    follower.wait_for(key, revision, f"wrote {when}", within=RECOVERY)


def _wait_until_stale(
    context: RuleContext, follower: Follower, name: str, *, may_be_delivered: Callable[[], bool] | None = None
) -> None:
    limit = context.capabilities.max_watch_failure_detection + CLOCK_TOLERANCE
    deadline = time.monotonic() + limit
    while follower.watch.staleness == 0.0:
        if may_be_delivered is not None and may_be_delivered():
            return
        if time.monotonic() > deadline:
            raise context.check.fail(
                f"watched in silence: {name}",
                expected=f"staleness above 0 within {limit - CLOCK_TOLERANCE:g} s "
                f"(and {CLOCK_TOLERANCE:g} s for a busy machine)",
                seen="it is 0.0, as for a connected watch",
            )
        time.sleep(0.01)
