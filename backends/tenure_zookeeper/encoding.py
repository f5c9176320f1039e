"""ZooKeeper's packets, as far as this plugin sends them itself: requests as bytes, answers as tuples.

The layouts are those of the server's ``zookeeper.jute``. What a kazoo client sends for applications through
``Backend.native`` doesn't pass here.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from enum import IntEnum
from typing import NamedTuple

INT = struct.Struct("!i")
_CONNECT = struct.Struct("!iqiq")
_CONNECTED = struct.Struct("!iiq")
_HEADER = struct.Struct("!iqi")
_PART = struct.Struct("!iBi")
_STAT = struct.Struct("!qqqqiiiqiiq")

PERSISTENT, EPHEMERAL, CONTAINER = 0, 1, 4
_PERSISTENT_WATCH, _RECURSIVE_WATCH = 0, 1
_ANY_WATCH = 3
ANY_VERSION = -1

CLOSE, AUTH, SASL = -11, 100, 102
AUTH_XID = -4
WATCH_XID = -1


class Op(IntEnum):
    """Operations of the protocol."""

    CREATE = 1
    DELETE = 2
    EXISTS = 3
    GET_DATA = 4
    SET_DATA = 5
    GET_ACL = 6
    GET_CHILDREN = 8
    SYNC = 9
    CHECK = 13
    MULTI = 14
    CREATE2 = 15
    REMOVE_WATCHES = 18
    CREATE_CONTAINER = 19
    MULTI_READ = 22
    ADD_WATCH = 106


class Code(IntEnum):
    """Error codes of answers."""

    OK = 0
    RUNTIME_INCONSISTENCY = -2
    CONNECTION_LOSS = -4
    MARSHALLING = -5
    UNIMPLEMENTED = -6
    OPERATION_TIMEOUT = -7
    BAD_ARGUMENTS = -8
    NO_NODE = -101
    NO_AUTH = -102
    BAD_VERSION = -103
    NO_CHILDREN_FOR_EPHEMERALS = -108
    NODE_EXISTS = -110
    NOT_EMPTY = -111
    SESSION_EXPIRED = -112
    INVALID_ACL = -114
    AUTH_FAILED = -115
    SESSION_MOVED = -118
    NOT_READ_ONLY = -119
    REQUEST_TIMEOUT = -122
    REQUIRES_SASL = -124
    QUOTA_EXCEEDED = -125
    THROTTLED = -127


class Acl(NamedTuple):
    """One entry of an access list."""

    permissions: int
    scheme: str
    identity: str


class Stat(NamedTuple):
    """What the server knows about a node, in the order of the protocol."""

    czxid: int
    mzxid: int
    ctime: int
    mtime: int
    version: int
    cversion: int
    aversion: int
    owner: int
    length: int
    children: int
    pzxid: int


class Request(NamedTuple):
    """An operation with its arguments, packed."""

    op: int
    body: bytes


class Reply(NamedTuple):
    """An answer: the server's zxid with it, an error code, and the packed rest from ``offset`` on."""

    zxid: int
    error: int
    buffer: bytes
    offset: int


class Node(NamedTuple):
    """A node's data."""

    data: bytes
    stat: Stat


# -- requests --------------------------------------------------------------------------------------


def _text(text: str) -> bytes:
    raw = text.encode()
    return INT.pack(len(raw)) + raw


def _bytes(data: bytes) -> bytes:
    return INT.pack(len(data)) + data


def create(path: str, data: bytes, acl: Sequence[Acl], mode: int = PERSISTENT) -> Request:
    """Make a node; the answer has its :class:`Stat`."""
    entries = b"".join(INT.pack(entry.permissions) + _text(entry.scheme) + _text(entry.identity) for entry in acl)
    op = Op.CREATE_CONTAINER if mode == CONTAINER else Op.CREATE2
    return Request(op, _text(path) + _bytes(data) + INT.pack(len(acl)) + entries + INT.pack(mode))


def create_plain(path: str, data: bytes, acl: Sequence[Acl]) -> Request:
    """Make a persistent node on a server that knows no newer way."""
    return Request(Op.CREATE, create(path, data, acl).body)


def delete(path: str, version: int = ANY_VERSION) -> Request:
    return Request(Op.DELETE, _text(path) + INT.pack(version))


def set_data(path: str, data: bytes, version: int = ANY_VERSION) -> Request:
    return Request(Op.SET_DATA, _text(path) + _bytes(data) + INT.pack(version))


def check(path: str, version: int = ANY_VERSION) -> Request:
    """In a multi: the node exists, at this version."""
    return Request(Op.CHECK, _text(path) + INT.pack(version))


def exists(path: str) -> Request:
    return Request(Op.EXISTS, _text(path) + b"\0")


def get_data(path: str) -> Request:
    return Request(Op.GET_DATA, _text(path) + b"\0")


def get_children(path: str) -> Request:
    return Request(Op.GET_CHILDREN, _text(path) + b"\0")


def get_acl(path: str) -> Request:
    return Request(Op.GET_ACL, _text(path))


def sync(path: str) -> Request:
    """Let the server catch up with its leader before it answers what follows on this connection."""
    return Request(Op.SYNC, _text(path))


def multi(parts: Iterable[Request]) -> Request:
    """All of these writes or none."""
    return Request(Op.MULTI, _together(parts))


def multi_read(parts: Iterable[Request]) -> Request:
    """Several ``get_data`` and ``get_children`` in one packet (server 3.6 and later)."""
    return Request(Op.MULTI_READ, _together(parts))


def _together(parts: Iterable[Request]) -> bytes:
    packed = bytearray()
    for part in parts:
        packed += _PART.pack(part.op, 0, -1) + part.body
    return bytes(packed + _PART.pack(-1, 1, -1))


def add_watch(path: str, *, recursive: bool) -> Request:
    """A watch that stays, on the node, or on the node and everything below it (server 3.6 and later)."""
    return Request(Op.ADD_WATCH, _text(path) + INT.pack(_RECURSIVE_WATCH if recursive else _PERSISTENT_WATCH))


def remove_watches(path: str) -> Request:
    return Request(Op.REMOVE_WATCHES, _text(path) + INT.pack(_ANY_WATCH))


def auth(scheme: str, credential: str) -> Request:
    return Request(AUTH, INT.pack(0) + _text(scheme) + _text(credential))


def sasl(token: bytes) -> Request:
    """A step of a SASL login."""
    return Request(SASL, _bytes(token))


def connect(timeout_ms: int, session: int, password: bytes) -> bytes:
    """The first packet of a connection: a new session (0), or one that exists."""
    return _CONNECT.pack(0, 0, timeout_ms, session) + _bytes(password) + b"\0"


def connected(buffer: bytes) -> tuple[int, int, bytes]:
    """Timeout in milliseconds (0: there is no such session), session and password."""
    _, timeout_ms, session = _CONNECTED.unpack_from(buffer, 0)
    password, _ = _read_bytes(buffer, _CONNECTED.size)
    return timeout_ms, session, password


# -- answers ---------------------------------------------------------------------------------------


def reply(buffer: bytes) -> tuple[int, Reply]:
    """The request's number, and the answer."""
    xid, zxid, error = _HEADER.unpack_from(buffer, 0)
    return xid, Reply(zxid, error, buffer, _HEADER.size)


def read_stat(answer: Reply) -> Stat:
    return _stat(answer.buffer, answer.offset)[0]


def read_node(answer: Reply) -> Node:
    return _node(answer.buffer, answer.offset)[0]


def read_children(answer: Reply) -> list[str]:
    return _names(answer.buffer, answer.offset)[0]


def read_acl(answer: Reply) -> list[Acl]:
    buffer, offset = answer.buffer, answer.offset
    count = INT.unpack_from(buffer, offset)[0]
    offset += INT.size
    entries = []
    for _ in range(count):
        permissions = INT.unpack_from(buffer, offset)[0]
        scheme, offset = _read_text(buffer, offset + INT.size)
        identity, offset = _read_text(buffer, offset)
        entries.append(Acl(permissions, scheme, identity))
    return entries


def read_token(answer: Reply) -> bytes:
    """The server's token in a SASL login, empty where it has none."""
    return _read_bytes(answer.buffer, answer.offset)[0]


def read_event(buffer: bytes, offset: int) -> str:
    """The path of a watch event."""
    path, _ = _read_text(buffer, offset + 2 * INT.size)
    return path


Result = Stat | Node | list[str] | Code | int | None
"""A part's result: by its operation, or an error code (``int`` for one that isn't known here)."""


def read_parts(answer: Reply) -> list[Result]:
    """The results of a multi or a multi-read, in order. A code other than OK is that part's error."""
    buffer, offset = answer.buffer, answer.offset
    results: list[Result] = []
    while True:
        op, done, _ = _PART.unpack_from(buffer, offset)
        offset += _PART.size
        if done:
            return results
        result: Result = None
        if op == Op.GET_DATA:
            result, offset = _node(buffer, offset)
        elif op == Op.GET_CHILDREN:
            result, offset = _names(buffer, offset)
        elif op == Op.SET_DATA:
            result, offset = _stat(buffer, offset)
        elif op in (Op.CREATE2, Op.CREATE_CONTAINER):
            _, offset = _read_text(buffer, offset)
            result, offset = _stat(buffer, offset)
        elif op == Op.CREATE:
            _, offset = _read_text(buffer, offset)
        elif op == -1:
            code = INT.unpack_from(buffer, offset)[0]
            offset += INT.size
            result = Code(code) if code in Code._value2member_map_ else code
        results.append(result)


def first_error(results: Sequence[Result]) -> int:
    """The code that made a multi fail, 0 if it was applied."""
    codes = [result for result in results if isinstance(result, int)]
    return next((code for code in codes if code not in (Code.OK, Code.RUNTIME_INCONSISTENCY)), 0)


def _stat(buffer: bytes, offset: int) -> tuple[Stat, int]:
    return Stat._make(_STAT.unpack_from(buffer, offset)), offset + _STAT.size


def _node(buffer: bytes, offset: int) -> tuple[Node, int]:
    data, offset = _read_bytes(buffer, offset)
    stat, offset = _stat(buffer, offset)
    return Node(data, stat), offset


def _names(buffer: bytes, offset: int) -> tuple[list[str], int]:
    count = INT.unpack_from(buffer, offset)[0]
    offset += INT.size
    names = []
    for _ in range(count):
        name, offset = _read_text(buffer, offset)
        names.append(name)
    return names, offset


def _read_bytes(buffer: bytes, offset: int) -> tuple[bytes, int]:
    length = INT.unpack_from(buffer, offset)[0]
    offset += INT.size
    if length <= 0:
        return b"", offset
    return bytes(buffer[offset : offset + length]), offset + length


def _read_text(buffer: bytes, offset: int) -> tuple[str, int]:
    raw, offset = _read_bytes(buffer, offset)
    return raw.decode(errors="replace"), offset
