"""Reading: one key, and lists of many by packets that read hundreds of nodes at once.

A list isn't one point in time: folders are read level by level, then the leaves. What it promises is what paging
promises: no key twice, and every key that exists all the while, also one that moves between its two leaves, since
what has vanished from one is looked for in both.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from leasehold.errors import Unavailable
from leasehold.spi.values import KeyValue, Page, Read
from leasehold_zookeeper import keys, wire
from leasehold_zookeeper.connection import Connection
from leasehold_zookeeper.errors import translate

_FIRST_BATCH = 100
_LARGEST_BATCH = 500
_BATCH_BYTES = 4 << 20
"""Values aimed at in one answer; the server builds it in memory."""
_MOVES = 10
"""How often a key is looked for that moves between its leaves while it is read."""


def lease_name(owner: int) -> str | None:
    """The id of the lease that is this session."""
    return f"{owner & (1 << 64) - 1:016x}" if owner else None


def item(key: str, node: wire.Node, *, moved: bool) -> KeyValue:
    """A key as its leaf shows it; ``moved`` tells which of its two leaves that is."""
    stat = node.stat
    if not moved:
        return KeyValue(key, node.data, stat.czxid, stat.mzxid)
    value, origin = keys.unpack(node.data, stat.czxid)
    return KeyValue(key, value, origin, stat.mzxid, lease_name(stat.owner))


def get(connection: Connection, key: str, *, until: float) -> Read:
    """``Backend.get``: a key without a lease takes one request, others a second one."""
    plain, _ = keys.leaves(key)
    answer = connection.read([wire.get_data(plain)], until=until, action="reading a key")[0]
    if not answer.error:
        return Read(item(key, wire.read_node(answer), moved=False), answer.zxid)
    if answer.error != wire.Code.NO_NODE:
        raise translate(answer.error, action="reading a key", write=False)
    found, zxid = read_keys(connection, [key], until=until, synced=False)
    return Read(found[0], zxid)


def read_keys(
    connection: Connection, wanted: Sequence[str], *, until: float, synced: bool = True
) -> tuple[list[KeyValue | None], int]:
    """At most 250 keys, ``None`` for a missing one, and a zxid at which no missing one existed.

    The server answers a multi-read between two writes, so a key that moves from one leaf to the other is seen in
    one of them. ``synced``: the server is known to be up to date.
    """
    paths = [path for key in wanted for path in keys.leaves(key)]
    results, zxid = _read_parts(connection, [wire.get_data(path) for path in paths], until=until, synced=synced)
    found: list[KeyValue | None] = []
    for key, plain, moved in zip(wanted, results[::2], results[1::2], strict=True):
        for result in (plain, moved):
            if not isinstance(result, wire.Node) and result != wire.Code.NO_NODE:
                raise translate(_code(result), action="reading keys", write=False)
        if isinstance(moved, wire.Node):
            found.append(item(key, moved, moved=True))
        else:
            found.append(item(key, plain, moved=False) if isinstance(plain, wire.Node) else None)
    return found, zxid


def _read_many(connection: Connection, wanted: Sequence[str], *, until: float) -> list[KeyValue | None]:
    found: list[KeyValue | None] = []
    for start in range(0, len(wanted), _LARGEST_BATCH // 2):
        found += read_keys(connection, wanted[start : start + _LARGEST_BATCH // 2], until=until)[0]
    return found


def list_page(connection: Connection, prefix: str, *, after: str | None, limit: int | None, until: float) -> Page:
    """``Backend.list``. The revision is the one that the list began at."""
    names, zxid = _key_names(connection, prefix, until=until)
    wanted = sorted(names, key=str.encode)
    if after is not None:
        start = after.encode()
        wanted = [key for key in wanted if key.encode() > start]
    items: list[KeyValue] = []
    # Some may vanish between being named and being read: go on until there is one more than asked for, or none.
    for found in _values(connection, wanted, names, limit, until=until):
        items.append(found)
        if limit is not None and len(items) > limit:
            return Page(tuple(items[:limit]), True, zxid)
    return Page(tuple(items), False, zxid)


def _values(
    connection: Connection, wanted: list[str], names: dict[str, str], limit: int | None, *, until: float
) -> Iterator[KeyValue]:
    start, size = 0, _FIRST_BATCH
    if limit is not None:
        size = min(size, limit + 1)
    while start < len(wanted):
        batch = wanted[start : start + size]
        start += len(batch)
        results, _ = _read_parts(connection, [wire.get_data(names[key]) for key in batch], until=until)
        gone = [key for key, result in zip(batch, results, strict=True) if result == wire.Code.NO_NODE]
        elsewhere: dict[str, KeyValue | None] = {}
        if gone:
            elsewhere = dict(zip(gone, _read_many(connection, gone, until=until), strict=True))
        volume = 1
        for key, result in zip(batch, results, strict=True):
            found = elsewhere.get(key)
            if isinstance(result, wire.Node):
                found = item(key, result, moved=keys.is_moved(names[key]))
            elif result != wire.Code.NO_NODE:
                raise translate(_code(result), action="listing keys", write=False)
            if found is not None:
                volume += len(found.value)
                yield found
        size = max(1, min(_LARGEST_BATCH, _BATCH_BYTES * len(batch) // volume, size * 5))


def _key_names(connection: Connection, prefix: str, *, until: float) -> tuple[dict[str, str], int]:
    """Every key that starts with ``prefix``, with a leaf it was seen in, and the zxid before the first look."""
    above, slash, start = prefix.rpartition("/")
    top = keys.folder_path(above) if slash else "/"
    found: dict[str, str] = {}
    zxid = 0
    level = [_Folder(top, above + slash, start)]
    while level:
        below: list[_Folder] = []
        results, seen = _read_parts(
            connection, [wire.get_children(folder.path) for folder in level], until=until, synced=bool(zxid)
        )
        zxid = zxid or seen
        for folder, result in zip(level, results, strict=True):
            if isinstance(result, list):
                below += _sort_out(folder, result, found)
            elif result != wire.Code.NO_NODE:
                raise translate(_code(result), action="listing keys", write=False)
        level = below
    return found, zxid


class _Folder(NamedTuple):
    """A folder to look into: keys in it begin with ``key``, and only segments that begin with ``start`` matter."""

    path: str
    key: str
    start: str


def _sort_out(folder: _Folder, names: Iterable[str], found: dict[str, str]) -> Iterator[_Folder]:
    top = folder.path == "/"
    for name in names:
        if keys.is_leaf(name):
            segment = keys.leaf_segment(name)
            if segment is not None and segment.startswith(folder.start):
                found[folder.key + segment] = keys.join(folder.path, name)
            continue
        segment = keys.folder_segment(name, top=top)
        if segment is not None and segment.startswith(folder.start):
            yield _Folder(keys.join(folder.path, name), f"{folder.key}{segment}/", "")


def _read_parts(
    connection: Connection, parts: Sequence[wire.Request], *, until: float, synced: bool = True
) -> tuple[list[wire.Result], int]:
    """Read nodes, hundreds in a packet, and the zxid of the first answer."""
    if not connection.modern:
        return _read_singly(connection, parts, until=until, synced=synced)
    results: list[wire.Result] = []
    first = 0
    for start in range(0, len(parts), _LARGEST_BATCH):
        request = wire.multi_read(parts[start : start + _LARGEST_BATCH])
        if synced or results:
            answer = connection.call(request, until=until, action="reading nodes")
        else:
            answer = connection.read([request], until=until, action="reading nodes")[0]
        if answer.error:
            raise translate(answer.error, action="reading nodes", write=False)
        first = first or answer.zxid
        results += wire.read_parts(answer)
    return results, first


def _read_singly(
    connection: Connection, parts: Sequence[wire.Request], *, until: float, synced: bool
) -> tuple[list[wire.Result], int]:
    """The same on servers that read one node at a time. Two equal looks in a row make up for the single moment."""
    for _ in range(_MOVES):
        results, zxid = _look(connection, parts, until=until, synced=synced)
        if wire.Code.NO_NODE not in results or _look(connection, parts, until=until, synced=True)[0] == results:
            return results, zxid
    raise Unavailable("reading nodes: they kept changing")


def _look(
    connection: Connection, parts: Sequence[wire.Request], *, until: float, synced: bool
) -> tuple[list[wire.Result], int]:
    results: list[wire.Result] = []
    call = connection.calls if synced else connection.read
    first = 0
    for start in range(0, len(parts), _LARGEST_BATCH):
        batch = parts[start : start + _LARGEST_BATCH]
        for part, answer in zip(batch, call(batch, until=until, action="reading nodes"), strict=True):
            first = first or answer.zxid
            if answer.error:
                results.append(answer.error)
            else:
                results.append(wire.read_node(answer) if part.op == wire.Op.GET_DATA else wire.read_children(answer))
    return results, first


def _code(result: wire.Result) -> int:
    return result if isinstance(result, int) else wire.Code.RUNTIME_INCONSISTENCY
