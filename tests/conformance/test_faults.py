"""The rules about faults: invalid where the fault does nothing, and kept by real servers that lose leaders and room."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tenure.conformance import Driver, RuleInconclusive, StoreConformance
from tenure.conformance.controls.controls import CONTROLS
from tenure.conformance.fault_injection.client_process import Puppet
from tenure.conformance.harness.context import World
from tenure.conformance.harness.profile import QUICK
from tenure.conformance.harness.rule import Rule
from tenure.conformance.network import Network
from tenure.conformance.runner.runner import all_rules
from tenure.spi import Backend, BackendPlugin, Host, OpenRequest
from tenure_testkit.servers import EtcdCluster, EtcdServer
from tenure_testkit.servers.consul import ConsulCluster, ConsulServer
from tenure_testkit.servers.consul_plugin import need_consul
from tenure_testkit.servers.disk import SmallDisk
from tenure_testkit.servers.plugin import need_container
from tenure_testkit.servers.redis import RedisServer
from tenure_testkit.servers.redis_plugin import need_redis
from tenure_testkit.servers.zookeeper import ZooKeeperServer
from tenure_testkit.servers.zookeeper_ensemble import ZooKeeperEnsemble
from tenure_testkit.servers.zookeeper_plugin import need_zookeeper

from .mutants.base import standing
from .mutants.tcp import Networked

RULES = {rule.id: rule for rule in all_rules()}
ON_CONNECTIONS = [rule for rule in RULES.values() if {"network", "cut"} & {*rule.needs}]
ON_SERVERS = [rule for rule in RULES.values() if rule.needs and rule not in ON_CONNECTIONS]


@pytest.fixture
def toy() -> Iterator[tuple[str, Driver]]:
    with standing(Networked) as found:
        yield found


def tried(url: str, rule: Rule, *, driver: Driver | None = None, enabled: bool = True) -> World:
    """Try one rule, which has to apply."""
    network = Network.in_front_of(url, enabled=enabled)
    with network or contextlib.nullcontext(), World(url, rule, driver=driver, network=network) as world:
        assert world.why_not is None
        rule.function(StoreConformance(), world)
        return world


def outcomes(rules: list[Rule], try_one: Callable[[Rule], object], *, at_a_time: int) -> dict[str, str]:
    """How each rule ends. Several at a time, where most of it is waiting for what doesn't happen."""

    def outcome(rule: Rule) -> str:
        try:
            try_one(rule)
        except RuleInconclusive:
            return "invalid"
        except AssertionError as exc:
            return f"broken: {exc}"
        return "kept"

    with ThreadPoolExecutor(at_a_time) as pool:
        return dict(zip([rule.id for rule in rules], pool.map(outcome, rules), strict=True))


def test_a_network_that_does_no_harm_makes_rules_invalid(toy: tuple[str, Driver]):
    url, controls = toy
    driver = Driver(compact=controls.compact)
    found = outcomes(ON_CONNECTIONS, lambda rule: tried(url, rule, driver=driver, enabled=False), at_a_time=8)
    assert len(found) >= 10
    assert found == dict.fromkeys(found, "invalid")


def test_controls_that_do_nothing_make_rules_invalid(toy: tuple[str, Driver]):
    url, _ = toy
    driver = Driver(**dict.fromkeys(CONTROLS, lambda: None))
    found = outcomes(ON_SERVERS, lambda rule: tried(url, rule, driver=driver), at_a_time=2)
    assert len(found) >= 10
    assert found == dict.fromkeys(found, "invalid")


class LeadsElsewhere(Networked):
    """Clients are told another address than the one in the URL, as by a cluster."""

    @classmethod
    def plugin(cls, scheme: str) -> BackendPlugin:
        plugin = super().plugin(scheme)

        def open_elsewhere(request: OpenRequest) -> Backend:
            return cls(Host("127.0.0.1", cls.real_port), timeout=request.timeout)

        return BackendPlugin(
            scheme=scheme, summary="elsewhere", open=open_elsewhere, url_form=plugin.url_form, default_port=1
        )

    real_port = 0


def test_a_store_that_is_reached_past_the_network_is_invalid():
    with standing(LeadsElsewhere) as (url, _):
        LeadsElsewhere.real_port = int(url.rpartition(":")[2])
        with pytest.raises(RuleInconclusive, match="talks to its server by other addresses"):
            tried(url, RULES["faults.one_byte_slices_change_nothing"])


def test_a_store_without_a_network_is_told_why(toy: tuple[str, Driver]):
    rule = RULES["faults.one_byte_slices_change_nothing"]
    with World("memory://no-network", rule) as world:
        assert world.why_not == (
            "not supported: the store isn't reached by host and port, so there is no connection to harm"
        )
        with pytest.raises(LookupError, match="network"):
            _ = world.network


def test_faults_are_told_with_their_effects(toy: tuple[str, Driver]):
    url, driver = toy
    for name in ("a_partition_loses_and_doubles_nothing", "a_frozen_server_loses_and_doubles_nothing"):
        world = tried(url, RULES[f"faults.{name}"], driver=driver)
        for window in world.evidence.windows:
            assert window.effects > 0
            assert window.what
            assert window.ended is not None
            assert window.began < window.ended
        assert [history.judge for history in world.evidence.histories] == ["watch"]
    assert [window.fault for window in world.evidence.windows] == ["pause"]


def test_a_network_is_as_before_when_the_rule_is_over(toy: tuple[str, Driver]):
    url, _ = toy
    network = Network.in_front_of(url)
    assert network is not None
    rule = RULES["faults.a_partition_loses_and_doubles_nothing"]
    with network:
        with World(url, rule, network=network) as world:
            world.network.partition()
            world.another_network().down()
        with World(url, rule, network=network) as world:
            world.store.put("key", b"")


def test_a_puppet_answers_with_the_stores_errors(toy: tuple[str, Driver]):
    url, _ = toy
    with World(url, RULES["faults.a_stopped_holder_knows_before_it_writes"], profile=QUICK) as world:
        world.store.put("taken", b"")
        with Puppet(world) as puppet:
            assert puppet.ask("state") == {"state": "none", "lost_calls": 0}
            assert puppet.ask("hold", key="taken", value="", ttl=5.0)["error"] == "Conflict"
            held = puppet.ask("hold", key="free", value="mine", ttl=5.0)
            assert world.store.get("free") is not None
            assert (
                puppet.ask("replace", key="free", value="2", revision=held["revision"])["revision"] > held["revision"]
            )
        with pytest.raises(RuleInconclusive, match="it ended"):
            puppet.ask("state")


def test_a_puppet_that_cannot_open_the_store_is_invalid(monkeypatch: pytest.MonkeyPatch):
    with World("memory://not-shared", RULES["faults.a_stopped_holder_knows_before_it_writes"]) as world:
        monkeypatch.setattr(World, "url_in_namespace", "nobody://127.0.0.1:1")
        with pytest.raises(RuleInconclusive, match="could not open the store: UnknownScheme"):
            Puppet(world)


# -- real servers --


GROUPS: dict[str, tuple[Callable[[], None], Callable[[], Any]]] = {
    "etcd": (lambda: need_container("etcd"), EtcdCluster),
    "zookeeper": (need_zookeeper, ZooKeeperEnsemble),
    "consul": (need_consul, ConsulCluster),
}


@pytest.fixture(scope="module", params=list(GROUPS))
def group(request: pytest.FixtureRequest) -> Iterator[Any]:
    need, make = GROUPS[request.param]
    need()
    with make() as group:
        yield group


@pytest.mark.faults
@pytest.mark.parametrize("name", ["a_lost_leader_loses_and_doubles_nothing", "a_lost_leader_only_lengthens_leases"])
def test_a_leader_is_lost(group: Any, name: str):
    driver = Driver(kill_leader=lambda: group.leader().kill(), start=group.recover)
    tried(group.url, RULES[f"faults.{name}"], driver=driver)


SERVERS: dict[str, tuple[Callable[[], None], Callable[[], Any]]] = {
    "etcd": (lambda: need_container("etcd"), EtcdServer),
    "redis": (need_redis, RedisServer),
    "zookeeper": (need_zookeeper, ZooKeeperServer),
    "consul": (need_consul, ConsulServer),
}


@pytest.mark.faults
@pytest.mark.parametrize("kind", SERVERS)
def test_a_disk_is_full(kind: str):
    need, make = SERVERS[kind]
    need()
    server = make()
    with SmallDisk(server.image_folder, server.small_disk_bytes) as server.disk, server:

        def free() -> None:
            server.disk.free()
            server.recover()

        driver = Driver(fill_disk=server.disk.fill, free_disk=free)
        world = tried(server.url, RULES["faults.a_full_disk_leaves_no_halves"], driver=driver)
        assert world.evidence.windows[0].effects > 0
