"""Rules about the service registry while its store is out of reach, and when the store forgot everything."""

from __future__ import annotations

from tenure.conformance.fault_injection.faults import RECOVERY, fault, works_again
from tenure.conformance.harness.assertions import PATIENCE
from tenure.conformance.harness.context import World
from tenure.conformance.harness.rule import Rules, needs, patient
from tenure.conformance.rules.registry import instance
from tenure.conformance.workloads.leases import NOISE
from tenure.errors import ServiceNotFound
from tenure.leases import LeaseState
from tenure.registry import Registry, RegistryConfig

_HELD = "bytes held back"


class FaultRegistryRules(Rules, area="faults"):
    """Finding each other on a bad day."""

    @needs("network")
    def test_faults_a_partitioned_observer_serves_the_last_known(self, world: World) -> None:
        """An observer that is cut off serves what it knew, says how old it is, evicts nobody, and catches up."""
        config = RegistryConfig(heartbeat=world.long_ttl)
        services, outside = world.connect(direct=True), world.connect(direct=True)
        with (
            Registry(services, config, instance(0)),
            Registry(world.connect(), config) as observer,
            Registry(outside, config) as other,
        ):
            observer.wait_for("web", 1, PATIENCE)
            with fault(world, "partitioned observer", world.network.black_hole, _HELD):
                limit = world.capabilities.max_watch_failure_detection + NOISE
                age = world.check.eventually(
                    lambda: observer.staleness,
                    lambda seen: seen > 0,
                    "cut an observer off",
                    expected="its age",
                    within=limit,
                )
                with Registry(world.connect(direct=True), config, instance(1)):
                    other.wait_for("web", 2, PATIENCE)
                    world.check.equal(_ids(observer), ["id-0"], "what an observer serves that is cut off")
                    world.check.true(
                        observer.staleness > age,
                        "looked again",
                        expected=f"an age above {age:g} s",
                        seen=observer.staleness,
                    )
                    _sees(world, other, ["id-0", "id-1"], "an instance came while one observer is cut off")
                _sees(world, other, ["id-0"], "an instance left while an observer was cut off")
                with Registry(world.connect(direct=True), config, instance(2)):
                    other.wait_for("web", 2, PATIENCE)
            with Registry(world.connect(direct=True), config, instance(3)):
                _sees(world, observer, ["id-0", "id-3"], "the observer can reach the store again", within=RECOVERY)
                world.check.equal(observer.staleness, 0.0, "the age of what it serves when it is up to date")
                _sees(world, other, ["id-0", "id-3"], "an instance came, and one observer had been cut off")

    @patient
    @needs("network")
    def test_faults_an_instance_cut_off_comes_back(self, world: World) -> None:
        """An instance cut off for longer than its heartbeat is gone for others, and registers again by itself."""
        config = RegistryConfig(heartbeat=world.short_ttl, retry_first=0.5, retry_longest=2.0, max_retry=None)
        with (
            Registry(world.connect(), config, instance(0)) as mine,
            Registry(world.connect(direct=True), config) as other,
        ):
            other.wait_for("web", 1, PATIENCE)
            lease = mine.lease
            if lease is None:
                raise world.check.fail("registered", expected="a lease", seen=None)
            with fault(world, "instance cut off", world.network.black_hole, _HELD):
                limit = lease.max_lifetime_after_refresh + world.capabilities.max_watch_latency + NOISE
                _sees(world, other, [], "cut an instance off", within=limit)
                world.check.equal(lease.state, LeaseState.LOST, "the lease of an instance that others no longer see")
            limit = RECOVERY + config.retry_longest
            _sees(world, other, ["id-0"], "the instance can reach the store again", within=limit)
            again = mine.lease
            held = again is not None and again.alive
            world.check.true(held, "registered again", expected="under a lease that is alive", seen=again)

    @needs("kill", "wipe", "start")
    def test_faults_a_store_that_forgot_gets_its_instances_back(self, world: World) -> None:
        """When a store comes back empty, registered instances are there again, soon after a heartbeat."""
        config = RegistryConfig(heartbeat=world.short_ttl, retry_first=0.5, retry_longest=2.0, max_retry=None)
        world.store.put("kept", b"")
        with Registry(world.connect(), config, instance(0)) as mine, Registry(world.connect(), config) as other:
            other.wait_for("web", 1, PATIENCE)
            with world.evidence.fault("wiped store") as window:
                window.what = "keys that are gone"
                world.driver.do("kill")
                try:
                    world.driver.do("wipe")
                finally:
                    world.driver.do("start")
                works_again(world, world.store)
                window.effects = int(world.store.get("kept") is None)
            world.check.enough(window.effects, 1, "a key lost with the store's data")
            limit = config.heartbeat + RECOVERY + config.retry_longest
            key = f"/registry/default/web/{instance(0).id}@{instance(0).host}"
            world.check.eventually(
                lambda: world.store.get(key),
                lambda item: item is not None,
                "lost the store's data",
                expected=key,
                within=limit,
            )
            _sees(world, other, ["id-0"], "lost the store's data", within=limit)
            _sees(world, mine, ["id-0"], "lost the store's data", within=limit)


def _ids(registry: Registry) -> list[str]:
    try:
        return sorted(each.id for each in registry.get_service("web"))
    except ServiceNotFound:
        return []


def _sees(world: World, registry: Registry, expected: list[str], did: str, *, within: float = PATIENCE) -> None:
    world.check.eventually(lambda: _ids(registry), lambda seen: seen == expected, did, expected=expected, within=within)
