"""The one place where gRPC's errors are understood.

Three sources speak through one exception type: etcd itself (``etcdserver: ...`` in the details), gRPC's own
channel (not connected, socket closed, deadline), and HTTP when something else listens at the address. What
decides for a write is whether the server can have taken it into its log:

* etcd refused it before proposing it (validation, authentication, no leader): not applied; for its quota that has to
  be looked at, see ``quota``;
* the channel had no connection to send it on: not applied;
* anything else, a deadline above all: unknown.
"""

from __future__ import annotations

from typing import Any

from tenure.errors import (
    AuthenticationFailed,
    Compacted,
    HistoryReplaced,
    InvalidArgument,
    LeaseNotFound,
    LimitExceeded,
    PermissionDenied,
    StoreCorrupted,
    StoreFull,
    TenureError,
    Unavailable,
    Unsupported,
)
from tenure.plugin_kit import ErrorTable, Row

_STALE_TOKEN = (
    "invalid auth token",
    "user name is empty",
    "revision of auth store is old",
    "revision in header is old",
)

_NOT_SENT = (
    "failed to connect to all addresses",
    "connections to all backends failing",
    "DNS resolution failed",
    "empty address list",
)

_SILENT = ("ping timeout", "keepalive watchdog timeout", "keepalive timeout")

_OTHERS_MAY = ("no leader", "not supported for learner", "not capable")


ERRORS = ErrorTable(
    "etcd",
    [
        Row("requested lease not found", LeaseNotFound, "the lease has ended, was revoked or never was"),
        Row("required revision has been compacted", Compacted, "that revision is no longer in etcd's history"),
        Row(
            "required revision is a future revision",
            HistoryReplaced,
            "that revision isn't in the history of this etcd: its data were lost or replaced by a backup",
        ),
        Row(
            "database space exceeded",
            StoreFull,
            "etcd's database has reached its quota and takes no writes: compact and defragment it or raise "
            "--quota-backend-bytes, then clear the alarm by 'etcdctl alarm disarm'",
        ),
        Row("request is too large", LimitExceeded, "etcd refuses a request of this size (--max-request-bytes)"),
        Row("message larger than max", LimitExceeded, "etcd refuses a request of this size (--max-request-bytes)"),
        Row("too many operations in txn", LimitExceeded, "etcd refuses this number of operations (--max-txn-ops)"),
        Row("duplicate key given in txn", InvalidArgument, "a key may be written only once in a transaction"),
        Row("key is not provided", InvalidArgument, "a key can't be empty"),
        Row("too large lease TTL", LimitExceeded, "etcd refuses so long a lease"),
        Row("too many requests", Unavailable, "etcd has more requests in its queue than it takes; try again later"),
        Row("authentication failed", AuthenticationFailed, "etcd doesn't accept this user name and password"),
        Row(
            "authentication is not enabled",
            AuthenticationFailed,
            "the URL has a user name, but this etcd has authentication turned off: "
            "leave user:password@ out, or turn it on by 'etcdctl auth enable'",
        ),
        Row(
            "user name is empty",
            AuthenticationFailed,
            "this etcd wants a user: put user:password@ in front of the host in the URL",
        ),
        Row("invalid auth token", AuthenticationFailed, "etcd doesn't accept the token it gave, not even a new one"),
        Row("revision of auth store is old", AuthenticationFailed, "etcd's users keep changing while we log in"),
        Row("permission denied", PermissionDenied, "etcd's roles don't allow this user to do that"),
        Row(
            "no leader",
            Unavailable,
            "the etcd member has no leader, so most members are down or cut off from it; check "
            "'etcdctl endpoint status'",
        ),
        Row("not supported for learner", Unavailable, "the etcd member is a learner, which serves no such calls"),
        Row("not capable", Unavailable, "this etcd can't do that yet; are all its members upgraded?"),
        Row("corrupt cluster", StoreCorrupted, "etcd found its members' data to differ and has stopped serving"),
    ],
)
"""What etcd says in words; each of these means that nothing was applied."""


def stale_token(exc: Any) -> bool:
    """Whether the call was refused, unapplied, because its token is no longer good."""
    return is_stale_token(_details(exc))


def is_stale_token(reason: str) -> bool:
    """The same for a reason in words, as a refused watch gives."""
    return any(text in reason for text in _STALE_TOKEN)


def not_connected(exc: Any) -> bool:
    """Whether the call never left this machine, since none of the endpoints could be connected to."""
    return exc.code().name == "UNAVAILABLE" and any(text in _details(exc) for text in _NOT_SENT)


def ask_another(exc: Any) -> bool:
    """Whether the call was certainly not applied, for a reason that another member may not have."""
    return not_connected(exc) or any(text in _details(exc) for text in _OTHERS_MAY)


def broken(exc: Any) -> bool:
    """Whether the member, or the way to it, may be gone."""
    return exc.code().name in {"UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED", "INTERNAL", "UNKNOWN"}


def silent(exc: Any) -> bool:
    """Whether gRPC gave a connection up since nothing came any more, not even the answer to its probe."""
    details = _details(exc).lower()
    return any(text in details for text in _SILENT)


def translate(
    exc: Any, *, action: str, write: bool, endpoints: str, timeout: float | None = None, encrypted: bool = False
) -> TenureError:
    """The Tenure error for gRPC's ``exc``; the caller raises it ``from exc``.

    ``action`` says what was tried, such as "reading a key". ``write``: whether it may be applied without
    an answer having come, so that doubt has to be told.
    """
    details = _details(exc)
    known = refusal(details, action=action)
    if known is not None:
        return known
    code = exc.code().name
    if not_connected(exc):
        return Unavailable(
            f"{action}: can't connect to etcd at {endpoints}: {_connect_hint(details, encrypted=encrypted)}"
        )
    if code == "UNIMPLEMENTED":
        return Unsupported(f"{action}: what answers at {endpoints} isn't etcd 3.4 or later ({details})")
    late = code == "DEADLINE_EXCEEDED"
    if late:
        reason = "no answer came in time" if timeout is None else f"no answer came within {timeout:.3g} s"
    elif code == "CANCELLED":
        reason = "the connection was closed meanwhile"
    else:
        reason = _connect_hint(details, encrypted=encrypted)
    return ERRORS.unanswered(reason, action=action, where=endpoints, write=write, late=late)


def refusal(details: str, *, action: str) -> TenureError | None:
    """The error for a refusal that etcd words as ``details``, ``None`` if they aren't known as one."""
    row = ERRORS.find(details)
    return None if row is None else row.error(f"{action}: {row.advice} ({details})")


def _details(exc: Any) -> str:
    return exc.details() or ""


def _connect_hint(details: str, *, encrypted: bool) -> str:
    """What to check, for the failures people meet when the URL is wrong."""
    lowered = details.lower()
    if "refused" in lowered:
        hint = "nothing listens there; is etcd running, and is the port its client port (usually 2379)?"
    elif "certificate" in lowered or "verify" in lowered or "hostname" in lowered or "peer name" in lowered:
        hint = "its certificate isn't accepted: check the options ca, cert, key and server_name"
    elif "wrong_version" in lowered or "ssl" in lowered or "tls" in lowered or "handshake" in lowered:
        hint = "the TLS handshake failed: does that port speak TLS? If not, drop +tls from the URL's scheme"
    elif "http/2" in lowered or "http1" in lowered or "http2" in lowered or "http status" in lowered:
        hint = "what listens there doesn't speak etcd's protocol; is the port right?"
    elif "unreachable" in lowered or "timed out" in lowered or "timeout" in lowered:
        hint = "no answer from that address; check the address, the network and firewalls"
    elif "socket closed" in lowered or "reset" in lowered or "end of stream" in lowered or "eof" in lowered:
        toggle = "if it doesn't speak TLS, drop +tls from" if encrypted else "if it wants TLS, write +tls after"
        hint = f"it closed the connection; {toggle} the URL's scheme"
    else:
        return details
    return f"{hint} ({details})"
