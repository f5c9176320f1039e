"""A program that starts before its store's server does, on each store with a server."""

from __future__ import annotations

import re
import threading
import traceback

import pytest

import tenure
from tenure.errors import Unavailable
from tenure.registry import Instance, Registry, Status
from tenure_testkit.probes.relay import Relay
from tenure_testkit.servers.container import ServerContainer
from tenure_testkit.servers.ports import free_port
from tenure_testkit.waiting import PATIENCE, until


def test_a_program_may_start_before_its_store(node: ServerContainer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "tenure._client.opening")
    [port] = re.findall(r"127\.0\.0\.1:(\d+)", node.url)
    relay = Relay(free_port())
    seen: list[Status] = []

    def program() -> None:
        url = node.url.replace(f":{port}", f":{relay.port}")
        with (
            tenure.connect(url, timeout=2.0, wait_for_store=2 * PATIENCE) as store,
            Registry(store, instance=Instance("web", port=80)) as registry,
        ):
            seen.append(registry.status)

    thread = threading.Thread(target=program)
    thread.start()
    try:
        until(lambda: caplog.text.count("can't be reached yet") >= 2, what="two attempts have failed")
        relay.turn_to(int(port))
        thread.join(2 * PATIENCE)
        assert seen == [Status.REGISTERED]
    finally:
        relay.close()


@pytest.mark.parametrize("scheme", ["etcd", "redis", "zookeeper", "consul"])
def test_a_program_whose_store_is_down_shows_where_it_called_and_why(scheme: str) -> None:
    place = f"127.0.0.1:{free_port()}"
    with pytest.raises(Unavailable) as caught:
        tenure.connect(f"{scheme}://{place}", timeout=0.5)
    lines = "".join(traceback.format_exception(caught.value)).splitlines()
    assert len([line for line in lines if line.startswith("  File")]) <= 2
    assert place in lines[-1]
