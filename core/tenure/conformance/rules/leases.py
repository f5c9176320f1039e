"""Rules about leases: how long they last, what ends with them, that the dead stay dead."""

from __future__ import annotations

from functools import partial

from tenure.conformance.harness.assertions import PATIENCE
from tenure.conformance.harness.context import World
from tenure.conformance.harness.rule import Rules, patient, requires
from tenure.conformance.workloads.leases import NOISE, observe, recorded
from tenure.conformance.workloads.recording_watcher import Follower
from tenure.errors import InvalidArgument, LeaseLost, LeaseNotFound, LimitExceeded, Unsupported
from tenure.leases import LeaseState
from tenure.spi import Delete, LeaseInfo, Put, Transaction
from tenure.watch import EventType

_CLOCKS = 0.02
"""Seconds that clocks may run apart within one lease's time."""


class LeaseRules(Rules, area="leases"):
    """Keys that live as long as somebody says so."""

    # -- time: all of these look at one run of several leases --

    @patient
    def test_leases_never_end_before_their_ttl(self, world: World) -> None:
        """A lease lives for its whole ttl, counted from the grant: nobody sees its keys gone before."""
        endings = world.once("leases", observe).endings.values()
        problems = world.evidence.judge("leases-not-early", recorded(endings, clocks=_CLOCKS))
        world.check.no_problems(
            problems, "left leases alone, and waited for their keys to go", expected="not before the ttl of each"
        )

    def test_leases_left_alone_end_in_time(self, world: World) -> None:
        """A lease that nobody refreshes ends by the declared worst case, and its keys are gone for every reader."""
        endings = world.once("leases", observe).endings.values()
        problems = world.evidence.judge("leases-in-time", recorded(endings, seen_by=["reader"], noise=NOISE))
        world.check.no_problems(problems, "left leases alone", expected="a reader finds each key gone in time")

    def test_leases_ending_is_told_to_watchers(self, world: World) -> None:
        """When a lease ends by itself, watchers are told a delete of each of its keys, with the old value."""
        run = world.once("leases", observe)
        latency = world.capabilities.max_watch_latency
        data = recorded(run.endings.values(), seen_by=["watcher"], noise=NOISE, latency=latency)
        problems = world.evidence.judge("leases-in-time", data)
        world.check.no_problems(problems, "left leases alone", expected="a watcher is told each delete in time")
        for ending in run.endings.values():
            before = ending.event and ending.event.previous
            world.check.equal(before and before.value, ending.name.encode(), f"the previous value of {ending.name!r}")
        deleted = {event.key for event in run.events if event.type is EventType.DELETE}
        world.check.true(
            {"lease/group", "lease/group/1", "lease/group/2"} <= deleted,
            "let a lease with three keys end",
            expected="a delete of each",
            seen=sorted(deleted),
        )

    def test_leases_are_extended_by_refreshing(self, world: World) -> None:
        """A refresh gives the full ttl again, counted from then."""
        ending = world.once("leases", observe).endings["refreshed"]
        lived = None if ending.missed is None else ending.missed - ending.sent
        world.check.true(
            lived is not None and lived >= ending.ttl - _CLOCKS,
            "refreshed a lease after more than half of its ttl, once",
            expected=f"its key lives for {ending.ttl:g} s more, and then it ends",
            seen="it was still there at the end" if lived is None else f"it was gone after {lived:.3f} s",
        )

    def test_leases_kept_alive_live_on(self, world: World) -> None:
        """A lease that is kept alive is still there, with its keys, when one left alone would long have ended."""
        run = world.once("leases", observe)
        world.check.equal(run.kept_item and run.kept_item.value, b"kept", "the key of the lease that was kept")
        world.check.equal(run.states["kept"], LeaseState.ALIVE.value, "the state of the lease that was kept")

    def test_leases_leave_what_is_not_theirs(self, world: World) -> None:
        """With a lease go its keys alone: not those put again without it or with another one, nor keys below."""
        run = world.once("leases", observe)
        for key, value in (
            ("lease/detached/key", b"free"),
            ("lease/left/key", b"moved"),
            ("lease/parent/child", b"child"),
        ):
            item = run.after.get(key)
            world.check.equal(item and item.value, value, f"{key!r} after the end of the lease it isn't attached to")

    def test_leases_lost_are_told_once(self, world: World) -> None:
        """The holder of a lease that ended by itself finds it LOST, and its on_lost is called exactly once."""
        run = world.once("leases", observe)
        world.check.equal(run.lost_calls, 1, "the number of calls of on_lost")
        states = {name: run.states[name] for name in run.endings}
        world.check.equal(set(states.values()), {LeaseState.LOST.value}, "the states of leases left alone")

    # -- without waiting --

    def test_leases_have_a_truthful_ttl(self, world: World) -> None:
        """The effective ttl is never shorter than asked for, and no longer than the declared steps explain."""
        limits = world.capabilities
        least = limits.min_ttl
        for asked in (least / 2, least, least * 1.3, least * 3 + 0.1, world.long_ttl):
            lease = world.store.lease(asked)
            world.check.equal(lease.requested_ttl, asked, "the requested_ttl of a lease")
            most = max(asked, limits.min_ttl) + max(limits.ttl_granularity, 1.0)
            world.check.true(
                asked - 1e-9 <= lease.ttl <= most,
                f"lease({asked})",
                expected=f"a ttl of {asked} to {most}",
                seen=lease.ttl,
            )
            lease.revoke()

    def test_leases_have_limits(self, world: World) -> None:
        """A ttl longer than declared is LimitExceeded, one that makes no sense is an InvalidArgument."""
        longest = world.capabilities.max_ttl
        world.store.lease(longest).revoke()
        world.check.raises(LimitExceeded, lambda: world.store.lease(longest * 1.01 + 1), "a ttl beyond max_ttl")
        for ttl in (0, -1, float("nan"), float("inf")):
            world.check.raises(InvalidArgument, partial(world.store.lease, ttl), f"lease({ttl})")

    def test_leases_are_named_by_their_keys(self, world: World) -> None:
        """A key put with a lease names it wherever it is read, and no lease after a put without one."""
        lease = world.store.lease(world.long_ttl)
        first = world.store.put("key", b"1", lease=lease).revision
        item = world.store.get("key")
        world.check.equal(item, ("key", b"1", first, first, lease.id), "get of a key with a lease")
        world.check.equal(list(world.store.list("")), [item], "list of a key with a lease")
        second = world.store.put("key", b"2").revision
        world.check.equal(world.store.get("key"), ("key", b"2", first, second, None), "get after a put without it")

    def test_leases_revoked_take_their_keys_at_once(self, world: World) -> None:
        """After revoke returns, the keys of the lease are gone, no others, and watchers see the deletes."""
        lease, other = world.store.lease(world.long_ttl), world.store.lease(world.long_ttl)
        with Follower(world.check, world.store.watch("", previous=True)) as follower:
            follower.wait_in_sync()
            for number in range(5):
                world.store.put(f"{number}", str(number).encode(), lease=lease)
            world.store.put("other", b"", lease=other)
            world.store.put("0", b"free")
            world.store.put("none", b"")
            before = world.store.put("1", b"again", lease=lease).revision
            follower.wait_for("1", before, "put keys on a lease")  # a watch that coalesces must have seen them
            lease.revoke()
            world.check.equal(world.store.list("").keys, ("0", "none", "other"), "list('') after a revoke")
            for number in range(1, 5):
                follower.wait_for(f"{number}", before + 1, "revoked a lease with four keys")
                event = follower.event(f"{number}", lambda event: event.type is EventType.DELETE)
                previous = event and event[0].previous and event[0].previous.value
                world.check.equal(
                    previous, b"again" if number == 1 else str(number).encode(), f"value before, {number}"
                )
            if world.capabilities.lossless_watch:
                revisions = {e.revision for b in follower.batches for e in b.events if e.type is EventType.DELETE}
                world.check.equal(len(revisions), 1, "the number of transactions in which the keys went")

    def test_leases_revoked_stay_dead(self, world: World) -> None:
        """A revoked lease can't be refreshed back to life, takes no key, and revoking it again does no harm."""
        lease = world.store.lease(world.long_ttl)
        world.store.put("key", b"", lease=lease)
        lease.revoke()
        lease.revoke()
        world.check.raises(LeaseLost, lease.refresh, "refresh of a revoked lease")
        world.check.raises(LeaseLost, lambda: world.store.put("key", b"", lease=lease), "put on a revoked lease")
        world.check.raises(LeaseNotFound, lambda: world.store.put("key", b"", lease=lease.id), "put on its id")
        world.check.raises(LeaseNotFound, lambda: world.store.revoke_lease(lease.id), "revoke_lease of its id")
        backend = world.backend()
        world.check.equal(backend.refresh([lease.id], timeout=10.0), {}, "the backend's refresh of a revoked lease")
        world.check.equal(backend.revoke([lease.id], timeout=10.0), frozenset(), "the backend's second revoke")
        world.check.equal(world.store.get("key"), None, "get('key') afterwards")

    def test_leases_can_be_revoked_by_anyone(self, world: World) -> None:
        """Revoking a lease by its id from elsewhere deletes its keys, and its holder finds it LOST on its next use."""
        holder = world.connect()
        lease = holder.lease(world.long_ttl)
        holder.put("key", b"", lease=lease)
        world.store.revoke_lease(lease.id)
        world.check.equal(world.store.get("key"), None, "get('key') after revoke_lease by another connection")
        world.check.raises((LeaseLost, LeaseNotFound), lambda: holder.put("key", b"", lease=lease), "the holder's put")
        world.check.raises(LeaseLost, lease.refresh, "the holder's refresh")
        world.check.equal(lease.state, LeaseState.LOST, "the state of the lease at its holder")

    def test_leases_are_refreshed_and_revoked_in_batches(self, world: World) -> None:
        """Refreshing or revoking many at once answers for each truthfully: the living, not the dead."""
        backend = world.backend()
        ids = [backend.grant(world.long_ttl, timeout=10.0).lease_id for _ in range(30)]
        world.check.equal(len(set(ids)), 30, "the number of different ids of 30 leases")
        revoked = backend.revoke(ids[::3], timeout=10.0)
        world.check.equal(revoked, frozenset(ids[::3]), "revoke of ten living leases")
        refreshed = backend.refresh(ids, timeout=10.0)
        world.check.equal(set(refreshed), set(ids) - set(ids[::3]), "refresh of thirty, ten of which were revoked")
        ttls = [ttl for ttl in refreshed.values() if ttl < world.long_ttl]
        world.check.equal(ttls, [], "ttls answered that are shorter than the one asked for")
        world.check.equal(backend.refresh([], timeout=10.0), {}, "refresh of none")
        revoked = backend.revoke(ids, timeout=10.0)
        world.check.equal(revoked, frozenset(set(ids) - set(ids[::3])), "revoke of all, ten of them dead already")

    def test_leases_deleted_keys_do_not_come_back(self, world: World) -> None:
        """A key deleted and put again without its lease survives the end of that lease."""
        backend = world.backend()
        key = world.physical("key")
        grant = backend.grant(world.long_ttl, timeout=10.0)
        backend.commit(Transaction((), (Put(key, b"1", grant.lease_id),)), timeout=10.0)
        backend.commit(Transaction((), (Delete(key),)), timeout=10.0)
        backend.commit(Transaction((), (Put(key, b"2"),)), timeout=10.0)
        backend.revoke([grant.lease_id], timeout=10.0)
        item = world.store.get("key")
        world.check.equal(item and item.value, b"2", "put with a lease, delete, put without it, revoke: get")

    def test_leases_listing_works_or_is_refused(self, world: World) -> None:
        """Listing and describing leases is Unsupported exactly where list_leases isn't declared."""
        lease = world.store.lease(world.long_ttl)
        if world.capabilities.list_leases:
            world.check.true(
                lease.id in {info.lease_id for info in world.store.leases()},
                "leases() with a living lease",
                expected=f"the lease {lease.id} among them",
                seen="not there",
            )
        else:
            world.check.raises(Unsupported, world.store.leases, "leases() where list_leases isn't declared")
            describe = partial(world.store.describe_lease, lease)
            world.check.raises(Unsupported, describe, "describe_lease() where list_leases isn't declared")

    @requires("list_leases")
    def test_leases_are_described(self, world: World) -> None:
        """A lease is listed with its ttl, what remains of it and the keys it holds now; a dead one not at all."""
        lease = world.store.lease(world.long_ttl)
        for key in ("b", "a", "left"):
            world.store.put(key, b"", lease=lease)
        world.store.put("left", b"")
        info: LeaseInfo = world.store.describe_lease(lease)
        world.check.equal((info.lease_id, info.ttl), (lease.id, lease.ttl), "id and ttl as described")
        world.check.equal(tuple(sorted(info.keys)), ("a", "b"), "the keys of the lease as described")
        remaining = info.remaining
        world.check.true(
            remaining is None or world.long_ttl - PATIENCE < remaining <= lease.ttl,
            "describe_lease() of a fresh lease",
            expected=f"remaining of nearly {lease.ttl:g} s",
            seen=remaining,
        )
        lease.revoke()
        world.check.raises(LeaseNotFound, lambda: world.store.describe_lease(lease.id), "describe a revoked lease")
        living = {each.lease_id for each in world.store.leases()}
        world.check.true(lease.id not in living, "leases() after revoke", expected="without it", seen="listed")
