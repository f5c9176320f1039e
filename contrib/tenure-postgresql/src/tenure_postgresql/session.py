"""What a connection is set to, and whether it is a session of the server's own all the time.

A pooler such as pgbouncer may stand between. In session mode a connection keeps its session, and all is well. In
transaction or statement mode each statement may meet another session, with the settings of another client and without
``LISTEN``. Then nothing that is promised holds, so such a store isn't opened.

A pooler shows itself: it can't know the number of the server's process before it has a session, so it tells the client
another one. Its mode shows itself, too: in session mode no other connection can be in the session of one that is idle.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from tenure.errors import ConfigError, TenureError, Unavailable
from tenure.plugin_kit import Deadline
from tenure_postgresql import encoding
from tenure_postgresql.connection import Connection, ConnectionBroken, ServerError, Statement

# What statements rely on. Plans are made once per connection, before there is any data to judge by: so they must not
# count on tables being small. Keepalives are the server's, so that it notices when a client's machine has gone.
# They are set by a statement: a pooler refuses or drops those that come with the log-in.
_SETTINGS = "; ".join(
    f"SET {setting}"
    for setting in (
        "default_transaction_isolation = 'read committed'",
        "search_path = ''",
        "client_encoding = 'UTF8'",
        "lock_timeout = 0",
        "idle_in_transaction_session_timeout = 0",
        "plan_cache_mode = force_generic_plan",
        "enable_seqscan = off",
        "enable_hashjoin = off",
        "enable_mergejoin = off",
        "jit = off",
        "tcp_keepalives_idle = 30",
        "tcp_keepalives_interval = 10",
        "tcp_keepalives_count = 3",
    )
)

_PROCESS = Statement("process", "SELECT pg_backend_pid(), clock_timestamp()::text")
_STARTED_AFTER = Statement(
    "started_after",
    "SELECT pid, backend_start > $1::text::timestamptz FROM pg_stat_activity WHERE pid = pg_backend_pid()",
)
_MOST_TRIES = 16
_SAID_OF_SHARED_SESSIONS = ("08P01", "26000", "42P05")
"""Codes: a pooler refuses a transaction; a prepared statement isn't in this session, or another client made it."""
_SAID_BY_POOLER = "pooling mode"
"""A part of what pgbouncer says when it ends the connection, which hides the code."""


def settle(connection: Connection, deadline: Deadline) -> None:
    """Make the settings of a new connection. Raises like ``Connection.run``."""
    connection.run(_SETTINGS, deadline=deadline)


def through_pooler(connection: Connection, deadline: Deadline) -> bool:
    """Whether a pooler stands before the server. Raises like ``Connection.ask``."""
    return encoding.number(connection.ask(_PROCESS, deadline=deadline)[0][0]) != connection.announced_process


def require_own(connection: Connection, connect: Callable[[], Connection], deadline: Deadline) -> None:
    """Raise ``ConfigError`` if other connections may be in the session of ``connection``.

    ``connect`` makes another connection, of the same client.
    """
    others: list[Connection] = []
    try:
        process, moment = connection.ask(_PROCESS, deadline=deadline)[0]
        if encoding.number(process) == connection.announced_process:
            return  # no pooler
        for _ in range(_MOST_TRIES):
            others.append(connect())
            others[-1].run("BEGIN", deadline=deadline)
            found = others[-1].ask(_STARTED_AFTER, (moment,), deadline=deadline)
            if not found or found[0][0] == process:
                raise _shared(connection)
            if encoding.flag(found[0][1]):
                break  # the pooler had to make a session, although ours is idle
        if connection.ask(_PROCESS, deadline=deadline)[0][0] != process:
            raise _shared(connection)
    except (ServerError, ConnectionBroken) as exc:
        if others and isinstance(exc, ConnectionBroken) and exc.late:
            raise Unavailable(
                f"connecting to PostgreSQL at {connection.where}: the pooler before it gives a client no second "
                f"connection in time; raise its pool size ({exc})"
            ) from exc
        if exc.state in _SAID_OF_SHARED_SESSIONS or _SAID_BY_POOLER in str(exc):
            raise _shared(connection) from exc
        raise  # a server that stops, or a connection that was cut, says nothing of poolers
    finally:
        for other in others:
            with contextlib.suppress(TenureError):
                other.close()


def _shared(connection: Connection) -> ConfigError:
    return ConfigError(
        f"connecting to PostgreSQL at {connection.where}: a pooler stands before the server, and not in session mode, "
        "so statements of one connection may meet different sessions; set pool_mode=session for this database, or "
        "connect to the server itself"
    )
