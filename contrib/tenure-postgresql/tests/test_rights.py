"""Rights that are taken away while a watch, a lease and a registration run, and come back; and those of the page."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator

import pytest
from postgresql_server import PostgresqlServer

import tenure
from tenure_testkit.probes.rights import Rights, survives_the_loss_of_rights

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
