"""Reading many nodes: hundreds in a packet where the server can, otherwise one after the other without waiting.

A server answers all reads of one packet between two writes. Parts are kept in pairs, so that both leaves of a key
are always in the same packet.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from tenure.errors import Unavailable
from tenure.plugin_kit import Deadline
from tenure_zookeeper import encoding, keys
from tenure_zookeeper.connection import Connection, Fresh
from tenure_zookeeper.errors import translate

_MOST_PARTS = 500
_MOST_BYTES = 400_000
"""Of paths, in one request."""
_FIRST_PARTS = 20
"""Nodes that are read before it is known how large values are."""
_SMALL = 1024
"""Bytes of an average node up to which values are read although they aren't needed."""
_ACTION = "reading nodes"
_LOOKS = 10
"""How often an old server is asked for nodes that keep changing."""


class Read(NamedTuple):
    """A node, its children or an error code, and the server's zxid when it was read."""

    result: encoding.Result
    zxid: int


def read(
    connection: Connection, parts: Sequence[encoding.Request], *, deadline: Deadline, fresh: Fresh = Fresh.AS_IS
) -> list[Read]:
    """Answers to ``get_data`` and ``get_children`` requests, in their order."""
    if connection.modern:
        found = []
        for batch in _batches(parts):
            found += _read_batch(connection, batch, deadline, fresh)
            deadline.progressed()
            fresh = Fresh.AS_IS  # the server has caught up for all of them
        return found
    # Two equal looks in a row make up for the single moment that a packet is answered at.
    found = _one_by_one(connection, parts, deadline, fresh)
    for _ in range(_LOOKS):
        before = [each.result for each in found]
        if encoding.Code.NO_NODE not in before:
            return found
        found = _one_by_one(connection, parts, deadline, Fresh.AS_IS)
        if [each.result for each in found] == before:
            return found
    raise Unavailable(f"{_ACTION}: they kept changing")


def read_without_values(
    connection: Connection, paths: Sequence[str], *, deadline: Deadline, fresh: Fresh = Fresh.AS_IS
) -> list[Read]:
    """Nodes with empty data: one request each, sent without waiting. Moved leaves keep theirs, for what it begins with.

    A packet of many reads can't ask whether a node exists.
    """
    requests = [encoding.get_data(path) if keys.is_moved(path) else encoding.exists(path) for path in paths]
    return _one_by_one(connection, requests, deadline, fresh)


def read_nodes(
    connection: Connection, paths: Sequence[str], *, deadline: Deadline, fresh: Fresh = Fresh.AS_IS
) -> list[Read]:
    """Nodes in this order; those of plain leaves may have empty data. Large values are left out as far as possible.

    The answers show how large values are. While they are small, packets of many reads are quicker by far.
    """
    if not connection.modern:
        return read_without_values(connection, paths, deadline=deadline, fresh=fresh)
    found: list[Read] = []
    size = _FIRST_PARTS
    while len(found) < len(paths):
        batch = _fitting(paths[len(found) : len(found) + size])
        read = _read_batch(connection, [encoding.get_data(path) for path in batch], deadline, fresh)
        found += read
        fresh = Fresh.AS_IS  # the server has caught up for all of them
        if sum(len(each.result.data) for each in read if isinstance(each.result, encoding.Node)) > _SMALL * len(batch):
            return found + read_without_values(connection, paths[len(found) :], deadline=deadline)
        size = min(size * 5, _MOST_PARTS)
    return found


def _fitting(paths: Sequence[str]) -> Sequence[str]:
    """The first of these paths, as many as fit into a packet."""
    size = 0
    for count, path in enumerate(paths):
        size += 4 * len(path)
        if count and size > _MOST_BYTES:
            return paths[:count]
    return paths


def code(result: encoding.Result) -> int:
    """The error code that a result is."""
    return result if isinstance(result, int) else encoding.Code.RUNTIME_INCONSISTENCY


def _batches(parts: Sequence[encoding.Request]) -> Iterator[list[encoding.Request]]:
    batch: list[encoding.Request] = []
    size = 0
    for start in range(0, len(parts), 2):
        pair = parts[start : start + 2]
        length = sum(len(part.body) for part in pair)
        if batch and (len(batch) >= _MOST_PARTS or size + length > _MOST_BYTES):
            yield batch
            batch, size = [], 0
        batch += pair
        size += length
    if batch:
        yield batch


def _read_batch(connection: Connection, batch: list[encoding.Request], deadline: Deadline, fresh: Fresh) -> list[Read]:
    answer = connection.read([encoding.multi_read(batch)], deadline=deadline, action=_ACTION, fresh=fresh)[0]
    if answer.error:
        raise translate(answer.error, action=_ACTION, write=False)
    return [Read(result, answer.zxid) for result in encoding.read_parts(answer)]


def _one_by_one(
    connection: Connection, parts: Sequence[encoding.Request], deadline: Deadline, fresh: Fresh
) -> list[Read]:
    found: list[Read] = []
    for start in range(0, len(parts), _MOST_PARTS):
        batch = parts[start : start + _MOST_PARTS]
        answers = connection.read(batch, deadline=deadline, action=_ACTION, fresh=fresh)
        fresh = Fresh.AS_IS
        for part, answer in zip(batch, answers, strict=True):
            found.append(Read(_result(part, answer), answer.zxid))
    return found


def _result(part: encoding.Request, answer: encoding.Reply) -> encoding.Result:
    if answer.error:
        return answer.error
    if part.op == encoding.Op.GET_DATA:
        return encoding.read_node(answer)
    if part.op == encoding.Op.EXISTS:
        return encoding.Node(b"", encoding.read_stat(answer))
    return encoding.read_children(answer)
