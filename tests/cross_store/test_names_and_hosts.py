"""Name servers that hang, hosts of a list that are dead or silent, answers that nobody knows: the same on each store.

The plugin kit decides all of it, so the same test is asked of every store on a network.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import tenure
from tenure import Store
from tenure.errors import OutcomeUnknown, RetryAdvice, TenureError, Unavailable
from tenure_testkit.servers.container import ServerContainer
from tenure_testkit.servers.ports import free_port
from tenure_testkit.waiting import PATIENCE

from .conftest import SERVERS

TIMEOUT = 1.0


@pytest.fixture
def hanging_name(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A host name that nobody answers for before the test ends."""
    name, over = "hangs.test", threading.Event()
    look_up = socket.getaddrinfo

    def hang(host: Any, *arguments: Any, **more: Any) -> Any:
        if host in (name, name.encode()):
            over.wait()
            raise socket.gaierror(socket.EAI_NONAME, "the test is over")
        return look_up(host, *arguments, **more)

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    yield name
    over.set()


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port of this machine that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=50) as listener:
        yield listener.getsockname()[1]


def one_that_returns(call: Callable[[], object], within: float) -> TenureError | None:
    """The error of a call that has to end in time; the time is generous, since the alternative is to hang."""
    ended: list[TenureError | None] = []

    def run() -> None:
        try:
            call()
        except TenureError as exc:
            ended.append(exc)
        else:
            ended.append(None)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(within)
    assert ended, f"still not back after {within:g} s"
    return ended[0]


@pytest.mark.parametrize("scheme", SERVERS)
def test_a_name_server_that_hangs_keeps_no_call_beyond_its_deadline(scheme: str, hanging_name: str) -> None:
    url = f"{scheme}://{hanging_name}:{free_port()}"
    error = one_that_returns(lambda: tenure.connect(url, timeout=TIMEOUT), 10 * TIMEOUT)
    assert isinstance(error, Unavailable)
    assert hanging_name in str(error)


def test_a_hanging_name_in_a_list_costs_its_share(
    node: ServerContainer, hanging_name: str, opened: Callable[..., Store]
) -> None:
    """Whichever of the two is tried first, there is time for the other."""
    url = node.url.replace("://", f"://{hanging_name}:{free_port()},")
    for _ in range(4):
        store = opened(url, timeout=PATIENCE / 10)
        store.put("key", b"")


def test_a_silent_host_of_a_list_costs_its_share(
    node: ServerContainer, silent_port: int, opened: Callable[..., Store]
) -> None:
    url = node.url.replace("://", f"://127.0.0.1:{silent_port},")
    for _ in range(4):
        store = opened(url, timeout=PATIENCE / 10)
        store.put("key", b"")


def test_a_dead_host_of_a_list_costs_nothing_to_speak_of(node: ServerContainer, opened: Callable[..., Store]) -> None:
    url = node.url.replace("://", f"://127.0.0.1:{free_port()},")
    started = time.monotonic()
    for _ in range(4):
        opened(url, timeout=PATIENCE).put("key", b"")
    assert time.monotonic() - started < PATIENCE


def unknown_to_etcd() -> TenureError:
    from tenure_etcd.errors import translate
    from tenure_etcd.etcd3_import import import_grpc

    grpc = import_grpc()

    class New(grpc.RpcError):  # type: ignore[misc]  # grpc has no types
        def code(self) -> Any:
            return grpc.StatusCode.UNKNOWN

        def details(self) -> str:
            return "etcdserver: something new"

    return translate(New(), action="writing", write=True, endpoints="a server")


def unknown_to_redis() -> TenureError:
    from tenure_redis.errors import ServerError, refused

    return refused(ServerError("NEWERR something new"), action="writing", where="a server", write=True)


def unknown_to_zookeeper() -> TenureError:
    from tenure_zookeeper.errors import translate

    return translate(-999, action="writing", write=True)


def unknown_to_consul() -> TenureError:
    from tenure_consul.errors import refused

    return refused(500, b"something new", action="writing", where="a server", write=True)


@pytest.mark.parametrize("answer", [unknown_to_etcd, unknown_to_redis, unknown_to_zookeeper, unknown_to_consul])
def test_an_answer_to_a_write_that_nobody_knows_is_an_unknown_outcome(answer: Callable[[], TenureError]) -> None:
    error = answer()
    assert type(error) is OutcomeUnknown
    assert error.retry is RetryAdvice.READ_FIRST
