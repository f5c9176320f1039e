"""`tenure watch`, `services`, `instances`: what is registered, and every change of it."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

import tenure
from tenure.registry import Instance, Registry, RegistryConfig

from .conftest import Run
from .processes import DEADLINE, Command, read_terminal

WEB = Instance("web", id="one", host="10.0.0.1", host_name="h1", port=8001, meta={"zone": "a"})
DB = Instance("db", id="two", host="10.0.0.2", host_name="h2", port=5432)


@pytest.fixture
def web(store: tenure.Store) -> Iterator[Registry]:
    with Registry(store, RegistryConfig(), WEB) as opened:
        yield opened


def test_services(run: Run, run_json: Any, web: Registry) -> None:
    assert run_json("services") == [{"service": "web", "instances": 1, "ready": 1}]
    web.drain()
    assert run("services").stdout == "web\t1\t0\n"


def test_no_services(run: Run) -> None:
    result = run("services")
    assert (result.exit_code, result.stdout) == (0, "")


def test_instances(run: Run, run_json: Any, web: Registry) -> None:
    [found] = run_json("instances", "web")
    assert WEB.to_dict().items() <= found.items()
    assert run("instances", "web").stdout == "one\t10.0.0.1:8001\th1\tready\tzone=a\n"
    assert run("instances", "web", "--meta", "zone=a", "--ready").exit_code == 0
    [leased] = run_json("instances", "web", "--leases")
    assert web.lease is not None
    assert (leased["lease_id"], leased["ttl"]) == (web.lease.id, web.lease.ttl)
    assert run("instances", "web", "--leases").stdout.startswith("one\t10.0.0.1:8001\th1\tready\tzone=a\t")
    assert run("instances", "web", "--meta", "zone=b").exit_code == 1


def test_a_service_that_is_not_there(run: Run) -> None:
    result = run("instances", "nothing")
    assert result.exit_code == 1
    assert "nothing" in result.stderr


def test_registries_are_apart_by_name(run: Run, web: Registry) -> None:
    assert run("services", "--name", "other").stdout == ""


def test_what_is_no_registration_is_told_and_left_out(run: Run, web: Registry, store: tenure.Store) -> None:
    store.put("/registry/default/web/bad@h", b"{not json")
    result = run("services")
    assert (result.exit_code, result.stdout) == (0, "web\t1\t1\n")
    assert "bad@h" in result.stderr


def test_watch_shows_what_is_there_then_changes(file_url: str) -> None:
    config = RegistryConfig()
    with tenure.connect(file_url) as store, Registry(store, config, WEB) as registry:  # noqa: SIM117 - in two steps
        with Command("watch", "--json", url=file_url) as command:
            state = command.out.record(type="snapshot")
            assert state["instance"]["id"] == "one"
            assert command.out.record(type="synced")["instances"] == 1
            registry.update(WEB.with_metadata({"zone": "b"}))
            assert command.out.record(type="upsert")["instance"]["meta"] == {"zone": "b"}
            with Registry(store, RegistryConfig(), DB):
                assert command.out.record(type="create")["service"] == "db"
            assert command.out.record(type="delete")["instance"]["id"] == "two"
            with Registry(store, RegistryConfig(), DB):
                again = command.out.record(type="create")
            assert (again["returns"], again["away_seconds"] >= 0.0) == (1, True)
            command.signal(signal.SIGINT)
            assert command.wait() == 130
            assert command.err.rest() == []


def test_watch_one_service_and_end_after_so_many_changes(file_url: str) -> None:
    with tenure.connect(file_url) as store, Command("watch", "web", "--changes", "2", url=file_url) as command:
        command.out.with_text("0 instances")
        with Registry(store, RegistryConfig(), DB), Registry(store, RegistryConfig(), WEB):
            command.out.with_text("+ create")
        assert command.wait() == 0
        assert all("5432" not in line for line in [*command.out.seen, *command.out.rest()])


def test_watch_on_a_terminal_is_coloured(file_url: str) -> None:
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "tenure.cli", "watch", "--changes", "1"],
        env={**os.environ, "TENURE_URL": file_url, "TERM": "xterm-256color"},
        stdout=follower,
        stderr=follower,
    )
    os.close(follower)
    try:
        text = b""
        while b"0 instances" not in text:
            text += read_terminal(leader)
        with tenure.connect(file_url) as store, Registry(store, RegistryConfig(), WEB):
            while b"10.0.0.1:8001" not in text:
                text += read_terminal(leader)
            assert process.wait(DEADLINE) == 0
    finally:
        process.kill()
        process.wait()
        os.close(leader)
    assert b"\x1b[" in text


def test_a_killed_service_is_seen_to_go(file_url: str) -> None:
    """Two terminals: `tenure run` in one, `tenure watch` in the other."""
    service = Command("run", "web", "--port", "8000", "--heartbeat", "1", "--", "sleep", "600", url=file_url)
    with Command("watch", "--json", url=file_url) as watching, service:
        created = watching.out.until(lambda line: json.loads(line)["type"] in ("create", "snapshot"))
        assert json.loads(created)["service"] == "web"
        service.signal(signal.SIGKILL)
        assert watching.out.record(type="delete")["service"] == "web"
