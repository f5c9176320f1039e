"""A supervised thread: it starts again, it never ends in silence, and it is the only way to make one."""

from __future__ import annotations

import os
import re
import threading
from pathlib import Path
from queue import SimpleQueue

import pytest

import tenure
from tenure._runtime import thread_start
from tenure._runtime import worker as worker_module
from tenure._runtime.worker import Worker
from tenure.errors import PluginError, TenureError, Unavailable, Unsupported

T = 30.0
ROOT = Path(__file__).parents[2]

MADE_ELSEWHERE = {
    "core/tenure/_plugins/discovery.py": "looks for plugins where no signal handler runs",
    "core/tenure/_runtime/exits.py": "the end of the interpreter waits for this thread",
    "core/tenure/leases/keepalive.py": "leases outlive every failure of their thread",
    "core/tenure/registry/lifecycle/health.py": "a probe may hang, and its thread is left behind then",
    "core/tenure/registry/lifecycle/recovery.py": "the registration's own thread",
    "core/tenure/aio/_bridge.py": "closes a store whose workers it ends",
    "core/tenure/aio/_calls.py": "makes calls of an event loop, and counts its threads without a lock",
    "core/tenure/cli/completion.py": "the shell waits for its answer no longer than a second",
    "core/tenure/cli/process/registration.py": "a program, not a library",
    "core/tenure/cli/commands/run.py": "a program, not a library",
    "core/tenure/cli/process/holding.py": "a program, not a library",
    "core/tenure/cli/process/signals.py": "a program, not a library",
    "contrib/tenure-console/src/tenure_console/command.py": "a program, not a library",
    "contrib/tenure-gateway/src/tenure_gateway/serve/server.py": "a program, not a library",
    "backends/tenure_etcd/plugin.py": "asks whether the interpreter lets threads start",
    "backends/tenure_etcd/relay.py": "threads that take calls of the main thread",
}


def test_threads_are_made_in_one_place():
    found = set()
    for folder in ("core/tenure", "backends", "contrib"):
        for path in (ROOT / folder).rglob("*.py"):
            name = path.relative_to(ROOT).as_posix()
            if "/tests/" in name or name.startswith("core/tenure/conformance/"):
                continue
            if re.search(r"\bThread\(", path.read_text(encoding="utf-8")):
                found.add(name)
    assert found - {"core/tenure/_runtime/worker.py"} <= set(MADE_ELSEWHERE)


def test_it_runs_and_is_gone_when_there_is_no_work():
    ran = SimpleQueue()
    worker = Worker(lambda: ran.put(threading.current_thread()), name="test-worker")
    for _ in range(3):
        worker.start("testing")
        thread = ran.get(timeout=T)
        thread.join(T)
        assert not worker.running


def test_a_request_that_comes_while_it_leaves_is_not_missed():
    work, done = SimpleQueue(), SimpleQueue()

    def run() -> None:
        while not work.empty():
            done.put(work.get())

    worker = Worker(run, name="test-worker")
    for number in range(500):
        work.put(number)
        worker.start("testing")
        assert done.get(timeout=T) == number


@pytest.mark.parametrize("raised", [ValueError("no"), SystemExit(3), KeyboardInterrupt(), Unavailable("gone")])
def test_an_exception_of_any_kind_is_reported(raised):
    errors = SimpleQueue()

    def run() -> None:
        raise raised

    Worker(run, name="test-worker", on_error=errors.put).start("testing")
    error = errors.get(timeout=T)
    assert isinstance(error, TenureError)
    assert error is raised or (isinstance(error, PluginError) and error.__cause__ is raised)


def test_a_lasting_worker_runs_again_after_any_exception():
    raised = iter([ValueError(), SystemExit(), Unavailable("gone")])
    errors, done = SimpleQueue(), SimpleQueue()

    def run() -> None:
        for error in raised:
            raise error
        done.put(threading.current_thread())

    def on_error(error: TenureError) -> None:
        errors.put(error)
        raise SystemExit  # not even this ends it

    worker = Worker(run, name="test-worker", on_error=on_error, lasting=True)
    worker.start("testing")
    thread = done.get(timeout=T)
    assert errors.qsize() == 3
    thread.join(T)
    assert not worker.running


def test_one_that_was_stopped_reports_nothing_and_another_can_start():
    entered, leave, errors = SimpleQueue(), threading.Event(), SimpleQueue()

    def run() -> None:
        entered.put(worker.on_duty)
        leave.wait(T)
        entered.put(worker.on_duty)
        raise ValueError

    worker = Worker(run, name="test-worker", on_error=errors.put)
    worker.start("testing")
    assert entered.get(timeout=T)
    worker.stop()
    worker.start("testing")
    assert entered.get(timeout=T)
    worker.stop()
    leave.set()
    worker.join(T)
    assert [entered.get(timeout=T) for _ in range(2)] == [False, False]
    assert errors.empty()


@pytest.mark.parametrize("in_main", [True, False])
def test_a_start_that_fails_is_an_outage_and_tried_again(monkeypatch, in_main):
    ran, outcomes = SimpleQueue(), SimpleQueue()
    worker = Worker(lambda: ran.put(None), name="test-worker")
    real = threading.Thread.start

    def start(thread: threading.Thread) -> None:
        if thread.name == "test-worker":
            raise RuntimeError("can't start new thread")
        real(thread)

    def attempt() -> None:
        try:
            worker.start("watching")
        except TenureError as exc:
            outcomes.put(exc)
        outcomes.put(worker.request())

    monkeypatch.setattr(threading.Thread, "start", start)
    if in_main:
        attempt()
    else:
        caller = threading.Thread(target=attempt)
        caller.start()
        caller.join(T)
    error = outcomes.get(timeout=T)
    assert type(error) is Unavailable
    assert "watching: no thread can be started now" in str(error)
    assert outcomes.get(timeout=T) is False
    monkeypatch.undo()
    assert worker.request()
    ran.get(timeout=T)


def test_the_end_of_the_interpreter_is_told(monkeypatch):
    worker = Worker(lambda: None, name="test-worker")

    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(threading.Thread, "start", start)
    with pytest.raises(Unsupported, match="the interpreter is ending"):
        worker.start("watching")


def test_an_interrupted_start_leaves_nothing_behind(monkeypatch):
    ran = SimpleQueue()
    worker = Worker(lambda: ran.put(None), name="test-worker")
    launch = thread_start.start_thread

    def interrupted(thread: threading.Thread) -> None:
        launch(thread)
        raise KeyboardInterrupt

    monkeypatch.setattr(worker_module, "start_thread", interrupted)
    with pytest.raises(KeyboardInterrupt):
        worker.start("watching")
    assert not worker.running
    monkeypatch.undo()
    worker.start("watching")
    ran.get(timeout=T)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_starts_a_thread_of_its_own():
    entered, leave = SimpleQueue(), threading.Event()

    def run() -> None:
        entered.put(os.getpid())
        leave.wait(T)

    worker = Worker(run, name="test-worker")
    worker.start("testing")
    assert entered.get(timeout=T) == os.getpid()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            left = worker.running
            worker.join(T)
            worker.start("testing")
            code = 0 if not left and entered.get(timeout=T) == os.getpid() else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    leave.set()
    worker.stop()
    worker.join(T)


def test_watches_of_a_store_survive_a_time_without_threads(monkeypatch, tmp_path):
    real = threading.Thread.start
    failing = True

    def start(thread: threading.Thread) -> None:
        if failing and thread.name == "tenure-sqlite":
            raise RuntimeError("can't start new thread")
        real(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    with tenure.connect(f"sqlite://{tmp_path}/file.db") as store:
        with pytest.raises(Unavailable, match="no thread can be started"):
            store.watch("a", timeout=0.2)
        failing = False
        watch = store.watch("a")
        store.put("a", b"1")
        assert watch.next(timeout=T) is not None
