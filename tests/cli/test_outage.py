"""The command line while a real server dies, freezes and comes back."""

from __future__ import annotations

import json
import signal
import time
from typing import TYPE_CHECKING

import pytest

from tenure_testkit.servers.require import need_module

from .processes import DEADLINE, Command

if TYPE_CHECKING:
    from tenure_testkit.servers import EtcdServer

pytestmark = pytest.mark.faults


@pytest.fixture(autouse=True)
def client_library() -> None:
    need_module("etcd", "etcd3")


def test_run_and_watch_live_through_an_outage(etcd_node: EtcdServer) -> None:
    """The watcher is told of the outage and of its end; the service is registered again, once."""
    service = Command(
        "run", "web", "--port", "8000", "--heartbeat", "2", "--json", "--", "sleep", "600", url=etcd_node.url
    )
    with Command("watch", "--json", url=etcd_node.url) as watching, service:
        first = json.loads(watching.out.until(lambda line: json.loads(line)["type"] in ("create", "snapshot")))
        etcd_node.kill()
        watching.out.record(type="outage")
        service.err.record(type="recovering")
        etcd_node.start()
        watching.out.record(type="reconnected")
        again = service.err.record(type="registered")["message"]
        assert again.startswith(f"registered: {_identity(first)} is registered again after ")
        assert again.endswith(" s, 1st time since the start")
        service.signal(signal.SIGTERM)
        gone = watching.out.record(type="delete")
        assert gone["instance"]["id"] == first["instance"]["id"]
        assert service.wait() == 128 + signal.SIGTERM


def _identity(event: dict[str, dict[str, str]]) -> str:
    instance = event["instance"]
    return f"{instance['service_name']}/{instance['id']}@{instance['host']}"


def test_a_frozen_server_is_an_error_in_time(etcd_node: EtcdServer) -> None:
    etcd_node.pause()
    began = time.monotonic()
    for arguments in (["kv", "get", "k"], ["services"], ["doctor"]):
        with Command(*arguments, "--timeout", "1", url=etcd_node.url) as command:
            assert command.wait() == 3
            [line] = command.err.rest()
            assert "trying again is safe" in line
    assert time.monotonic() - began < DEADLINE


def test_run_waits_for_a_server_that_comes_later(etcd_node: EtcdServer) -> None:
    etcd_node.kill()
    arguments = ("run", "web", "--port", "1", "--timeout", "1", "--wait", "30", "--", "echo", "started")
    with Command(*arguments, url=etcd_node.url) as command:
        command.err.with_text("waiting for the store")
        etcd_node.start()
        command.out.with_text("started")
        assert command.wait() == 0


def test_a_signal_reaches_the_command_although_the_store_is_frozen(etcd_node: EtcdServer) -> None:
    arguments = ("run", "web", "--port", "1", "--timeout", "2", "--", "sleep", "600")
    with Command(*arguments, url=etcd_node.url) as command:
        command.err.with_text("registered")
        etcd_node.pause()
        command.signal(signal.SIGTERM)
        assert command.wait() == 128 + signal.SIGTERM
