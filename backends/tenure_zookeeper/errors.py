"""The one place where ZooKeeper's error codes are understood.

What decides for a write is whether the server has taken it: an error code in the answer says that it wasn't
applied, but for a few that are made up when an answer is missing.
"""

from __future__ import annotations

from tenure.errors import (
    AuthenticationFailed,
    InvalidArgument,
    OutcomeUnknown,
    PermissionDenied,
    PluginError,
    StoreFull,
    TenureError,
    Unavailable,
    Unsupported,
)
from tenure_zookeeper.encoding import Code

RACES = frozenset({Code.NO_NODE, Code.BAD_VERSION, Code.NODE_EXISTS, Code.NOT_EMPTY})
"""What a multi fails with when the nodes are no longer as they were read: nothing was applied, look again."""

_REFUSED: dict[int, tuple[type[TenureError], str]] = {
    Code.NO_AUTH: (
        PermissionDenied,
        "the access list of a node forbids it: check user and password in the URL, and the nodes' lists by 'getAcl'",
    ),
    Code.AUTH_FAILED: (AuthenticationFailed, "ZooKeeper doesn't accept the user name and password of the URL"),
    Code.REQUIRES_SASL: (
        AuthenticationFailed,
        "the server serves only users who log in by SASL: write user:password@ in front of the hosts, and auth=sasl",
    ),
    Code.INVALID_ACL: (
        InvalidArgument,
        "ZooKeeper refuses the access list: the option acl=creator or acl=read needs user:password@ in the URL",
    ),
    Code.QUOTA_EXCEEDED: (StoreFull, "a quota on the folder is used up: see 'listquota'"),
    Code.SESSION_EXPIRED: (Unavailable, "the session has ended, and a new one is being made"),
    Code.SESSION_MOVED: (Unavailable, "the session has just moved to another connection"),
    Code.NOT_READ_ONLY: (Unavailable, "this server has lost its ensemble and only reads"),
    Code.THROTTLED: (Unavailable, "the server has more requests than it takes; try again later"),
    Code.UNIMPLEMENTED: (Unsupported, "this version of ZooKeeper doesn't have the operation"),
    Code.BAD_ARGUMENTS: (PluginError, "ZooKeeper refuses the request as malformed"),
    Code.MARSHALLING: (PluginError, "ZooKeeper can't read the request"),
    Code.NO_CHILDREN_FOR_EPHEMERALS: (
        Unavailable,
        "a node where a folder should be is ephemeral: another program made it in the place of this namespace",
    ),
}

_IN_DOUBT = (Code.CONNECTION_LOSS, Code.OPERATION_TIMEOUT, Code.REQUEST_TIMEOUT)


def translate(code: int, *, action: str, write: bool) -> TenureError:
    """The error for an answer's ``code``; ``action`` says what was tried, such as "reading a key"."""
    if code in _IN_DOUBT:
        error = OutcomeUnknown if write else Unavailable
        return error(f"{action}: ZooKeeper gave up on it (code {code})")
    known = _REFUSED.get(code)
    if known is not None:
        return known[0](f"{action}: {known[1]}")
    if code in RACES:
        return Unavailable(f"{action}: the nodes changed meanwhile (code {code})")
    if write:
        # A code that isn't known isn't known to mean that nothing was applied.
        return OutcomeUnknown(f"{action}: ZooKeeper answered with the unknown code {code}; it may have been applied")
    return Unavailable(f"{action}: ZooKeeper refused it with code {code}")
