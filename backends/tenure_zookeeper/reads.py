"""Reading: one key, and lists of many by packets that read hundreds of nodes at once.

A list isn't one point in time: folders are read level by level, then the leaves. What it promises is what paging
promises: no key twice, and every key that exists all the while, also one that moves between its two leaves, since
what has vanished from one is looked for in both.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from tenure.plugin_kit import Deadline
from tenure.spi.types import KeyValue, ListRequest, MultiReadResult, Page, ReadResult
from tenure_zookeeper import bulk_reads, encoding, keys
from tenure_zookeeper.connection import Connection, Fresh
from tenure_zookeeper.errors import translate

_FIRST_BATCH = 100
_LARGEST_BATCH = 500
_BATCH_BYTES = 4 << 20
"""Values aimed at in one answer; the server builds it in memory."""
_SMALL = 1024
"""Bytes of an average value up to which a list of keys alone reads the values too."""
_READING = "reading keys"


def lease_name(owner: int) -> str | None:
    """The id of the lease that is this session."""
    return f"{owner & (1 << 64) - 1:016x}" if owner else None


def item(key: str, node: encoding.Node, *, moved: bool) -> KeyValue:
    """A key as its leaf shows it; ``moved`` tells which of its two leaves that is."""
    stat = node.stat
    if not moved:
        return KeyValue(key, node.data, stat.czxid, stat.mzxid)
    value, origin = keys.unpack(node.data, stat.czxid)
    return KeyValue(key, value, origin, stat.mzxid, lease_name(stat.owner))


def get(connection: Connection, key: str, *, deadline: Deadline) -> ReadResult:
    """``Backend.get``: a key without a lease takes one request, others a second one."""
    plain, _ = keys.leaves(key)
    answer = connection.read([encoding.get_data(plain)], deadline=deadline, action="reading a key")[0]
    if not answer.error:
        node = encoding.read_node(answer)
        connection.versions.note(plain, node.stat, answer.zxid)
        connection.history.note(key, node.stat)
        return ReadResult(item(key, node, moved=False), answer.zxid)
    if answer.error != encoding.Code.NO_NODE:
        raise translate(answer.error, action="reading a key", write=False)
    return ReadResult(*read_keys(connection, [key], deadline=deadline)[0])


def get_many(connection: Connection, wanted: Sequence[str], *, deadline: Deadline) -> MultiReadResult:
    """``Backend.get_many``: both leaves of each key in one packet, which the server answers between two writes."""
    requests = [encoding.get_data(path) for key in wanted for path in keys.leaves(key)]
    answer = connection.read([encoding.multi_read(requests)], deadline=deadline, action=_READING)[0]
    if answer.error:
        raise translate(answer.error, action=_READING, write=False)
    results = encoding.read_parts(answer)
    found = zip(wanted, results[::2], results[1::2], strict=True)
    return MultiReadResult(tuple(_item_in(connection, *leaves) for leaves in found), answer.zxid)


def read_keys(
    connection: Connection, wanted: Sequence[str], *, deadline: Deadline
) -> list[tuple[KeyValue | None, int]]:
    """Each of these keys, ``None`` for a missing one, and a zxid at which that was so. As this server has them: what
    calls this has read before, or had an event.

    Both leaves of a key are read between the same two writes, so one that moves is seen in one of them.
    """
    requests = [encoding.get_data(path) for key in wanted for path in keys.leaves(key)]
    answers = bulk_reads.read(connection, requests, deadline=deadline)
    return [
        (_item_in(connection, key, plain.result, moved.result), (moved if _is_node(moved) else plain).zxid)
        for key, plain, moved in zip(wanted, answers[::2], answers[1::2], strict=True)
    ]


def _is_node(answer: bulk_reads.Read) -> bool:
    return isinstance(answer.result, encoding.Node)


def _item_in(connection: Connection, key: str, plain: encoding.Result, moved: encoding.Result) -> KeyValue | None:
    """The key as its two leaves show it."""
    for result in (plain, moved):
        if not isinstance(result, encoding.Node) and result != encoding.Code.NO_NODE:
            raise translate(bulk_reads.code(result), action=_READING, write=False)
    node = moved if isinstance(moved, encoding.Node) else plain
    if not isinstance(node, encoding.Node):
        return None
    connection.history.note(key, node.stat)
    return item(key, node, moved=node is moved)


def list_page(connection: Connection, request: ListRequest, *, deadline: Deadline) -> Page:
    """``Backend.list``; the revision is the one that the list began at."""
    names, zxid = _key_names(connection, request.prefix, deadline=deadline)
    # Code points sort like UTF-8 does.
    wanted = sorted(key for key in names if request.after is None or key > request.after)
    limit = request.limit
    items: list[KeyValue] = []
    # Some may vanish between being named and being read: go on until there is one more than asked for, or none.
    for found in _items(connection, wanted, names, request, deadline=deadline):
        items.append(found)
        if limit is not None and len(items) > limit:
            return Page(tuple(items[:limit]), True, zxid)
    return Page(tuple(items), False, zxid)


def _items(
    connection: Connection, wanted: list[str], names: dict[str, str], request: ListRequest, *, deadline: Deadline
) -> Iterator[KeyValue]:
    start, size = 0, _FIRST_BATCH // 5 if request.keys_only else _FIRST_BATCH
    if request.limit is not None:
        size = min(size, request.limit + 1)
    values = True
    while start < len(wanted):
        batch = wanted[start : start + size]
        start += len(batch)
        found = _read_batch(connection, batch, names, values=values, deadline=deadline)
        connection.history.note_all((key, node.stat) for key, node in found.nodes)
        volume = 1 + sum(node.stat.length for _, node in found.nodes)
        # Values that the caller doesn't want cost little while they are small: hundreds of nodes come in a packet.
        values = not (request.keys_only and volume > _SMALL * len(batch))
        for each in found.items(names):
            yield each._replace(value=b"") if request.keys_only else each
        size = max(1, min(_LARGEST_BATCH, _BATCH_BYTES * len(batch) // volume if values else size * 5, size * 5))


class _Batch(NamedTuple):
    """Nodes of keys, and the keys that were found elsewhere than they were named."""

    nodes: list[tuple[str, encoding.Node]]
    elsewhere: dict[str, KeyValue]

    def items(self, names: dict[str, str]) -> Iterator[KeyValue]:
        """The items in the order of their keys."""
        if not self.elsewhere:
            return (item(key, node, moved=keys.is_moved(names[key])) for key, node in self.nodes)
        found = {key: item(key, node, moved=keys.is_moved(names[key])) for key, node in self.nodes} | self.elsewhere
        return (found[key] for key in sorted(found))


def _read_batch(
    connection: Connection, batch: list[str], names: dict[str, str], *, values: bool, deadline: Deadline
) -> _Batch:
    paths = [names[key] for key in batch]
    if values:
        requests = [encoding.get_data(path) for path in paths]
        answers = bulk_reads.read(connection, requests, deadline=deadline)
    else:
        answers = bulk_reads.read_without_values(connection, paths, deadline=deadline)
    nodes: list[tuple[str, encoding.Node]] = []
    gone: list[str] = []
    for key, (result, _) in zip(batch, answers, strict=True):
        if isinstance(result, encoding.Node):
            nodes.append((key, result))
        elif result == encoding.Code.NO_NODE:
            gone.append(key)
        else:
            raise translate(bulk_reads.code(result), action="listing keys", write=False)
    again = read_keys(connection, gone, deadline=deadline) if gone else []
    return _Batch(nodes, {key: found for key, (found, _) in zip(gone, again, strict=True) if found is not None})


def _key_names(connection: Connection, prefix: str, *, deadline: Deadline) -> tuple[dict[str, str], int]:
    """Every key that starts with ``prefix``, with a leaf it was seen in, and the zxid before the first look."""
    above, slash, start = prefix.rpartition("/")
    top = keys.folder_path(above) if slash else "/"
    found: dict[str, str] = {}
    zxid = 0
    level = [_Folder(top, above + slash, start)]
    while level:
        below: list[_Folder] = []
        requests = [encoding.get_children(folder.path) for folder in level]
        fresh = Fresh.AS_IS if zxid else Fresh.AS_CHOSEN
        answers = bulk_reads.read(connection, requests, deadline=deadline, fresh=fresh)
        zxid = zxid or answers[0].zxid
        for folder, (result, _) in zip(level, answers, strict=True):
            if isinstance(result, list):
                below += _sort_out(folder, result, found)
            elif result != encoding.Code.NO_NODE:
                raise translate(bulk_reads.code(result), action="listing keys", write=False)
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
