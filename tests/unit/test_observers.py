"""Observers hear what happens, with the right arguments, and can break nothing."""

from __future__ import annotations

import threading

import pytest

import tenure
from tenure.errors import ConfigError, Unavailable
from tenure.hookspecs import hookimpl
from tenure.registry import Instance, Registry, RegistryConfig
from tenure.spi import Snapshot
from tenure_testkit.waiting import until

from .doubles import ScriptedBackend


class Everything:
    def __init__(self):
        self.heard = []
        self.lost = threading.Event()

    @hookimpl
    def tenure_store_opened(self, url):
        self.heard.append(("opened", url))

    @hookimpl
    def tenure_store_closed(self, url):
        self.heard.append(("closed", url))

    @hookimpl
    def tenure_operation_finished(self, url, operation, seconds, error):
        assert 0 <= seconds < 10
        self.heard.append((operation, url, error))

    @hookimpl
    def tenure_lease_lost(self, url, lease_id, reason):
        self.heard.append(("lost", url, lease_id, reason))
        self.lost.set()

    @hookimpl
    def tenure_watch_resynced(self, url, prefix, reason):
        self.heard.append(("resynced", url, prefix, reason))


class Broken(Everything):
    """Raises from every hook, once it has been called."""

    def __getattribute__(self, name):
        if name == "heard":
            raise RuntimeError("the observer's bug")
        return super().__getattribute__(name)

    def __init__(self):
        self.lost = threading.Event()


def test_each_hook_hears_what_happened(open_store, clock):
    backend, observer = ScriptedBackend(lossless_watch=False), Everything()
    store = open_store(backend, clock=clock, observers=[observer], prefix="ns/", timeout=0.05)
    url = "double://"
    store.get("a")
    store.put("a", b"")
    error = Unavailable("down")
    backend.always("commit", error)
    with pytest.raises(Unavailable):
        store.delete("a")
    lease = store.lease(5, keep_alive=False)
    clock.jump(5)
    assert observer.lost.wait(60.0)
    watch = store.watch("p")
    backend.feed(0).deliver(Snapshot((), 1))
    watch.next(5)
    watch.next(5)
    backend.feed(0).fail(Unavailable("cut"))
    until(lambda: watch.next(0.02) is None and len(backend.feeds) == 2)
    backend.feed(1).deliver(Snapshot((), 2))
    watch.next(5)
    store.close()
    assert observer.heard == [
        ("opened", url),
        ("get", url, None),
        ("commit", url, None),
        ("commit", url, error),
        ("grant", url, None),
        ("lost", url, lease.id, lease.reason),
        ("resynced", url, "p", "the connection was lost: cut"),
        ("closed", url),
    ]


def test_refreshes_in_the_background_are_heard(open_store, backend, clock):
    observer = Everything()
    store = open_store(backend, clock=clock, observers=[observer])
    store.lease(9)
    clock.jump(3)
    until(lambda: ("refresh", "double://", None) in observer.heard)
    error = Unavailable("down")
    backend.always("refresh", error)
    clock.jump(3)
    until(lambda: ("refresh", "double://", error) in observer.heard)


def test_the_status_of_a_registry_is_heard():
    heard = []

    class Observer:
        @hookimpl
        def tenure_registration_changed(self, url, prefix, status):
            heard.append((url, prefix, status))

    with tenure.connect("memory://", observers=[Observer()]) as store:
        own = Registry(store, RegistryConfig("prod"), Instance("web", port=80)).start()
        store.delete(own.key)
        until(lambda: [entry[2] for entry in heard] == ["registered", "recovering", "registered"])
        own.close()
    assert {entry[:2] for entry in heard} == {("memory://", "/registry/prod/")}
    assert [entry[2] for entry in heard][3:] == ["idle", "closed"]


def test_the_registry_of_a_process_takes_observers():
    observer = Everything()
    with tenure.registry.init("memory://", observers=[observer]):
        pass
    tenure.registry.close()
    assert ("opened", "memory://") in observer.heard
    with tenure.connect("memory://") as store, pytest.raises(ConfigError, match="observers belong to a store"):
        tenure.registry.init(store, observers=[observer])


def test_an_observer_that_raises_breaks_neither_the_store_nor_another_observer(open_store, backend, caplog):
    first, last = Everything(), Everything()
    store = open_store(backend, observers=[first, Broken(), last])
    store.put("a", b"")
    store.close()
    assert first.heard == last.heard
    assert [entry[0] for entry in first.heard] == ["opened", "commit", "closed"]
    assert caplog.text.count("an observer of double:// raised") == 3


class Misspelt:
    @hookimpl
    def tenure_operation_done(self, url):
        """There is no such hook."""


class WrongArgument:
    @hookimpl
    def tenure_store_opened(self, uri):
        """The argument is called url."""


class Unmarked:
    def tenure_store_opened(self, url):
        """Without hookimpl nobody would ever call it."""


@pytest.mark.parametrize(
    ("observer", "word"), [(Misspelt(), "tenure_operation_done"), (WrongArgument(), "uri"), (Unmarked(), "no hook")]
)
def test_an_observer_that_could_never_hear_is_told_before_anything_is_opened(observer, word):
    with pytest.raises(ConfigError, match=word):
        tenure.connect("memory://", observers=[observer])


def test_an_observer_of_one_hook_is_enough(open_store, backend):
    heard = []

    class Opened:
        @hookimpl
        def tenure_store_opened(self, url):
            heard.append(url)

    open_store(backend, observers=[Opened()])
    assert heard == ["double://"]
