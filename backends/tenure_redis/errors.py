"""The one place where Redis's errors are understood.

An error reply begins with a word that says what it is (``OOM``, ``READONLY``, ``NOAUTH``), and a script that got one
has written nothing: every script decides before it writes, and begins to write with the command that may be
refused. So an error reply is a refusal, and only a connection that breaks leaves doubt.
"""

from __future__ import annotations

import re
import ssl

from tenure.errors import (
    AuthenticationFailed,
    ConfigError,
    DeadlineExceeded,
    LimitExceeded,
    OutcomeUnknown,
    PermissionDenied,
    StoreCorrupted,
    StoreFull,
    TenureError,
    Unavailable,
    Unsupported,
)


class ServerError(Exception):
    """An error reply. ``word`` is the first one of its text."""

    @property
    def word(self) -> str:
        return str(self).partition(" ")[0]


MOVED = frozenset({"MOVED", "ASK", "READONLY", "UNBLOCKED", "MASTERDOWN", "LOADING", "CLUSTERDOWN", "TRYAGAIN"})
"""Error replies of a server that isn't, or isn't now, the one that takes writes: look for it again."""

_BY_WORD: dict[str, tuple[type[TenureError], str]] = {
    "NOAUTH": (
        AuthenticationFailed,
        "this Redis wants a password: put user:password@ (or :password@) in front of the host in the URL",
    ),
    "WRONGPASS": (AuthenticationFailed, "Redis doesn't accept this user name and password"),
    "NOPERM": (PermissionDenied, "Redis's access rules (ACL) don't allow this user to do that"),
    "OOM": (StoreFull, "Redis has used up its memory (maxmemory) and takes no writes: delete keys or raise the limit"),
    "READONLY": (
        Unavailable,
        "this Redis is a read-only replica: name the primary in the URL, or use redis+sentinel://",
    ),
    "UNBLOCKED": (Unavailable, "this Redis has just become a replica"),
    "LOADING": (Unavailable, "Redis is loading its data from disk; try again in a moment"),
    "BUSY": (Unavailable, "Redis is busy with somebody's long script; try again in a moment"),
    "MASTERDOWN": (Unavailable, "this Redis is a replica that has lost its primary"),
    "NOREPLICAS": (Unavailable, "Redis has fewer healthy replicas than its min-replicas-to-write asks for"),
    "CLUSTERDOWN": (Unavailable, "the Redis Cluster doesn't serve this store now: some of its shards are down"),
    "MOVED": (Unavailable, "the store lives on another node: if this is a Redis Cluster, use redis+cluster://"),
    "ASK": (Unavailable, "the store is being moved to another node of the Redis Cluster"),
    "TRYAGAIN": (Unavailable, "the store is being moved to another node of the Redis Cluster"),
    "CROSSSLOT": (Unsupported, "this Redis Cluster doesn't keep a hash tag on one node"),
    "WRONGTYPE": (
        StoreCorrupted,
        "keys of this name in Redis hold something that isn't Tenure's (see the option store)",
    ),
    "MISCONF": (StoreFull, "Redis can't save to its disk and takes no writes: see its log, the disk may be full"),
    "NOTBUSY": (Unavailable, "Redis is busy with somebody's long script; try again in a moment"),
}

_BY_TEXT: tuple[tuple[str, type[TenureError], str], ...] = (
    ("ACL failure in script", PermissionDenied, "Redis's access rules (ACL) don't allow this user to do that"),
    (
        "without any password configured",
        AuthenticationFailed,
        "the URL has a password, but this Redis asks for none: leave it out, or set one for its users",
    ),
    ("invalid password", AuthenticationFailed, "Redis doesn't accept this password"),
    ("DB index is out of range", ConfigError, "Redis has no database of this number (option db)"),
    ("SELECT is not allowed in cluster mode", ConfigError, "a Redis Cluster has one database: leave out the option db"),
    ("max number of clients reached", Unavailable, "Redis has as many clients as its maxclients allows"),
    ("unknown command", Unsupported, "what answers isn't Redis 7.0 or later"),
    ("Protocol error", LimitExceeded, "Redis refuses a request of this size (proto-max-bulk-len)"),
    ("No such master with that name", ConfigError, "the Sentinel knows no primary of this name (option master)"),
)


def refused(exc: ServerError, *, action: str, where: str) -> TenureError:
    """The Tenure error for an error reply; the caller raises it ``from exc``."""
    said = str(exc)
    for text, kind, advice in _BY_TEXT:
        if text in said:
            return kind(f"{action}: {advice} ({where} said: {_short(said)})")
    kind, advice = _BY_WORD.get(exc.word, (StoreCorrupted, "Redis refused it for a reason that isn't known here"))
    return kind(f"{action}: {advice} ({where} said: {_short(said)})")


def broken(reason: str, *, action: str, where: str, write: bool, late: bool) -> TenureError:
    """The Tenure error for a connection that failed with the request under way."""
    message = f"{action}: Redis at {where} failed to answer: {reason}"
    if write:
        return OutcomeUnknown(f"{message}; it may have been applied: read before trying again")
    return DeadlineExceeded(message) if late else Unavailable(message)


def cannot_connect(exc: BaseException, where: object, *, encrypted: bool) -> TenureError:
    """The Tenure error for a connection that could not be made, with what to check."""
    said = str(exc)
    lowered = said.lower()
    if isinstance(_root(exc), ssl.SSLError):
        if "certificate" in lowered or "hostname" in lowered:
            hint = "the TLS certificates don't match: check the options ca, cert and key, and the host's name"
        else:
            hint = "the TLS handshake failed: does that port speak TLS? If not, drop +tls from the URL's scheme"
    elif "certificate" in lowered:
        hint = "the TLS certificates don't match: check the options ca, cert and key, and the host's name"
    elif "refused" in lowered or "no such file" in lowered:
        hint = "nothing listens there; is Redis running, and is the port right (usually 6379)?"
    elif "permission denied" in lowered:
        hint = "this process may not open that socket"
    elif "name or service" in lowered or "resolution" in lowered or "nodename" in lowered:
        hint = "there is no host of that name"
    elif "timed out" in lowered or "timeout" in lowered or "no answer" in lowered or "unreachable" in lowered:
        hint = "no answer from that address; check the address, the network and firewalls"
    elif "protocol" in lowered:
        hint = "what listens there isn't Redis; is the port right?"
    elif "closed" in lowered or "reset" in lowered:
        hint = "it closed the connection" + ("" if encrypted else "; if it wants TLS, write redis+tls://")
    else:
        hint = "the connection failed"
    if isinstance(_root(exc), FileNotFoundError | IsADirectoryError) and encrypted:
        return ConfigError(f"connecting to Redis at {where}: a file named by ca, cert or key can't be read ({said})")
    return Unavailable(f"can't connect to Redis at {where}: {hint} ({_short(said)})")


def _root(exc: BaseException) -> BaseException:
    while (inner := exc.__cause__ or exc.__context__) is not None:
        exc = inner
    return exc


def _short(said: str) -> str:
    """What the server said on one line, without the numbers of its script."""
    return re.sub(r" script: [0-9a-f]{40}.*", "", said.splitlines()[0] if said else "nothing")[:200]
