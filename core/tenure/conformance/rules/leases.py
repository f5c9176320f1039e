"""Rules about leases: duration, removal of keys on expiry, no resurrection."""

from __future__ import annotations

from functools import partial

from tenure.conformance.harness.assertions import EVENT_TIMEOUT
from tenure.conformance.harness.context import RuleContext
from tenure.conformance.harness.rule import SYNC, Rules, of_face, parallel_safe, requires_capability
from tenure.conformance.workloads.leases import observe, recorded
from tenure.conformance.workloads.recording_watcher import Follower
from tenure.errors import InvalidArgument, LeaseLost, LeaseNotFound, LimitExceeded, Unsupported
from tenure.leases import LeaseState
from tenure.spi import Delete, LeaseInfo, Put, Transaction
from tenure.watch import EventType

_CLOCKS = 0.02
"""Seconds that clocks may run apart within one lease's time."""


class LeaseRules(Rules, area="leases"):
    """Keys that live as long as their lease."""

    # -- time: all of these look at one run of several leases --

    @parallel_safe
    def test_leases_never_end_before_their_ttl(self, context: RuleContext) -> None:
        """A lease lives for its whole TTL, counted from the grant: no client sees its keys gone before."""
        endings = context.run_once("leases", observe).endings.values()
        problems = context.evidence.check("leases-not-early", recorded(endings, clocks=_CLOCKS))
        context.check.no_problems(
            problems, "left leases alone, and waited for their keys to go", expected="not before the TTL of each"
        )

    def test_leases_left_alone_end_in_time(self, context: RuleContext) -> None:
        """An unrefreshed lease expires by the declared worst case, and its keys are gone for every reader."""
        run = context.run_once("leases", observe)
        problems = context.evidence.check(
            "leases-in-time", recorded(run.endings.values(), seen_by=["reader"], tolerance=run.tolerance)
        )
        context.check.no_problems(problems, "left leases alone", expected="a reader finds each key gone in time")

    def test_leases_ending_is_told_to_watchers(self, context: RuleContext) -> None:
        """When a lease expires, watchers receive a delete of each of its keys, with the old value."""
        run = context.run_once("leases", observe)
        latency = context.capabilities.max_watch_latency
        data = recorded(run.endings.values(), seen_by=["watcher"], tolerance=run.tolerance, latency=latency)
        problems = context.evidence.check("leases-in-time", data)
        context.check.no_problems(problems, "left leases alone", expected="a watcher receives each delete in time")
        for ending in run.endings.values():
            before = ending.event and ending.event.previous
            context.check.equal(before and before.value, ending.name.encode(), f"the previous value of {ending.name!r}")
        deleted = {event.key for event in run.events if event.type is EventType.DELETE}
        context.check.true(
            {"lease/group", "lease/group/1", "lease/group/2"} <= deleted,
            "let a lease with three keys end",
            expected="a delete of each",
            seen=sorted(deleted),
        )

    def test_leases_are_extended_by_refreshing(self, context: RuleContext) -> None:
        """A refresh gives the full TTL again, counted from the refresh."""
        ending = context.run_once("leases", observe).endings["refreshed"]
        lived = None if ending.missed is None else ending.missed - ending.sent
        context.check.true(
            lived is not None and lived >= ending.ttl - _CLOCKS,
            "refreshed a lease once, after more than half of its TTL",
            expected=f"its key lives for {ending.ttl:g} s more, and then it ends",
            seen="it was still there at the end" if lived is None else f"it was gone after {lived:.3f} s",
        )

    def test_leases_kept_alive_live_on(self, context: RuleContext) -> None:
        """A lease that is kept alive is still there, with its keys, when one left alone would long have ended."""
        run = context.run_once("leases", observe)
        context.check.equal(run.kept_item and run.kept_item.value, b"kept", "the key of the lease that was kept")
        # At risk means that the last refresh came late, which a busy machine may cause; the lease can be relied on.
        state = run.states["kept"]
        holds = state in (LeaseState.ALIVE.value, LeaseState.AT_RISK.value)
        context.check.true(holds, "the state of the lease that was kept", expected="alive", seen=state)

    def test_leases_leave_what_is_not_theirs(self, context: RuleContext) -> None:
        """With a lease go its keys alone: not those put again without it or with another one, nor keys below."""
        run = context.run_once("leases", observe)
        for key, value in (
            ("lease/detached/key", b"free"),
            ("lease/left/key", b"moved"),
            ("lease/parent/child", b"child"),
        ):
            item = run.after.get(key)
            context.check.equal(item and item.value, value, f"{key!r} after the end of the lease it isn't attached to")

    def test_leases_lost_are_told_once(self, context: RuleContext) -> None:
        """The holder of an expired lease finds it LOST, and its on_lost is called exactly once."""
        run = context.run_once("leases", observe)
        context.check.equal(run.lost_calls, 1, "the number of calls of on_lost")
        states = {name: run.states[name] for name in run.endings}
        context.check.equal(set(states.values()), {LeaseState.LOST.value}, "the states of leases left alone")

    # -- without waiting --

    def test_leases_have_a_truthful_ttl(self, context: RuleContext) -> None:
        """The effective TTL is never shorter than requested, and no longer than the declared granularity explains."""
        limits = context.capabilities
        least = limits.min_ttl
        for asked in (least / 2, least, least * 1.3, least * 3 + 0.1, context.long_ttl):
            lease = context.store.lease(asked)
            context.check.equal(lease.requested_ttl, asked, "the requested_ttl of a lease")
            most = max(asked, limits.min_ttl) + max(limits.ttl_granularity, 1.0)
            context.check.true(
                asked - 1e-9 <= lease.ttl <= most,
                f"lease({asked})",
                expected=f"a TTL of {asked} to {most}",
                seen=lease.ttl,
            )
            lease.revoke()

    def test_leases_have_limits(self, context: RuleContext) -> None:
        """A TTL longer than declared is LimitExceeded, and a TTL that is no positive number is InvalidArgument."""
        longest = context.capabilities.max_ttl
        context.store.lease(longest).revoke()
        context.check.raises(LimitExceeded, lambda: context.store.lease(longest * 1.01 + 1), "a TTL beyond max_ttl")
        for ttl in (0, -1, float("nan"), float("inf")):
            context.check.raises(InvalidArgument, partial(context.store.lease, ttl), f"lease({ttl})")

    def test_leases_list_their_keys(self, context: RuleContext) -> None:
        """A key put with a lease names it wherever it is read, and no lease after a put without one."""
        lease = context.store.lease(context.long_ttl)
        first = context.store.put("key", b"1", lease=lease).revision
        item = context.store.get("key")
        context.check.equal(item, ("key", b"1", first, first, lease.id), "get of a key with a lease")
        context.check.equal(list(context.store.list("")), [item], "list of a key with a lease")
        second = context.store.put("key", b"2").revision
        context.check.equal(context.store.get("key"), ("key", b"2", first, second, None), "get after a put without it")

    def test_leases_revoked_take_their_keys_at_once(self, context: RuleContext) -> None:
        """After revoke returns, the keys of the lease are gone, no others, and watchers see the deletes."""
        lease, other = context.store.lease(context.long_ttl), context.store.lease(context.long_ttl)
        with Follower(context.check, context.store.watch("", previous=True)) as follower:
            follower.wait_in_sync()
            for number in range(5):
                context.store.put(f"{number}", str(number).encode(), lease=lease)
            context.store.put("other", b"", lease=other)
            context.store.put("0", b"free")
            context.store.put("none", b"")
            before = context.store.put("1", b"again", lease=lease).revision
            follower.wait_for("1", before, "put keys on a lease")  # a watch that coalesces must have seen them
            lease.revoke()
            context.check.equal(context.store.list("").keys, ("0", "none", "other"), "list('') after a revoke")
            for number in range(1, 5):
                follower.wait_for(f"{number}", before + 1, "revoked a lease with four keys")
                event = follower.event(f"{number}", lambda event: event.type is EventType.DELETE)
                previous = event and event[0].previous and event[0].previous.value
                context.check.equal(
                    previous, b"again" if number == 1 else str(number).encode(), f"value before, {number}"
                )
            if context.capabilities.lossless_watch:
                revisions = {e.revision for b in follower.batches for e in b.events if e.type is EventType.DELETE}
                context.check.equal(len(revisions), 1, "the number of transactions in which the keys went")

    def test_leases_revoked_stay_dead(self, context: RuleContext) -> None:
        """A revoked lease can't be refreshed and accepts no key, and revoking it again has no effect."""
        lease = context.store.lease(context.long_ttl)
        context.store.put("key", b"", lease=lease)
        lease.revoke()
        lease.revoke()
        context.check.raises(LeaseLost, lease.refresh, "refresh of a revoked lease")
        context.check.raises(LeaseLost, lambda: context.store.put("key", b"", lease=lease), "put on a revoked lease")
        context.check.raises(LeaseNotFound, lambda: context.store.put("key", b"", lease=lease.id), "put on its id")
        context.check.raises(LeaseNotFound, lambda: context.store.revoke_lease(lease.id), "revoke_lease of its id")
        backend = context.backend()
        context.check.equal(backend.refresh([lease.id], timeout=10.0), {}, "the backend's refresh of a revoked lease")
        context.check.equal(backend.revoke([lease.id], timeout=10.0), frozenset(), "the backend's second revoke")
        context.check.equal(context.store.get("key"), None, "get('key') afterwards")

    def test_leases_can_be_revoked_by_anyone(self, context: RuleContext) -> None:
        """Revoking a lease by its id from elsewhere deletes its keys, and its holder finds it LOST on its next use."""
        holder = context.connect()
        lease = holder.lease(context.long_ttl)
        holder.put("key", b"", lease=lease)
        context.store.revoke_lease(lease.id)
        context.check.equal(context.store.get("key"), None, "get('key') after revoke_lease by another connection")
        context.check.raises(
            (LeaseLost, LeaseNotFound), lambda: holder.put("key", b"", lease=lease), "the holder's put"
        )
        context.check.raises(LeaseLost, lease.refresh, "the holder's refresh")
        context.check.equal(lease.state, LeaseState.LOST, "the state of the lease at its holder")

    @of_face(SYNC, because="the rule is about the plugin, below both interfaces")
    def test_leases_are_refreshed_and_revoked_in_batches(self, context: RuleContext) -> None:
        """Refreshing or revoking many leases at once returns exactly the living ones."""
        backend = context.backend()
        ids = [backend.grant(context.long_ttl, timeout=10.0).lease_id for _ in range(30)]
        context.check.equal(len(set(ids)), 30, "the number of different ids of 30 leases")
        revoked = backend.revoke(ids[::3], timeout=10.0)
        context.check.equal(revoked, frozenset(ids[::3]), "revoke of ten living leases")
        refreshed = backend.refresh(ids, timeout=10.0)
        context.check.equal(set(refreshed), set(ids) - set(ids[::3]), "refresh of thirty, ten of which were revoked")
        ttls = [ttl for ttl in refreshed.values() if ttl < context.long_ttl]
        context.check.equal(ttls, [], "TTLs returned that are shorter than the one requested")
        context.check.equal(backend.refresh([], timeout=10.0), {}, "refresh of none")
        revoked = backend.revoke(ids, timeout=10.0)
        context.check.equal(revoked, frozenset(set(ids) - set(ids[::3])), "revoke of all, ten of them revoked already")

    def test_leases_changing_keeps_the_create_revision(self, context: RuleContext) -> None:
        """A key that is put on a lease, on another one and on none is the same key: its create revision stays."""
        created = context.store.put("key", b"0").revision
        leases = [context.store.lease(context.long_ttl) for _ in range(2)]
        for number, lease in enumerate([*leases, None, leases[0]], start=1):
            revision = context.store.put("key", b"%d" % number, lease=lease).revision
            item = context.store.get("key")
            context.check.equal(
                item and (item.create_revision, item.mod_revision, item.lease_id),
                (created, revision, lease and lease.id),
                f"a key's create revision, mod revision and lease after {number} changes of its lease",
            )

    def test_leases_deleted_keys_do_not_come_back(self, context: RuleContext) -> None:
        """A key deleted and put again without its lease survives the end of that lease."""
        backend = context.backend()
        key = context.physical("key")
        grant = backend.grant(context.long_ttl, timeout=10.0)
        backend.commit(Transaction((), (Put(key, b"1", grant.lease_id),)), timeout=10.0)
        backend.commit(Transaction((), (Delete(key),)), timeout=10.0)
        backend.commit(Transaction((), (Put(key, b"2"),)), timeout=10.0)
        backend.revoke([grant.lease_id], timeout=10.0)
        item = context.store.get("key")
        context.check.equal(item and item.value, b"2", "put with a lease, delete, put without it, revoke: get")

    def test_leases_listing_works_or_is_refused(self, context: RuleContext) -> None:
        """Listing and describing leases is Unsupported exactly where list_leases isn't declared."""
        lease = context.store.lease(context.long_ttl)
        if context.capabilities.list_leases:
            context.check.true(
                lease.id in {info.lease_id for info in context.store.leases()},
                "leases() with a living lease",
                expected=f"the lease {lease.id} among them",
                seen="not there",
            )
        else:
            context.check.raises(Unsupported, context.store.leases, "leases() where list_leases isn't declared")
            describe = partial(context.store.describe_lease, lease)
            context.check.raises(Unsupported, describe, "describe_lease() where list_leases isn't declared")

    @requires_capability("list_leases")
    def test_leases_are_described(self, context: RuleContext) -> None:
        """A lease is listed with its TTL, the remaining time and its present keys; an ended lease is not listed."""
        lease = context.store.lease(context.long_ttl)
        for key in ("b", "a", "left"):
            context.store.put(key, b"", lease=lease)
        context.store.put("left", b"")
        info: LeaseInfo = context.store.describe_lease(lease)
        context.check.equal((info.lease_id, info.ttl), (lease.id, lease.ttl), "id and TTL as described")
        context.check.equal(tuple(sorted(info.keys)), ("a", "b"), "the keys of the lease as described")
        remaining = info.remaining
        context.check.true(
            remaining is None or context.long_ttl - EVENT_TIMEOUT < remaining <= lease.ttl,
            "describe_lease() of a fresh lease",
            expected=f"remaining of nearly {lease.ttl:g} s",
            seen=remaining,
        )
        lease.revoke()
        context.check.raises(LeaseNotFound, lambda: context.store.describe_lease(lease.id), "describe a revoked lease")
        living = {each.lease_id for each in context.store.leases()}
        context.check.true(lease.id not in living, "leases() after revoke", expected="without it", seen="listed")
