"""The example in real uvicorn processes: registration, and a stop that loses nothing. Servers where marked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from service_processes import Load, ServiceProcess

import tenure
from tenure.registry import Registry
from tenure_testkit.waiting import until


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite://{tmp_path}/store.db"


@pytest.fixture
def registry(url: str) -> Iterator[Registry]:
    with tenure.connect(url) as store, Registry(store) as registry:
        yield registry


def ports(registry: Registry) -> set[int]:
    return {each.port for each in registry.get_services().get("shop", ())}


def test_a_restart_of_all_instances_loses_no_request_and_leaves_no_entry(
    url: str, registry: Registry, tmp_path: Path
) -> None:
    roll(url, registry, tmp_path)


def roll(url: str, registry: Registry, log: Path) -> None:
    with ExitStack() as stack:
        old = [stack.enter_context(ServiceProcess(url, log)) for _ in range(4)]
        for service in old:
            service.wait_ready()
        with Load(registry) as load:
            for service in old:
                stack.enter_context(ServiceProcess(url, log)).wait_ready()
                before = load.answered.total()
                until(lambda before=before: load.answered.total() > before, what="answers")
                service.terminate()
                service.wait()
        assert load.failures == []
        assert {service.port for service in old} <= set(load.answered), "each instance had work"
        left = ports(registry)
        assert not left & {service.port for service in old}
        assert len(left) == 4
