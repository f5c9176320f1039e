"""Rules about the service registry while its store can't be reached, and when the store lost its data."""

from __future__ import annotations

from tenure.conformance.fault_injection.faults import RECOVERY, fault, works_again
from tenure.conformance.harness.assertions import EVENT_TIMEOUT
from tenure.conformance.harness.context import RuleContext
from tenure.conformance.harness.rule import Rules, parallel_safe, requires_control
from tenure.conformance.rules.registry import instance
from tenure.conformance.workloads.leases import CLOCK_TOLERANCE
from tenure.errors import ServiceNotFound
from tenure.leases import LeaseState
from tenure.registry import Registry, RegistryConfig

_HELD = "bytes held back"


class FaultRegistryRules(Rules, area="faults"):
    """Registration and discovery during faults."""

    @requires_control("network")
    def test_faults_a_partitioned_observer_serves_the_last_known(self, context: RuleContext) -> None:
        """An observer that is cut off serves what it knew, reports its staleness, evicts none, and catches up."""
        config = RegistryConfig(heartbeat=context.long_ttl)
        services, outside = context.connect(direct=True), context.connect(direct=True)
        with (
            context.make(Registry, services, config, instance(0)),
            context.make(Registry, context.connect(), config) as observer,
            context.make(Registry, outside, config) as other,
        ):
            observer.wait_for("web", 1, EVENT_TIMEOUT)
            with fault(context, "partitioned observer", context.network.black_hole, _HELD):
                limit = context.capabilities.max_watch_failure_detection + CLOCK_TOLERANCE
                staleness = context.check.eventually(
                    lambda: observer.staleness,
                    lambda seen: seen > 0,
                    "cut an observer off",
                    expected="its staleness",
                    within=limit,
                )
                with context.make(Registry, context.connect(direct=True), config, instance(1)):
                    other.wait_for("web", 2, EVENT_TIMEOUT)
                    context.check.equal(_ids(observer), ["id-0"], "what an observer serves that is cut off")
                    context.check.true(
                        observer.staleness > staleness,
                        "looked again",
                        expected=f"a staleness above {staleness:g} s",
                        seen=observer.staleness,
                    )
                    _sees(context, other, ["id-0", "id-1"], "an instance came while one observer is cut off")
                _sees(context, other, ["id-0"], "an instance left while an observer was cut off")
                with context.make(Registry, context.connect(direct=True), config, instance(2)):
                    other.wait_for("web", 2, EVENT_TIMEOUT)
            with context.make(Registry, context.connect(direct=True), config, instance(3)):
                _sees(context, observer, ["id-0", "id-3"], "the observer can reach the store again", within=RECOVERY)
                context.check.equal(observer.staleness, 0.0, "the staleness when it is up to date")
                _sees(context, other, ["id-0", "id-3"], "an instance came, and one observer had been cut off")

    @parallel_safe
    @requires_control("network")
    def test_faults_an_instance_cut_off_comes_back(self, context: RuleContext) -> None:
        """An instance cut off for longer than its heartbeat disappears for others and registers again automatically."""
        config = RegistryConfig(heartbeat=context.short_ttl, retry_first=0.5, retry_longest=2.0, max_retry=None)
        with (
            context.make(Registry, context.connect(), config, instance(0)) as mine,
            context.make(Registry, context.connect(direct=True), config) as other,
        ):
            other.wait_for("web", 1, EVENT_TIMEOUT)
            lease = mine.lease
            if lease is None:
                raise context.check.fail("registered", expected="a lease", seen=None)
            with fault(context, "instance cut off", context.network.black_hole, _HELD):
                limit = lease.max_lifetime_after_refresh + context.capabilities.max_watch_latency + CLOCK_TOLERANCE
                _sees(context, other, [], "cut an instance off", within=limit)
                context.check.equal(lease.state, LeaseState.LOST, "the lease of an instance that others no longer see")
            limit = RECOVERY + config.retry_longest
            _sees(context, other, ["id-0"], "the instance can reach the store again", within=limit)
            again = mine.lease
            held = again is not None and again.alive
            context.check.true(held, "registered again", expected="under a lease that is alive", seen=again)

    @requires_control("kill", "wipe", "start")
    def test_faults_a_store_that_forgot_gets_its_instances_back(self, context: RuleContext) -> None:
        """When a store comes back empty, registered instances are registered again, soon after a heartbeat."""
        config = RegistryConfig(heartbeat=context.short_ttl, retry_first=0.5, retry_longest=2.0, max_retry=None)
        context.store.put("kept", b"")
        with (
            context.make(Registry, context.connect(), config, instance(0)) as mine,
            context.make(Registry, context.connect(), config) as other,
        ):
            other.wait_for("web", 1, EVENT_TIMEOUT)
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
            limit = config.heartbeat + RECOVERY + config.retry_longest
            key = f"/registry/default/web/{instance(0).id}@{instance(0).host}"
            context.check.eventually(
                lambda: context.store.get(key),
                lambda item: item is not None,
                "lost the store's data",
                expected=key,
                within=limit,
            )
            _sees(context, other, ["id-0"], "lost the store's data", within=limit)
            _sees(context, mine, ["id-0"], "lost the store's data", within=limit)


def _ids(registry: Registry) -> list[str]:
    try:
        return sorted(each.id for each in registry.get_service("web"))
    except ServiceNotFound:
        return []


def _sees(
    context: RuleContext, registry: Registry, expected: list[str], did: str, *, within: float = EVENT_TIMEOUT
) -> None:
    context.check.eventually(
        lambda: _ids(registry), lambda seen: seen == expected, did, expected=expected, within=within
    )
