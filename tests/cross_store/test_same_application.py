"""One application, unchanged, on every store: what its watcher is told is the same everywhere."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import tenure
import tenure_memory
from tenure.errors import Unavailable
from tenure.registry import EventType, Instance, InstanceEvent, Part, Registry, RegistryConfig, Status, encode, key_of
from tenure_testkit.servers.container import ServerContainer

Outage = Callable[[], AbstractContextManager[None]]

CONFIG = RegistryConfig(heartbeat=30.0)
WEB = Instance("web", id="1", host="10.0.0.1", host_name="n", port=80, meta={"version": "1"})
WORKER = Instance("worker", id="7", host="10.0.0.2", host_name="n", port=81)

CRASHING = """
import sys, tenure
from tenure.registry import Instance, Registry, RegistryConfig
store = tenure.connect(sys.argv[1])
worker = Instance("worker", id="7", host="10.0.0.2", host_name="n", port=81)
Registry(store, RegistryConfig(heartbeat=float(sys.argv[2])), worker).start()
print("registered", flush=True)
sys.stdin.read()
"""


@dataclass(frozen=True)
class Line:
    """One event as the application logs it: what happened to which instance, and for an upsert what is different."""

    type: EventType
    service: str
    id: str
    changed: tuple[tuple[str, object, object], ...] = ()


class Log:
    """Events in the order in which the registry told them."""

    def __init__(self) -> None:
        self.events: list[InstanceEvent] = []
        self._more = threading.Condition()

    def __call__(self, event: InstanceEvent) -> None:
        with self._more:
            self.events.append(event)
            self._more.notify_all()

    def wait(self, type_: EventType, instance: Instance, timeout: float = 30.0) -> None:
        """Until this is the last event."""
        with self._more:
            seen = self._more.wait_for(lambda: self._last() == (type_, instance), timeout)
            assert seen, f"no {type_} of {instance} within {timeout:g} s: {self.events}"

    def _last(self) -> tuple[EventType, Instance] | None:
        return (self.events[-1].type, self.events[-1].instance) if self.events else None

    def lines(self, *, merged: bool) -> list[Line]:
        """The log; with ``merged`` each run of upserts of one instance as the one upsert that it adds up to."""
        events: list[InstanceEvent] = []
        for event in self.events:
            last = events[-1] if events else None
            again = last is not None and last.type is event.type is EventType.UPSERT
            if merged and last is not None and again and last.instance.identity() == event.instance.identity():
                events[-1] = InstanceEvent(EventType.UPSERT, event.instance, last.previous)
            else:
                events.append(event)
        return [Line(event.type, event.instance.service_name, event.instance.id, _changed(event)) for event in events]


def application(url: str, outage: Outage | None) -> tuple[list[Line], bool]:
    """The application. Nothing in here knows which store it is on, only what the store declares.

    ``outage`` is what its operators do to the store while it runs, ``None`` where there is nothing to stop.
    Answers its log, and whether the store declares that upserts in quick succession may come as one.
    """
    with tenure.connect(url) as store, tenure.connect(url) as other:
        log, statuses = Log(), []
        merged = not store.capabilities.lossless_watch
        with Registry(other, CONFIG) as watcher, Registry(store, CONFIG) as own:
            watcher.add_handler(log)
            own.add_status_handler(
                lambda change: statuses.append(change.status) if change.part is Part.REGISTRATION else None
            )
            # register
            own.register(WEB)
            log.wait(EventType.CREATE, WEB)
            # update, faster than a watcher can look
            for version in ("2", "3", "4"):
                newest = own.update(WEB.with_metadata({"version": version}))
            log.wait(EventType.UPSERT, newest)
            # crash
            _crash(url, store, lambda: log.wait(EventType.CREATE, WORKER))
            log.wait(EventType.DELETE, WORKER, timeout=store.capabilities.max_lifetime_after_refresh(5.0) + 30.0)
            # outage
            if outage is not None:
                with outage():
                    with pytest.raises(Unavailable):
                        store.get("anything", timeout=0.5)
                    assert watcher.get_service("web").instances == (newest,)
                    assert own.current() == newest
            # recover
            moved = own.update(newest.copy(port=90))
            log.wait(EventType.UPSERT, moved)
            # deregister
            own.deregister()
            log.wait(EventType.DELETE, moved)
            assert store.list("/registry/").items == ()
            assert Status.RECOVERING not in statuses
            assert Status.FAILED not in statuses
    return log.lines(merged=merged), merged


def _crash(url: str, store: tenure.Store, registered: Callable[[], None]) -> None:
    """Another instance registers and dies: its process is killed; in a store of one process its lease is left alone."""
    heartbeat = max(1.0, store.capabilities.min_ttl)
    if not store.capabilities.multi_process:
        key = key_of(CONFIG.key_prefix, WORKER)
        store.put(key, encode(WORKER), lease=store.lease(heartbeat, keep_alive=False))
        registered()
        return
    child = subprocess.Popen(
        [sys.executable, "-c", CRASHING, url, str(heartbeat)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with child:
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == b"registered\n"
            registered()
        finally:
            child.send_signal(signal.SIGKILL)


def _changed(event: InstanceEvent) -> tuple[tuple[str, object, object], ...]:
    if event.type is not EventType.UPSERT or event.previous is None:
        return ()
    before, now = event.previous.to_dict(), event.instance.to_dict()
    return tuple((name, before[name], now[name]) for name in now if before[name] != now[name])


def _version(before: str, now: str) -> Line:
    return Line(EventType.UPSERT, "web", "1", (("meta", {"version": before}, {"version": now}),))


_CRASHED_AND_GONE = [
    Line(EventType.CREATE, "worker", "7"),
    Line(EventType.DELETE, "worker", "7"),
    Line(EventType.UPSERT, "web", "1", (("port", 80, 90),)),
    Line(EventType.DELETE, "web", "1"),
]
EVERY_CHANGE = [
    Line(EventType.CREATE, "web", "1"),
    _version("1", "2"),
    _version("2", "3"),
    _version("3", "4"),
    *_CRASHED_AND_GONE,
]
COALESCED = [Line(EventType.CREATE, "web", "1"), _version("1", "4"), *_CRASHED_AND_GONE]


def test_the_log_is_the_same_on_every_store(store_url: str) -> None:
    lines, merged = application(store_url, None)
    assert lines == (COALESCED if merged else EVERY_CHANGE)


@pytest.mark.faults
def test_the_log_is_the_same_when_the_server_dies_and_comes_back(node: ServerContainer) -> None:
    @contextlib.contextmanager
    def outage() -> Iterator[None]:
        node.kill()
        yield
        node.start()

    url: str = node.url  # type: ignore[attr-defined]  # every kind of server has one, their base doesn't
    lines, merged = application(url, outage)
    assert lines == (COALESCED if merged else EVERY_CHANGE)


def test_the_log_is_the_same_over_an_outage_of_the_store_in_memory() -> None:
    name = f"stores-{uuid.uuid4().hex}"
    try:
        lines, merged = application(f"memory://{name}", tenure_memory.server(name).outage)
    finally:
        tenure_memory.forget(name)
    assert not merged
    assert lines == EVERY_CHANGE


def test_the_embedded_file_has_no_server_to_stop(tmp_path: Path) -> None:
    """Why SQLite has no outage here: another process that opens the file is all it needs, with nobody else running."""
    url = f"sqlite:///{tmp_path}/store.db"
    with tenure.connect(url) as store:
        store.put("key", b"value")
    code = "import sys, tenure\nwith tenure.connect(sys.argv[1]) as s: print(s.get('key').value.decode())"
    done: Any = subprocess.run(
        [sys.executable, "-c", code, url], capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout == "value\n"
