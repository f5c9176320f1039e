"""Reading: one key, and lists of many by packets that read hundreds of nodes at once.

A list isn't one point in time: folders are read level by level, then the leaves. What it promises is what paging
promises: no key twice, and every key that exists all the while, also one that moves between its two leaves, since
what has vanished from one is looked for in both.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from tenure.plugin_kit import Deadline
from tenure.spi.types import KeyValue, Page, ReadResult
from tenure_zookeeper import bulk_reads, encoding, keys
from tenure_zookeeper.connection import Connection, Fresh
from tenure_zookeeper.errors import translate

_FIRST_BATCH = 100
_LARGEST_BATCH = 500
_BATCH_BYTES = 4 << 20
"""Values aimed at in one answer; the server builds it in memory."""


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
        return ReadResult(item(key, node, moved=False), answer.zxid)
    if answer.error != encoding.Code.NO_NODE:
        raise translate(answer.error, action="reading a key", write=False)
    return ReadResult(*read_keys(connection, [key], deadline=deadline)[0])


def read_keys(
    connection: Connection, wanted: Sequence[str], *, deadline: Deadline
) -> list[tuple[KeyValue | None, int]]:
    """Each of these keys, ``None`` for a missing one, and a zxid at which that was so. As this server has them: what
    calls this has read before, or had an event.

    Both leaves of a key are read between the same two writes, so one that moves is seen in one of them.
    """
    requests = [encoding.get_data(path) for key in wanted for path in keys.leaves(key)]
    answers = bulk_reads.read(connection, requests, deadline=deadline)
    found: list[tuple[KeyValue | None, int]] = []
    for key, plain, moved in zip(wanted, answers[::2], answers[1::2], strict=True):
        for result, _ in (plain, moved):
            if not isinstance(result, encoding.Node) and result != encoding.Code.NO_NODE:
                raise translate(bulk_reads.code(result), action="reading keys", write=False)
        if isinstance(moved.result, encoding.Node):
            found.append((item(key, moved.result, moved=True), moved.zxid))
        elif isinstance(plain.result, encoding.Node):
            found.append((item(key, plain.result, moved=False), plain.zxid))
        else:
            found.append((None, plain.zxid))
    return found


def list_page(connection: Connection, prefix: str, *, after: str | None, limit: int | None, deadline: Deadline) -> Page:
    """``Backend.list``. The revision is the one that the list began at."""
    names, zxid = _key_names(connection, prefix, deadline=deadline)
    wanted = sorted(names, key=str.encode)
    if after is not None:
        start = after.encode()
        wanted = [key for key in wanted if key.encode() > start]
    items: list[KeyValue] = []
    # Some may vanish between being named and being read: go on until there is one more than asked for, or none.
    for found in _values(connection, wanted, names, limit, deadline=deadline):
        items.append(found)
        if limit is not None and len(items) > limit:
            return Page(tuple(items[:limit]), True, zxid)
    return Page(tuple(items), False, zxid)


def _values(
    connection: Connection, wanted: list[str], names: dict[str, str], limit: int | None, *, deadline: Deadline
) -> Iterator[KeyValue]:
    start, size = 0, _FIRST_BATCH
    if limit is not None:
        size = min(size, limit + 1)
    while start < len(wanted):
        batch = wanted[start : start + size]
        start += len(batch)
        requests = [encoding.get_data(names[key]) for key in batch]
        results = [answer.result for answer in bulk_reads.read(connection, requests, deadline=deadline)]
        gone = [key for key, result in zip(batch, results, strict=True) if result == encoding.Code.NO_NODE]
        elsewhere: dict[str, KeyValue | None] = {}
        if gone:
            again = read_keys(connection, gone, deadline=deadline)
            elsewhere = {key: found for key, (found, _) in zip(gone, again, strict=True)}
        volume = 1
        for key, result in zip(batch, results, strict=True):
            found = elsewhere.get(key)
            if isinstance(result, encoding.Node):
                found = item(key, result, moved=keys.is_moved(names[key]))
            elif result != encoding.Code.NO_NODE:
                raise translate(bulk_reads.code(result), action="listing keys", write=False)
            if found is not None:
                volume += len(found.value)
                yield found
        size = max(1, min(_LARGEST_BATCH, _BATCH_BYTES * len(batch) // volume, size * 5))


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
