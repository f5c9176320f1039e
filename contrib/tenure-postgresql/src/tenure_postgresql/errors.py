"""The one place where PostgreSQL's errors are understood.

While a statement runs the server says what is wrong by a five-character state, which doesn't depend on its language.
While a connection is made libpq hands on only the server's sentence; so there its English words count, and what libpq
knows about the password where the server speaks another language.
"""

from __future__ import annotations

from tenure.errors import (
    AuthenticationFailed,
    ConfigError,
    DeadlineExceeded,
    InvalidKey,
    LimitExceeded,
    OutcomeUnknown,
    PermissionDenied,
    StoreCorrupted,
    StoreFull,
    TenureError,
    Unavailable,
)
from tenure_postgresql.connection import CannotConnect, ConnectionBroken, ServerError

READ_ONLY = "25006"
"""A statement that writes, on a server that is a replica or is told to take no writes."""

NO_RIGHT = "42501"
"""The user lacks a right."""

GONE = frozenset({"3F000", "42P01", "42883"})
"""Schema, table or function isn't there."""

_BY_STATE: dict[str, tuple[type[TenureError], str]] = {
    READ_ONLY: (Unavailable, "this server is read-only, a replica most likely: name the primary in the URL, too"),
    "40001": (Unavailable, "another session's work got in the way; try again"),
    "40P01": (Unavailable, "another session's locks got in the way; try again"),
    NO_RIGHT: (PermissionDenied, "this user lacks a right that the store needs; the README names the GRANTs"),
    "53000": (Unavailable, "the server lacks resources"),
    "53100": (StoreFull, "the server's disk is full"),
    "53200": (StoreFull, "the server is out of memory"),
    "53300": (Unavailable, "the server has as many connections as its max_connections allows"),
    "54000": (LimitExceeded, "it is larger than PostgreSQL takes"),
    "55P03": (DeadlineExceeded, "another session held the store's lock for the whole time; nothing was changed"),
    "57014": (DeadlineExceeded, "the server cancelled it (statement_timeout, or an administrator)"),
    "57P03": (Unavailable, "the server is starting or shutting down; try again in a moment"),
    "22021": (InvalidKey, "a key isn't text that PostgreSQL takes"),
    "58030": (Unavailable, "the server can't read or write its files"),
    "XX001": (StoreCorrupted, "the server finds its data corrupted"),
    "XX002": (StoreCorrupted, "the server finds an index corrupted"),
    "0A000": (Unavailable, "the store's tables were just changed; try again"),
}


def refused(exc: ServerError, *, action: str, where: str) -> TenureError:
    """The Tenure error for an ERROR of the server; the caller raises it ``from exc``."""
    if exc.state in GONE:
        kind: type[TenureError] = StoreCorrupted
        advice = "the store's tables or functions aren't there any more: was its schema dropped? Open the store anew"
    else:
        kind, advice = _BY_STATE.get(exc.state, (StoreCorrupted, "PostgreSQL refused it for a reason unknown here"))
    return kind(f"{action}: {advice} ({where} said: {exc.said}, {exc.state})")


def broken(exc: ConnectionBroken, *, action: str, where: str, write: bool) -> TenureError:
    """The Tenure error for a connection that failed. ``write``: doubt has to be told."""
    message = f"{action}: PostgreSQL at {where} failed to answer: {exc}"
    if write and exc.sent:
        return OutcomeUnknown(f"{message}; it may have been applied: read before trying again")
    return DeadlineExceeded(message) if exc.late else Unavailable(message)


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
        "a pooler stands before the server and refuses what a session needs: connect to the server itself",
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

DEFINITE = (AuthenticationFailed, ConfigError, PermissionDenied)
"""What another host would say just as well."""


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
