"""Resolving, choosing among hosts, connecting, TLS files that are renewed, deadlines, error tables."""

from __future__ import annotations

import socket
import ssl
import threading

import pytest
import trustme

from tenure.errors import (
    AuthenticationFailed,
    ConfigError,
    DeadlineExceeded,
    OutcomeUnknown,
    StoreFull,
    Unavailable,
)
from tenure.plugin_kit import Address, Deadline, Endpoints, ErrorTable, Resolver, Row, TlsContext, dial, monotonic
from tenure.spi import Host, Tls

LONG = 30.0
HOST = Host("store.example", 7000)
FOUND = (Address(socket.AF_INET, ("127.0.0.1", 7000)),)


# -- deadlines -----------------------------------------------------------------------------------------


def test_a_deadline_says_what_was_being_done_when_it_was_over():
    over = Deadline(0.0)
    assert over.expired
    assert over.remaining() == 0.001
    with pytest.raises(DeadlineExceeded, match=r"reading a key: the 0 s given were over"):
        over.check("reading a key")
    Deadline(LONG).check("reading a key")
    assert Deadline(LONG).within(2.0) == 2.0


# -- resolving -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "family"), [("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6), ("fe80::1%1", socket.AF_INET6)]
)
def test_literal_addresses_are_never_looked_up(name, family):
    def fail(host):
        raise AssertionError("looked up")

    (found,) = Resolver(fail).addresses(Host(name, 80), Deadline(LONG))
    assert (found.family, found.text) == (family, name.partition("%")[0])


def test_the_system_is_asked_for_names():
    found = Resolver().addresses(Host("localhost", 80), Deadline(LONG))
    assert {address.text for address in found} <= {"127.0.0.1", "::1"}
    assert found


def test_a_name_that_nobody_knows_is_unavailable_with_the_name():
    def fail(host):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    with pytest.raises(Unavailable, match=r"looking up 'store.example': there is no host of that name"):
        Resolver(fail).addresses(HOST, Deadline(LONG))
    with pytest.raises(Unavailable, match="no host of that name"):
        Resolver().addresses(Host("x" * 70, 1), Deadline(LONG))


def test_a_name_server_that_hangs_costs_the_deadline_and_one_thread_for_all_callers():
    release, asked = threading.Event(), []

    def hang(host):
        asked.append(host)
        release.wait(LONG)
        return FOUND

    resolver = Resolver(hang)
    before = threading.active_count()
    for _ in range(5):
        started = monotonic()
        with pytest.raises(DeadlineExceeded, match="no name server answered"):
            resolver.addresses(HOST, Deadline(0.05))
        assert monotonic() - started < 5.0
    assert (len(asked), threading.active_count()) == (1, before + 1)
    release.set()
    assert resolver.addresses(HOST, Deadline(LONG)) == FOUND


@pytest.mark.parametrize("fault", ["fails", "hangs"])
def test_the_last_known_addresses_serve_while_no_name_server_answers(fault):
    release, working = threading.Event(), True

    def look_up(host):
        if working:
            return FOUND
        if fault == "hangs":
            release.wait(LONG)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    resolver = Resolver(look_up, patience=0.02)
    assert resolver.addresses(HOST, Deadline(LONG)) == FOUND
    working = False
    started = monotonic()
    assert resolver.addresses(HOST, Deadline(LONG)) == FOUND
    assert monotonic() - started < 5.0
    release.set()


def test_a_name_server_that_hangs_costs_the_patience_once():
    release, working = threading.Event(), True

    def look_up(host):
        if not working:
            release.wait(LONG)
        return FOUND

    resolver = Resolver(look_up, patience=0.5)
    assert resolver.addresses(HOST, Deadline(LONG)) == FOUND
    working = False
    started = monotonic()
    for _ in range(20):
        assert resolver.addresses(HOST, Deadline(LONG)) == FOUND
    assert monotonic() - started < 5.0
    release.set()


def test_a_thread_that_cannot_be_started_is_an_outage_and_not_for_good(monkeypatch):
    resolver = Resolver(lambda host: FOUND)
    with monkeypatch.context() as patch:

        def refuse(thread):
            raise RuntimeError("can't start new thread")

        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(Unavailable, match="can't start new thread"):
            resolver.addresses(HOST, Deadline(LONG))
    assert resolver.addresses(HOST, Deadline(LONG)) == FOUND


# -- several hosts -------------------------------------------------------------------------------------


def hosts(*names):
    return tuple(Host(name, 1) for name in names)


def test_the_host_that_worked_last_is_asked_first():
    endpoints, asked = Endpoints(hosts("a", "b", "c")), []

    def connect(host, deadline):
        asked.append(host.name)
        if host.name != "b":
            raise Unavailable(f"{host.name} is down")
        return host.name

    assert endpoints.connect(Deadline(LONG), connect, action="testing") == "b"
    assert endpoints.connect(Deadline(LONG), connect, action="testing") == "b"
    assert asked == ["a", "b", "b"]
    endpoints.report_failure(Host("b", 1))
    endpoints.report_failure(Host("b", 1))  # another thread says the same a moment later
    assert endpoints.best == Host("c", 1)


def test_each_host_gets_an_equal_share_of_the_time_that_is_left():
    shares = []

    def connect(host, deadline):
        shares.append(deadline.seconds)
        raise Unavailable("down")

    with pytest.raises(Unavailable, match=r"testing: none of a:1,b:1,c:1 can be used: down; down; down"):
        Endpoints(hosts("a", "b", "c")).connect(Deadline(9.0), connect, action="testing")
    assert [round(share) for share in shares] == [3, 4, 9]  # those who fail at once leave theirs to the others


def test_what_every_host_would_say_is_said_at_once():
    asked = []

    def connect(host, deadline):
        asked.append(host)
        raise AuthenticationFailed("wrong password")

    with pytest.raises(AuthenticationFailed):
        Endpoints(hosts("a", "b")).connect(Deadline(LONG), connect, action="testing")
    assert len(asked) == 1


def test_time_that_is_up_is_told_as_such(monkeypatch):
    now = 0.0
    monkeypatch.setattr("tenure._runtime.deadline.monotonic", lambda: now)

    def connect(host, deadline):
        nonlocal now
        now += deadline.seconds
        assert deadline.expired
        raise DeadlineExceeded(f"{host} hangs")

    with pytest.raises(DeadlineExceeded, match="a:1 hangs; b:1 hangs"):
        Endpoints(hosts("a", "b")).connect(Deadline(8.0), connect, action="testing")
    assert now == 8.0


# -- connecting ----------------------------------------------------------------------------------------


@pytest.fixture
def listening():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def test_a_dead_address_costs_its_share_and_the_next_one_is_used(listening):
    port = listening.getsockname()[1]
    with socket.socket() as dead:
        dead.bind(("127.0.0.1", 0))  # bound and not listening: refuses
        addresses = (
            Address(socket.AF_INET, dead.getsockname()),
            Address(socket.AF_INET, ("127.0.0.1", port)),
        )
        with dial(HOST, Deadline(LONG), resolver=Resolver(lambda host: addresses)) as connected:
            assert connected.getpeername()[1] == port
            assert connected.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_no_address_that_answers_is_an_os_error():
    with socket.socket() as dead:
        dead.bind(("127.0.0.1", 0))
        with pytest.raises(ConnectionRefusedError):
            dial(Host("127.0.0.1", dead.getsockname()[1]), Deadline(LONG), resolver=Resolver())


def test_a_handshake_that_hangs_ends_with_the_deadline(listening, tmp_path):
    ca = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(ca)
    host = Host("127.0.0.1", listening.getsockname()[1])
    started = monotonic()
    with pytest.raises(TimeoutError):
        dial(host, Deadline(0.1), resolver=Resolver(), tls=TlsContext(Tls(ca=str(ca))))
    assert monotonic() - started < 5.0


# -- TLS files -----------------------------------------------------------------------------------------


def write(authority, folder, name="client"):
    cert = authority.issue_cert(name)
    cert.private_key_pem.write_to_path(folder / "key.pem")
    (folder / "cert.pem").write_bytes(b"".join(blob.bytes() for blob in cert.cert_chain_pems))
    authority.cert_pem.write_to_path(folder / "ca.pem")
    return Tls(ca=str(folder / "ca.pem"), cert=str(folder / "cert.pem"), key=str(folder / "key.pem"))


def test_renewed_files_are_used_by_the_next_connection(tmp_path):
    authority = trustme.CA()
    context = TlsContext(write(authority, tmp_path))
    first = context.current()
    assert context.current() is first
    write(authority, tmp_path, "renewed")
    assert context.current() is not first


def test_files_behind_a_link_that_is_turned_are_renewed_too(tmp_path):
    authority = trustme.CA()
    for version in ("one", "two"):
        (tmp_path / version).mkdir()
        write(authority, tmp_path / version)
    link = tmp_path / "now"
    link.symlink_to("one")
    context = TlsContext(Tls(ca=str(link / "ca.pem"), cert=str(link / "cert.pem"), key=str(link / "key.pem")))
    first = context.current()
    (tmp_path / "next").symlink_to("two")
    (tmp_path / "next").rename(link)
    assert context.current() is not first


def test_a_renewal_that_is_half_done_keeps_the_old_context_until_it_is_whole(tmp_path, caplog):
    authority = trustme.CA()
    tls = write(authority, tmp_path)
    context = TlsContext(tls)
    first = context.current()
    (tmp_path / "cert.pem").write_text("")
    assert context.current() is first
    assert context.current() is first
    assert caplog.text.count("can't be used") == 1
    write(authority, tmp_path, "renewed")
    assert context.current() is not first


def test_files_that_cannot_be_read_at_first_are_an_error_that_names_them(tmp_path):
    missing = str(tmp_path / "missing.pem")
    with pytest.raises(ConfigError, match=f"names: ca={missing}$"):
        TlsContext(Tls(ca=missing))


def test_the_context_verifies_names_and_certificates(tmp_path):
    context = TlsContext(write(trustme.CA(), tmp_path)).current()
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


# -- error tables --------------------------------------------------------------------------------------

TABLE = ErrorTable(
    "Cupboard",
    [
        Row("no space", StoreFull, "its disk is full: make room"),
        Row(lambda message: message.startswith("E42"), ConfigError, "the option shelf is wrong"),
        Row("refused", Unavailable, "nothing listens there; is it running?"),
    ],
)


@pytest.mark.parametrize(
    ("message", "error", "text"),
    [
        ("No space left", StoreFull, "writing: its disk is full: make room (here said: No space left)"),
        ("E42 what?", ConfigError, "writing: the option shelf is wrong (here said: E42 what?)"),
    ],
)
def test_a_known_message_says_what_it_means(message, error, text):
    found = TABLE.refusal(message, action="writing", where="here", write=True)
    assert (type(found), str(found)) == (error, text)


@pytest.mark.parametrize(("write_", "error"), [(True, OutcomeUnknown), (False, Unavailable)])
def test_an_unknown_message_on_a_write_is_an_unknown_outcome(write_, error):
    found = TABLE.refusal("flux\ncapacitor " * 40, action="acting", where="here", write=write_)
    assert type(found) is error
    assert "this plugin doesn't know" in str(found)
    assert "\n" not in str(found)
    assert len(str(found)) < 450


@pytest.mark.parametrize(
    ("write_", "sent", "late", "error"),
    [
        (True, True, False, OutcomeUnknown),
        (True, True, True, OutcomeUnknown),
        (True, False, False, Unavailable),
        (True, False, True, DeadlineExceeded),
        (False, True, False, Unavailable),
        (False, True, True, DeadlineExceeded),
    ],
)
def test_a_request_that_was_not_answered(write_, sent, late, error):
    found = TABLE.unanswered("it hung", action="acting", where="here", write=write_, sent=sent, late=late)
    assert type(found) is error
    assert "acting: Cupboard at here failed to answer: it hung" in str(found)


def test_a_connection_that_cannot_be_made():
    found = TABLE.cannot_connect("Connection refused", where="here")
    assert str(found) == "connecting to Cupboard at here: nothing listens there; is it running? (Connection refused)"
    assert type(TABLE.cannot_connect("what", where="here", late=True)) is DeadlineExceeded
