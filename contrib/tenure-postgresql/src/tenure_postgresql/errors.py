"""The one place where PostgreSQL's errors are understood.

While a statement runs the server says what is wrong by a five-character state, which doesn't depend on its language.
While a connection is made libpq hands on only the server's sentence; so there its English words count, and what libpq
knows about the password where the server speaks another language.
"""

from __future__ import annotations

from collections.abc import Callable

from tenure.errors import (
    AuthenticationFailed,
    ConfigError,
    DeadlineExceeded,
    InvalidKey,
    LimitExceeded,
    PermissionDenied,
    StoreCorrupted,
    StoreFull,
    TenureError,
    Unavailable,
)
from tenure.plugin_kit import ErrorTable, Row
from tenure_postgresql.connection import CannotConnect, ConnectionBroken, ServerError

READ_ONLY = "25006"
"""A statement that writes, on a server that is a replica or is told to take no writes."""

NO_RIGHT = "42501"
"""The user lacks a right."""

GONE = frozenset({"3F000", "42P01", "42883"})
"""Schema, table or function isn't there."""


def _state(*states: str) -> Callable[[str], bool]:
    """Matches messages that end with one of these states."""
    return lambda message: message.rpartition(", ")[2] in states


ERRORS = ErrorTable(
    "PostgreSQL",
    [
        Row(
            _state(*GONE),
            StoreCorrupted,
            "the store's tables or functions aren't there any more: was its schema dropped? Open the store again",
        ),
        Row(
            _state(READ_ONLY),
            Unavailable,
            "this server is read-only, a replica most likely: name the primary in the URL, too",
        ),
        Row(_state("40001"), Unavailable, "another session's work got in the way; try again"),
        Row(_state("40P01"), Unavailable, "another session's locks got in the way; try again"),
        Row(
            _state(NO_RIGHT),
            PermissionDenied,
            "this user lacks a right; the README names the GRANTs that are needed",
        ),
        Row(_state("53000"), Unavailable, "the server lacks resources"),
        Row(_state("53100"), StoreFull, "the server's disk is full"),
        Row(_state("53200"), StoreFull, "the server is out of memory"),
        Row(_state("53300"), Unavailable, "the server has as many connections as its max_connections allows"),
        Row(_state("54000"), LimitExceeded, "it is larger than PostgreSQL takes"),
        Row(
            _state("55P03"),
            DeadlineExceeded,
            "another session held the store's lock for the whole time",
        ),
        Row(_state("57014"), DeadlineExceeded, "the server cancelled it (statement_timeout, or an administrator)"),
        Row(_state("57P03"), Unavailable, "the server is starting or shutting down; try again in a moment"),
        Row(_state("22021"), InvalidKey, "a key isn't text that PostgreSQL takes"),
        Row(_state("58030"), Unavailable, "the server can't read or write its files"),
        Row(_state("XX001"), StoreCorrupted, "the server finds its data corrupted"),
        Row(_state("XX002"), StoreCorrupted, "the server finds an index corrupted"),
        Row(_state("0A000"), Unavailable, "the store's tables were just changed; try again"),
    ],
)
"""What the server's states mean. An ERROR of the server has changed nothing: a statement is a transaction."""


def refused(exc: ServerError, *, action: str, where: str, write: bool) -> TenureError:
    """The Tenure error for an ERROR of the server; the caller raises it ``from exc``.

    One that isn't known here leaves the outcome of a write unknown. It may have come from a trigger or an extension
    that did something else before.
    """
    return ERRORS.refusal(f"{exc.said}, {exc.state}", action=action, where=where, write=write)


def broken(exc: ConnectionBroken, *, action: str, where: str, write: bool) -> TenureError:
    """The Tenure error for a connection that failed. ``write``: doubt has to be reported."""
    return ERRORS.unanswered(str(exc), action=action, where=where, write=write, sent=exc.sent, late=exc.late)


_BY_TEXT: tuple[tuple[str, type[TenureError], str], ...] = (
    ("password authentication failed", AuthenticationFailed, "the server doesn't accept this user name and password"),
    ("no password supplied", AuthenticationFailed, "the server wants a password: put user:password@ before the host"),
    ("certificate authentication failed", AuthenticationFailed, "the server doesn't accept the client's certificate"),
    ("requires a valid client certificate", AuthenticationFailed, "the server wants a client certificate: cert, key"),
    ("certificate required", AuthenticationFailed, "the server wants a client certificate: options cert and key"),
    ("authentication failed", AuthenticationFailed, "the server doesn't accept this user"),
    ("no encryption", ConfigError, "the server takes this user with TLS only: write postgresql+tls://"),
    ("no pg_hba.conf entry", AuthenticationFailed, "the server's pg_hba.conf has no line for this user from here"),
    ("is not permitted to log in", AuthenticationFailed, "this role can't log in"),
    ("permission denied for database", PermissionDenied, "this user lacks the right CONNECT on the database"),
    (
        "unsupported startup parameter",
        ConfigError,
        "a pooler stands before the server and refuses what PGOPTIONS says: leave it out, or connect to the server",
    ),
    ("session is read-only", Unavailable, "this server is read-only, a replica most likely: name the primary, too"),
    ("session is not read-only", Unavailable, "this server isn't what it was asked to be"),
    ("the database system is", Unavailable, "the server is starting or shutting down; try again in a moment"),
    ("too many clients", Unavailable, "the server has as many connections as its max_connections allows"),
    ("remaining connection slots", Unavailable, "the server has as many connections as its max_connections allows"),
    ("too many connections", Unavailable, "the server allows this role or database no more connections"),
    ("does not support ssl", ConfigError, "the server has no TLS: drop +tls from the URL's scheme, or turn its ssl on"),
    ("certificate verify failed", Unavailable, "the server's certificate isn't signed by whom the option ca trusts"),
    ("does not match host name", Unavailable, "the server's certificate is for another host name"),
    ("certificate", ConfigError, "a file named by the options ca, cert or key can't be used"),
    ("private key", ConfigError, "the file named by the option key can't be used"),
    ("connection refused", Unavailable, "nothing listens there; is PostgreSQL running, and is the port right?"),
    ("could not translate host name", Unavailable, "there is no host of that name"),
    ("no answer in time", Unavailable, "no answer from there; check the address, the network and firewalls"),
    ("invalid response", Unavailable, "what listens there isn't PostgreSQL; is the port right?"),
    ("closed the connection", Unavailable, "it closed the connection"),
    ("closed meanwhile", Unavailable, "the store was closed"),
)


def cannot_connect(exc: CannotConnect, *, where: str, user: str, database: str) -> TenureError:
    """The Tenure error for a connection that could not be made, with what to check."""
    said = str(exc)
    lowered = said.lower()
    who = f"can't connect to PostgreSQL at {where}"
    if "does not exist" in lowered and "role" in lowered and "database" not in lowered.rpartition("fatal")[2]:
        return AuthenticationFailed(f"{who}: it has no user {user!r} ({said})")
    if "does not exist" in lowered and "database" in lowered:
        return ConfigError(
            f"{who}: it has no database {database!r}: name another one with ?database=NAME, or make it with "
            f'CREATE DATABASE "{database}" ({said})'
        )
    for words, kind, advice in _BY_TEXT:
        if words in lowered:
            late = exc.late and kind is Unavailable
            return (DeadlineExceeded if late else kind)(f"{who}: {advice} ({said})")
    if exc.password is None:
        return AuthenticationFailed(f"{who}: it wants a password: put user:password@ before the host ({said})")
    if exc.password and "fatal" in lowered:
        return AuthenticationFailed(f"{who}: it refused the log-in ({said})")
    return Unavailable(f"{who}: {said}")
