"""What other programs see: sorted, usable, and steady over an outage."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from tenure_gateway.directory import Directory, usable_host

import tenure
from tenure.registry import Instance, Registry, RegistryConfig
from tenure.testing import Faults
from tenure_testkit.waiting import until

GRACE = 15.0


class Setting:
    """A directory on a registry of the sandbox, with a clock that the test moves."""

    def __init__(self, connect: Callable[..., tenure.Store], stack: ExitStack) -> None:
        self.now = 0.0
        self.directory = Directory(RegistryConfig().key_prefix, GRACE, lambda: self.now)
        self.writer = connect()
        registry = stack.enter_context(Registry(connect(observers=[self.directory])))
        self.directory.follow(registry, lambda: None)

    def register(self, *names: str, host: str = "10.0.0.1", port: int = 0) -> list[Registry]:
        return [
            Registry(self.writer, instance=Instance("web", id=name, host=host, port=port or ord(name[0]))).start()
            for name in names
        ]

    def ready(self) -> list[str]:
        return [each.id for each in self.directory.look().services.get("web", ()) if each.ready]

    def ids(self) -> list[str]:
        return [each.id for each in self.directory.look().services.get("web", ())]


@pytest.fixture
def setting(tenure_connect: Callable[..., tenure.Store]) -> Iterator[Setting]:
    with ExitStack() as stack:
        yield Setting(tenure_connect, stack)


def test_instances_are_sorted_and_the_serial_grows_with_changes_alone(setting: Setting) -> None:
    assert setting.directory.look() is setting.directory.look()
    setting.register("b", "a")
    until(lambda: setting.ids() == ["a", "b"], what="both are seen")
    serial = setting.directory.look().serial
    assert setting.directory.look().serial == serial > 0


def test_an_instance_without_a_usable_host_is_left_out_and_named(setting: Setting) -> None:
    setting.register("good")
    setting.register("bad", host="x; } server {")
    until(lambda: setting.directory.look().left_out, what="the bad one is seen")
    assert setting.ids() == ["good"]
    assert list(setting.directory.look().left_out) == ["web/bad@x; } server {"]


@pytest.mark.parametrize("host", ["10.0.0.1", "::1", "web-1.example.org", "localhost", "a_b", "example.org."])
def test_addresses_and_names_are_usable(host: str) -> None:
    assert usable_host(host)


@pytest.mark.parametrize(
    "host", ["a b", "a;b", "-a", "a-.b", "a..b", "fe80::1%eth0", "a\n", "$x", "[::1]", "a" * 64, ""]
)
def test_anything_else_is_not(host: str) -> None:
    assert not usable_host(host)


def test_what_an_outage_took_away_stays_for_the_grace_period(setting: Setting, tenure_faults: Faults) -> None:
    setting.register("a", "b", "c", "d")[3].drain()
    until(lambda: setting.ready() == ["a", "b", "c"], what="all are seen, and one drains")
    # The store is back, and has lost everything.
    tenure_faults.lose_data()
    until(lambda: setting.directory.look().kept == {"web/a@10.0.0.1", "web/b@10.0.0.1", "web/c@10.0.0.1"}, what="kept")
    assert setting.ids() == ["a", "b", "c"]
    # One registers again, and one has a successor at its address.
    setting.register("a")
    setting.register("new", port=ord("b"))
    until(lambda: setting.directory.look().kept == {"web/c@10.0.0.1"}, what="two are known again")
    assert setting.ids() == ["a", "c", "new"]
    setting.now += GRACE + 1
    until(lambda: setting.ids() == ["a", "new"], what="the grace period is over")
    assert not setting.directory.look().kept


def test_a_difference_without_an_outage_is_doubted_too(setting: Setting) -> None:
    first, _second = setting.register("a", "b")
    until(lambda: setting.ids() == ["a", "b"], what="both are seen")
    setting.directory.tenure_watch_resynced("another/prefix/")
    setting.directory.tenure_watch_resynced(RegistryConfig().key_prefix)
    first.close()
    until(lambda: setting.directory.look().kept, what="it stays")
    assert setting.ids() == ["a", "b"]


def test_an_instance_that_leaves_without_an_outage_is_gone_at_once(setting: Setting) -> None:
    first, _second = setting.register("a", "b")
    until(lambda: setting.ids() == ["a", "b"], what="both are seen")
    first.close()
    until(lambda: setting.ids() == ["b"], what="it is gone")
    assert not setting.directory.look().kept
