"""Opening: endpoints, versions, and what is said when the URL is wrong."""

import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tenure._plugins import url as urls
from tenure.errors import AuthenticationFailed, ConfigError, DeadlineExceeded, Unavailable, Unsupported
from tenure.plugin_kit import Address, Deadline, Resolver, monotonic
from tenure.spi import Host, SystemClock
from tenure_etcd import endpoints, reads
from tenure_etcd.client import check_grpc
from tenure_etcd.connection import Connection
from tenure_etcd.plugin import tenure_backend
from tenure_etcd.server_info import parse_version, progress_is_safe, supported
from tenure_testkit.servers import Certificates, EtcdServer
from tenure_testkit.servers.plugin import need_container


@pytest.fixture
def http_server() -> Iterator[int]:
    """Something that answers, but isn't etcd."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(1000)
                    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(60.0)


@pytest.mark.parametrize(
    ("hosts", "expected"),
    [
        ([("127.0.0.1", 1)], "ipv4:127.0.0.1:1"),
        ([("10.0.0.1", 1), ("10.0.0.2", 2)], "ipv4:10.0.0.1:1,10.0.0.2:2"),
        ([("::1", 1)], "ipv6:[::1]:1"),
        ([("::1", 1), ("10.0.0.2", 2)], "ipv6:[::1]:1,[::ffff:10.0.0.2]:2"),
        ([("10.0.0.1", 1), ("10.0.0.1", 1)], "ipv4:10.0.0.1:1"),
        ([("10.0.0.1", 1), ("name.invalid", 2)], "ipv4:10.0.0.1:1"),
    ],
)
def test_hosts_become_one_target(hosts: list[tuple[str, int]], expected: str) -> None:
    assert endpoints.target([Host(*host) for host in hosts], Resolver(), Deadline(5)) == expected


def test_a_name_that_hangs_costs_no_more_than_its_share() -> None:
    release = threading.Event()
    resolver = Resolver(lambda host: (release.wait(60.0), ())[1])
    hosts = [Host("hangs.invalid", 1), Host("10.0.0.1", 2)]
    started = monotonic()
    assert endpoints.target(hosts, resolver, Deadline(0.4)) == "ipv4:10.0.0.1:2"
    assert monotonic() - started < 5.0
    release.set()


def test_a_name_that_nobody_knows_is_named(open_etcd) -> None:
    with pytest.raises(
        Unavailable, match=r"connecting to etcd: looking up .name\.invalid.: there is no host of that name"
    ):
        open_etcd("etcd://name.invalid")


def test_a_subinterpreter_without_threads_is_refused(open_etcd, monkeypatch: pytest.MonkeyPatch) -> None:
    """Loading gRPC never ends there."""

    def refused(self: threading.Thread) -> None:
        raise RuntimeError("thread is not supported for isolated subinterpreters")

    monkeypatch.setattr(threading.Thread, "start", refused)
    monkeypatch.delitem(sys.modules, "grpc", raising=False)
    with pytest.raises(Unsupported, match="connect in the main interpreter"):
        open_etcd("etcd://127.0.0.1:1")


def test_nothing_listens_there(open_etcd) -> None:
    started = time.monotonic()
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1.*is etcd running"):
        open_etcd("etcd://127.0.0.1:1", timeout=3)
    assert time.monotonic() - started < 3


def test_something_else_listens_there(open_etcd, http_server: int) -> None:
    with pytest.raises(Unavailable, match=f"127.0.0.1:{http_server}.*is the port right"):
        open_etcd(f"etcd://127.0.0.1:{http_server}")


def test_nothing_answers_there(open_etcd) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        started = time.monotonic()
        with pytest.raises(DeadlineExceeded, match=f"127.0.0.1:{port}.*check the address and port"):
            open_etcd(f"etcd://127.0.0.1:{port}", timeout=1)
        assert time.monotonic() - started < 2


def test_a_user_where_there_are_none(open_etcd, etcd_url: str) -> None:
    with pytest.raises(AuthenticationFailed, match="authentication turned off") as caught:
        open_etcd(etcd_url.replace("etcd://", "etcd://someone:hidden@"))
    assert "hidden" not in str(caught.value)


def test_one_of_several_endpoints_is_enough(open_etcd, etcd_server: EtcdServer) -> None:
    backend = open_etcd(f"etcd://127.0.0.1:1,127.0.0.1:{etcd_server.port}")
    for _ in range(5):
        backend.get("key", timeout=2)


def test_a_name_works_as_well_as_an_address(open_etcd, etcd_server: EtcdServer) -> None:
    assert open_etcd(f"etcd://localhost:{etcd_server.port}").get("key", timeout=2).revision > 0


@pytest.fixture(scope="module")
def tls_server(certificates: Certificates) -> Iterator[EtcdServer]:
    need_container("etcd")
    with EtcdServer(tls=certificates, client_certs=True) as server:
        yield server


def test_tls_with_a_client_certificate(open_etcd, tls_server: EtcdServer, put) -> None:
    backend = open_etcd(tls_server.url)
    put(backend, "key", b"value")
    assert tls_server.gateway.get("key") == b"value"
    assert not [risk for risk in backend.server_info(timeout=5).warnings if "encrypted" in risk]


def test_tls_without_the_client_certificate(open_etcd, tls_server: EtcdServer) -> None:
    with pytest.raises(Unavailable, match=f"127.0.0.1:{tls_server.port}"):
        open_etcd(tls_server.url.partition("&cert=")[0])


def test_tls_with_another_authority(open_etcd, tls_server: EtcdServer, certificates: Certificates) -> None:
    url = tls_server.url.replace(str(certificates.ca), str(certificates.other_ca))
    with pytest.raises(Unavailable, match="options ca, cert, key"):
        open_etcd(url)


def test_tls_with_another_name(open_etcd, tls_server: EtcdServer) -> None:
    with pytest.raises(Unavailable, match="certificate"):
        open_etcd(f"{tls_server.url}&server_name=elsewhere.invalid")
    open_etcd(f"{tls_server.url}&server_name=localhost")


def test_plain_text_to_a_tls_port(open_etcd, tls_server: EtcdServer) -> None:
    with pytest.raises(Unavailable, match=r"write \+tls"):
        open_etcd(f"etcd://127.0.0.1:{tls_server.port}")


def test_tls_to_a_plain_port(open_etcd, etcd_server: EtcdServer, certificates: Certificates) -> None:
    with pytest.raises(Unavailable, match=r"drop \+tls"):
        open_etcd(f"etcd+tls://127.0.0.1:{etcd_server.port}?ca={certificates.ca}")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("ca=/no/such/file", "can't read the file of the option ca: /no/such/file"),
        ("ca={text}", "the file of the option ca isn't in PEM form"),
    ],
)
def test_certificate_files_that_cannot_be(open_etcd, tmp_path: Path, options: str, message: str) -> None:
    text = tmp_path / "text"
    text.write_text("no certificate")
    with pytest.raises(ConfigError, match=message):
        open_etcd(f"etcd+tls://127.0.0.1:1?{options.format(text=text)}")


def test_a_certificate_name_without_tls(open_etcd) -> None:
    with pytest.raises(ConfigError, match="server_name is for TLS"):
        open_etcd("etcd://127.0.0.1:1?server_name=etcd.example")


def test_a_name_that_has_moved_is_followed(etcd_server: EtcdServer, monkeypatch) -> None:
    """As when every pod of a cluster was replaced: same names, other addresses."""
    addresses = ["127.0.0.3"]
    monkeypatch.setattr(
        "tenure.plugin_kit.resolver._ask_system",
        lambda host: tuple(Address(socket.AF_INET, (address, host.port)) for address in addresses),
    )
    monkeypatch.setattr("tenure_etcd.members._LOOK_AGAIN_SECONDS", 0.0)
    plugin = tenure_backend()
    assert plugin is not None
    url = f"etcd://etcd.example:{etcd_server.port}"
    connection = Connection(urls.parse(url, plugin, timeout=5, clock=SystemClock()))
    for _ in range(2):
        with pytest.raises(Unavailable):
            reads.get(connection, "key", timeout=5)
    addresses[:] = ["127.0.0.1"]
    with pytest.raises(Unavailable):
        reads.get(connection, "key", timeout=5)
    assert reads.get(connection, "key", timeout=5).revision > 0
    connection.shut()
    connection.close()


def test_a_grpc_that_is_too_old_is_refused() -> None:
    check_grpc("1.80.0")
    check_grpc("1.100.0rc1")
    with pytest.raises(ConfigError, match=r"grpcio 1\.78\.2 is too old.*pip install"):
        check_grpc("1.78.2")


def test_versions() -> None:
    assert parse_version("3.5.16") == (3, 5, 16)
    assert parse_version("3.6.0-rc.2") == (3, 6, 0)
    assert [supported(parse_version(text)) for text in ("3.3.27", "3.4.0", "3.10.0")] == [False, True, True]
    safe = {"3.4.24": False, "3.4.25": True, "3.5.7": False, "3.5.8": True, "3.6.0": True, "4.0.0": True}
    assert {text: progress_is_safe(parse_version(text)) for text in safe} == safe
    assert not progress_is_safe(())
