"""Rules about watches whose server falls silent: a watch that is dead says so, and lives again by itself."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

from tenure._client.store import Store
from tenure.conformance.checkers import write_history
from tenure.conformance.fault_injection.faults import RECOVERY, SHORT, WAYS, fails_in_time, fault, hole, insist, outage
from tenure.conformance.harness.context import World
from tenure.conformance.harness.rule import Rules, needs
from tenure.conformance.network import Direction
from tenure.conformance.workloads.leases import NOISE
from tenure.conformance.workloads.recording_watcher import Follower
from tenure.conformance.workloads.threads import together


class FaultWatchRules(Rules, area="faults"):
    """The silence of a server."""

    @needs("network")
    def test_faults_a_watch_notices_a_partition_in_time(self, world: World) -> None:
        """A watch that is cut off without a word notices within max_watch_failure_detection, and goes on when it can."""
        together(world.check, [partial(_cut_off, world, each) for each in WAYS], "three watches cut off")

    @needs("pause", "resume")
    def test_faults_a_watch_notices_a_frozen_server_in_time(self, world: World) -> None:
        """A watch whose server is frozen notices within max_watch_failure_detection, and goes on when the server does."""
        store = world.connect()
        with Follower(world.check, store.watch("w/", previous=True)) as follower:
            _follows(follower, world.store, "w/before", "before the fault")
            with outage(world, "pause", "resume"):
                _notices(world, follower, "frozen server")
            _follows(follower, world.store, "w/after", "after the server was frozen")
            batches = list(follower.batches)
        problems = write_history.check_convergence(batches, world.store.list("w/")) + write_history.check_order(batches)
        problems += write_history.check_shape(batches) + write_history.check_kinds(batches, previous=True)
        world.check.no_problems(problems, "watched a server that was frozen", expected="the truth")


def _cut_off(world: World, directions: tuple[Direction, ...]) -> None:
    network = world.another_network()
    store, writer = world.connect(through=network), world.connect(direct=True)
    name = hole(directions)
    prefix = f"w/{'+'.join(directions)}/"
    with Follower(world.check, store.watch(prefix, previous=True)) as follower:
        _follows(follower, writer, f"{prefix}before", "before the fault")
        writer.put(f"{prefix}deleted", b"")
        _follows(follower, writer, f"{prefix}early", "before the fault")
        with fault(world, name, partial(network.black_hole, *directions), "bytes held back"):
            revision = writer.put(f"{prefix}meanwhile", b"").revision
            writer.delete(f"{prefix}deleted")

            def told() -> bool:
                return follower.moment(f"{prefix}meanwhile", revision) is not None

            # Where only its requests are lost, a watch may well be told everything.
            _notices(world, follower, name, may_be_told=told if Direction.DOWN not in directions else None)
            fails_in_time(world, f"get through a {name}", lambda: store.get(f"{prefix}before", timeout=SHORT))
        follower.wait_for(f"{prefix}meanwhile", revision, f"watched through a {name}", within=RECOVERY)
        _follows(follower, writer, f"{prefix}after", f"after a {name}")
        batches = list(follower.batches)
    problems = write_history.check_convergence(batches, writer.list(prefix)) + write_history.check_order(batches)
    problems += write_history.check_shape(batches) + write_history.check_kinds(batches, previous=True)
    world.check.no_problems(problems, f"watched through a {name}", expected="the truth")


def _follows(follower: Follower, writer: Store, key: str, when: str) -> None:
    """The watch tells a change that is made now."""
    follower.wait_in_sync()
    revision = 0

    def put() -> None:
        nonlocal revision
        revision = writer.put(key, b"").revision

    insist(put)
    follower.wait_for(key, revision, f"wrote {when}", within=RECOVERY)


def _notices(world: World, follower: Follower, name: str, *, may_be_told: Callable[[], bool] | None = None) -> None:
    limit = world.capabilities.max_watch_failure_detection + NOISE
    deadline = time.monotonic() + limit
    while follower.watch.staleness == 0.0:
        if may_be_told is not None and may_be_told():
            return
        if time.monotonic() > deadline:
            raise world.check.fail(
                f"watched in silence: {name}",
                expected=f"staleness tells within {limit - NOISE:g} s (and {NOISE:g} s for a busy machine)",
                seen="it is 0.0, the connection is said to stand",
            )
        time.sleep(0.01)
