"""Rules about servers that are killed and connections that break; they need controls over the server."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial

from tenure._client.store import Store
from tenure.conformance.checkers import write_history
from tenure.conformance.fault_injection.faults import (
    RECOVERY,
    Canary,
    fails_in_time,
    outage,
    retry_until_answered,
    works_again,
)
from tenure.conformance.fault_injection.workload import FaultWorkload
from tenure.conformance.harness.assertions import EVENT_TIMEOUT
from tenure.conformance.harness.context import RuleContext
from tenure.conformance.harness.rule import Rules, requires_capability, requires_control
from tenure.conformance.workloads.leases import CLOCK_TOLERANCE
from tenure.conformance.workloads.recording_watcher import Follower
from tenure.conformance.workloads.writers import LAST_KEY
from tenure.errors import Compacted, Conflict, LeaseLost, TenureError, Unavailable
from tenure.leases import LeaseState
from tenure.watch import BatchType, EventType

_WRITES = 20


class RestartRules(Rules, area="restarts"):
    """Outages of the server and its connections."""

    @requires_capability("durable")
    @requires_control("kill", "start")
    def test_restarts_lose_no_acknowledged_write(self, context: RuleContext) -> None:
        """Writes acknowledged before the server was killed are there, unchanged, when it runs again."""
        for number in range(30):
            context.store.put(f"{number:02}", str(number).encode())
        context.store.delete("07")
        before = context.store.list("").items
        with _down(context):
            pass
        context.check.equal(context.store.list("", timeout=RECOVERY).items, before, "list('') after kill and start")
        revision = context.store.put("new", b"", timeout=RECOVERY).revision
        highest = max(item.mod_revision for item in before)
        context.check.true(revision > highest, "put after kill and start", expected=f"above {highest}", seen=revision)

    @requires_capability("unique_revisions")
    @requires_control("kill", "wipe", "start")
    def test_restarts_repeat_no_revision(self, context: RuleContext) -> None:
        """After the data were lost no revision is used again; preconditions and watches on an old one are refused."""
        old = [context.store.put(f"{number % 3}", b"old").revision for number in range(_WRITES)]
        with context.evidence.fault("wiped store") as window:
            window.what = "keys that are gone"
            context.controls.do("kill")
            try:
                context.controls.do("wipe")
            finally:
                context.controls.do("start")
            works_again(context, context.store)
            window.effects = sum(context.store.get(f"{number}") is None for number in range(3))
        context.check.enough(window.effects, 3, "a key lost with the store's data")
        new = [context.store.put(f"{number % 3}", b"new").revision for number in range(_WRITES)]
        context.check.equal(sorted({*old} & {*new}), [], "revisions used both before and after the data were lost")
        for revision in (old[0], old[-1]):
            write = partial(context.store.put_if_unchanged, "0", b"x", revision=revision)
            context.check.raises(Conflict, write, f"put_if_unchanged(revision={revision}), of the data that were lost")
        if context.capabilities.lossless_watch:

            def watch() -> object:
                with context.store.watch("", after=old[-1]) as opened:
                    return opened.next(EVENT_TIMEOUT)

            context.check.raises(Compacted, watch, f"watch(after={old[-1]}), of the data that were lost")

    @requires_control("kill", "wipe", "start")
    def test_restarts_revisions_of_lost_data_count_no_more(self, context: RuleContext) -> None:
        """After the data were lost, a precondition on a revision read before is a Conflict, even if it comes again."""
        lost = context.run_once("restarts.lost_data", _lost_data)
        context.check.no_problems(
            lost.accepted,
            f"lost the data, filled the store again, then used {len(lost.tried)} revisions of the lost data",
            expected="each is a Conflict",
        )

    @requires_control("kill", "wipe", "start")
    def test_restarts_lost_data_are_told_to_every_watch(self, context: RuleContext) -> None:
        """Watches of lost data that others refill end with the truth by a RESYNC: quiet, busy, refilled or empty."""
        lost = context.run_once("restarts.lost_data", _lost_data)
        context.check.no_problems(
            lost.untold,
            "lost the data, and filled the store again beyond the revision of the watches",
            expected="each watch shows what a list shows, and told the gap",
        )

    @requires_control("kill", "start")
    def test_restarts_outages_are_told_in_time(self, context: RuleContext) -> None:
        """While the server is down, reads are Unavailable, writes Unavailable or OutcomeUnknown, within the timeout."""
        context.store.put("key", b"")
        with _down(context):
            error = fails_in_time(
                context, "get in an outage", lambda: context.store.get("key", timeout=1.0), timeout=1.0
            )
            context.check.true(isinstance(error, Unavailable), "get in an outage", expected="Unavailable", seen=error)
            fails_in_time(context, "put in an outage", lambda: context.store.put("key", b"x", timeout=1.0), timeout=1.0)
        context.check.true(
            context.store.get("key", timeout=RECOVERY) is not None or not context.capabilities.durable,
            "get after the outage",
            expected="the key",
            seen=None,
        )

    @requires_control("kill", "start")
    def test_restarts_leave_watchers_with_the_truth(self, context: RuleContext) -> None:
        """Watches opened before a restart resume automatically: in order, with true events, and equal to a list."""
        with FaultWorkload(context, every_acknowledged=context.capabilities.durable) as workload:
            workload.settle()
            with outage(context, "kill", "start"):
                workload.wait_for_failures()
            workload.check()

    @requires_control("cut")
    def test_restarts_cut_connections_leave_watchers_with_the_truth(self, context: RuleContext) -> None:
        """Watches whose connection is cut repeatedly resume: in order, with true events, and equal to a list."""
        with FaultWorkload(context, every_acknowledged=True) as workload, Canary(context) as canary:
            workload.settle()
            with context.evidence.fault("cut") as window:
                window.what = "connections broken"
                for number in range(context.profile.pick(quick=20, full=100)):
                    workload.wait_for_progress(3)
                    workload.writers.more(12)  # so that some writes are under way, and some events are missed
                    window.effects += canary.cut(then=lambda: workload.wait_for_progress(3))
                    workload.catch_up(number)  # each watch has to resume before the next cut
                    context.check.enough(window.effects, number + 1, "a connection that broke")
            workload.check()

    @requires_control("cut", "compact")
    def test_restarts_a_watcher_left_behind_is_resynced(self, context: RuleContext) -> None:
        """A watch cut off while the store dropped its history gets a RESYNC with the difference, deletes included."""
        for key in ("w/deleted", "w/changed", "w/same"):
            context.store.put(key, b"1")
        watch = context.connect().watch("w/", previous=True)
        first = [batch for batch in (watch.next(EVENT_TIMEOUT), watch.next(EVENT_TIMEOUT)) if batch is not None]
        # The watch may connect after another connection read the state: a change shows that it is connected.
        stands = context.store.put("w/stands", b"").revision
        while watch.revision < stands:
            batch = watch.next(EVENT_TIMEOUT)
            if batch is None:
                raise context.check.fail(
                    "put a key that is watched", expected="a change", seen=f"nothing in {EVENT_TIMEOUT:g} s"
                )
            first.append(batch)
        # No thread is in next(), so the watch can't reconnect before the history is dropped.
        with context.evidence.fault("cut") as window:
            window.what = "watches that noticed"
            context.controls.do("cut")
            deadline = time.monotonic() + context.capabilities.max_watch_failure_detection + CLOCK_TOLERANCE
            while not watch.staleness and time.monotonic() < deadline:
                time.sleep(0.005)
            window.effects = int(watch.staleness > 0)
        context.check.enough(window.effects, 1, "a connection that broke")
        retry_until_answered(lambda: context.store.delete("w/deleted"))  # its connection broke, too
        context.store.put("w/changed", b"2")
        context.store.put("w/new", b"3")
        context.controls.do("compact")
        last = context.store.put(LAST_KEY, b"last").revision
        with Follower(context.check, watch) as follower:
            follower.wait_for(LAST_KEY, last, "cut, wrote, compacted", within=RECOVERY)
            batches = [*first, *follower.batches]
        problems = write_history.check_convergence(batches, context.store.list("w/"))
        problems += write_history.check_order(batches) + write_history.check_kinds(batches, previous=True)
        context.check.no_problems(problems, "cut, wrote, compacted, then read the watch", expected="the true state")
        deletes = [event.key for event in write_history.events_of(batches) if event.type is EventType.DELETE]
        context.check.equal(deletes, ["w/deleted"], "the deletes delivered")
        gaps = sum(batch.type is BatchType.RESYNC for batch in batches)
        context.check.enough(gaps, 1, "a gap reported after the control 'compact'")

    @requires_capability("durable")
    @requires_control("kill", "start")
    def test_restarts_leave_leases_truthful(self, context: RuleContext) -> None:
        """After a restart a kept lease is ALIVE and has its keys, or it is LOST and its keys are removed in time."""
        holder = context.connect()
        lease = holder.lease(max(20.0, context.short_ttl))
        holder.put("kept", b"", lease=lease)
        with _down(context):
            pass
        item = context.store.get("kept", timeout=RECOVERY)
        if item is not None:
            with contextlib.suppress(LeaseLost):
                lease.refresh(timeout=RECOVERY)
            context.check.equal(lease.state, LeaseState.ALIVE, "the state of a lease whose key is there")
        else:
            with contextlib.suppress(TenureError):
                lease.refresh(timeout=RECOVERY)
            context.check.equal(lease.state, LeaseState.LOST, "the state of a lease whose key is gone")

    @requires_capability("durable")
    @requires_control("kill", "start")
    def test_restarts_only_lengthen_leases(self, context: RuleContext) -> None:
        """An unrefreshed lease lives for at least its TTL, also over a restart, and expires in time afterwards."""
        holder = context.connect()
        # Just longer than a restart takes: on some stores a lease lives for twice its TTL.
        ttl = max(context.short_ttl, min(2 * context.short_ttl, 8.0), 4.0)
        sent = time.monotonic()
        lease = holder.lease(ttl, keep_alive=False)
        holder.put("left", b"", lease=lease)
        with _down(context):
            pass
        restarted = time.monotonic()
        missed = 0.0
        while missed <= 0.0 and time.monotonic() < restarted + RECOVERY + lease.max_lifetime_after_refresh:
            if context.store.get("left", timeout=RECOVERY) is None:
                missed = time.monotonic()
            else:
                time.sleep(0.02)
        did = "let a lease expire over a restart of the server"
        limit = lease.max_lifetime_after_refresh + RECOVERY
        seen = f"{missed - restarted:.2f} s after the restart" if missed else "not at all"
        context.check.true(0 < missed <= restarted + limit, did, expected=f"an end within {limit:g} s", seen=seen)
        lived = missed - sent
        context.check.true(
            lived >= lease.ttl - 0.02, did, expected=f"a life of at least {lease.ttl:g} s", seen=f"{lived:.2f} s"
        )


@contextlib.contextmanager
def _down(context: RuleContext) -> Iterator[None]:
    with outage(context, "kill", "start"):
        yield


@dataclass(slots=True)
class _LostData:
    """What clients that knew the lost data saw afterwards; texts are problems."""

    tried: list[int] = field(default_factory=list)
    accepted: list[str] = field(default_factory=list)
    untold: list[str] = field(default_factory=list)


def _lost_data(context: RuleContext) -> _LostData:
    """Lose the data under clients that know them, and refill the store by another one, beyond what they know."""
    # A store that counts its revisions begins anew here, so that refilling it takes few writes.
    _lose(context)
    idle, watcher = context.connect(), context.connect()
    for number in range(_WRITES):  # so that the refilled store comes from below to the revisions of the lost data
        context.store.put(f"free/{number}", b"")
    guarded = [f"guarded/{number}" for number in range(_WRITES)]
    old = {key: context.store.put(key, b"old").revision for key in (*guarded, "same/1", "same/2")}
    idle.list("guarded/")
    for name in ("quiet/1", "quiet/2", "busy/0"):
        context.store.put(name, b"old")
    prefixes = ("quiet/", "same/", "busy/", "empty/")
    with contextlib.ExitStack() as stack:
        followers = {prefix: stack.enter_context(Follower(context.check, watcher.watch(prefix))) for prefix in prefixes}
        for follower in followers.values():
            follower.wait_in_sync()
        _lose(context)
        lost = _LostData()
        other = context.connect()
        for key, revision in old.items():
            present = 0
            for number in range(4 * _WRITES):
                present = other.put(key, b"new %d" % number, timeout=RECOVERY).revision
                if present >= revision:
                    break
            if present == revision and key in guarded:
                lost.tried.append(revision)
                _use(idle, key, revision, "an idle client", lost)
        for number in range(_WRITES):
            other.put(f"busy/{number % 3}", b"new", timeout=RECOVERY)
        for key in (guarded[0], guarded[-1]):
            lost.tried.append(old[key])
            _use(context.store, key, old[key], "a client that noticed", lost)
            _use(idle, key, old[key], "an idle client", lost)
        limit = RECOVERY + context.capabilities.max_watch_failure_detection
        for prefix, follower in followers.items():
            lost.untold += _untold(context, prefix, follower, time.monotonic() + limit)
    return lost


def _lose(context: RuleContext) -> None:
    """Lose the store's data."""
    context.store.put("kept", b"", timeout=RECOVERY)
    with context.evidence.fault("wiped store") as window:
        window.what = "keys that are gone"
        context.controls.do("kill")
        try:
            context.controls.do("wipe")
        finally:
            context.controls.do("start")
        works_again(context, context.store)
        window.effects = int(context.store.get("kept") is None)
    context.check.enough(window.effects, 1, "a key lost with the store's data")


def _use(store: Store, key: str, revision: int, who: str, lost: _LostData) -> None:
    """Replace a key at a revision of the lost data; note if that isn't a Conflict."""
    try:
        store.put_if_unchanged(key, b"stale", revision=revision, timeout=RECOVERY)
    except Conflict:
        return
    lost.accepted.append(f"{who}: put_if_unchanged({key!r}, revision={revision}) was applied")


def _untold(context: RuleContext, prefix: str, follower: Follower, deadline: float) -> list[str]:
    """What is wrong with a watch of lost data, once it had time to tell."""
    while True:
        batches = list(follower.batches)
        wrong = write_history.check_convergence(batches, context.store.list(prefix, timeout=RECOVERY))
        if not wrong or time.monotonic() > deadline:
            break
        time.sleep(0.05)
    if not wrong and prefix != "empty/" and not any(batch.type is BatchType.RESYNC for batch in batches):
        wrong = ["it told the difference without a RESYNC"]
    return [f"the watch of {prefix!r}: {problem}" for problem in wrong]
