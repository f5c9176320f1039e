"""Opening: what goes wrong is told with what to do, and never with the password."""

from __future__ import annotations

import datetime as dt
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from postgresql_server import TLS_FOLDER, PostgresqlServer

import tenure
from tenure._client.opening import prepare
from tenure.diagnosis import examine
from tenure.errors import (
    AuthenticationFailed,
    ConfigError,
    DeadlineExceeded,
    PermissionDenied,
    StoreCorrupted,
    TenureError,
    Unavailable,
    Unsupported,
)
from tenure.spi import Verdict

SECRET = "s3cr3t-p4ssw0rd"


def refusal(url: str, kind: type[TenureError], words: str, *, timeout: float = 5.0) -> str:
    """What opening ``url`` is refused with."""
    started = time.monotonic()
    with pytest.raises(kind, match=words) as told:
        tenure.connect(url, timeout=timeout)
    assert type(told.value) is kind
    assert time.monotonic() - started < timeout + 1.0
    error: BaseException | None = told.value
    while error is not None:  # nor in what it was raised from
        assert SECRET not in str(error)
        assert SECRET not in repr(error)
        error = error.__cause__
    return str(told.value)


@pytest.fixture
def role(server: PostgresqlServer, schema: str) -> str:
    """A user with no rights of its own."""
    name = f"role_{schema}"
    server.sql(f"CREATE ROLE {name} LOGIN PASSWORD '{SECRET}'")
    return name


def test_a_wrong_password(server: PostgresqlServer) -> None:
    refusal(server.url(password=SECRET), AuthenticationFailed, "doesn't accept this user name and password")


def test_a_password_that_is_rotated_is_read_again(server: PostgresqlServer, role: str, tmp_path: Path) -> None:
    """From a file; connections are cut, so that the old one is refused."""
    server.sql(f"GRANT CREATE ON DATABASE postgres TO {role}")
    file = tmp_path / "password"
    file.write_text(f"{SECRET}\n")
    url = server.url(user=role, password="", schema=role, password_file=str(file)).replace(":@", "@")
    with tenure.connect(url, timeout=20.0) as store, store.watch("") as watch:
        lease = store.lease(20.0)
        store.put("a", b"1", lease=lease)
        file.write_text("another one")
        server.sql(f"ALTER ROLE {role} PASSWORD 'another one'")
        server.sql(f"SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE usename = '{role}'")
        revision = store.put("a", b"2", lease=lease).revision
        lease.refresh()
        while watch.revision < revision:
            assert watch.next(60.0) is not None
        assert lease.alive


def test_no_password(server: PostgresqlServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PGPASSFILE", str(tmp_path / "none"))
    url = server.url().replace(":tenure@", "@")
    refusal(url, AuthenticationFailed, "wants a password: put user:password@ before the host")


def test_an_unknown_user(server: PostgresqlServer) -> None:
    refusal(server.url(user="nobody", password=SECRET), AuthenticationFailed, "doesn't accept this user name")


def test_a_server_that_speaks_another_language(server: PostgresqlServer) -> None:
    from tenure_postgresql.connection import CannotConnect
    from tenure_postgresql.errors import cannot_connect

    def told(said: str, *, password: bool | None) -> TenureError:
        return cannot_connect(CannotConnect(said, password=password), where="host:5432/db", user="u", database="db")

    french = "FATAL: authentification par mot de passe echouee pour l'utilisateur u"
    assert isinstance(told(french, password=True), AuthenticationFailed)
    assert isinstance(told("fe_sendauth: kein Passwort", password=None), AuthenticationFailed)
    assert isinstance(told("FATAL: autre chose", password=False), Unavailable)


def test_a_missing_database(server: PostgresqlServer) -> None:
    text = refusal(server.url(database="no_such"), ConfigError, "has no database 'no_such'")
    assert "?database=NAME" in text
    assert 'CREATE DATABASE "no_such"' in text


def test_the_database_is_the_users_by_default(server: PostgresqlServer) -> None:
    url = re.sub(r"\?.*", "", server.url(user="someone", password=SECRET))
    server.sql(f"CREATE ROLE someone LOGIN PASSWORD '{SECRET}'")
    refusal(url, ConfigError, "has no database 'someone'")


def test_a_user_who_may_not_make_the_store(server: PostgresqlServer, role: str, schema: str) -> None:
    url = server.url(user=role, password=SECRET, schema=schema)
    refusal(url, PermissionDenied, "may not make one: GRANT CREATE ON DATABASE")
    server.sql(f"GRANT CREATE ON DATABASE postgres TO {role}")
    with tenure.connect(url) as store:
        assert store.put("key", b"").revision > 0


def test_a_user_without_rights_on_the_tables(server: PostgresqlServer, role: str, schema: str, url: str) -> None:
    tenure.connect(url).close()
    own = server.url(user=role, password=SECRET, schema=schema)
    text = refusal(own, PermissionDenied, "lacks rights")
    assert f"USAGE ON SCHEMA {schema}" in text
    server.sql(f"GRANT USAGE ON SCHEMA {schema} TO {role}")
    text = refusal(own, PermissionDenied, "lacks rights")
    assert f"SELECT ON {schema}.item" in text


def test_the_grants_of_the_readme_are_enough(server: PostgresqlServer, role: str, schema: str, url: str) -> None:
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    grants = re.findall(r"^GRANT .* TO app;$", readme, re.MULTILINE)
    assert len(grants) == 2
    tenure.connect(url).close()
    for grant in grants:
        server.sql(grant.replace(" leasehold ", f" {schema} ").replace("TO app", f"TO {role}"))
    with (
        tenure.connect(server.url(user=role, password=SECRET, schema=schema, history=100)) as store,
        store.watch("") as watch,
    ):
        for number in range(250):  # so that the log is trimmed, too
            store.put("key", b"%d" % number)
        lease = store.lease(5)
        store.put("held", b"", lease=lease)
        lease.revoke()
        assert store.list("").keys == ("key",)
        assert watch.next(5) is not None


def test_a_user_who_may_not_know_which_cluster_it_is(server: PostgresqlServer, role: str, schema: str) -> None:
    """Hardened servers take this right from everybody; then a schema that is gone is never made again by itself."""
    server.sql(f"GRANT CREATE ON DATABASE postgres TO {role}")
    server.sql("REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC")
    try:
        with tenure.connect(server.url(user=role, password=SECRET, schema=schema)) as store:
            assert store.put("key", b"").revision > 0
            server.sql(f"DROP SCHEMA {schema} CASCADE")
            with pytest.raises(StoreCorrupted, match="schema dropped"):
                store.get("key")
    finally:
        server.sql("GRANT EXECUTE ON FUNCTION pg_control_system() TO PUBLIC")


def test_a_right_taken_away_later(server: PostgresqlServer, role: str, schema: str, url: str) -> None:
    tenure.connect(url).close()
    server.sql(f"GRANT USAGE ON SCHEMA {schema} TO {role}")
    server.sql(f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {role}")
    with tenure.connect(server.url(user=role, password=SECRET, schema=schema)) as store:
        store.put("key", b"")
        server.sql(f"REVOKE INSERT ON {schema}.change FROM {role}")
        with pytest.raises(PermissionDenied, match="lacks a right"):
            store.put("key", b"")
        assert store.get("key") is not None


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("schema=Public", "small letters"),
        ("schema=pg_store", "small letters"),
        ("schema=a-b", "small letters"),
        ("schema=" + "x" * 51, "at most 50"),
        ("history=99", "at least 100"),
        ("history=many", "a whole number"),
        ("poll=0", "at least 0.05"),
        ("silence=0.1", "at least 0.2"),
        ("connections=0", "at least 1"),
        ("databas=x", "did you mean 'database'"),
        ("ca=/x", "needs TLS"),
    ],
)
def test_options_are_typed(options: str, words: str) -> None:
    refusal(f"postgresql://u:{SECRET}@127.0.0.1:1/?{options}", ConfigError, re.escape(words))


def test_another_encoding(server: PostgresqlServer) -> None:
    server.sql("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    refusal(server.url(database="latin"), ConfigError, "has the encoding LATIN1, and keys need UTF8")


def test_a_schema_that_is_somebody_elses(server: PostgresqlServer, schema: str) -> None:
    server.sql(f"CREATE SCHEMA {schema}; CREATE TABLE {schema}.store (id int)")
    refusal(server.url(schema=schema), StoreCorrupted, "isn't Tenure's")


def test_a_later_format(server: PostgresqlServer, schema: str, url: str) -> None:
    tenure.connect(url).close()
    server.sql(f"UPDATE {schema}.store SET format = 7")
    refusal(url, Unsupported, "has format 7, this version of tenure-postgresql knows 1")


def test_a_store_whose_tables_are_dropped_is_told_and_can_be_made_anew(
    server: PostgresqlServer, schema: str, url: str, store: tenure.Store
) -> None:
    store.put("key", b"")
    server.sql(f"DROP SCHEMA {schema} CASCADE")
    for call in (lambda: store.get("key"), lambda: store.put("key", b"")):
        with pytest.raises(StoreCorrupted, match="was its schema dropped"):
            call()
    with tenure.connect(url) as again:
        assert again.get("key") is None


def test_a_part_that_is_dropped_is_told(server: PostgresqlServer, schema: str, store: tenure.Store) -> None:
    """Though the rest is there, this isn't a store that somebody has just made anew."""
    store.put("key", b"")
    server.sql(f"DROP TABLE {schema}.item CASCADE")
    with pytest.raises(StoreCorrupted, match="was its schema dropped"):
        store.get("key")


def test_nothing_listens() -> None:
    refusal(f"postgresql://u:{SECRET}@127.0.0.1:1/", Unavailable, "nothing listens there; is PostgreSQL running")


def test_as_many_connections_as_the_server_allows(server: PostgresqlServer, role: str, schema: str) -> None:
    server.sql(f"GRANT CREATE ON DATABASE postgres TO {role}")
    server.sql(f"ALTER ROLE {role} CONNECTION LIMIT 1")
    url = server.url(user=role, password=SECRET, schema=schema)
    with tenure.connect(url, timeout=5.0):
        refusal(url, Unavailable, "allows this role or database no more connections")


def test_a_name_that_has_several_addresses(server: PostgresqlServer, schema: str) -> None:
    # Where it stands for ::1 as well, nothing listens there.
    with tenure.connect(server.url(host="localhost", schema=schema), timeout=5.0) as store:
        assert store.put("key", b"").revision > 0


def test_a_resolver_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    answered = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answered.wait(20.0) and [])
    try:
        refusal(f"postgresql://u:{SECRET}@db.invalid/", DeadlineExceeded, "no name server answered", timeout=0.5)
    finally:
        answered.set()


def test_no_such_host() -> None:
    refusal(f"postgresql://u:{SECRET}@no-such-host.invalid/", Unavailable, "no host of that name", timeout=15.0)


@pytest.fixture
def stranger() -> Iterator[Callable[[bytes], int]]:
    """Listens on a port and answers everything with the same bytes; with none it says nothing."""
    listeners: list[socket.socket] = []

    def listen(answer: bytes) -> int:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)

        def serve() -> None:
            while True:
                try:
                    peer = listener.accept()[0]
                except OSError:
                    return
                with peer:
                    peer.recv(1000)
                    if answer:
                        peer.sendall(answer)
                    else:
                        peer.recv(1000)

        threading.Thread(target=serve, daemon=True).start()
        return int(listener.getsockname()[1])

    yield listen
    for listener in listeners:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def test_who_listens_is_not_postgresql(stranger: Callable[[bytes], int]) -> None:
    port = stranger(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    refusal(f"postgresql://u:{SECRET}@127.0.0.1:{port}/", Unavailable, "PostgreSQL")


def test_who_listens_says_nothing(stranger: Callable[[bytes], int]) -> None:
    url = f"postgresql://u:{SECRET}@127.0.0.1:{stranger(b'')}/"
    refusal(url, DeadlineExceeded, "no answer from there", timeout=0.7)


def test_the_first_host_that_takes_writes_is_taken(
    server: PostgresqlServer, stranger: Callable[[bytes], int], schema: str
) -> None:
    hosts = f"127.0.0.1:1,127.0.0.1:{stranger(b'')},127.0.0.1:{server.port}"
    url = server.url(schema=schema).replace(f"127.0.0.1:{server.port}", hosts)
    with tenure.connect(url, timeout=4.0) as store:
        assert store.put("key", b"").revision > 0
        assert not store.capabilities.linearizable  # the other may be an old primary
        assert not store.capabilities.durable


def test_a_server_that_takes_no_writes_is_passed_over(server: PostgresqlServer, schema: str, url: str) -> None:
    tenure.connect(url).close()
    server.sql("CREATE ROLE reader SUPERUSER LOGIN PASSWORD 'tenure'")
    server.sql("ALTER ROLE reader SET default_transaction_read_only = on")
    refusal(server.url(user="reader"), Unavailable, "read-only, a replica most likely")
    twice = server.url(user="reader", host=f"127.0.0.1:{server.port},127.0.0.1")
    refusal(twice, Unavailable, "looking for a host that takes writes: .*read-only.*; .*read-only")


def test_what_the_server_is_set_to_is_declared(server: PostgresqlServer) -> None:
    with tenure.connect(server.url()) as store:
        assert store.capabilities.durable
        assert store.capabilities.linearizable
    server.sql("CREATE ROLE hasty SUPERUSER LOGIN PASSWORD 'tenure'")
    server.sql("ALTER ROLE hasty SET synchronous_commit = off")
    with tenure.connect(server.url(user="hasty")) as store:
        assert not store.capabilities.durable
        assert any("synchronous_commit is off" in risk for risk in store.server_info().warnings)
    with pytest.raises(Unsupported, match="durable"):
        tenure.connect(server.url(user="hasty"), require=["durable"])


def test_what_the_server_says_of_itself(store: tenure.Store) -> None:
    info = store.server_info()
    assert info.product == "PostgreSQL"
    assert re.match(r"\d+\.\d+", info.version)
    assert abs((info.clock or 0.0) - time.time()) < 60.0
    assert any("isn't encrypted" in risk for risk in info.warnings)
    assert any("superuser" in risk for risk in info.warnings)


# -- TLS --

ENDS = dt.datetime.now(dt.UTC) + dt.timedelta(days=3)
"""When the server's certificate does."""


@pytest.fixture(scope="module")
def encrypted(need_engine: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresqlServer]:
    """A server that wants TLS, and its authority in the options of its URL."""
    trustme = pytest.importorskip("trustme")
    folder = tmp_path_factory.mktemp("tls")
    authority, other = trustme.CA(), trustme.CA()
    certificate = authority.issue_cert("127.0.0.1", not_after=ENDS)
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    other.cert_pem.write_to_path(str(folder / "other.pem"))
    files = {
        "ca.pem": authority.cert_pem.bytes(),
        "server.pem": b"".join(blob.bytes() for blob in certificate.cert_chain_pems),
        "server.key": certificate.private_key_pem.bytes(),
    }
    server = PostgresqlServer(files=files)
    server.tls_options = {"ca": str(folder / "ca.pem")}
    with server:
        yield server


def test_tls(encrypted: PostgresqlServer) -> None:
    assert TLS_FOLDER
    with tenure.connect(encrypted.url()) as store, store.watch("") as watch:
        watch.next(5), watch.next(5)
        revision = store.put("key", b"x" * 1_000_000).revision
        assert watch.next(5).revision == revision
        assert store.server_info().details["encrypted"] == "yes"


def test_the_doctor_reads_the_certificate(encrypted: PostgresqlServer) -> None:
    [found] = [check for check in examine(prepare(encrypted.url()), samples=1).checks if check.name == "hosts"]
    assert (found.verdict, f"ends on {ENDS:%Y-%m-%d}" in found.text) == (Verdict.WARNING, True)


def test_tls_with_the_wrong_authority(encrypted: PostgresqlServer) -> None:
    ca = Path(encrypted.tls_options["ca"]).with_name("other.pem")
    refusal(encrypted.url(ca=str(ca)), Unavailable, "isn't signed by whom the option ca trusts")


def test_tls_for_another_host_name(encrypted: PostgresqlServer) -> None:
    refusal(encrypted.url(host="localhost"), Unavailable, "certificate is for another host name")


def test_tls_with_a_file_that_is_missing(encrypted: PostgresqlServer) -> None:
    refusal(encrypted.url(ca="/no/such.pem"), ConfigError, "ca, cert or key can't be used")


def test_without_tls_where_the_server_wants_it(encrypted: PostgresqlServer) -> None:
    url = re.sub(r"&?ca=[^&]*", "", encrypted.url().replace("postgresql+tls", "postgresql"))
    refusal(url, ConfigError, r"with TLS only: write postgresql\+tls://")


def test_tls_where_the_server_has_none(server: PostgresqlServer) -> None:
    url = server.url().replace("postgresql://", "postgresql+tls://")
    refusal(url, ConfigError, r"has no TLS: drop \+tls")
