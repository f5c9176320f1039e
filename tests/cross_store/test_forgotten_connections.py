"""A NAT or a firewall that forgets connections: they lead nowhere, and nobody closes them. New ones work."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from tenure import Store
from tenure.plugin_kit import monotonic
from tenure.registry import Instance, Registry, RegistryConfig, Status
from tenure_testkit.probes.relay import Relay
from tenure_testkit.servers.container import ServerContainer
from tenure_testkit.waiting import until

HEARTBEAT = RegistryConfig().heartbeat


def test_a_living_instance_stays_registered(
    node: ServerContainer, opened: Callable[..., Store], request: pytest.FixtureRequest
) -> None:
    """The keep-alive finds another connection before the lease of the default heartbeat ends."""
    [port] = re.findall(r"127\.0\.0\.1:(\d+)", node.url)
    relay = Relay(int(port))
    request.addfinalizer(relay.close)
    observer = Registry(opened(node.url)).start()
    store = opened(node.url.replace(f":{port}", f":{relay.port}"))
    own = Registry(store, instance=Instance("web", port=80)).start()
    observer.wait_for("web")
    gone: list[object] = []
    observer.add_handler(lambda event: gone.append(event) if event.type == "delete" else None)
    first = own.lease
    assert first is not None
    assert relay.forget() >= 1
    ends = monotonic() + 1.5 * HEARTBEAT
    until(lambda: first.state != "alive" or monotonic() > ends, 2 * HEARTBEAT, "the first lease would have ended")
    until(lambda: monotonic() > ends, 2 * HEARTBEAT, "it would have ended")
    assert (own.lease, own.status, gone) == (first, Status.REGISTERED, [])
    assert first.alive
