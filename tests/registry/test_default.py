"""One registry per process; forks."""

from __future__ import annotations

import linecache
import signal
import sys
import threading
import uuid
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any

import pytest

import tenure
import tenure.registry as convenience
from tenure.errors import AlreadyRegistered, ConfigError, ServiceNotFound, StoreClosed, UnknownScheme, UsedAfterFork
from tenure.registry import Instance, Registry, RegistryConfig
from tenure.registry import default as process_module
from tenure_testkit.probes import forked

WEB = Instance("web", id="1", host="h", host_name="n", port=80)


@pytest.fixture(autouse=True)
def fresh_process():
    yield
    convenience.close()
    process_module._process.registry = None


def test_init_by_url_and_the_functions():
    url = f"memory://{uuid.uuid4().hex}"
    own = convenience.init(url, RegistryConfig("x"), WEB)
    assert convenience.get_registry() is own
    assert convenience.current() == WEB
    assert convenience.get_service("web").instances == (WEB,)
    assert list(convenience.get_services()) == ["web"]
    assert convenience.pick("web") == WEB
    assert convenience.pick("web", sticky="key", zones=["a"], exclude=["2"]) == WEB
    assert convenience.report_failure(WEB) == 1.0
    convenience.report_success(WEB)
    assert own.resting == {}
    assert convenience.wait_for("web").instances == (WEB,)
    events: list[object] = []
    convenience.add_handler(events.append, replay=True)
    convenience.update(WEB.copy(port=81))
    convenience.deregister()
    assert convenience.current() is None
    convenience.register(WEB)
    convenience.close()
    assert own.store.closed
    assert len(events) == 5
    with pytest.raises(ServiceNotFound):
        convenience.get_service("web")
    assert convenience.get_registry().closed


def test_init_with_a_store_leaves_it_open(store):
    convenience.init(store, instance=WEB)
    convenience.close()
    assert not store.closed
    assert store.list().items == ()


class Limit(Exception):
    """What a signal handler raises."""


def interrupted_on(code: CodeType, text: str, call: Callable[[], object]) -> None:
    """Make ``call``, with an exception as it comes to the line ``text`` of ``code``."""

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        if frame.f_code is not code:
            return None
        if event == "line" and linecache.getline(code.co_filename, frame.f_lineno).strip().startswith(text):
            raise Limit
        return trace

    def traced() -> None:
        sys.settrace(trace)
        try:
            call()
        finally:
            sys.settrace(None)

    with pytest.raises(Limit):
        traced()


def test_an_interrupt_as_a_start_returns_leaves_nothing_registered(store):
    own = Registry(store, instance=WEB)
    interrupted_on(Registry.start.__code__, "return self", own.start)
    assert own.closed
    assert store.list("/registry/").items == ()


@pytest.mark.parametrize("line", ["_process.registry", "return registry"])
def test_an_interrupt_as_init_returns_leaves_nothing_registered(line):
    url = f"memory://{uuid.uuid4().hex}"
    with tenure.connect(url) as store:
        interrupted_on(convenience.init.__code__, line, lambda: convenience.init(url, instance=WEB))
        assert store.list("/registry/").items == ()
        assert convenience.init(url, instance=WEB).current() == WEB
        convenience.close()


def test_a_second_init_is_refused_until_the_first_is_closed(store):
    first = convenience.init(store)
    with pytest.raises(AlreadyRegistered, match="close it first"):
        convenience.init(store)
    first.close()
    assert convenience.init(store) is not first


def test_before_init_it_says_so():
    with pytest.raises(StoreClosed, match=r"init\(url\)"):
        convenience.current()
    convenience.close()


def test_an_init_that_fails_leaves_nothing(store):
    store.put("/registry/default/web/1@h", b"{}")
    with pytest.raises(AlreadyRegistered):
        convenience.init(store, instance=WEB)
    with pytest.raises(UnknownScheme):
        convenience.init("nosuch://x")
    with pytest.raises(ConfigError, match="opened store"):
        convenience.init(7)
    with pytest.raises(StoreClosed):
        convenience.get_registry()


def test_a_forked_child_reads_but_does_not_act(store, registry):
    own = registry(WEB)

    def check():
        assert own.get_service("web").instances == (WEB,)
        assert own.pick("web") == WEB
        assert own.current() == WEB
        for act in (
            own.start,
            own.register,
            own.deregister,
            own.drain,
            own.wait_for,
            lambda: own.update(WEB),
            lambda: own.add_handler(print),
            lambda: own.add_status_handler(print),
        ):
            with pytest.raises(UsedAfterFork):
                act()
        own.close()

    assert forked(check) == ""
    assert store.get(own.key).lease_id == own.lease.id


def test_a_fork_in_the_middle_of_a_choice_leaves_the_child_able_to_choose(registry):
    own = registry(WEB)
    own.report_failure(WEB)
    held, over = threading.Event(), threading.Event()

    def choose() -> None:
        with own._picker._lock, own._rests._lock:
            held.set()
            over.wait(60)

    def check() -> None:
        signal.alarm(30)  # ends a child that hangs
        assert own.pick("web") == WEB
        own.report_failure(WEB)
        assert list(own.resting) == [WEB.identity()]
        own.report_success(WEB)

    chooser = threading.Thread(target=choose)
    chooser.start()
    assert held.wait(60)
    try:
        assert forked(check) == ""
    finally:
        over.set()
        chooser.join()


def test_a_forked_child_may_have_a_registry_of_its_own(store):
    convenience.init(store, instance=WEB)

    def check():
        assert convenience.get_service("web").instances == (WEB,)
        with pytest.raises(UsedAfterFork):
            convenience.deregister()
        own = convenience.init("memory://", instance=WEB)
        assert convenience.get_registry() is own
        convenience.close()
        assert not store.closed

    assert forked(check) == ""
    assert convenience.current() == WEB


def test_a_registry_made_in_the_parent_is_not_started_in_the_child(store):
    own = Registry(store, instance=WEB)

    def check():
        with pytest.raises(UsedAfterFork):
            own.start()

    assert forked(check) == ""
