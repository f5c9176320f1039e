"""The rules about faults: inconclusive if a fault has no effect, and kept by servers that lose leaders and room."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tenure.conformance import RuleInconclusive, ServerControls, StoreConformance
from tenure.conformance.controls.controls import CONTROLS
from tenure.conformance.fault_injection.client_process import ClientProcess
from tenure.conformance.harness.context import RuleContext
from tenure.conformance.harness.profile import QUICK
from tenure.conformance.harness.rule import Rule
from tenure.conformance.harness.verdicts import Verdict
from tenure.conformance.network import Network
from tenure.conformance.runner.rule_run import verdict_on
from tenure.conformance.runner.runner import all_rules
from tenure.leases.keepalive import LeaseKeepAlive
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
from tenure_testkit.waiting import PATIENCE

from .mutants.base import standing
from .mutants.tcp import Networked

RULES = {rule.id: rule for rule in all_rules()}
ON_CONNECTIONS = [rule for rule in RULES.values() if {"network", "cut"} & {*rule.required_controls}]
ON_SERVERS = [rule for rule in RULES.values() if rule.required_controls and rule not in ON_CONNECTIONS]


class Patient(Networked):
    """Its watches never take a busy machine for a broken connection."""

    silence = 10 * PATIENCE


@pytest.fixture
def toy() -> Iterator[tuple[str, ServerControls]]:
    with standing(Networked) as found:
        yield found


@pytest.fixture
def patient() -> Iterator[tuple[str, ServerControls]]:
    with standing(Patient) as found:
        yield found


def tried(url: str, rule: Rule, *, controls: ServerControls | None = None, enabled: bool = True) -> RuleContext:
    """Try one rule, which has to apply."""
    network = Network.in_front_of(url, enabled=enabled)
    with network or contextlib.nullcontext(), RuleContext(url, rule, controls=controls, network=network) as context:
        assert context.skip_reason is None
        rule.function(StoreConformance(), context)
        return context


def outcomes(rules: list[Rule], try_one: Callable[[Rule], RuleContext], *, at_a_time: int = 8) -> dict[str, str]:
    """How each rule ends. Several at a time, where most of it is waiting for what doesn't happen."""

    def outcome(rule: Rule) -> str:
        try:
            found, _ = verdict_on(rule, None, try_one(rule).evidence)
        except AssertionError as exc:
            found, _ = verdict_on(rule, exc, None)
        return "inconclusive" if found.verdict is Verdict.INCONCLUSIVE else f"{found.verdict}: {found.reason}"

    with ThreadPoolExecutor(at_a_time) as pool:
        return dict(zip([rule.id for rule in rules], pool.map(outcome, rules), strict=True))


def test_a_network_without_effect_makes_rules_inconclusive(patient: tuple[str, ServerControls]):
    url, controls = patient
    controls = ServerControls(compact=controls.compact)
    found = outcomes(ON_CONNECTIONS, lambda rule: tried(url, rule, controls=controls, enabled=False))
    assert len(found) >= 10
    assert found == dict.fromkeys(found, "inconclusive")


def test_controls_without_effect_make_rules_inconclusive(patient: tuple[str, ServerControls]):
    url, _ = patient
    controls = ServerControls(**dict.fromkeys(CONTROLS, lambda: None))
    # A lost leader is told from slowness, which other rules at the same time would make.
    quiet = [rule for rule in ON_SERVERS if "kill_leader" in rule.required_controls]
    busy = [rule for rule in ON_SERVERS if rule not in quiet]
    found = outcomes(busy, lambda rule: tried(url, rule, controls=controls))
    found |= outcomes(quiet, lambda rule: tried(url, rule, controls=controls), at_a_time=1)
    assert len(found) >= 10
    assert found == dict.fromkeys(found, "inconclusive")


def test_a_lease_that_is_lost_before_the_cut_makes_its_rule_inconclusive(
    toy: tuple[str, ServerControls], monkeypatch: pytest.MonkeyPatch
):
    # As on a machine that is too busy to refresh.
    monkeypatch.setattr(LeaseKeepAlive, "_refresh", lambda keeper, batch, timeout: None)
    url, _ = toy
    with pytest.raises(RuleInconclusive, match="ended before their holder was cut off"):
        tried(url, RULES["faults.a_holder_cut_off_knows_before_anyone_else"])


class LeadsElsewhere(Networked):
    """Clients are told another address than the one in the URL, as by a cluster."""

    @classmethod
    def plugin(cls, scheme: str) -> BackendPlugin:
        plugin = super().plugin(scheme)

        def open_elsewhere(request: OpenRequest) -> Backend:
            return cls(Host("127.0.0.1", cls.real_port), timeout=request.timeout)

        return BackendPlugin(
            scheme=scheme,
            summary="elsewhere",
            open=open_elsewhere,
            url_form=plugin.url_form,
            spi_version=1,
            default_port=1,
        )

    real_port = 0


def test_a_store_that_is_reached_past_the_network_is_inconclusive():
    with standing(LeadsElsewhere) as (url, _):
        LeadsElsewhere.real_port = int(url.rpartition(":")[2])
        with pytest.raises(RuleInconclusive, match="reaches its server by other addresses"):
            tried(url, RULES["faults.byte_by_byte_transfer_changes_nothing"])


def test_a_store_without_a_network_is_told_why(toy: tuple[str, ServerControls]):
    rule = RULES["faults.byte_by_byte_transfer_changes_nothing"]
    with RuleContext("memory://no-network", rule) as context:
        assert context.skip_reason == (
            "not supported: the URL names no host and port, so there is no connection to disturb"
        )
        with pytest.raises(LookupError, match="network"):
            _ = context.network


def test_faults_are_told_with_their_effects(toy: tuple[str, ServerControls]):
    url, controls = toy
    for name in ("a_partition_loses_and_doubles_nothing", "a_frozen_server_loses_and_doubles_nothing"):
        context = tried(url, RULES[f"faults.{name}"], controls=controls)
        for window in context.evidence.windows:
            assert window.effects > 0
            assert window.what
            assert window.ended is not None
            assert window.began < window.ended
        assert [history.checker for history in context.evidence.histories] == ["watch"]
    assert [window.fault for window in context.evidence.windows] == ["pause"]


def test_a_network_is_as_before_when_the_rule_is_over(toy: tuple[str, ServerControls]):
    url, _ = toy
    network = Network.in_front_of(url)
    assert network is not None
    rule = RULES["faults.a_partition_loses_and_doubles_nothing"]
    with network:
        with RuleContext(url, rule, network=network) as context:
            context.network.partition()
            context.another_network().down()
        with RuleContext(url, rule, network=network) as context:
            context.store.put("key", b"")


def test_a_client_process_answers_with_the_stores_errors(toy: tuple[str, ServerControls]):
    url, _ = toy
    with RuleContext(url, RULES["faults.a_stopped_holder_knows_before_it_writes"], profile=QUICK) as context:
        context.store.put("taken", b"")
        with ClientProcess(context) as client:
            assert client.ask("state") == {"state": "none", "lost_calls": 0}
            assert client.ask("hold", key="taken", value="", ttl=5.0)["error"] == "Conflict"
            held = client.ask("hold", key="free", value="mine", ttl=5.0)
            assert context.store.get("free") is not None
            assert (
                client.ask("replace", key="free", value="2", revision=held["revision"])["revision"] > held["revision"]
            )
        with pytest.raises(RuleInconclusive, match="it ended"):
            client.ask("state")


def test_a_client_process_that_cannot_open_the_store_is_inconclusive(monkeypatch: pytest.MonkeyPatch):
    with RuleContext("memory://not-shared", RULES["faults.a_stopped_holder_knows_before_it_writes"]) as context:
        monkeypatch.setattr(RuleContext, "url_in_namespace", "nobody://127.0.0.1:1")
        with pytest.raises(RuleInconclusive, match="could not open the store: UnknownScheme"):
            ClientProcess(context)


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
    controls = ServerControls(kill_leader=lambda: group.leader().kill(), start=group.recover)
    tried(group.url, RULES[f"faults.{name}"], controls=controls)


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

        controls = ServerControls(fill_disk=server.disk.fill, free_disk=free)
        context = tried(server.url, RULES["faults.a_full_disk_leaves_no_halves"], controls=controls)
        assert context.evidence.windows[0].effects > 0
