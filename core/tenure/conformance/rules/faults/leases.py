"""Rules about holders of leases that are cut off or stopped: they find their loss before another client benefits."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial

from tenure._client.store import Store
from tenure.conformance.fault_injection.client_process import ClientProcess
from tenure.conformance.fault_injection.faults import WAYS, black_hole_name, degraded_window, fault, works_again
from tenure.conformance.harness.assertions import EVENT_TIMEOUT, inconclusive
from tenure.conformance.harness.context import RuleContext
from tenure.conformance.harness.rule import Rules, parallel_safe, requires_capability, requires_control
from tenure.conformance.network import Direction
from tenure.conformance.workloads.leases import CLOCK_TOLERANCE
from tenure.conformance.workloads.threads import together
from tenure.errors import Conflict, LeaseLost, LeaseNotFound
from tenure.leases import Lease, LeaseState

_CLOCKS = 0.02
"""Seconds by which clocks may differ within the time of one lease."""
_HOLDS = 3
"""Leases that a holder takes before its rule is inconclusive."""


class FaultLeaseRules(Rules, area="faults"):
    """Leases of holders that the store can't reach."""

    @parallel_safe
    @requires_control("network")
    def test_faults_a_holder_cut_off_knows_before_anyone_else(self, context: RuleContext) -> None:
        """A holder that is cut off finds its lease LOST by its own clock before another client gets its key."""
        together(context.check, [partial(_cut_off, context, each) for each in WAYS], "three holders cut off")

    @parallel_safe
    @requires_capability("multi_process")
    def test_faults_a_stopped_holder_knows_before_it_writes(self, context: RuleContext) -> None:
        """A holder stopped for longer than its TTL finds its lease LOST, and its next conditional write is refused."""
        did = "stopped the process that holds a lease until another client got its key, and resumed it"
        with ClientProcess(context) as client:
            held = client.ask("hold", key="held", value="holder", ttl=context.short_ttl)
            context.check.true("error" not in held, "put a key on a lease", expected="an answer", seen=held)
            context.check.raises(
                Conflict, lambda: context.store.put_if_absent("held", b"early"), "put_if_absent of a key held"
            )
            with context.evidence.fault("client stopped") as window:
                window.what = "leases that expired meanwhile"
                client.stop()
                _take(context, context.store, "held", 2 * held["max_lifetime_after_refresh"] + EVENT_TIMEOUT)
                window.effects = 1
                client.send("state")
                client.resume()
            # Read before any answer of the store can have come.
            context.check.equal(client.answer()["state"], "lost", f"{did}; the state of its lease")
            refused = client.ask("write", key="held", value="late")
            context.check.equal(refused.get("error"), "LeaseLost", f"{did}; a put on the lease")
            refused = client.ask("replace", key="held", value="late", revision=held["revision"])
            context.check.equal(refused.get("error"), "Conflict", f"{did}; a conditional put")
            calls = context.check.eventually(
                lambda: client.ask("state")["lost_calls"], lambda seen: seen > 0, did, expected="on_lost is called"
            )
            context.check.equal(calls, 1, f"{did}; the calls of on_lost")
        item = context.store.get("held")
        context.check.equal(item and item.value, b"contender", f"{did}; the key's value afterwards")

    @requires_capability("durable")
    @requires_control("kill_leader", "start")
    def test_faults_a_lost_leader_only_lengthens_leases(self, context: RuleContext) -> None:
        """An unrefreshed lease lives for at least its TTL over the loss of the leader, and expires afterwards."""
        sent = time.monotonic()
        lease = context.connect().lease(max(2 * context.short_ttl, 4.0), keep_alive=False)
        context.store.put("left", b"", lease=lease)
        with degraded_window(context, "kill_leader", "start"):
            works_again(context, context.store)
        limit = lease.max_lifetime_after_refresh * 2 + EVENT_TIMEOUT
        context.check.eventually(
            lambda: context.store.get("left"),
            lambda item: item is None,
            "let a lease expire",
            expected="its key gone",
            within=limit,
        )
        lived = time.monotonic() - sent
        context.check.true(
            lived >= lease.ttl - _CLOCKS,
            "let a lease expire over the loss of the leader",
            expected=f"a life of at least {lease.ttl:g} s",
            seen=f"{lived:.2f} s",
        )


@dataclass(frozen=True, slots=True)
class _Held:
    """A key on a lease that is kept alive."""

    key: str
    lease: Lease
    revision: int
    lost: list[Lease]
    """The calls of ``on_lost``."""


def _hold(context: RuleContext, holder: Store, contender: Store, key: str) -> _Held:
    """Hold a key on a lease that was refreshed and that the contender can't take.

    On a busy machine a refresh may come too late. A lease that ends before the cut shows nothing, so take another.
    """
    for number in range(_HOLDS):
        held = _try_to_hold(context, holder, contender, f"{key}/{number}")
        if held is not None:
            return held
    raise inconclusive(
        context.rule,
        f"{_HOLDS} leases of {context.short_ttl:g} s ended before their holder was cut off, since no refresh came in "
        "time. The run shows nothing about the guarantee; the store may be too slow, or the machine overloaded",
    )


def _try_to_hold(context: RuleContext, holder: Store, contender: Store, key: str) -> _Held | None:
    """Return ``None`` if the lease's time passed meanwhile."""
    lost: list[Lease] = []
    lease = holder.lease(context.short_ttl, on_lost=lost.append)

    def overdue() -> bool:
        return holder.clock.now() >= lease.deadline

    first = lease.deadline
    try:
        revision = holder.put_if_absent(key, b"holder", lease=lease).revision
    except (LeaseLost, LeaseNotFound):
        if overdue():
            return None
        raise
    refreshed = context.check.eventually(
        lambda: lease.deadline,
        lambda deadline: deadline > first or overdue(),
        "held a lease",
        expected="an automatic refresh",
    )
    if refreshed == first:
        return None
    try:
        contender.put_if_absent(key, b"early")
    except Conflict:
        return _Held(key, lease, revision, lost)
    if overdue():
        return None
    raise context.check.fail("put_if_absent of a key held", expected="Conflict is raised", seen="no error")


def _cut_off(context: RuleContext, directions: tuple[Direction, ...]) -> None:
    network = context.another_network()
    holder, contender = context.connect(through=network), context.connect(direct=True)
    name = black_hole_name(directions)
    held = _hold(context, holder, contender, f"held/{'+'.join(directions)}")
    key, lease = held.key, held.lease
    with fault(context, name, partial(network.black_hole, *directions), "bytes held back"):
        taken = _take(context, contender, key, lease.ttl + 2 * lease.max_lifetime_after_refresh + EVENT_TIMEOUT)
        state = lease.state
    did = f"cut the holder of a lease off ({name}) until another client got its key"
    seen = f"the key was taken {lease.deadline - taken:.3f} s before"
    context.check.true(lease.deadline <= taken + _CLOCKS, did, expected="after the lease was lost", seen=seen)
    context.check.equal(state, LeaseState.LOST, f"{did}; the state of its lease")
    works_again(context, holder)
    context.check.raises(LeaseLost, lambda: holder.put(key, b"late", lease=lease), f"{did}; a put on the lease")
    context.check.raises(
        Conflict, lambda: holder.put_if_unchanged(key, b"late", revision=held.revision), f"{did}; a conditional put"
    )
    context.check.eventually(lambda: len(held.lost), lambda calls: calls > 0, did, expected="on_lost is called")
    context.check.equal(held.lost, [lease], f"{did}; the calls of on_lost")
    item = contender.get(key)
    context.check.equal(item and item.value, b"contender", f"{did}; the key's value afterwards")


def _take(context: RuleContext, contender: Store, key: str, within: float) -> float:
    """Take the key as soon as the store allows it; return when the store's answer came."""
    deadline = time.monotonic() + within + CLOCK_TOLERANCE
    while True:
        try:
            contender.put_if_absent(key, b"contender")
            return contender.clock.now()
        except Conflict:
            if time.monotonic() > deadline:
                raise context.check.fail(
                    "waited for the lease of a stopped or cut-off holder to expire",
                    expected=f"its key free within {within:g} s",
                    seen="still there",
                ) from None
        time.sleep(0.005)
