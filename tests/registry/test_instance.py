"""Instances: what is filled in, what is refused, that they don't change."""

from __future__ import annotations

import copy
import ipaddress
import pickle
import shutil
import socket
import subprocess
import sys
import uuid
from dataclasses import FrozenInstanceError

import pytest

from tenure.errors import InvalidArgument
from tenure.registry import Instance, InstanceStatus, Service
from tenure.registry.model import address


def test_what_is_left_empty_is_filled_in():
    instance = Instance()
    assert uuid.UUID(instance.id).version == 4
    assert instance.host == address.default_host()
    assert (instance.host_name, instance.port, instance.service_name) == (socket.gethostname(), 8000, "default")
    assert instance.meta == {}
    assert Instance().id != instance.id


@pytest.mark.parametrize(("given", "used"), [(None, 8000), (1, 1), (65535, 65535)])
def test_without_a_port_it_is_8000(given, used):
    assert Instance(port=given).port == used


@pytest.mark.parametrize("given", [0, -1, 65536, True, 80.0, "80"])
def test_what_is_no_port_is_refused(given):
    with pytest.raises(InvalidArgument, match=f"from 1 to 65535, or left out for 8000, not {given!r}"):
        Instance(port=given)


def test_the_default_host_is_no_loopback():
    host = address.default_host()
    assert host == socket.gethostname() or not ipaddress.ip_address(host).is_loopback


def test_without_any_address_the_host_name_stands_in(monkeypatch):
    useless = ["127.0.0.1", "0.0.0.0", "169.254.7.7", "fe80::1", "::1"]
    monkeypatch.setattr(address, "_interface_addresses", lambda: iter(useless))
    monkeypatch.setattr(address, "_outgoing_addresses", lambda: iter(useless))
    assert address.default_host() == socket.gethostname()


def test_the_address_of_the_default_route_comes_first(monkeypatch):
    monkeypatch.setattr(address, "_interface_addresses", lambda: iter(["172.17.0.1"]))
    monkeypatch.setattr(address, "_outgoing_addresses", lambda: iter(["10.1.2.3"]))
    assert address.default_host() == "10.1.2.3"


def test_without_a_default_route_the_first_interface_stands_in(monkeypatch):
    monkeypatch.setattr(address, "_interface_addresses", lambda: iter(["169.254.1.1", "10.1.2.4"]))
    monkeypatch.setattr(address, "_outgoing_addresses", lambda: iter(()))
    assert address.default_host() == "10.1.2.4"


ETH0 = "ip link add eth0 type veth peer name e1; ip link set eth0 up; ip link set e1 up; "
BRIDGE = "ip link add docker0 type bridge; ip addr add 172.17.0.1/16 dev docker0; "
ROUTE = "ip addr add 10.0.0.5/24 dev eth0; ip route add default via 10.0.0.1; "
NETWORKS = {
    "a bridge that is down": (BRIDGE + ETH0 + ROUTE, "10.0.0.5"),
    "a bridge that is down, and no default route": (BRIDGE + ETH0 + "ip addr add 10.0.0.5/24 dev eth0", "10.0.0.5"),
    "a bridge that is up, and no default route": (
        BRIDGE + ETH0 + "ip link add v0 type veth peer name v1; ip link set v0 master docker0; ip link set v0 up; "
        "ip link set v1 up; ip link set docker0 up; ip addr add 10.0.0.5/24 dev eth0",
        "10.0.0.5",
    ),
    "a tunnel beside the default route": (
        "ip link add vpn type veth peer name vpn1; ip addr add 10.8.0.2/24 dev vpn; ip link set vpn up; "
        "ip link set vpn1 up; " + ETH0 + ROUTE,
        "10.0.0.5",
    ),
    "link-local first": (ETH0 + "ip addr add 169.254.7.7/16 dev eth0; " + ROUTE, "10.0.0.5"),
    "IPv6 alone": (
        ETH0 + "ip -6 addr add fd00::5/64 dev eth0 nodad; ip -6 route add default via fd00::1",
        "fd00::5",
    ),
}


def _can_make_networks() -> bool:
    tools = shutil.which("unshare") and shutil.which("ip")
    return bool(tools) and subprocess.run(["unshare", "-n", "true"], check=False).returncode == 0


@pytest.mark.skipif(not _can_make_networks(), reason="makes network namespaces, which needs root")
@pytest.mark.parametrize("network", NETWORKS)
def test_the_address_that_others_can_reach_is_found(network):
    commands, expected = NETWORKS[network]
    program = "from tenure.registry.model import address; print(address.default_host())"
    script = f"set -e; ip link set lo up; {commands}; exec {sys.executable} -c '{program}'".replace("; ;", ";")
    ended = subprocess.run(["unshare", "-n", "sh", "-c", script], capture_output=True, text=True, check=False)
    assert (ended.stdout.strip(), ended.returncode) == (expected, 0), ended.stderr


def test_identity_and_address():
    instance = Instance("web", id="1", host="10.0.0.1", port=80)
    assert instance.identity() == "web/1@10.0.0.1"
    assert instance.identity("#") == "web#1@10.0.0.1"
    assert instance.address == "10.0.0.1:80"
    assert instance.with_address("fe80::1", 81).address == "[fe80::1]:81"


def test_copies_change_only_what_they_are_told():
    instance = Instance("web", id="1", host="h", host_name="n", port=80, meta={"zone": "a"})
    assert instance.copy() == instance
    assert instance.copy(port=81) == Instance("web", id="1", host="h", host_name="n", port=81, meta={"zone": "a"})
    assert instance.with_address("other").port == 80
    assert instance.with_metadata({"zone": "b"}).meta == {"zone": "b"}
    assert instance.meta == {"zone": "a"}


def test_nothing_of_an_instance_can_be_changed():
    given = {"list": [1, {"deep": 1}]}
    instance = Instance(meta=given)
    given["list"].append(2)
    assert instance.to_dict()["meta"] == {"list": [1, {"deep": 1}]}
    with pytest.raises(FrozenInstanceError):
        instance.port = 1
    with pytest.raises(TypeError):
        instance.meta["list"] = ()
    with pytest.raises(TypeError):
        instance.meta["list"][1]["deep"] = 2


def test_status_is_kept_in_meta_and_ready_is_saying_nothing():
    instance = Instance(meta={"zone": "a"})
    assert instance.ready
    draining = instance.with_status(InstanceStatus.DRAINING)
    assert (draining.meta, draining.ready) == ({"zone": "a", "status": "draining"}, False)
    assert draining.with_status(InstanceStatus.READY) == instance


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"id": "a/b"}, "can't contain '/'"),
        ({"host": "a@b"}, "can't contain '@'"),
        ({"host": "a/b"}, "can't contain '/'"),
        ({"service_name": "a\0"}, "NUL"),
        ({"id": 7}, "is text, not int"),
        ({"port": "80"}, "whole number"),
        ({"port": True}, "whole number"),
        ({"meta": [1]}, "meta is a mapping"),
        ({"meta": {1: 2}}, "are text, not int"),
        ({"meta": {"a": {"b": object()}}}, r"meta\['a'\]\['b'\] is a object"),
        ({"meta": {"a": float("nan")}}, "JSON can't express"),
        ({"meta": {"a": "\ud800"}}, "lone surrogate"),
    ],
)
def test_what_the_wire_cannot_carry_is_refused(fields, said):
    with pytest.raises(InvalidArgument, match=said):
        Instance(**fields)


def test_metadata_that_contains_itself_is_refused():
    meta: dict[str, object] = {}
    meta["again"] = meta
    with pytest.raises(InvalidArgument, match="nested"):
        Instance(meta=meta)


@pytest.mark.parametrize("meta", [None, {}, {"a": [1, {"b": None}]}])
def test_pickle_copy_and_hash(meta):
    instance = Instance(meta=meta)
    for again in (pickle.loads(pickle.dumps(instance)), copy.copy(instance), copy.deepcopy(instance)):
        assert again == instance
        assert hash(again) == hash(instance)
        assert again.to_dict() == instance.to_dict()


def test_a_service_is_a_sequence_of_its_instances():
    first, second = Instance("web"), Instance("web").with_status("draining")
    service = Service("web", (first, second))
    assert (len(service), list(service), service[1], service.ready) == (2, [first, second], second, (first,))
