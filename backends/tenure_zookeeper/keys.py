"""Keys and the nodes they are stored in: a reversible mapping that leaves ordinary keys readable in ZooKeeper's tools.

The key ``a/b`` lives in the folder ``/a`` as the leaf ``@b``, whose data is the value, or, once it was attached to a
lease, as the leaf ``~b``: ephemeral nodes can't have children, so values are leaves and folders hold nothing.

``~b`` is ephemeral while the key has a lease. A node can't become ephemeral or cease to be, it has to be made
anew; so its data begins with the revision at which the key's life began, which is not always the node's. That a
leaf ``@b`` is never made anew in a key's life lets a put be a plain ``setData``, which can't hit a key on a lease.

ZooKeeper refuses some characters and names, and collapses ``//``. So these are percent-encoded as UTF-8 bytes;
``%`` alone is the empty folder name, and a folder never begins with a leaf's marker. Nodes that no key maps to
were made by somebody else and aren't seen.
"""

from __future__ import annotations

import re
import struct
from functools import lru_cache

PLAIN = "@"
"""Marker of the leaf of a key that never had a lease."""

MOVED = "~"
"""Marker of the leaf of a key that has, or had, a lease; its data has a header."""

_HEADER = struct.Struct("!q")

INTERNAL = ".leasehold"
"""Folder name for what the plugin itself keeps; no key maps into it."""

_SYSTEM = "zookeeper"
"""Folder below the root that belongs to the server."""

_REFUSED = re.compile("[^ -$&-~\u00a0-\ud7ff\uf900-\uffef]")
"""What is encoded: ``%`` itself, and what the server refuses (of characters beyond U+FFFF it sees surrogates)."""

_ESCAPES = re.compile("(?:%[0-9A-F]{2})+")


def _encode(text: str) -> str:
    return _REFUSED.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in match[0].encode())


def _unescape(match: re.Match[str]) -> str:
    return bytes.fromhex(match[0].replace("%", "")).decode()


def folder_name(segment: str, *, top: bool = False) -> str:
    """The node name of one folder of a key; ``top`` for the first one."""
    if not segment:
        return "%"
    name = _encode(segment)
    special = segment in (".", "..", INTERNAL) or (top and segment == _SYSTEM)
    if special or name[0] in (PLAIN, MOVED):
        name = f"%{ord(name[0]):02X}{name[1:]}"
    return "%2E%2E" if segment == ".." else name


@lru_cache(maxsize=4096)
def folder_path(folders: str) -> str:
    """The node of the folder whose keys begin with ``folders`` and a slash."""
    segments = folders.split("/")
    return "/" + "/".join(folder_name(segment, top=number == 0) for number, segment in enumerate(segments))


def place(key: str) -> tuple[str, str]:
    """The folder's node of ``key``, and the name of its leaf without the marker."""
    folders, slash, last = key.rpartition("/")
    return (folder_path(folders) if slash else "/"), _encode(last)


def join(folder: str, name: str) -> str:
    """The path of a node in a folder."""
    return f"/{name}" if folder == "/" else f"{folder}/{name}"


def leaves(key: str) -> tuple[str, str]:
    """The two paths where the value of ``key`` can be: plain and moved."""
    folder, name = place(key)
    return join(folder, PLAIN + name), join(folder, MOVED + name)


def pack(value: bytes, origin: int = 0) -> bytes:
    """The data of a moved leaf. ``origin``: the revision at which the key's life began, 0 if that is the node's own."""
    return _HEADER.pack(origin) + value


def unpack(data: bytes, own: int) -> tuple[bytes, int]:
    """Value and origin from the data of a moved leaf; ``own`` is the revision at which the node was made."""
    if len(data) < _HEADER.size:
        return data, own  # somebody else wrote this
    return data[_HEADER.size :], _HEADER.unpack_from(data)[0] or own


def ancestors(folder: str) -> list[str]:
    """The node of the folder and those above it but the root, topmost first."""
    parts = folder.split("/")
    return ["/".join(parts[: number + 1]) for number in range(1, len(parts))] if folder != "/" else []


def is_leaf(name: str) -> bool:
    """Whether a node's name is that of a leaf."""
    return name[:1] in (PLAIN, MOVED)


def is_moved(path: str) -> bool:
    """Whether the leaf at this path is a moved one."""
    return path.rpartition("/")[2].startswith(MOVED)


def leaf_segment(name: str) -> str | None:
    """The last segment of the key that has this leaf; ``None`` for a name that no key maps to."""
    segment = _decode(name[1:])
    return segment if segment is not None and _encode(segment) == name[1:] else None


def folder_segment(name: str, *, top: bool) -> str | None:
    """The segment that this folder stands for; ``None`` for a name that no key maps to."""
    segment = "" if name == "%" else _decode(name)
    return segment if segment is not None and folder_name(segment, top=top) == name else None


def key_of(path: str) -> str | None:
    """The key whose leaf is at ``path``; ``None`` for a folder and for nodes that no key maps to."""
    folder, _, name = path.rpartition("/")
    if not is_leaf(name):
        return None
    prefix = folder_key(folder)
    last = leaf_segment(name)
    return None if prefix is None or last is None else prefix + last


@lru_cache(maxsize=4096)
def folder_key(folder: str) -> str | None:
    """What keys in the folder at this path begin with: ``"a/b/"`` for ``/a/b``, ``""`` for the root (``""``)."""
    segments = [folder_segment(name, top=number == 0) for number, name in enumerate(folder.split("/")[1:])]
    if any(segment is None for segment in segments):
        return None
    return "".join(f"{segment}/" for segment in segments)


def _decode(name: str) -> str | None:
    try:
        return _ESCAPES.sub(_unescape, name)
    except ValueError:
        return None
