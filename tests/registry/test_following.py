"""A registry that follows some services has their entries alone, and everything else as one that follows all."""

from __future__ import annotations

import pytest

import tenure
from tenure.errors import ConfigError, InvalidArgument, ServiceNotFound, Unavailable
from tenure.registry import Instance, Registry, RegistryConfig, Status, encode, key_of
from tenure_testkit.waiting import until

PREFIX = "/registry/default/"


def entry(store, service: str, name: str, port: int = 1) -> None:
    instance = Instance(service, id=name, host="h", host_name="h", port=port)
    store.put(key_of(PREFIX, instance), encode(instance))


@pytest.fixture
def watched(store, monkeypatch):
    """The prefixes that the store was asked to watch."""
    asked: list[str] = []
    real = store.watch

    def watch(prefix, **options):
        asked.append(prefix)
        return real(prefix, **options)

    monkeypatch.setattr(store, "watch", watch)
    return asked


def test_only_the_services_that_are_asked_for_are_watched_and_known(store, watched):
    for service in ("web", "web/admin", "api", "db"):
        entry(store, service, "1")
    with Registry(store, RegistryConfig(services=["web", "api"])) as registry:
        assert watched == [f"{PREFIX}api/", f"{PREFIX}web/"]
        assert sorted(registry.get_services()) == ["api", "web"]
        seen: list[str] = []
        registry.add_handler(lambda event: seen.append(event.instance.service_name))
        entry(store, "db", "2")
        entry(store, "web/admin", "2")
        entry(store, "web", "2")
        until(lambda: seen == ["web"], 30, "the one change that it follows")
        assert registry.staleness == 0.0


def test_a_service_that_is_not_followed_is_named_as_such(store):
    with Registry(store, RegistryConfig(services={"web"})) as registry:
        with pytest.raises(ServiceNotFound, match=r"follows .web. alone; add the service to RegistryConfig\.services"):
            registry.pick("db")
        with pytest.raises(ServiceNotFound, match=r"no instance of .web. is known$"):
            registry.get_service("web")
        with pytest.raises(InvalidArgument, match="follows 'web' alone"):
            registry.wait_for("db", timeout=30)
        with pytest.raises(InvalidArgument, match="follows 'web' alone"):
            registry.add_handler(print, service="db")


def test_the_own_service_is_followed_too(store):
    own = Instance("own", id="1", host="h", port=80)
    with Registry(store, RegistryConfig(services={"web"}), instance=own) as registry:
        assert registry.get_service("own").instances == (own,)


def test_the_service_of_an_instance_that_is_registered_later_is_followed_from_then_on(store):
    own = Instance("own", id="1", host="h", port=80)
    with Registry(store, RegistryConfig(services={"web"}, heartbeat=30.0, jitter=0.0)) as registry:
        registry.register(own)
        assert registry.get_service("own").instances == (own,)
        assert registry.staleness == 0.0
        store.delete(key_of(PREFIX, own))  # which a watch alone tells before the lease ends
        until(lambda: store.get(key_of(PREFIX, own)) is not None, 30, "the entry that is written again")
        until(lambda: registry.status is Status.REGISTERED, 30, "the registration")


def test_an_outage_of_many_watches_is_one(store):
    with Registry(store, RegistryConfig(services={"a", "b", "c"})) as registry:
        told: list[Status] = []
        registry.add_status_handler(lambda change: told.append(change.status))
        for name in "abc":
            registry._following._outage(name, Unavailable("away"))
        for name in "abc":
            registry._following._outage(name, None)
        until(lambda: told == [Status.RECOVERING, Status.FOLLOWING], 30, f"two changes, not {told}")


@pytest.mark.parametrize("wrong", [[], "web", b"web", [""], [1], 5])
def test_a_wrong_collection_of_services_is_refused(wrong):
    with pytest.raises(ConfigError, match="services is a collection of at least one name"):
        RegistryConfig(services=wrong)


def test_it_ends_with_its_registry():
    with tenure.connect("memory://") as store:
        registry = Registry(store, RegistryConfig(services={"a", "b"})).start()
        registry.close()
        assert registry.closed
        assert all(watch.closed for watch in registry._following._watches.values())
