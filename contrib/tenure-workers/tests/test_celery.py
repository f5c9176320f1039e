"""Celery in real processes: the worker is an instance, tasks have a store of their process, and a warm shutdown."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from worker_programs import EXAMPLES, Program

import tenure
from tenure.registry import Registry
from tenure_testkit.servers.by_name import SERVERS
from tenure_testkit.waiting import PATIENCE, until


def entries(registry: Registry) -> list[str]:
    return [each.status for each in registry.get_services().get("resizers", ())]


def worker(log: Path, environment: dict[str, str], *arguments: str) -> Program:
    return Program(
        log,
        *("-m", "celery", "--app=tasks", "worker", "--concurrency=2", "--without-gossip", "--without-mingle"),
        *arguments,
        **environment,
    )


def send(environment: dict[str, str], *tasks: tuple[str, float]) -> None:
    code = "import sys, tasks\nfor each in sys.argv[1:]: name, s = each.split('='); tasks.resize.delay(name, float(s))"
    subprocess.run(
        [sys.executable, "-c", code, *(f"{name}={seconds}" for name, seconds in tasks)],
        cwd=EXAMPLES,
        env={**os.environ, **environment},
        check=True,
        timeout=PATIENCE,
    )


def work_and_stop(environment: dict[str, str], log: Path, *arguments: str, tasks: int) -> None:
    """Tasks run in processes that are replaced, the last ones end before the worker does, and nothing is left."""
    with ExitStack() as stack:
        store = stack.enter_context(tenure.connect(environment["STORE"]))
        registry = stack.enter_context(Registry(store))
        program = stack.enter_context(worker(log, environment, *arguments))
        until(lambda: entries(registry) == ["ready"], what="the worker is registered")
        send(environment, *((f"quick-{number}", 0.0) for number in range(tasks)))
        done = lambda: {item.key for item in store.scan("done/")}  # noqa: E731
        until(lambda: len(done()) == tasks, what="the tasks are done")
        send(environment, ("long", 3.0))
        until(
            lambda: store.get("done/long") or [i for i in store.scan("tenure/") if "images/long" in i.key],
            what="it runs",
        )
        program.terminate()
        until(lambda: entries(registry) != ["ready"], what="the worker drains")
        assert entries(registry) == ["draining"], "it finishes its work"
        assert program.wait() == 0, program.log
        assert "done/long" in done(), "a warm shutdown"
        assert tenure.Counter(store, "resized").value() == tasks + 1
        assert entries(registry) == []
        assert "Traceback" not in program.log, program.log
        until(lambda: not [i.key for i in store.scan() if i.lease_id], timeout=PATIENCE, what="no lease is left")


def test_a_worker_registers_and_stops_warmly(sqlite_url: str, tmp_path: Path) -> None:
    environment = {"STORE": sqlite_url, "BROKER": "filesystem://", "BROKER_FOLDER": str(tmp_path)}
    work_and_stop(environment, tmp_path / "log", tasks=6)


@pytest.mark.slow
@pytest.mark.parametrize("store", ["redis", "etcd"])
@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_a_worker_on_servers_registers_and_stops_warmly(tmp_path: Path, store: str, pool: str) -> None:
    with SERVERS["redis"]() as broker, ExitStack() as stack:
        url = (broker if store == "redis" else stack.enter_context(SERVERS[store]())).url
        work_and_stop({"STORE": url, "BROKER": broker.url}, tmp_path / "log", f"--pool={pool}", tasks=40)


@pytest.mark.slow
@pytest.mark.faults
def test_a_worker_ends_in_time_while_its_server_is_frozen(server: object, tmp_path: Path) -> None:
    environment = {"STORE": server.url, "BROKER": "filesystem://", "BROKER_FOLDER": str(tmp_path)}
    with worker(tmp_path / "log", environment) as program:
        with tenure.connect(server.url) as store, Registry(store) as registry:
            until(lambda: entries(registry) == ["ready"], what="the worker is registered")
        margin = 2.0 + program.booted()
        server.pause()
        began = time.monotonic()
        program.terminate()
        program.wait()
        took = time.monotonic() - began
        server.resume()
        assert took < 8.0 + margin, program.log
