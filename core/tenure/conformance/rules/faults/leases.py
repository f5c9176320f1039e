"""Rules about holders of leases that are cut off or stand still: they know first that they hold nothing any more."""

from __future__ import annotations

import time
from functools import partial

from tenure._client.store import Store
from tenure.conformance.fault_injection.client_process import Puppet
from tenure.conformance.fault_injection.faults import WAYS, fault, hole, setback, works_again
from tenure.conformance.harness.assertions import PATIENCE
from tenure.conformance.harness.context import World
from tenure.conformance.harness.rule import Rules, needs, patient, requires
from tenure.conformance.network import Direction
from tenure.conformance.workloads.leases import NOISE
from tenure.conformance.workloads.threads import together
from tenure.errors import Conflict, LeaseLost
from tenure.leases import Lease, LeaseState

_CLOCKS = 0.02
"""Seconds that clocks may run apart within one lease's time."""


class FaultLeaseRules(Rules, area="faults"):
    """Who holds what when nobody can ask."""

    @patient
    @needs("network")
    def test_faults_a_holder_cut_off_knows_before_anyone_else(self, world: World) -> None:
        """A holder that is cut off finds its lease LOST by its own clock before anyone else gets its key."""
        together(world.check, [partial(_cut_off, world, each) for each in WAYS], "three holders cut off")

    @patient
    @requires("multi_process")
    def test_faults_a_stopped_holder_knows_before_it_writes(self, world: World) -> None:
        """A holder stopped for longer than its ttl finds its lease LOST, and its next guarded write is refused."""
        did = "stopped the process that holds a lease until another one got its key, and let it go on"
        with Puppet(world) as puppet:
            held = puppet.ask("hold", key="held", value="holder", ttl=world.short_ttl)
            world.check.true("error" not in held, "put a key on a lease", expected="an answer", seen=held)
            world.check.raises(
                Conflict, lambda: world.store.put_if_absent("held", b"early"), "put_if_absent of a key held"
            )
            with world.evidence.fault("client stopped") as window:
                window.what = "leases that ended meanwhile"
                puppet.stop()
                _take(world, world.store, "held", 2 * held["max_lifetime_after_refresh"] + PATIENCE)
                window.effects = 1
                puppet.send("state")
                puppet.go_on()
            # Looked at first of all, before any answer of the store can have come.
            world.check.equal(puppet.answer()["state"], "lost", f"{did}; the state of its lease")
            refused = puppet.ask("write", key="held", value="late")
            world.check.equal(refused.get("error"), "LeaseLost", f"{did}; a put on the lease")
            refused = puppet.ask("replace", key="held", value="late", revision=held["revision"])
            world.check.equal(refused.get("error"), "Conflict", f"{did}; a guarded put")
            calls = world.check.eventually(
                lambda: puppet.ask("state")["lost_calls"], lambda seen: seen > 0, did, expected="on_lost is called"
            )
            world.check.equal(calls, 1, f"{did}; the calls of on_lost")
        item = world.store.get("held")
        world.check.equal(item and item.value, b"contender", f"{did}; the key's value afterwards")

    @requires("durable")
    @needs("kill_leader", "start")
    def test_faults_a_lost_leader_only_lengthens_leases(self, world: World) -> None:
        """A lease that nobody refreshes lives for its ttl at least over the loss of the leader, and ends after it."""
        sent = time.monotonic()
        lease = world.connect().lease(max(2 * world.short_ttl, 4.0), keep_alive=False)
        world.store.put("left", b"", lease=lease)
        with setback(world, "kill_leader", "start"):
            works_again(world, world.store)
        limit = lease.max_lifetime_after_refresh * 2 + PATIENCE
        world.check.eventually(
            lambda: world.store.get("left"),
            lambda item: item is None,
            "let a lease run out",
            expected="its key gone",
            within=limit,
        )
        lived = time.monotonic() - sent
        world.check.true(
            lived >= lease.ttl - _CLOCKS,
            "let a lease run out over the loss of the leader",
            expected=f"a life of {lease.ttl:g} s at least",
            seen=f"{lived:.2f} s",
        )


def _cut_off(world: World, directions: tuple[Direction, ...]) -> None:
    network = world.another_network()
    holder, contender = world.connect(through=network), world.connect(direct=True)
    key, name = f"held/{'+'.join(directions)}", hole(directions)
    lost: list[Lease] = []
    lease = holder.lease(world.short_ttl, on_lost=lost.append)
    revision = holder.put_if_absent(key, b"holder", lease=lease).revision
    first = lease.deadline
    world.check.eventually(
        lambda: lease.deadline, lambda deadline: deadline > first, "held a lease", expected="a refresh by itself"
    )
    world.check.raises(Conflict, lambda: contender.put_if_absent(key, b"early"), "put_if_absent of a key held")
    with fault(world, name, partial(network.black_hole, *directions), "bytes held back"):
        taken = _take(world, contender, key, lease.ttl + 2 * lease.max_lifetime_after_refresh + PATIENCE)
        state = lease.state
    did = f"cut the holder of a lease off ({name}) until another one got its key"
    seen = f"the key was taken {lease.deadline - taken:.3f} s before"
    world.check.true(lease.deadline <= taken + _CLOCKS, did, expected="after the lease was lost", seen=seen)
    world.check.equal(state, LeaseState.LOST, f"{did}; the state of its lease")
    works_again(world, holder)
    world.check.raises(LeaseLost, lambda: holder.put(key, b"late", lease=lease), f"{did}; a put on the lease")
    world.check.raises(
        Conflict, lambda: holder.put_if_unchanged(key, b"late", revision=revision), f"{did}; a guarded put"
    )
    world.check.eventually(lambda: len(lost), lambda calls: calls > 0, did, expected="on_lost is called")
    world.check.equal(lost, [lease], f"{did}; the calls of on_lost")
    item = contender.get(key)
    world.check.equal(item and item.value, b"contender", f"{did}; the key's value afterwards")


def _take(world: World, contender: Store, key: str, within: float) -> float:
    """Take the key as soon as the store gives it away; when the store's answer came."""
    deadline = time.monotonic() + within + NOISE
    while True:
        try:
            contender.put_if_absent(key, b"contender")
            return contender.clock.now()
        except Conflict:
            if time.monotonic() > deadline:
                raise world.check.fail(
                    "waited for the lease of a holder that is gone",
                    expected=f"its key free within {within:g} s",
                    seen="still there",
                ) from None
        time.sleep(0.005)
