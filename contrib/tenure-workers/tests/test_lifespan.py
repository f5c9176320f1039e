"""The lifespan in this process: what opens and closes it, what a fork leaves, and what SIGTERM does."""

from __future__ import annotations

import os
import signal
import socket
import threading
import warnings
from collections.abc import Callable

import pytest
from tenure_workers import Lifespan, TenureMiddleware

import tenure
from tenure.registry import Instance, Registry, Status
from tenure_testkit.servers.ports import free_port
from tenure_testkit.waiting import PATIENCE, until


def statuses(url: str, service: str = "web") -> list[str]:
    with tenure.connect(url) as store, Registry(store) as registry:
        return [each.status for each in registry.get_services().get(service, ())]


def in_child(body: Callable[[], object]) -> str:
    """Run ``body`` in a forked child. Returns what it returns, or the error, as text."""
    reads, writes = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of a fork with threads
        child = os.fork()
    if child == 0:
        try:
            said = str(body())
        except BaseException as exc:  # noqa: BLE001 - told to the parent
            said = repr(exc)
        os.write(writes, said.encode())
        os._exit(0)
    os.close(writes)
    with os.fdopen(reads) as told:
        said = told.read()
    os.waitpid(child, 0)
    return said


def test_it_opens_on_the_first_use_and_not_after_the_close() -> None:
    lifespan = Lifespan("memory://")
    assert lifespan.not_ready() == ["not started"]
    lifespan.store.put("a", b"1")
    assert lifespan.registry.store is lifespan.store
    lifespan.close()
    lifespan.close()
    with pytest.raises(tenure.StoreClosed, match="this process has closed it"):
        lifespan.store  # noqa: B018
    with lifespan:
        assert lifespan.not_ready() == []


def test_a_block_registers_and_leaves(sqlite_url: str) -> None:
    with Lifespan(sqlite_url, Instance("web", port=1)) as lifespan:
        until(lambda: lifespan.not_ready() == [], what="it is registered")
        assert statuses(sqlite_url) == ["ready"]
    assert statuses(sqlite_url) == []


def test_a_child_has_its_own_and_the_parents_stays(sqlite_url: str) -> None:
    with Lifespan(sqlite_url, Instance("web", id="fixed", port=1)) as lifespan:
        until(lambda: lifespan.not_ready() == [], what="it is registered")
        mine = lifespan.store

        def child() -> object:
            lifespan.store.put("child", b"was here")
            with lifespan:
                until(lambda: lifespan.not_ready() == [], what="the child is registered")
                found = lifespan.registry.get_service("web")
                return lifespan.store is not mine, len(found), signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL

        assert in_child(child) == "(True, 2, True)"
        assert mine.get("child").value == b"was here"
        assert lifespan.store is mine
        assert lifespan.registry.status is Status.REGISTERED
        assert statuses(sqlite_url) == ["ready"]


def test_a_child_that_uses_nothing_is_ended_by_sigterm_as_usual(sqlite_url: str) -> None:
    with Lifespan(sqlite_url, Instance("web", port=1)) as lifespan:
        assert in_child(lambda: signal.getsignal(signal.SIGTERM) is signal.SIG_DFL) == "True"
        assert lifespan.not_ready() == [] or not lifespan.stopping


def test_sigterm_calls_the_handler_that_was_there_once_the_entry_is_gone(sqlite_url: str) -> None:
    called = threading.Event()
    before = signal.signal(signal.SIGTERM, lambda *_: called.set())
    try:
        lifespan = Lifespan(sqlite_url, Instance("web", port=1), drain_wait=0.3)
        lifespan.start()
        until(lambda: lifespan.not_ready() == [], what="it is registered")
        for _ in range(3):  # gunicorn repeats it
            os.kill(os.getpid(), signal.SIGTERM)
        assert lifespan.wait(PATIENCE)
        assert not called.is_set(), "it waits"
        until(called.is_set, what="the handler is called")
        assert statuses(sqlite_url) == []
        assert lifespan.not_ready()[0] == "stopping"
        called.clear()
        os.kill(os.getpid(), signal.SIGTERM)
        until(called.is_set, what="from then on each SIGTERM is passed on")
        lifespan.close()
        assert signal.getsignal(signal.SIGTERM) is not before
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_drain_before_the_signal_is_not_done_again(sqlite_url: str) -> None:
    called = threading.Event()
    before = signal.signal(signal.SIGTERM, lambda *_: called.set())
    try:
        with Lifespan(sqlite_url, Instance("web", port=1), drain_wait=0.0) as lifespan:
            until(lambda: lifespan.not_ready() == [], what="it is registered")
            lifespan.drain()
            assert statuses(sqlite_url) == []
            assert not called.is_set()
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_block_that_does_not_end_is_told_by_system_exit(sqlite_url: str) -> None:
    lifespan = Lifespan(sqlite_url, Instance("web", port=1), drain_wait=0.1, stop_timeout=2.0)

    def body() -> None:
        with lifespan:
            until(lambda: lifespan.not_ready() == [], what="it is registered")
            os.kill(os.getpid(), signal.SIGTERM)
            until(lambda: False, what="nothing: SystemExit comes first")

    with pytest.raises(SystemExit):
        body()
    assert statuses(sqlite_url) == []
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_it_waits_until_the_server_listens(sqlite_url: str) -> None:
    port = free_port()
    instance = Instance("web", host="127.0.0.1", port=port)
    with Lifespan(sqlite_url, instance, listen_timeout=PATIENCE) as lifespan:
        assert lifespan.not_ready() == [f"the server doesn't listen on port {port} yet"]
        with socket.create_server(("127.0.0.1", port)):
            until(lambda: lifespan.not_ready() == [], what="it is registered")


def test_a_refused_registration_is_tried_again(sqlite_url: str, caplog: pytest.LogCaptureFixture) -> None:
    instance = Instance("web", id="one", host="h", port=1)
    with (
        tenure.connect(sqlite_url) as store,
        Registry(store, instance=instance) as first,
        Lifespan(sqlite_url, instance) as lifespan,
    ):
        until(lambda: "trying again" in caplog.text, what="it was refused")
        assert "the instance is not registered" in lifespan.not_ready()[0]
        first.deregister()
        until(lambda: lifespan.not_ready() == [], what="it is registered")


@pytest.mark.parametrize(
    ("argument", "says"),
    [
        ({"stop_timeout": 0}, "stop_timeout is a positive number"),
        ({"drain_wait": 2}, "from 0 to a fifth of stop_timeout"),
        ({"listen_timeout": -1}, "listen_timeout is a positive number"),
    ],
)
def test_a_wrong_time_is_refused(argument: dict[str, float], says: str) -> None:
    with pytest.raises(tenure.ConfigError, match=says):
        Lifespan("memory://", **argument)


def test_the_middleware_answers_probes_and_passes_the_lifespan_on() -> None:
    answers: list[str] = []

    def app(environ: dict[str, object], start_response: object) -> list[bytes]:
        return [environ["tenure"].store_url.encode()]

    def ask(path: str, method: str = "GET") -> bytes:
        return b"".join(
            application({"PATH_INFO": path, "REQUEST_METHOD": method}, lambda status, _headers: answers.append(status))
        )

    lifespan = Lifespan("memory://")
    application = TenureMiddleware(app, lifespan)
    assert ask("/") == b"memory://"
    assert ask("/health/live") == b'{"live": true}'
    assert ask("/health/ready") == b'{"ready": false, "reasons": ["not started"]}'
    assert ask("/health/ready", "HEAD") == b""
    assert b"GET or HEAD" in ask("/health/live", "POST")
    with lifespan:
        assert ask("/health/ready") == b'{"ready": true, "reasons": []}'
    assert [answer[:3] for answer in answers] == ["200", "503", "503", "405", "200"]
    application = TenureMiddleware(app, lifespan, health=None)
    assert ask("/health/live") == b"memory://"
