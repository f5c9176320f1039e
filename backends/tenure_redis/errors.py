"""The one place where Redis's errors are understood.

An error reply begins with a word that says what it is (``OOM``, ``READONLY``, ``NOAUTH``), and a script that got one
of those below has written nothing: every script decides before it writes, asks for the rights to all that it will
write, and begins with the command that a full memory refuses. So a known error reply is a refusal. A connection that
breaks leaves doubt, and so does a reply that isn't known here: it may be that of a script that failed half way.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from tenure.errors import (
    AuthenticationFailed,
    ConfigError,
    LimitExceeded,
    PermissionDenied,
    StoreCorrupted,
    StoreFull,
    TenureError,
    Unavailable,
    Unsupported,
)
from tenure.plugin_kit import ErrorTable, Row


class ServerError(Exception):
    """An error reply. ``word`` is the first one of its text."""

    @property
    def word(self) -> str:
        return _word_of(str(self))


MOVED = frozenset({"MOVED", "ASK", "READONLY", "UNBLOCKED", "MASTERDOWN", "LOADING", "CLUSTERDOWN", "TRYAGAIN"})
"""Error replies of a server that isn't, or isn't now, the one that takes writes: look for it again."""


def _word_of(said: str) -> str:
    return said.partition(" ")[0]


def _pattern(pattern: str) -> Callable[[str], bool]:
    return lambda said: re.search(pattern, said, re.IGNORECASE) is not None


def _word(word: str) -> Callable[[str], bool]:
    return lambda said: _word_of(said) == word


_ACL = "Redis's access rules (ACL) don't allow this user to do that"
_BUSY = "Redis is busy with a client's long script; try again in a moment"
_MOVING = "the store is being moved to another node of the Redis Cluster"

ERRORS = ErrorTable(
    "Redis",
    [
        Row("ACL failure in script", PermissionDenied, _ACL),
        Row(
            "without any password configured",
            AuthenticationFailed,
            "the URL has a password, but this Redis asks for none: leave it out, or set one for its users",
        ),
        Row("invalid password", AuthenticationFailed, "Redis doesn't accept this password"),
        Row("DB index is out of range", ConfigError, "Redis has no database of this number (option db)"),
        Row(
            "SELECT is not allowed in cluster mode",
            ConfigError,
            "a Redis Cluster has one database: leave out the option db",
        ),
        Row(
            "max number of clients reached",
            Unavailable,
            "Redis has as many clients as its maxclients allows: raise it, or close some",
        ),
        Row("unknown command", Unsupported, "what answers isn't Redis 7.0 or later"),
        Row("Protocol error", LimitExceeded, "Redis refuses a request of this size (proto-max-bulk-len)"),
        Row("No such master with that name", ConfigError, "the Sentinel knows no primary of this name (option master)"),
        Row(
            _word("NOAUTH"),
            AuthenticationFailed,
            "this Redis wants a password: put user:password@ (or :password@) in front of the host in the URL",
        ),
        Row(_word("WRONGPASS"), AuthenticationFailed, "Redis doesn't accept this user name and password"),
        Row(_word("NOPERM"), PermissionDenied, _ACL),
        Row(
            _word("OOM"),
            StoreFull,
            "Redis has used up its memory (maxmemory) and takes no writes: delete keys or raise the limit",
        ),
        Row(
            _word("MISCONF"),
            StoreFull,
            "Redis can't save to its disk and takes no writes: see its log, the disk may be full",
        ),
        Row(
            _word("READONLY"),
            Unavailable,
            "this Redis is a read-only replica: name the primary in the URL, or use redis+sentinel://",
        ),
        Row(_word("UNBLOCKED"), Unavailable, "this Redis has just become a replica"),
        Row(_word("LOADING"), Unavailable, "Redis is loading its data from disk; try again in a moment"),
        Row(_word("BUSY"), Unavailable, _BUSY),
        Row(_word("NOTBUSY"), Unavailable, _BUSY),
        Row(_word("MASTERDOWN"), Unavailable, "this Redis is a replica that has lost its primary"),
        Row(
            _word("NOREPLICAS"),
            Unavailable,
            "Redis has fewer healthy replicas than its min-replicas-to-write asks for",
        ),
        Row(
            _word("CLUSTERDOWN"),
            Unavailable,
            "the Redis Cluster doesn't serve this store now: some of its shards are down",
        ),
        Row(
            _word("MOVED"),
            Unavailable,
            "the store lives on another node: if this is a Redis Cluster, use redis+cluster://",
        ),
        Row(_word("ASK"), Unavailable, _MOVING),
        Row(_word("TRYAGAIN"), Unavailable, _MOVING),
        Row(_word("CROSSSLOT"), Unsupported, "this Redis Cluster doesn't keep a hash tag on one node"),
        Row(
            _word("WRONGTYPE"),
            StoreCorrupted,
            "keys of this name in Redis hold something that isn't Tenure's (see the option store)",
        ),
    ],
)
"""What Redis's error replies mean; each of these means that nothing was applied."""


def _connecting(closed: str) -> ErrorTable:
    return ErrorTable(
        "Redis",
        [
            Row(
                "certificate",
                Unavailable,
                "the TLS certificates don't match: check the options ca, cert and key, and the host's name",
            ),
            Row(
                _pattern(r"\[SSL|_ssl\.c"),
                Unavailable,
                "the TLS handshake failed: does that port speak TLS? If not, drop +tls from the URL's scheme",
            ),
            Row(
                _pattern("refused|no such file"),
                Unavailable,
                "nothing listens there; is Redis running, and is the port right (usually 6379)?",
            ),
            Row("permission denied", Unavailable, "this process may not open that socket"),
            Row(
                _pattern("timed out|no answer|unreachable"),
                Unavailable,
                "no answer from that address; check the address, the network and firewalls",
            ),
            Row("protocol", Unavailable, "what listens there isn't Redis; is the port right?"),
            Row(_pattern("closed|reset"), Unavailable, closed),
        ],
    )


_PLAIN = _connecting("it closed the connection; if it wants TLS, write redis+tls://")
_ENCRYPTED = _connecting("it closed the connection")


def refused(exc: ServerError, *, action: str, where: object, write: bool) -> TenureError:
    """The error for an error reply; the caller raises it ``from exc``. ``write``: it could have changed the store."""
    # Without the number of the script, and the line of it.
    said = re.sub(r" script: [0-9a-f]{40}.*", "", str(exc), flags=re.DOTALL)
    return ERRORS.refusal(said, action=action, where=where, write=write)


def cannot_connect(said: str, *, where: object, encrypted: bool, late: bool) -> TenureError:
    """The error for a connection that could not be made, with what to check. ``late``: the time was up."""
    return (_ENCRYPTED if encrypted else _PLAIN).cannot_connect(said, where=where, late=late)
