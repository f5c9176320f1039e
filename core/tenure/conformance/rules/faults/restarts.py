"""Rules about servers that die and connections that break; somebody has to do that: see ``driver``."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from tenure.conformance.checkers import write_history
from tenure.conformance.fault_injection.faults import RECOVERY, Canary, fails_in_time, insist, outage
from tenure.conformance.fault_injection.workload import Ride
from tenure.conformance.harness.assertions import PATIENCE
from tenure.conformance.harness.context import World
from tenure.conformance.harness.rule import Rules, needs, requires
from tenure.conformance.workloads.leases import NOISE
from tenure.conformance.workloads.recording_watcher import Follower
from tenure.conformance.workloads.writers import LAST_KEY
from tenure.errors import LeaseLost, TenureError, Unavailable
from tenure.leases import LeaseState
from tenure.watch import BatchType, EventType


class RestartRules(Rules, area="restarts"):
    """Bad days."""

    @requires("durable")
    @needs("kill", "start")
    def test_restarts_lose_no_acknowledged_write(self, world: World) -> None:
        """What was acknowledged before the server was killed is there, unchanged, when it runs again."""
        for number in range(30):
            world.store.put(f"{number:02}", str(number).encode())
        world.store.delete("07")
        before = world.store.list("").items
        with _down(world):
            pass
        world.check.equal(world.store.list("", timeout=RECOVERY).items, before, "list('') after kill and start")
        revision = world.store.put("new", b"", timeout=RECOVERY).revision
        highest = max(item.mod_revision for item in before)
        world.check.true(revision > highest, "put after kill and start", expected=f"above {highest}", seen=revision)

    @needs("kill", "start")
    def test_restarts_outages_are_told_in_time(self, world: World) -> None:
        """While the server is down, reads are Unavailable, writes Unavailable or OutcomeUnknown, within the timeout."""
        world.store.put("key", b"")
        with _down(world):
            error = fails_in_time(world, "get in an outage", lambda: world.store.get("key", timeout=1.0), timeout=1.0)
            world.check.true(isinstance(error, Unavailable), "get in an outage", expected="Unavailable", seen=error)
            fails_in_time(world, "put in an outage", lambda: world.store.put("key", b"x", timeout=1.0), timeout=1.0)
        world.check.true(
            world.store.get("key", timeout=RECOVERY) is not None or not world.capabilities.durable,
            "get after the outage",
            expected="the key",
            seen=None,
        )

    @needs("kill", "start")
    def test_restarts_leave_watchers_with_the_truth(self, world: World) -> None:
        """Watches opened before a restart go on by themselves: in order, nothing invented, and equal to a list."""
        with Ride(world, every_acknowledged=world.capabilities.durable) as ride:
            ride.settle()
            with outage(world, "kill", "start"):
                ride.suffer()
            ride.judge()

    @needs("cut")
    def test_restarts_cut_connections_leave_watchers_with_the_truth(self, world: World) -> None:
        """Watches whose connection is cut again and again go on: in order, nothing invented, and equal to a list."""
        with Ride(world, every_acknowledged=True) as ride, Canary(world) as canary:
            ride.settle()
            with world.evidence.fault("cut") as window:
                window.what = "connections broken"
                for number in range(world.profile.pick(quick=20, full=100)):
                    ride.go_on(3)
                    ride.workload.more(12)  # so that some are under way, and some are missed
                    window.effects += canary.cut(then=lambda: ride.go_on(3))
                    ride.catch_up(number)  # each has to come back before it is cut off again
                    world.check.enough(window.effects, number + 1, "a connection that broke")
            ride.judge()

    @needs("cut", "compact")
    def test_restarts_a_watcher_left_behind_is_resynced(self, world: World) -> None:
        """A watch cut off while the store forgot what it missed gets a RESYNC with the difference, deletes included."""
        for key in ("w/deleted", "w/changed", "w/same"):
            world.store.put(key, b"1")
        watch = world.connect().watch("w/", previous=True)
        first = [batch for batch in (watch.next(PATIENCE), watch.next(PATIENCE)) if batch is not None]
        # Its connection may be made after the state was read by another one: a change shows that it stands.
        stands = world.store.put("w/stands", b"").revision
        while watch.revision < stands:
            told = watch.next(PATIENCE)
            if told is None:
                raise world.check.fail(
                    "put a key that is watched", expected="a change", seen=f"nothing in {PATIENCE:g} s"
                )
            first.append(told)
        # Nobody is in next(): the watch can't connect again before the history is gone.
        with world.evidence.fault("cut") as window:
            window.what = "watches that noticed"
            world.driver.do("cut")
            deadline = time.monotonic() + world.capabilities.max_watch_failure_detection + NOISE
            while not watch.staleness and time.monotonic() < deadline:
                time.sleep(0.005)
            window.effects = int(watch.staleness > 0)
        world.check.enough(window.effects, 1, "a connection that broke")
        insist(lambda: world.store.delete("w/deleted"))  # its connection broke, too
        world.store.put("w/changed", b"2")
        world.store.put("w/new", b"3")
        world.driver.do("compact")
        last = world.store.put(LAST_KEY, b"last").revision
        with Follower(world.check, watch) as follower:
            follower.wait_for(LAST_KEY, last, "cut, wrote, compacted", within=RECOVERY)
            batches = [*first, *follower.batches]
        problems = write_history.check_convergence(batches, world.store.list("w/"))
        problems += write_history.check_order(batches) + write_history.check_kinds(batches, previous=True)
        world.check.no_problems(problems, "cut, wrote, compacted, then read the watch", expected="the true state")
        deletes = [event.key for event in write_history.events_of(batches) if event.type is EventType.DELETE]
        world.check.equal(deletes, ["w/deleted"], "the deletes told")
        gaps = sum(batch.type is BatchType.RESYNC for batch in batches)
        world.check.enough(gaps, 1, "a gap told, after the driver's 'compact'")

    @requires("durable")
    @needs("kill", "start")
    def test_restarts_leave_leases_truthful(self, world: World) -> None:
        """After a restart a kept lease is ALIVE with its keys, or LOST with its keys gone in time: never one alone."""
        holder = world.connect()
        lease = holder.lease(max(20.0, world.short_ttl))
        holder.put("kept", b"", lease=lease)
        with _down(world):
            pass
        item = world.store.get("kept", timeout=RECOVERY)
        if item is not None:
            with contextlib.suppress(LeaseLost):
                lease.refresh(timeout=RECOVERY)
            world.check.equal(lease.state, LeaseState.ALIVE, "the state of a lease whose key is there")
        else:
            with contextlib.suppress(TenureError):
                lease.refresh(timeout=RECOVERY)
            world.check.equal(lease.state, LeaseState.LOST, "the state of a lease whose key is gone")

    @requires("durable")
    @needs("kill", "start")
    def test_restarts_only_lengthen_leases(self, world: World) -> None:
        """A lease that nobody refreshes lives for its ttl at least, over a restart, too, and ends in time after it."""
        holder = world.connect()
        # Longer than a restart takes, and no longer: on some stores a lease lives for twice its ttl.
        ttl = max(world.short_ttl, min(2 * world.short_ttl, 8.0), 4.0)
        sent = time.monotonic()
        lease = holder.lease(ttl, keep_alive=False)
        holder.put("left", b"", lease=lease)
        with _down(world):
            pass
        restarted = time.monotonic()
        missed = 0.0
        while missed <= 0.0 and time.monotonic() < restarted + RECOVERY + lease.max_lifetime_after_refresh:
            if world.store.get("left", timeout=RECOVERY) is None:
                missed = time.monotonic()
            else:
                time.sleep(0.02)
        did = "let a lease run out over a restart of the server"
        limit = lease.max_lifetime_after_refresh + RECOVERY
        seen = f"{missed - restarted:.2f} s after the restart" if missed else "not at all"
        world.check.true(0 < missed <= restarted + limit, did, expected=f"an end within {limit:g} s", seen=seen)
        lived = missed - sent
        world.check.true(lived >= lease.ttl - 0.02, did, expected=f"a life of {lease.ttl:g} s", seen=f"{lived:.2f} s")


@contextlib.contextmanager
def _down(world: World) -> Iterator[None]:
    with outage(world, "kill", "start"):
        yield
