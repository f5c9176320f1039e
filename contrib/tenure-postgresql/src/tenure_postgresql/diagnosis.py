"""What `tenure doctor` should know of a PostgreSQL: who may use it, connections, WAL of slots, bloated tables."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator

from tenure.plugin_kit import Deadline, examine_hosts
from tenure.spi import Finding, Host, Tls, Verdict, named_warnings
from tenure_postgresql import encoding, session
from tenure_postgresql.context import BackendContext

_MANY = 0.8
_MIB = 1 << 20
_LONG_WAL = 1 << 30
_OLD_TRANSACTION = 3600
_BLOATED = 256 * _MIB
_FACTOR = 20
_SHOWN = 10
"""So many users are named."""
_SSL_REQUEST = struct.pack("!ii", 8, 80_877_103)
"""PostgreSQL's request for TLS: its length and its number."""

_NAMES = (
    ("fsync is off", "persistence", "set fsync = on"),
    ("full_page_writes is off", "persistence", "set full_page_writes = on"),
    ("synchronous_commit is", "persistence", "set synchronous_commit = on for this user: ALTER ROLE ... SET"),
    ("autovacuum is off", "history", "set autovacuum = on"),
    ("the store is used as a superuser", "rights", "make a user with the rights that the page lists"),
    ("the connection isn't encrypted", "access", "see the page 'TLS and rights'"),
)
"""How warnings of `server_info` begin, what doctor calls them, and what to do."""


def examine(
    context: BackendContext, hosts: tuple[Host, ...], tls: Tls | None, warnings: tuple[str, ...], *, timeout: float
) -> tuple[Finding, ...]:
    """`Backend.diagnose`."""
    deadline = Deadline(timeout)
    row = context.rows(context.statements.diagnosis, timeout=timeout, action="looking closer at the server")[0]
    most, used, slots, wal, oldest, items, log, log_bytes = (encoding.number(each) for each in row)
    return (
        *named_warnings(warnings, _NAMES),
        *_access(context, tls, deadline),
        *_pooler(context, deadline),
        *_connections(used, most),
        *_wal(slots, wal),
        *_history(oldest, items + log, log_bytes),
        *examine_hosts(hosts, tls, deadline, before_tls=_ask_for_tls),
    )


def _ask_for_tls(plain: socket.socket) -> None:
    """Do what PostgreSQL wants before TLS begins."""
    plain.sendall(_SSL_REQUEST)
    if plain.recv(1) != b"S":
        raise OSError("the server has no TLS")


def _access(context: BackendContext, tls: Tls | None, deadline: Deadline) -> Iterator[Finding]:
    """Who else may change keys: programs that are let in without a password, and users that were granted it."""
    with context.pool.asking(deadline, "asking who may use the store") as connection:
        row = connection.ask(context.statements.access, deadline=deadline)[0]
        proved = connection.gave_password or (tls is not None and tls.cert is not None)
    everybody, others = encoding.flag(row[0]), encoding.words(row[1])
    schema = context.statements.schema
    if not proved:
        yield Finding(
            "access",
            Verdict.WARNING,
            "the server asked for no password: any program that reaches it from here may log in as this user",
            "let pg_hba.conf ask for one: scram-sha-256 in place of trust",
        )
    if everybody:
        yield Finding(
            "access",
            Verdict.WARNING,
            f"every user of the database may change keys: the tables of {schema} are granted to PUBLIC",
            f"REVOKE ALL ON ALL TABLES IN SCHEMA {schema} FROM PUBLIC",
        )
    elif proved:
        more = f" and {len(others) - _SHOWN} more" if len(others) > _SHOWN else ""
        which = f"{', '.join(others[:_SHOWN])}{more}" if others else "no other user"
        text = f"the user had to prove who it is; besides it and superusers, {which} may change keys"
        yield Finding("access", Verdict.OK, text)


def _pooler(context: BackendContext, deadline: Deadline) -> Iterator[Finding]:
    with context.pool.asking(deadline, "looking for a pooler") as connection:
        pooled = session.through_pooler(connection, deadline)
    if pooled:
        yield Finding(
            "proxy",
            Verdict.WARNING,
            "a pooler such as pgbouncer stands before the server, in session mode: each store holds its connections",
            "give it a pool_size above the option connections and one for the watches, times the programs",
        )


def _connections(used: int, most: int) -> Iterator[Finding]:
    text = f"{used:,} of {most:,} connections are in use (max_connections)"
    if used > most * _MANY:
        advice = "raise max_connections, lower the option connections of the URLs, or put pgbouncer in front"
        yield Finding("connections", Verdict.WARNING, f"{text}: at the limit new clients are refused", advice)
    else:
        yield Finding("connections", Verdict.OK, text)


def _wal(slots: int, kept: int) -> Iterator[Finding]:
    text = f"{slots:,} replication slots are without a reader and keep {kept / _MIB:,.0f} MiB of WAL"
    if kept > _LONG_WAL:
        advice = "drop slots that no client reads (pg_drop_replication_slot), or set max_slot_wal_keep_size"
        yield Finding("wal", Verdict.WARNING, f"{text}: it grows until the disk is full", advice)
    else:
        yield Finding("wal", Verdict.OK, text)


def _history(oldest: int, size: int, log_bytes: int) -> Iterator[Finding]:
    text = f"the store's tables have {size / _MIB:,.1f} MiB, of which the kept history needs {log_bytes / _MIB:,.1f}"
    if oldest > _OLD_TRANSACTION:
        advice = "end it (pg_terminate_backend), or set idle_in_transaction_session_timeout"
        text = f"a transaction is open for {oldest // 60:,} min: what was deleted since can't be removed"
        yield Finding("history", Verdict.WARNING, text, advice)
    elif size > _BLOATED and size > log_bytes * _FACTOR:
        yield Finding("history", Verdict.WARNING, f"{text}: dead rows may fill them", "see pg_stat_user_tables, VACUUM")
    else:
        yield Finding("history", Verdict.OK, text)
