"""The example in real uvicorn processes: registration, and a stop that loses nothing. Servers where marked."""

from __future__ import annotations

import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest
from service_processes import Load, ServiceProcess

import tenure
from tenure.registry import Registry
from tenure_testkit.servers.by_name import SERVERS
from tenure_testkit.waiting import PATIENCE, until

STOP_TIMEOUT = 8.0
"""The default, which the page states."""
EXIT_MARGIN = 1.5
"""Seconds for the interpreter's own end, on a busy machine."""

_SLOW_START = 5 * PATIENCE
"""Seconds for five interpreters that start at once."""

Freeze = Callable[[], AbstractContextManager[None]]


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite://{tmp_path}/store.db"


@pytest.fixture(params=["redis", "etcd"])
def server(request: pytest.FixtureRequest) -> Iterator[object]:
    with SERVERS[request.param]() as server:
        yield server


def ports(registry: Registry) -> set[int]:
    return {each.port for each in registry.get_services().get("shop", ())}


def ids(registry: Registry) -> set[str]:
    return {each.id for each in registry.get_services().get("shop", ())}


def roll(url: str, count: int, logs: Path) -> None:
    """Replace all instances one by one under load. No request is lost, and no entry of the old ones is left."""
    with ExitStack() as stack:
        start = lambda: stack.enter_context(ServiceProcess(url, logs))  # noqa: E731
        registry = stack.enter_context(Registry(stack.enter_context(tenure.connect(url))))
        old = [start() for _ in range(count)]
        for service in old:
            service.wait_ready()
        with Load(registry) as load:
            new = [start() for _ in range(count)]
            for number, service in enumerate(old):
                new[number].wait_ready()
                until(lambda service=service: load.answered[service.port], what=f"an answer of {service.port}")
                service.terminate()
                service.wait()
                # Before the next one is stopped: entries that outlive their process would be seen here.
                until(lambda service=service: service.port not in ports(registry), timeout=2, what="the entry is gone")
            for service in new:
                until(lambda service=service: load.answered[service.port], what=f"an answer of {service.port}")
        assert load.failures == []
        assert ports(registry) == {service.port for service in new}


def stop_while_frozen(url: str, freeze: Freeze, logs: Path, *, limit: float) -> None:
    """A service whose store is frozen ends within the stated time, and serves requests meanwhile."""
    with ServiceProcess(url, logs, STOP_TIMEOUT=str(limit), DRAIN_WAIT="0.5") as service:
        service.wait_ready()
        with freeze():
            began = time.monotonic()
            service.terminate()
            answer = service.get("/greet/ann")
            assert answer is not None
            assert answer.headers["connection"] == "close"
            service.wait()
            took = time.monotonic() - began
        assert "draining the instance: not" in service.log
        assert took < limit + EXIT_MARGIN, service.log


def test_a_restart_of_all_instances_loses_no_request_and_leaves_no_entry(sqlite_url: str, tmp_path: Path) -> None:
    roll(sqlite_url, 2, tmp_path)


@pytest.mark.slow
def test_a_restart_of_four_instances_on_a_server_loses_no_request(server: object, tmp_path: Path) -> None:
    roll(server.url, 4, tmp_path)


def test_a_service_ends_in_time_while_its_store_is_locked(sqlite_url: str, tmp_path: Path) -> None:
    @contextmanager
    def locked() -> Iterator[None]:
        connection = sqlite3.connect(tmp_path / "store.db", isolation_level=None)
        connection.execute("BEGIN IMMEDIATE")  # no other writer gets its turn
        yield
        connection.close()

    stop_while_frozen(sqlite_url, locked, tmp_path, limit=3.0)


@pytest.mark.slow
@pytest.mark.faults
def test_a_service_ends_in_time_while_its_server_is_frozen(server: object, tmp_path: Path) -> None:
    @contextmanager
    def frozen() -> Iterator[None]:
        server.pause()
        yield
        server.resume()

    stop_while_frozen(server.url, frozen, tmp_path, limit=STOP_TIMEOUT)


@pytest.mark.slow
def test_restarts_of_four_workers_on_a_server_lose_no_request(server: object, tmp_path: Path) -> None:
    """``uvicorn --workers 4``: five times a new set of workers takes over from the old one."""
    with ExitStack() as stack:
        registry = stack.enter_context(Registry(stack.enter_context(tenure.connect(server.url))))
        # On a busy machine a worker that starts answers its parent late, which would kill it.
        options = ("--workers=4", f"--timeout-worker-healthcheck={PATIENCE:g}")
        start = lambda: stack.enter_context(ServiceProcess(server.url, tmp_path, *options))  # noqa: E731

        def entries(service: ServiceProcess) -> int:
            return len([each for each in registry.get_services().get("shop", ()) if each.port == service.port])

        old = start()
        until(lambda: entries(old) == 4, timeout=_SLOW_START, what="four workers")
        with Load(registry) as load:
            for _ in range(5):
                new = start()
                until(lambda new=new: entries(new) == 4, timeout=_SLOW_START, what="four new workers")
                until(lambda old=old: load.answered[old.port], what="an answer of the old ones")
                old.terminate()
                old.wait()
                until(lambda old=old: not entries(old), timeout=2, what="the entries are gone")
                assert load.failures == [], old.log
                old = new
            until(lambda: load.answered[old.port], what="an answer of the new ones")
        assert load.failures == []
        old.terminate()
        old.wait()
        until(lambda: not registry.get_services(), timeout=2, what="no entry is left")


@pytest.mark.slow
def test_each_worker_is_an_instance_and_all_entries_go(sqlite_url: str, tmp_path: Path) -> None:
    with tenure.connect(sqlite_url) as store, Registry(store) as registry:
        with ServiceProcess(sqlite_url, tmp_path, "--workers=3") as service:
            registry.wait_for("shop", 3, timeout=60)
            assert ports(registry) == {service.port}
            first = ids(registry)
            with Load(registry) as load:
                until(lambda: load.answered.total() > 20, what="answers")
                service.process.send_signal(signal.SIGHUP)  # replaces one worker after another
                until(lambda: len(ids(registry)) == 3 and not ids(registry) & first, what="three new workers")
            assert load.failures == []
            service.terminate()
            service.wait()
        until(lambda: not ports(registry), what="no entry is left")


def test_what_the_example_does(sqlite_url: str, tmp_path: Path) -> None:
    with tenure.connect(sqlite_url) as store, ServiceProcess(sqlite_url, tmp_path) as service:
        service.wait_ready()
        assert service.get("/greet/ann").json()["text"] == "hello ann"
        store.put("settings/greeting", b'"good evening"')
        until(lambda: service.get("/greet/ann").json()["text"] == "good evening ann", what="the setting")
        orders = [httpx.post(f"http://{service.address}/orders").json()["number"] for _ in range(2)]
        assert orders == [1, 2]
        assert service.get("/instances").json() == [service.address]
        until(lambda: (found := store.get("job/leader")) and found.value == b"%d" % service.port, what="a leader")
        assert [item.key for item in store.scan("tenure/")], "the election has a key"
        service.terminate()
        service.wait()
        leases = [item.key for item in store.scan() if item.lease_id]
        assert leases == [], "the leader has resigned, and the entry is gone"
        for line in service.log.splitlines():
            assert "Traceback" not in line, service.log
