"""Hosts of a URL, each by itself: one that is down, a certificate of another name, one that ends soon."""

from __future__ import annotations

import contextlib
import datetime as dt
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme

from tenure.plugin_kit import Deadline, examine_hosts
from tenure.spi import Finding, Host, Tls, Verdict
from tenure_testkit.waiting import PATIENCE


@contextlib.contextmanager
def serving(certificate: trustme.LeafCert | None, *, answer: bytes = b"") -> Iterator[Host]:
    """A server at 127.0.0.1 that accepts connections, by TLS if it has a certificate.

    With an ``answer`` it waits for a byte first, and sends that.
    """
    context = None
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(context)

    def serve(listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with contextlib.suppress(OSError), connection:
                if answer:
                    connection.recv(1)
                    connection.sendall(answer)
                if context is not None:
                    context.wrap_socket(connection, server_side=True).close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        try:
            yield Host("127.0.0.1", listener.getsockname()[1])
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(PATIENCE)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def tls(authority: trustme.CA, tmp_path: Path) -> Tls:
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    return Tls(ca=str(tmp_path / "ca.pem"))


def look(
    *hosts: Host, tls: Tls | None, before_tls: Callable[[socket.socket], None] | None = None
) -> tuple[Finding, ...]:
    return examine_hosts(hosts, tls, Deadline(PATIENCE), before_tls=before_tls)


def test_hosts_that_are_right_are_one_finding(authority: trustme.CA, tls: Tls) -> None:
    with serving(authority.issue_cert("127.0.0.1")) as one, serving(authority.issue_cert("127.0.0.1")) as two:
        [found] = look(one, two, tls=tls)
    assert (found.verdict, found.text) == (Verdict.OK, "each of the 2 hosts answers, with a certificate of its name")


def test_a_member_with_a_certificate_of_its_own_name(authority: trustme.CA, tls: Tls) -> None:
    """The store works through the other member, and has no failover to this one."""
    with serving(authority.issue_cert("127.0.0.1")) as one, serving(authority.issue_cert("etcd-1.local")) as two:
        [found] = look(one, two, tls=tls)
    assert found.verdict is Verdict.FAILED
    assert str(two) in found.text
    assert "it names etcd-1.local" in found.text
    assert "no failover" in found.advice


def test_a_certificate_of_somebody_else(tls: Tls) -> None:
    with serving(trustme.CA().issue_cert("127.0.0.1")) as host:
        [found] = look(host, tls=tls)
    assert (found.verdict, "it names" in found.text) == (Verdict.FAILED, False)


def test_a_certificate_that_ends_soon(authority: trustme.CA, tls: Tls) -> None:
    end = dt.datetime.now(dt.UTC) + dt.timedelta(days=3)
    with serving(authority.issue_cert("127.0.0.1", not_after=end)) as host:
        [found] = look(host, tls=tls)
    assert (found.verdict, found.text) == (Verdict.WARNING, f"the certificate of {host} ends on {end:%Y-%m-%d}")


def test_a_server_that_is_asked_before_tls_begins(authority: trustme.CA, tls: Tls) -> None:
    """Each connection is asked, also the second one, which reads the names of a certificate."""

    def ask(connection: socket.socket) -> None:
        connection.sendall(b"?")
        if connection.recv(1) != b"S":
            raise OSError("the server has no TLS")

    with serving(authority.issue_cert("127.0.0.1"), answer=b"S") as right:
        assert [found.verdict for found in look(right, tls=tls, before_tls=ask)] == [Verdict.OK]
    with serving(authority.issue_cert("db.local"), answer=b"S") as other:
        [found] = look(other, tls=tls, before_tls=ask)
        assert "it names db.local" in found.text
    with serving(None, answer=b"N") as none:
        [found] = look(none, tls=tls, before_tls=ask)
        assert found.text == f"TLS with {none} failed: the server has no TLS"


def test_a_host_that_is_down(tls: Tls) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        down = Host("127.0.0.1", listener.getsockname()[1])
    with serving(None) as up:
        [found] = look(up, down, tls=None)
        assert found.verdict is Verdict.WARNING
        assert found.text.startswith(f"{down} can't be connected to")
        [plain] = look(up, tls=tls)
        assert plain.verdict is Verdict.WARNING  # it doesn't speak TLS


def test_files_that_are_not_there(tmp_path: Path) -> None:
    [found] = look(Host("127.0.0.1", 1), tls=Tls(ca=str(tmp_path / "none.pem")))
    assert found.verdict is Verdict.FAILED
    assert "none.pem" in found.text
