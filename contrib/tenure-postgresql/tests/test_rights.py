"""Rights that go while a store is in use, and come back; what the diagnosis finds with more rights and with less."""

from __future__ import annotations

import inspect
import uuid
from collections.abc import Callable, Iterator

import pytest
from postgresql_server import PostgresqlServer
from tenure_postgresql import diagnosis, server_info

import tenure
from tenure._client.opening import prepare
from tenure.diagnosis import examine
from tenure.spi import Finding, Verdict
from tenure_testkit.probes.rights import Rights, survives_the_loss_of_rights
from tenure_testkit.waiting import PATIENCE, until

SECRET = "role-secret"


@pytest.fixture
def role(server: PostgresqlServer, schema: str, url: str) -> Iterator[str]:
    """A user with the rights that a store needs that is there already."""
    name = f"u_{uuid.uuid4().hex[:12]}"
    tenure.connect(url).close()
    server.sql(f"CREATE ROLE {name} LOGIN PASSWORD '{SECRET}'")
    server.sql(f"GRANT USAGE ON SCHEMA {schema} TO {name}")
    server.sql(f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {name}")
    yield name
    server.sql(f"DROP OWNED BY {name}")
    server.sql(f"DROP ROLE {name}")


def tables(server: PostgresqlServer, schema: str, role: str) -> tuple[Callable[[], object], Callable[[], object]]:
    what = f"SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema}"
    return lambda: server.sql(f"REVOKE {what} FROM {role}"), lambda: server.sql(f"GRANT {what} TO {role}")


def login(server: PostgresqlServer, schema: str, role: str) -> tuple[Callable[[], object], Callable[[], object]]:
    def restrict() -> None:
        server.sql(f"ALTER ROLE {role} NOLOGIN")
        server.sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{role}'")

    return restrict, lambda: server.sql(f"ALTER ROLE {role} LOGIN")


@pytest.mark.parametrize("taken", [tables, login])
def test_rights_that_go_and_come_back(server: PostgresqlServer, role: str, schema: str, url: str, taken) -> None:
    app = server.url(user=role, password=SECRET, schema=schema)
    survives_the_loss_of_rights(Rights(url, app, *taken(server, schema, role)))


def found(url: str) -> dict[str, Finding]:
    checks = examine(prepare(url, timeout=PATIENCE), samples=1).checks
    return {check.name: check for check in checks if check.name != "server"}


def test_what_is_seen(url: str) -> None:
    checks = found(url)
    for name in ("connections", "wal", "history", "hosts", "watch", "lease", "leases"):
        assert checks[name].verdict is Verdict.OK, checks[name]
    assert "make a user" in checks["rights"].advice


def test_a_user_with_the_rights_of_the_page_sees_it_too(server: PostgresqlServer, role: str, schema: str) -> None:
    checks = found(server.url(user=role, password=SECRET, schema=schema))
    assert {checks[name].verdict for name in ("read", "write", "lease", "leases", "watch", "wal")} == {Verdict.OK}
    assert "rights" not in checks


def access(url: str) -> list[tuple[Verdict, str]]:
    checks = examine(prepare(url, timeout=PATIENCE), samples=1).checks
    return [(each.verdict, each.text) for each in checks if each.name == "access" and "encrypted" not in each.text]


def test_who_else_may_use_the_store(server: PostgresqlServer, role: str, schema: str, url: str) -> None:
    others = "the user had to prove who it is; besides it and superusers, {} may change keys"
    assert access(url) == [(Verdict.OK, others.format(role))]
    app = server.url(user=role, password=SECRET, schema=schema)
    assert access(app) == [(Verdict.OK, others.format("no other user"))]
    server.sql(f"GRANT UPDATE ON ALL TABLES IN SCHEMA {schema} TO PUBLIC")
    assert access(app)[0][0] is Verdict.OK, "without USAGE on the schema the grant has no effect"
    server.sql(f"GRANT USAGE ON SCHEMA {schema} TO PUBLIC")
    [(verdict, text)] = access(app)
    assert (verdict, f"the tables of {schema} are granted to PUBLIC" in text) == (Verdict.WARNING, True)


def test_a_server_that_asks_for_no_password(server: PostgresqlServer, role: str, schema: str) -> None:
    rules = server.sql("SHOW hba_file")[0][0]
    server.exec("sed", "-i", f"1i host all {role} all trust", rules)
    server.sql("SELECT pg_reload_conf()")
    app = server.url(user=role, password=SECRET, schema=schema)
    until(lambda: access(app)[0][0] is Verdict.WARNING, PATIENCE, "the server has read its rules")
    assert access(app)[0][1].startswith("the server asked for no password")


def test_what_is_too_much_is_a_warning() -> None:
    near = [*diagnosis._connections(90, 100), *diagnosis._wal(1, 5 << 30), *diagnosis._history(7200, 1, 1)]
    near += diagnosis._history(0, 1 << 30, 1 << 20)
    assert [finding.name for finding in near] == ["connections", "wal", "history", "history"]
    assert all(finding.verdict is Verdict.WARNING and finding.advice for finding in near)


def test_warnings_that_get_a_name_are_warnings_of_the_server() -> None:
    source = inspect.getsource(server_info)
    assert [begin for begin, _name, _advice in diagnosis._NAMES if begin not in source] == []
