"""The one place where ZooKeeper's error codes are understood.

What decides for a write is whether the server has taken it: an error code in the answer says that it wasn't
applied, but for a few that are made up when an answer is missing.
"""

from __future__ import annotations

from collections.abc import Callable

from tenure.errors import (
    AuthenticationFailed,
    InvalidArgument,
    PermissionDenied,
    PluginError,
    StoreFull,
    TenureError,
    Unavailable,
    Unsupported,
)
from tenure.plugin_kit import ErrorTable, Row
from tenure_zookeeper.encoding import Code

RACES = frozenset({Code.NO_NODE, Code.BAD_VERSION, Code.NODE_EXISTS, Code.NOT_EMPTY})
"""What a multi fails with when the nodes are no longer as they were read: nothing was applied, look again."""

_IN_DOUBT = (Code.CONNECTION_LOSS, Code.OPERATION_TIMEOUT, Code.REQUEST_TIMEOUT)


def _code(*codes: Code) -> Callable[[str], bool]:
    """A line of the table for these codes."""
    texts = {_said(code) for code in codes}
    return lambda said: said in texts


def _said(code: int) -> str:
    return f"code {int(code)}"


ERRORS = ErrorTable(
    "ZooKeeper",
    [
        Row(
            _code(Code.NO_AUTH),
            PermissionDenied,
            "the access list of a node forbids it: check user and password in the URL, and the nodes' lists by "
            "'getAcl'",
        ),
        Row(
            _code(Code.AUTH_FAILED),
            AuthenticationFailed,
            "ZooKeeper doesn't accept the user name and password of the URL",
        ),
        Row(
            _code(Code.REQUIRES_SASL),
            AuthenticationFailed,
            "the server serves only users who log in by SASL: write user:password@ in front of the hosts, and "
            "auth=sasl",
        ),
        Row(
            _code(Code.INVALID_ACL),
            InvalidArgument,
            "ZooKeeper refuses the access list: the option acl=creator or acl=read needs user:password@ in the URL",
        ),
        Row(_code(Code.QUOTA_EXCEEDED), StoreFull, "a quota on the folder is used up: see 'listquota'"),
        Row(_code(Code.SESSION_EXPIRED), Unavailable, "the session has ended, and a new one is being made"),
        Row(_code(Code.SESSION_MOVED), Unavailable, "the session has just moved to another connection"),
        Row(_code(Code.NOT_READ_ONLY), Unavailable, "this server has lost its ensemble and only reads"),
        Row(_code(Code.THROTTLED), Unavailable, "the server has more requests than it takes; try again later"),
        Row(_code(Code.UNIMPLEMENTED), Unsupported, "this version of ZooKeeper doesn't have the operation"),
        Row(_code(Code.BAD_ARGUMENTS), PluginError, "ZooKeeper refuses the request as malformed"),
        Row(_code(Code.MARSHALLING), PluginError, "ZooKeeper can't read the request"),
        Row(
            _code(Code.NO_CHILDREN_FOR_EPHEMERALS),
            Unavailable,
            "a node where a folder should be is ephemeral: another program made it in the place of this namespace",
        ),
        Row(_code(*RACES), Unavailable, "the nodes changed meanwhile"),
    ],
)
"""What ZooKeeper's codes mean; with each of these nothing was applied."""


def translate(code: int, *, action: str, write: bool) -> TenureError:
    """The error for an answer's ``code``; ``action`` says what was tried, such as "reading a key"."""
    if code in _IN_DOUBT:
        return ERRORS.unanswered(_said(code), action=action, where="the host in use", write=write)
    return ERRORS.refusal(_said(code), action=action, where="it", write=write)
