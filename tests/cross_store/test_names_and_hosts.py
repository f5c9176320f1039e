"""Name servers that hang, hosts of a list that are dead or silent, answers that nobody knows: the same on each store.

The plugin kit decides all of it, so the same test is asked of every store on a network.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import tenure
from tenure import Store
from tenure.errors import OutcomeUnknown, RetryAdvice, TenureError, Unavailable
from tenure_testkit.probes import network
from tenure_testkit.servers.ports import free_port
from tenure_testkit.waiting import PATIENCE

from .conftest import SERVERS

TIMEOUT = 1.0


@pytest.fixture(params=SERVERS)
def own_url(request: pytest.FixtureRequest) -> str:
    """A namespace of the test's own on a server that others share."""
    return str(request.getfixturevalue(f"{request.param}_own_url"))


@pytest.fixture
def hanging_name() -> Iterator[str]:
    """A host name that nobody answers for before the test ends."""
    with network.name_server() as names:
        names.outage = "hangs"
        yield network.NAME


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port of this machine that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=50) as listener:
        yield listener.getsockname()[1]


@pytest.mark.parametrize("scheme", SERVERS)
def test_a_name_server_that_hangs_keeps_no_call_beyond_its_deadline(scheme: str, hanging_name: str) -> None:
    url = f"{scheme}://{hanging_name}:{free_port()}"
    error = network.one_that_returns(lambda: tenure.connect(url, timeout=TIMEOUT), 10 * TIMEOUT)
    assert isinstance(error, Unavailable)
    assert hanging_name in str(error)


def test_a_hanging_name_in_a_list_costs_its_share(
    own_url: str, hanging_name: str, opened: Callable[..., Store]
) -> None:
    """Whichever of the two is tried first, there is time for the other."""
    url = own_url.replace("://", f"://{hanging_name}:{free_port()},")
    for _ in range(4):
        store = opened(url, timeout=PATIENCE / 10)
        store.put("key", b"")


def test_a_silent_host_of_a_list_costs_its_share(own_url: str, silent_port: int, opened: Callable[..., Store]) -> None:
    url = own_url.replace("://", f"://127.0.0.1:{silent_port},")
    for _ in range(4):
        store = opened(url, timeout=PATIENCE / 10)
        store.put("key", b"")


def test_a_dead_host_of_a_list_costs_nothing_to_speak_of(own_url: str, opened: Callable[..., Store]) -> None:
    url = own_url.replace("://", f"://127.0.0.1:{free_port()},")
    started = time.monotonic()
    for _ in range(4):
        opened(url, timeout=PATIENCE).put("key", b"")
    assert time.monotonic() - started < PATIENCE


def test_a_store_lives_on_without_a_name_server(own_url: str) -> None:
    network.lives_on_without_a_name_server(own_url)


def test_every_feed_is_told_of_a_break(own_url: str) -> None:
    network.every_feed_is_told_of_a_break(own_url)


def test_an_answer_that_stops_in_the_middle_keeps_no_call_beyond_its_deadline(own_url: str) -> None:
    network.ends_in_time_when_answers_stop_after_a_byte(own_url)


def test_certificates_that_were_renewed_are_read_again(own_url: str, tmp_path: Path) -> None:
    network.takes_up_renewed_certificates(own_url, tmp_path)


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
