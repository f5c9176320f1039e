"""The example's servers in real processes, replaced one by one under load through one channel: no call fails."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest
from shop_servers import Load, ShopProcess
from tenure_grpc import TenureChannel

import tenure
from tenure.registry import Registry
from tenure_testkit.waiting import until


def ports(registry: Registry) -> set[int]:
    return {each.port for each in registry.get_services().get("shop", ())}


def roll(url: str, logs: Path, *, count: int, rounds: int) -> None:
    with ExitStack() as stack:
        registry = stack.enter_context(Registry(stack.enter_context(tenure.connect(url))))
        channel = stack.enter_context(TenureChannel(registry, "shop", attempts=1))
        start = lambda: stack.enter_context(ShopProcess(url, logs))  # noqa: E731
        running = [start() for _ in range(count)]
        until(lambda: ports(registry) == {each.port for each in running}, what="all are registered")
        with Load(channel) as load:
            for _ in range(rounds):
                for number, old in enumerate(running):
                    new = running[number] = start()
                    until(lambda new=new: load.answered.get(b"%d" % new.port, 0) > 5, what="answers of the new one")
                    old.terminate()
                    assert old.wait() == 0, old.log
                    assert old.port not in ports(registry)
        assert load.failures == []
        assert len(channel._connections) <= count


def test_a_rolling_restart_under_load_fails_no_call(tmp_path: Path) -> None:
    roll(f"sqlite://{tmp_path}/store.db", tmp_path, count=1, rounds=1)


@pytest.mark.slow
def test_rolling_restarts_on_a_server_fail_no_call(server: object, tmp_path: Path) -> None:
    roll(server.url, tmp_path, count=3, rounds=2)
