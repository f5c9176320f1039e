"""Rules about servers that die and connections that break; somebody has to do that: see ``driver``."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

from leasehold.conformance import history
from leasehold.conformance.checks import PATIENCE
from leasehold.conformance.follower import Follower
from leasehold.conformance.rules import Rules, needs, requires
from leasehold.conformance.workload import LAST_KEY, Workload
from leasehold.conformance.world import World
from leasehold.errors import LeaseholdError, LeaseLost, OutcomeUnknown, Unavailable
from leasehold.leases import LeaseState
from leasehold.watch import BatchKind, EventKind

_RECOVERY = 30.0
"""Seconds that clients may take to work again once the server does."""


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
        with self._down(world):
            pass
        world.check.equal(world.store.list("", timeout=_RECOVERY).items, before, "list('') after kill and start")
        revision = world.store.put("new", b"", timeout=_RECOVERY).revision
        highest = max(item.mod_revision for item in before)
        world.check.true(revision > highest, "put after kill and start", expected=f"above {highest}", seen=revision)

    @needs("kill", "start")
    def test_restarts_outages_are_told_in_time(self, world: World) -> None:
        """While the server is down, reads are Unavailable, writes Unavailable or OutcomeUnknown, within the timeout."""
        world.store.put("key", b"")
        with self._down(world):
            started = time.monotonic()
            world.check.raises(Unavailable, lambda: world.store.get("key", timeout=1.0), "get(timeout=1) in an outage")
            world.check.raises(
                (Unavailable, OutcomeUnknown),
                lambda: world.store.put("key", b"x", timeout=1.0),
                "put(timeout=1) in an outage",
            )
            took = time.monotonic() - started
        world.check.true(took < 6.0, "two calls of 1 s in an outage", expected="an end in time", seen=f"{took:.1f} s")
        world.check.true(
            world.store.get("key", timeout=_RECOVERY) is not None or not world.capabilities.durable,
            "get after the outage",
            expected="the key",
            seen=None,
        )

    @needs("kill", "start")
    def test_restarts_leave_watchers_with_the_truth(self, world: World) -> None:
        """Watches opened before a restart go on by themselves: in order, nothing invented, and equal to a list."""
        stores = [world.connect() for _ in range(3)]
        followers = [Follower(world.check, store.watch("w/", previous=True)) for store in stores]
        try:
            for follower in followers:
                follower.wait_in_sync()
            workload = Workload(
                world.check, [world.connect(timeout=2.0), world.connect(timeout=2.0)], turns=60, faults=True
            )
            workload.wait(40)
            with self._down(world):
                workload.more(30)
                # Long enough for a write to be given up: a restart that no one notices would show nothing.
                world.check.enough(workload.wait_failed(1), 1, "a write that failed in an outage")
            workload.more(30)
            self._finish(world, followers, workload)
        finally:
            for follower in followers:
                follower.watch.close()

    @needs("cut")
    def test_restarts_cut_connections_leave_watchers_with_the_truth(self, world: World) -> None:
        """Watches whose connection is cut again and again go on: in order, nothing invented, and equal to a list."""
        stores = [world.connect() for _ in range(2)]
        followers = [Follower(world.check, store.watch("w/", previous=True)) for store in stores]
        try:
            for follower in followers:
                follower.wait_in_sync()
            workload = Workload(world.check, [world.connect()], turns=10, faults=True)
            for number in range(6):
                world.driver.do("cut")
                workload.more(20)
                workload.wait(20 * number)
                mark = f"w/~{number}"
                revision = workload.mark(mark, retry=self._insist)
                for follower in followers:  # each has to come back before it is cut off again
                    follower.wait_for(mark, revision, f"cut number {number + 1}, then put a key", within=_RECOVERY)
            self._finish(world, followers, workload)
        finally:
            for follower in followers:
                follower.watch.close()

    @needs("cut", "compact")
    def test_restarts_a_watcher_left_behind_is_resynced(self, world: World) -> None:
        """A watch cut off while the store forgot what it missed gets a RESYNC with the difference, deletes included."""
        for key in ("w/deleted", "w/changed", "w/same"):
            world.store.put(key, b"1")
        watch = world.connect().watch("w/", previous=True)
        first = [batch for batch in (watch.next(PATIENCE), watch.next(PATIENCE)) if batch is not None]
        # Nobody is in next(): the watch can't connect again before the history is gone.
        world.driver.do("cut")
        world.store.delete("w/deleted", timeout=_RECOVERY)
        world.store.put("w/changed", b"2")
        world.store.put("w/new", b"3")
        world.driver.do("compact")
        last = world.store.put(LAST_KEY, b"last").revision
        with Follower(world.check, watch) as follower:
            follower.wait_for(LAST_KEY, last, "cut, wrote, compacted", within=_RECOVERY)
            batches = [*first, *follower.batches]
        problems = history.check_convergence(batches, world.store.list("w/"))
        problems += history.check_order(batches) + history.check_kinds(batches, previous=True)
        world.check.no_problems(problems, "cut, wrote, compacted, then read the watch", expected="the true state")
        told = [event for event in history.events_of(batches) if event.kind is EventKind.DELETE]
        world.check.equal([event.key for event in told], ["w/deleted"], "the deletes told")

    @requires("durable")
    @needs("kill", "start")
    def test_restarts_leave_leases_truthful(self, world: World) -> None:
        """After a restart a kept lease is ALIVE with its keys, or LOST with its keys gone in time: never one alone."""
        holder = world.connect()
        lease = holder.lease(max(20.0, world.short_ttl))
        holder.put("kept", b"", lease=lease)
        with self._down(world):
            pass
        item = world.store.get("kept", timeout=_RECOVERY)
        if item is not None:
            with contextlib.suppress(LeaseLost):
                lease.refresh(timeout=_RECOVERY)
            world.check.equal(lease.state, LeaseState.ALIVE, "the state of a lease whose key is there")
        else:
            with contextlib.suppress(LeaseholdError):
                lease.refresh(timeout=_RECOVERY)
            world.check.equal(lease.state, LeaseState.LOST, "the state of a lease whose key is gone")

    def _finish(self, world: World, followers: list[Follower], workload: Workload) -> None:
        last = workload.finish(retry=self._insist)
        timeline = workload.history.timeline().under("w/")
        world.check.enough(len(timeline.steps), 30, "an acknowledged change")
        listed = world.store.list("w/", timeout=_RECOVERY)
        exact = world.capabilities.every_revision
        for follower in followers:
            follower.wait_for(LAST_KEY, last, "wrote a last key when all was well again", within=_RECOVERY)
            batches = list(follower.batches)
            problems = history.check_order(batches) + history.check_kinds(batches, previous=True)
            problems += history.check_shape(batches) + history.check_truth(batches, timeline, exact=exact)
            problems += history.check_convergence(batches, listed)
            gaps = [batch for batch in batches if batch.kind is BatchKind.RESYNC]
            if exact and not gaps:
                problems += history.check_every_transaction(batches, timeline, after=batches[1].revision)
            world.check.no_problems(problems, "held what a watcher was told against the writes", expected="the truth")

    def _insist(self, call: Callable[[], None]) -> None:
        deadline = time.monotonic() + _RECOVERY
        while True:
            try:
                call()
                return
            except (Unavailable, OutcomeUnknown):
                if time.monotonic() > deadline:
                    raise

    @contextlib.contextmanager
    def _down(self, world: World) -> Iterator[None]:
        world.driver.do("kill")
        try:
            yield
        finally:
            world.driver.do("start")
