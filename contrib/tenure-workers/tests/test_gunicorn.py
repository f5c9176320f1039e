"""gunicorn in real processes: registration of each worker, and a stop or a replacement that loses nothing."""

from __future__ import annotations

import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest
from worker_programs import Gunicorn, Load

import tenure
from tenure.registry import Registry
from tenure_testkit.waiting import PATIENCE, until

STOP_TIMEOUT = 8.0
"""The default, which the page states."""
EXIT_MARGIN = 2.0
"""Seconds for the ends of two interpreters, the worker's and the master's, beside the time that they took to begin."""
KINDS = [
    pytest.param((), id="sync"),
    pytest.param(("--preload",), id="sync-preload"),
    pytest.param(("--worker-class=gthread", "--threads=4"), id="gthread"),
    pytest.param(("--worker-class=gthread", "--threads=4", "--preload"), id="gthread-preload"),
]


def entries(registry: Registry, port: int) -> set[str]:
    return {each.id for each in registry.get_services().get("shop", ()) if each.port == port}


def wait_for_workers(registry: Registry, service: Gunicorn, count: int = 2) -> set[str]:
    def registered() -> bool:
        assert service.process.poll() is None, service.log
        return len(entries(registry, service.port)) == count

    until(registered, what=f"{count} workers of {service.port}")
    return entries(registry, service.port)


def roll(url: str, logs: Path, *arguments: str, rounds: int) -> None:
    """Replace a gunicorn under load, again and again. No request is lost, and no entry is left."""
    with ExitStack() as stack:
        registry = stack.enter_context(Registry(stack.enter_context(tenure.connect(url))))
        # With --preload the master process has an open store, too.
        old = stack.enter_context(Gunicorn(url, logs, *arguments, TOUCH="1"))
        wait_for_workers(registry, old)
        with Load(registry) as load:
            for _ in range(rounds):
                new = stack.enter_context(Gunicorn(url, logs, *arguments, TOUCH="1"))
                wait_for_workers(registry, new)
                assert httpx.post(f"http://127.0.0.1:{new.port}/orders", timeout=30).json()["number"]
                until(lambda old=old: load.answered[old.port] > 5, what="answers")
                old.terminate()
                assert old.wait() == 0
                assert entries(registry, old.port) == set()
                assert "Traceback" not in old.log
                old = new
            until(lambda: load.answered[old.port] > 5, what="answers of the last one")
        assert load.failures == []


def reload(url: str, logs: Path, *arguments: str, rounds: int) -> None:
    """SIGHUP under load, of the only server of the service. There is an instance at every moment."""
    with (
        tenure.connect(url) as store,
        Registry(store) as registry,
        # On a busy machine a new worker takes longer to start than the default allows.
        Gunicorn(url, logs, *arguments, STOP_TIMEOUT=str(PATIENCE)) as service,
    ):
        first = wait_for_workers(registry, service)
        with Load(registry) as load:
            for _ in range(rounds):
                until(lambda: load.answered.total() > 5, what="answers")
                service.signal(signal.SIGHUP)

                def replaced(old: set[str] = first) -> bool:
                    now = entries(registry, service.port)
                    return len(now) == 2 and not now & old

                until(replaced, what="two new workers")
                first = entries(registry, service.port)
        assert load.failures == [], service.log
        service.terminate()
        assert service.wait() == 0
        assert entries(registry, service.port) == set()


def stop_while_frozen(url: str, freeze: Callable[[], AbstractContextManager[None]], logs: Path, limit: float) -> None:
    """The program ends within the stated time, serves requests meanwhile, and says what the store didn't confirm."""
    with (
        Gunicorn(url, logs, STOP_TIMEOUT=str(limit), DRAIN_WAIT="0.5") as service,
        httpx.Client(base_url=f"http://127.0.0.1:{service.port}", timeout=limit) as client,
    ):
        with tenure.connect(url) as store, Registry(store) as registry:
            wait_for_workers(registry, service)
        margin = EXIT_MARGIN + service.booted()
        with freeze():
            began = time.monotonic()
            service.terminate()
            assert client.get("/").status_code == 200
            service.wait()
            took = time.monotonic() - began
        assert "draining the instance: not confirmed" in service.log
        assert took < limit + margin, service.log


def test_a_restart_under_load_loses_no_request_and_leaves_no_entry(sqlite_url: str, tmp_path: Path) -> None:
    roll(sqlite_url, tmp_path, "--preload", rounds=1)


def test_a_reload_of_the_only_server_loses_no_request(sqlite_url: str, tmp_path: Path) -> None:
    reload(sqlite_url, tmp_path, "--worker-class=gthread", "--threads=4", rounds=1)


def test_a_worker_ends_in_time_while_its_store_is_locked(sqlite_url: str, tmp_path: Path) -> None:
    @contextmanager
    def locked() -> Iterator[None]:
        connection = sqlite3.connect(tmp_path / "store.db", isolation_level=None)
        connection.execute("BEGIN IMMEDIATE")  # no other writer gets its turn
        yield
        connection.close()

    stop_while_frozen(sqlite_url, locked, tmp_path, limit=3.0)


@pytest.mark.slow
def test_workers_that_are_replaced_after_some_requests_lose_none(
    sqlite_url: str, tmp_path: Path, registry: Registry
) -> None:
    with (
        Gunicorn(sqlite_url, tmp_path) as steady,
        Gunicorn(sqlite_url, tmp_path, "--max-requests=40") as service,
    ):
        wait_for_workers(registry, steady)
        wait_for_workers(registry, service)
        with Load(registry) as load:
            # All workers of a server may be replaced at the same time. Then the other server is the only one.
            until(lambda: len(load.pids) >= 8, what="four workers were replaced")
        assert load.failures == [], service.log
        service.terminate()
        assert service.wait() == 0
        assert entries(registry, service.port) == set()


@pytest.mark.slow
@pytest.mark.parametrize("arguments", KINDS)
def test_restarts_on_a_server_lose_no_request(server: object, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    roll(server.url, tmp_path, *arguments, rounds=3)


@pytest.mark.slow
@pytest.mark.parametrize("arguments", KINDS)
def test_reloads_on_a_server_lose_no_request(server: object, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    reload(server.url, tmp_path, *arguments, rounds=3)


@pytest.mark.slow
@pytest.mark.faults
def test_a_worker_ends_in_time_while_its_server_is_frozen(server: object, tmp_path: Path) -> None:
    @contextmanager
    def frozen() -> Iterator[None]:
        server.pause()
        yield
        server.resume()

    stop_while_frozen(server.url, frozen, tmp_path, limit=STOP_TIMEOUT)
