"""The two commands as processes: options, exit codes, events and signals. The store is a file."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dns.message
import dns.query
import dns.rcode
import pytest
from processes import TENURE, Process

import tenure
from tenure.registry import Instance, Registry
from tenure_testkit.servers.ports import free_port
from tenure_testkit.waiting import until


@pytest.fixture
def registry(url: str) -> Iterator[Registry]:
    instance = Instance("web", id="1", host="10.0.0.1", port=80, meta={"a-b": "x", "up": True})
    with tenure.connect(url) as store, Registry(store, instance=instance) as registry:
        yield registry


def once(url: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [*TENURE, "--url", url, "render", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_one_rendering_and_its_exit_codes(url: str, registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "in").write_text("{% for i in service('web') %}{{ i.address }}{% endfor %}")
    shown = once(url, tmp_path / "in", "-", "--once")
    assert (shown.returncode, shown.stdout) == (0, "10.0.0.1:80")
    refused = once(url, tmp_path / "in", tmp_path / "out", "--once", "--check", "grep -q nobody {}")
    assert refused.returncode == 1
    assert json.loads(refused.stdout)["type"] == "refused"
    assert not (tmp_path / "out").exists()
    gone = once(url, tmp_path / "gone", tmp_path / "out", "--once")
    assert gone.returncode == 2
    assert "reading the template" in gone.stderr
    away = once(f"redis://127.0.0.1:{free_port()}", tmp_path / "in", tmp_path / "out", "--once", "--timeout", "1")
    assert away.returncode == 3
    assert once(url, tmp_path / "in").returncode == 2
    without = once(url, tmp_path / "in", tmp_path / "out", "--once", "--check", "true")
    assert (without.returncode, "lacks {}" in without.stderr) == (2, True)


def test_several_templates_come_from_a_file(url: str, registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "part").write_text("{{ i.port }}")
    (tmp_path / "in").write_text("{% for i in service('web') %}{% include 'part' %}{% endfor %}")
    (tmp_path / "render.toml").write_text(
        "[[template]]\nsource = 'in'\nout = 'a'\nmode = '0600'\n"
        "[[template]]\nsource = 'part'\nout = 'b'\n"
        f"[[template]]\nsource = 'in'\nout = 'c'\nexec = 'echo > {tmp_path}/d'\n"
    )
    done = once(url, "--templates", tmp_path / "render.toml", "--once")
    # One that fails keeps none of the others from its file.
    assert [json.loads(line)["type"] for line in done.stdout.splitlines()] == [
        "rendered",
        "failed",
        "rendered",
        "executed",
    ]
    assert done.returncode == 1
    assert [(tmp_path / name).exists() for name in "abcd"] == [True, False, True, True]
    assert (tmp_path / "a").read_text() == "80"
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o600
    both = once(url, "--templates", tmp_path / "render.toml", "--once", "--exec", "true")
    assert both.returncode == 2


def test_a_process_follows_reads_again_and_ends(url: str, registry: Registry, tmp_path: Path) -> None:
    source, out, runs = tmp_path / "in", tmp_path / "out", tmp_path / "runs"
    source.write_text("{% for i in service('web') %}{{ i.address }};{% endfor %}")
    with Process(url, "render", source, out, "--exec", f"echo x >> {runs}", "--interval", "0.1") as process:
        process.wait_for("executed")
        assert out.read_text() == "10.0.0.1:80;"
        registry.update(moved(registry, 81))
        until(lambda: out.read_text() == "10.0.0.1:81;", what="the change is rendered")
        process.wait_for("executed", 2)
        source.write_text("again")
        process.send(signal.SIGHUP)
        process.wait_for("executed", 3)
        assert out.read_text() == "again"
        assert process.end() == 0
    assert process.events[-1]["type"] == "ended"
    assert runs.read_text() == "x\nx\nx\n"


def moved(registry: Registry, port: int) -> Instance:
    own = registry.current()
    assert own is not None
    return own.copy(port=port)


def get(at: str, path: str, **more: Any) -> tuple[int, Any, str]:
    try:
        with urllib.request.urlopen(urllib.request.Request(f"http://{at}{path}", **more), timeout=60) as answer:
            return answer.status, json.load(answer), answer.headers["tenure-age"]
    except urllib.error.HTTPError as exc:
        with exc:
            return exc.code, json.load(exc), exc.headers["tenure-age"]


def test_http_and_dns_answer_and_end(url: str, registry: Registry) -> None:
    with Process(url, "serve", "--http", "127.0.0.1:0", "--dns", "127.0.0.1:0", "--ttl", "9") as process:
        listening = process.wait_for("listening", 2)
        process.wait_for("started")
        at = next(event["http"] for event in listening if "http" in event)
        host, _, port = next(event["dns"] for event in listening if "dns" in event).rpartition(":")

        assert get(at, "/health") == (200, {"age": 0.0}, "0.0")
        assert get(at, "/services") == (200, {"web": {"instances": 1, "ready": 1}}, "0.0")
        status, (found,), _ = get(at, "/services/web?ready=1")
        assert (status, found["address"], found["meta"]) == (200, "10.0.0.1:80", {"a-b": "x", "up": True})
        status, (target,), _ = get(at, "/prometheus?service=web&service=other")
        assert target["targets"] == ["10.0.0.1:80"]
        assert target["labels"]["__meta_tenure_meta_a_b"] == "x"
        assert target["labels"]["__meta_tenure_meta_up"] == "true"
        assert [get(at, path)[0] for path in ("/services/nobody", "/services/web?zone=b", "/nothing")] == [404] * 3
        assert get(at, "/services", method="POST")[0] == 405

        query = dns.message.make_query("web.tenure", "A", use_edns=0)
        for ask in (dns.query.udp, dns.query.tcp):
            answer = ask(query, host, port=int(port), timeout=60)
            assert answer.answer[0].to_text() == "web.tenure. 9 IN A 10.0.0.1"
        assert dns.query.udp(dns.message.make_query("x.tenure", "A"), host, port=int(port), timeout=60).rcode() == (
            dns.rcode.NXDOMAIN
        )
        # What no client sends ends nothing.
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(b"\x00\x03abc" + b"\xff" * 10)
        registry.drain()
        until(lambda: get(at, "/prometheus?ready=1")[1] == [], what="the drain is seen")
        assert not dns.query.udp(query, host, port=int(port), timeout=60).answer
        assert process.end() == 0


def test_without_its_store_it_waits_and_says_so() -> None:
    away = f"redis://127.0.0.1:{free_port()}"
    with Process(away, "serve", "--http", "127.0.0.1:0", "--dns", "127.0.0.1:0") as process:
        listening = process.wait_for("listening", 2)
        process.wait_for("waiting")
        at = next(event["http"] for event in listening if "http" in event)
        port = int(next(event["dns"] for event in listening if "dns" in event).rpartition(":")[2])
        assert get(at, "/health")[0] == 503
        query = dns.message.make_query("web.tenure", "A")
        assert dns.query.udp(query, "127.0.0.1", port=port, timeout=60).rcode() == dns.rcode.SERVFAIL
        assert process.end() == 0


def test_a_port_that_is_taken_is_named(url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        at = f"127.0.0.1:{taken.getsockname()[1]}"
        for option in ("--http", "--dns"):
            command = [*TENURE, "--url", url, "serve", option, at]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            assert done.returncode == 2
            assert f"{option} {at} can't be had" in json.loads(done.stderr)["message"]
