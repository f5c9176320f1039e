"""The real programs: proxies that follow a rolling restart, dig, and Prometheus."""

from __future__ import annotations

import json
import urllib.request
from contextlib import ExitStack
from pathlib import Path

import pytest
from envoy_proxy import Envoy
from processes import Process
from programs import Programs
from proxies import EXAMPLES, Proxy
from rolling import Load, LocalInstance

import tenure
from tenure.registry import Instance, Registry
from tenure_testkit.servers.ports import free_port
from tenure_testkit.waiting import until

INSTANCES = 3


def roll(name: str, programs: Programs, url: str, folder: Path, count: int) -> Load:
    """Replace all instances one by one behind a proxy under load. Return the load, which has ended."""
    with ExitStack() as stack:
        store = stack.enter_context(tenure.connect(url))
        proxy = Proxy(name, programs, folder, store)
        old = [LocalInstance(store) for _ in range(count)]
        proxy.start(url)
        stack.callback(proxy.stop)
        arguments = [*proxy.arguments, "--interval", "0.2"]
        render = stack.enter_context(Process(url, *arguments, environment=programs.environment))
        render.wait_for("started")
        with Load(proxy.port) as load:
            load.wait_answered(*(each.port for each in old))
            new = []
            for each in old:
                new.append(LocalInstance(store))
                stack.callback(new[-1].close)
                load.wait_answered(new[-1].port)
                each.stop(load.wait_out_of_rotation)
        assert {event["type"] for event in render.events} <= {"started", "rendered", "executed"}
        content = proxy.out.read_text()
        assert all(f"127.0.0.1:{each.port}" in content for each in new)
        until(lambda: not any(f"127.0.0.1:{each.port}" in proxy.out.read_text() for each in old), what="none is left")
        assert render.end() == 0
    return load


@pytest.mark.parametrize("name", ["nginx", "haproxy"])
def test_a_rolling_restart_behind_a_proxy_loses_no_request(
    name: str, programs: Programs, url: str, tmp_path: Path
) -> None:
    load = roll(name, programs, url, tmp_path, INSTANCES)
    assert load.failures == []
    assert len(load.answered) == 2 * INSTANCES


@pytest.mark.parametrize("name", ["nginx", "haproxy"])
def test_no_field_of_an_instance_gets_into_the_meaning_of_a_file(
    name: str, programs: Programs, url: str, tmp_path: Path
) -> None:
    hostile = "x' \"; } http { # \\ {{ 7*7 }}"
    with tenure.connect(url) as store:
        proxy = Proxy(name, programs, tmp_path, store)
        store.put("nginx/server_name", hostile.encode())
        instance = Instance("web", id=hostile, host="127.0.0.1", port=80, meta={"version": hostile})
        other = Instance("web", id=hostile + "\n", host="127.0.0.1", port=81, meta={"version": "\n server evil"})
        command = [*proxy.arguments[:5], "--once"]
        with (
            Registry(store, instance=instance),
            Registry(store, instance=other),
            Process(url, *command, environment=programs.environment) as once,
        ):
            assert once.wait() == 0, once.events
    servers = [line.split() for line in proxy.out.read_text().splitlines() if line.strip().startswith("server ")]
    assert [server for server in servers if "127.0.0.1:80" in server or "127.0.0.1:81" in server] == servers[:2]
    assert not any("evil" in word for server in servers for word in server)


def test_the_file_for_envoy_is_json_with_all_endpoints(url: str, tmp_path: Path) -> None:
    instance = Instance("web", id="1", host="10.0.0.1", port=80, meta={"x": ['"'], "status": "draining"})
    out = tmp_path / "eds.json"
    with tenure.connect(url) as store, Registry(store, instance=instance):
        other = Registry(store, instance=Instance('a "b"', id="1", host="::1", port=81).with_weight(2)).start()
        Registry(store, instance=Instance("web", id="2", host="10.0.0.2", port=80)).start()
        with Process(url, "render", EXAMPLES / "envoy-eds.json.j2", out, "--once") as once:
            assert once.wait() == 0
        other.close()
    first, second = json.loads(out.read_text())["resources"]
    (endpoint,) = first["endpoints"][0]["lb_endpoints"]
    assert (first["cluster_name"], endpoint["load_balancing_weight"]) == ('a "b"', 2)
    assert endpoint["endpoint"]["address"] == {"socket_address": {"address": "::1", "port_value": 81}}
    assert [each["health_status"] for each in second["endpoints"][0]["lb_endpoints"]] == ["DRAINING", "HEALTHY"]
    assert second["endpoints"][0]["lb_endpoints"][0]["metadata"]["filter_metadata"]["tenure"]["x"] == ['"']


def test_a_rolling_restart_behind_envoy_loses_no_request(url: str, tmp_path: Path) -> None:
    """Envoy takes each new file of endpoints, and sends nobody to a draining one."""
    out = tmp_path / "endpoints" / "eds.json"
    out.parent.mkdir()
    arguments = ["render", EXAMPLES / "envoy-eds.json.j2", out, "--interval", "0.2"]
    with ExitStack() as stack:
        store = stack.enter_context(tenure.connect(url))
        old = [LocalInstance(store) for _ in range(INSTANCES)]
        with Process(url, *arguments[:3], "--once") as once:
            assert once.wait() == 0
        envoy = stack.enter_context(Envoy(tmp_path, out, "web"))
        until(envoy.serves, what="Envoy serves")
        stack.enter_context(Process(url, *arguments)).wait_for("started")
        with Load(envoy.port) as load:
            load.wait_answered(*(each.port for each in old))
            for each in old:
                new = LocalInstance(store)
                stack.callback(new.close)
                load.wait_answered(new.port)
                each.stop(load.wait_out_of_rotation)
    assert load.failures == [], envoy.said()
    assert len(load.answered) == 2 * INSTANCES


def test_dig_and_prometheus_find_the_instances(programs: Programs, url: str, tmp_path: Path) -> None:
    with ExitStack() as stack:
        store = stack.enter_context(tenure.connect(url))
        for number in range(1, 61):
            instance = Instance("web", id=f"{number:02}", host=f"10.0.0.{number}", port=8000 + number)
            stack.enter_context(Registry(store, instance=instance))
        serve = stack.enter_context(Process(url, "serve", "--http", "127.0.0.1:0", "--dns", "127.0.0.1:0"))
        addresses = serve.wait_for("listening", 2)
        serve.wait_for("started")
        http = next(event["http"] for event in addresses if "http" in event)
        port = next(event["dns"] for event in addresses if "dns" in event).rpartition(":")[2]

        def dig(*question: str) -> str:
            return programs.run("dig", "@127.0.0.1", "-p", port, "+tries=1", "+time=60", *question)

        prometheus = free_port()
        (tmp_path / "prometheus.yml").write_text(
            "scrape_configs:\n- job_name: tenure\n  http_sd_configs:\n"
            f"  - url: http://{http}/prometheus?service=web\n    refresh_interval: 1s\n"
            "  relabel_configs:\n  - source_labels: [__meta_tenure_id]\n    target_label: tenure_id\n"
        )
        programs.run("promtool", "check", "config", tmp_path / "prometheus.yml")
        programs.spawn(
            "prometheus",
            f"--config.file={tmp_path}/prometheus.yml",
            f"--storage.tsdb.path={tmp_path}/data",
            f"--web.listen-address=127.0.0.1:{prometheus}",
        )

        assert sorted(dig("web.tenure", "A", "+short").split()) == sorted(f"10.0.0.{n}" for n in range(1, 61))
        cut = dig("web.tenure", "SRV", "+noedns", "+ignore")
        assert " tc" in cut.partition("flags:")[2].partition(";")[0]
        whole = dig("_web._tcp.tenure", "SRV", "+noedns")  # dig asks again by TCP
        assert "ANSWER: 60," in whole
        assert "(TCP)" in whole
        nothing = dig("nobody.tenure", "AAAA")
        assert "NXDOMAIN" in nothing
        assert "SOA" in nothing
        assert "udp: 1232" in nothing
        assert "REFUSED" in dig("example.org")

        def found() -> int:
            try:
                at = f"http://127.0.0.1:{prometheus}/api/v1/targets?state=active"
                with urllib.request.urlopen(at, timeout=60) as answer:
                    targets = json.load(answer)["data"]["activeTargets"]
            except OSError:
                return 0
            return len({target["labels"]["tenure_id"] for target in targets})

        until(lambda: found() == 60, what="Prometheus has all targets")
        assert serve.end() == 0
