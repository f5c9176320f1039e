"""Making the store's schema where there is none, and seeing that what is there can be used."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tenure.errors import ConfigError, PermissionDenied, StoreCorrupted, TenureError, Unsupported
from tenure.plugin_kit import Deadline
from tenure_postgresql import encoding
from tenure_postgresql.connection import Connection, ServerError, Statement
from tenure_postgresql.errors import NO_RIGHT
from tenure_postgresql.pool import Pool
from tenure_postgresql.schema_ddl import FORMAT, FUNCTIONS, LOG_BYTES, NEWEST_TABLE, ROW_KEYS, TABLES, UPGRADE

_OLDEST = 14
_ACTION = "opening the store"
_ONE_AT_A_TIME = "SELECT pg_advisory_xact_lock(hashtextextended('leasehold schema {name}', 0));"

_LOOK = Statement(
    "look",
    """
    SELECT current_setting('server_version_num')::integer, current_setting('server_encoding'),
           EXISTS (SELECT FROM pg_catalog.pg_class c
                   WHERE c.relnamespace = to_regnamespace($1::text) AND c.relname = 'store'),
           has_database_privilege(current_database(), 'CREATE') OR to_regnamespace($1::text) IS NOT NULL,
           EXISTS (SELECT FROM pg_catalog.pg_class c
                   WHERE c.relnamespace = to_regnamespace($1::text) AND c.relname = $2::text)
    """,
)
# What is refused here would else be refused in the middle of somebody's work.
_RIGHTS = Statement(
    "rights",
    """
    SELECT coalesce(array_agg(r.missing), '{}') FROM (
        SELECT 'USAGE ON SCHEMA ' || $1::text AS missing WHERE NOT has_schema_privilege($1::text, 'USAGE')
        UNION ALL
        SELECT p.name || ' ON ' || $1::text || '.' || c.relname
        FROM pg_catalog.pg_class c, unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS p(name)
        WHERE c.relnamespace = to_regnamespace($1::text) AND c.relname IN ('store', 'item', 'lease', 'change', 'log')
          AND c.relkind = 'r' AND NOT has_table_privilege(c.oid, p.name)
          AND NOT (c.relname = 'store' AND p.name IN ('INSERT', 'DELETE'))
        UNION ALL
        SELECT 'EXECUTE ON FUNCTION ' || p.oid::regprocedure FROM pg_catalog.pg_proc p
        WHERE p.pronamespace = to_regnamespace($1::text) AND p.proname LIKE '%\\_v1'
          AND NOT has_function_privilege(p.oid, 'EXECUTE')
    ) r
    """,
)


@dataclass(frozen=True, slots=True)
class Schema:
    """The name of a store's schema, checked: it can stand in SQL as it is, between double quotes."""

    name: str

    @classmethod
    def of(cls, name: str) -> Schema:
        if not re.fullmatch(r"[a-z_][a-z0-9_]{0,49}", name) or name.startswith("pg_"):
            raise ConfigError(
                f"the option 'schema' is a name of small letters, digits and '_', at most 50, that doesn't begin with "
                f"a digit or 'pg_', not {name!r}"
            )
        return cls(name)

    @property
    def quoted(self) -> str:
        return f'"{self.name}"'

    @property
    def channel(self) -> str:
        """The channel of NOTIFY on which watchers are woken."""
        return f"leasehold_{self.name}"

    def sql(self, text: str) -> str:
        """``text`` with its names filled in."""
        words = {"schema": self.quoted, "channel": self.channel, "format": FORMAT}
        return text.format(**words, log_bytes=LOG_BYTES, row_keys=ROW_KEYS)


def prepare(pool: Pool, schema: Schema, *, deadline: Deadline) -> None:
    """Make the store if it isn't there, and see that this user may use it."""
    with pool.asking(deadline, _ACTION) as connection:
        _prepare(connection, schema, deadline)


def _prepare(connection: Connection, schema: Schema, deadline: Deadline) -> None:
    version, database_encoding, there, may_create, current = connection.ask(
        _LOOK, [encoding.text(schema.name), encoding.text(NEWEST_TABLE)], deadline=deadline
    )[0]
    if encoding.number(version) < _OLDEST * 10_000:
        raise Unsupported(
            f"{connection.where} is PostgreSQL {encoding.number(version) // 10_000}; {_OLDEST} is the oldest usable"
        )
    if encoding.word(database_encoding) != "UTF8":
        raise ConfigError(
            f"the database {connection.where} has the encoding {encoding.word(database_encoding)}, and keys need UTF8: "
            "make one with CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0"
        )
    if not encoding.flag(there):
        if not encoding.flag(may_create):
            raise _no_right_to_create(connection, schema)
        _create(connection, schema, deadline)
    missing = encoding.words(connection.ask(_RIGHTS, [encoding.text(schema.name)], deadline=deadline)[0][0])
    if missing:
        raise PermissionDenied(
            f"{_ACTION}: this user of {connection.where} lacks rights that the store needs; its owner can GRANT them: "
            + ", ".join(missing)
        )
    _check_format(connection, schema, deadline)
    if encoding.flag(there) and not encoding.flag(current):
        _upgrade(connection, schema, deadline)


def _upgrade(connection: Connection, schema: Schema, deadline: Deadline) -> None:
    """Bring a store of a version before up to date, in one transaction; programs may be using it."""
    script = "".join(UPGRADE) + ";\n".join(FUNCTIONS)
    lock = _ONE_AT_A_TIME.format(name=schema.name)
    try:
        connection.run(lock + schema.sql(script), deadline=deadline)
    except ServerError as exc:
        if exc.state != NO_RIGHT:
            raise
        raise PermissionDenied(
            f"{_ACTION}: the store in schema {schema.name} at {connection.where} was made by an older version of "
            "tenure-postgresql, and only its owner can bring it up to date; open it once as that user"
        ) from exc


def _create(connection: Connection, schema: Schema, deadline: Deadline) -> None:
    """Everything in one transaction; of several who try at once, one makes it."""
    script = "".join(TABLES) + ";\n".join(FUNCTIONS)
    lock = _ONE_AT_A_TIME.format(name=schema.name)
    try:
        connection.run(lock + schema.sql(script), deadline=deadline)
    except ServerError as exc:
        if exc.state == NO_RIGHT:
            raise _no_right_to_create(connection, schema) from exc
        if exc.state not in ("42P07", "42P06", "23505"):  # somebody else has just made it
            raise


def _check_format(connection: Connection, schema: Schema, deadline: Deadline) -> None:
    try:
        rows = connection.ask(Statement("format", schema.sql("SELECT format FROM {schema}.store")), deadline=deadline)
    except ServerError as exc:
        if exc.state == "42703":
            rows = []
        else:
            raise
    if not rows:
        raise StoreCorrupted(
            f"{_ACTION}: the table {schema.name}.store at {connection.where} isn't Tenure's or has lost its row: "
            "choose another schema (?schema=NAME), or restore it"
        )
    if encoding.number(rows[0][0]) != FORMAT:
        raise Unsupported(
            f"{_ACTION}: the store in schema {schema.name} at {connection.where} has format "
            f"{encoding.number(rows[0][0])}, this version of tenure-postgresql knows {FORMAT}"
        )


def _no_right_to_create(connection: Connection, schema: Schema) -> TenureError:
    return PermissionDenied(
        f"{_ACTION}: there is no store in schema {schema.name} at {connection.where}, and this user may not make one: "
        f"GRANT CREATE ON DATABASE ... TO it, or let another user open the store once and GRANT it the tables"
    )
