"""The state of a transaction's keys in the tree of nodes: which leaf holds each key, and the folders above it.

What was read tells what to write, and the write tells whether it was still so. Only where nothing is written does a
state decide by itself; there it has to be fresh (:class:`Fresh`) and of a single moment (:func:`is_certain`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tenure.plugin_kit import Deadline
from tenure.spi.types import Transaction
from tenure_zookeeper import bulk_reads, encoding, keys
from tenure_zookeeper.connection import Connection, Fresh
from tenure_zookeeper.errors import translate

_ACTION = "committing a transaction"

_AT_ONCE = 4
"""Keys up to which a state is read by one packet. It has their values, which for many may be many megabytes."""
_AT_ONCE_BYTES = 50_000
_CHAIN_BYTES = 50_000
"""Of paths; a key of a thousand slashes is in a thousand folders, too many to hold at once."""


class KeyState(NamedTuple):
    """A key as it was read: which leaf holds it, if any, and the folders above."""

    folder: str
    leaf: str
    name: str
    stat: encoding.Stat | None
    origin: int
    above: tuple[tuple[str, int], ...]
    """The folders above that exist, from the root down, with their versions."""

    @property
    def homeless(self) -> bool:
        """Whether the key's own folder is missing."""
        return not self.above or self.above[-1][0] != self.folder

    @property
    def path(self) -> str:
        return keys.join(self.folder, self.leaf + self.name)


class TransactionState(NamedTuple):
    """Every key of a transaction. ``at_once``: read between two writes, as one packet of reads is answered."""

    keys: dict[str, KeyState]
    zxid: int
    at_once: bool


def read(connection: Connection, transaction: Transaction, *, fresh: Fresh, deadline: Deadline) -> TransactionState:
    """Every key of the transaction with the folders above it."""
    wanted = dict.fromkeys([part.key for part in (*transaction.preconditions, *transaction.operations)])
    places = {key: keys.place(key) for key in wanted}
    # A folder's version has to be read before what is in it, the root's first of all.
    folders_of = {path for folder, _ in places.values() for path in chain(folder)}
    leaves = [keys.join(folder, mark + name) for folder, name in places.values() for mark in (keys.PLAIN, keys.MOVED)]
    paths = (*sorted(folders_of, key=len), *leaves)
    at_once = connection.modern and len(wanted) <= _AT_ONCE and sum(map(len, paths)) <= _AT_ONCE_BYTES
    hidden = folders_of - {folder for folder, _ in places.values()}
    found, zxid = _read_nodes(connection, paths, at_once=at_once, hidden=hidden, fresh=fresh, deadline=deadline)
    states = {key: _key_state(folder, name, found) for key, (folder, name) in places.items()}
    return TransactionState(states, zxid, at_once)


def is_certain(
    connection: Connection, transaction: Transaction, state: TransactionState, *, deadline: Deadline
) -> bool:
    """Whether everything was so at one moment: it was read at once, or it is seen the same again."""
    return state.at_once or read(connection, transaction, fresh=Fresh.AS_IS, deadline=deadline).keys == state.keys


def chain(folder: str) -> list[str]:
    """The folders to hold for a key in this one, from the root down; of very many the nearest."""
    above = ["/", *keys.ancestors(folder)]
    room = _CHAIN_BYTES
    for count, path in enumerate(reversed(above)):
        room -= len(path)
        if room < 0:
            return above[-max(count, 1) :]
    return above


def _read_nodes(
    connection: Connection, paths: Sequence[str], *, at_once: bool, hidden: set[str], fresh: Fresh, deadline: Deadline
) -> tuple[dict[str, encoding.Node | None], int]:
    """The nodes at these paths, ``None`` for a missing one, and a zxid. Data is there for moved leaves at least.

    Those in ``hidden`` may be forbidden to read, and count as missing then: who was given a folder of their own may
    have no rights above it.
    """
    if not at_once:
        answers = bulk_reads.read_nodes(connection, paths, deadline=deadline, fresh=fresh)
        nodes = {path: _node(path, each.result, hidden) for path, each in zip(paths, answers, strict=True)}
        return nodes, answers[-1].zxid
    requests = [encoding.get_data(path) for path in paths]
    answer = connection.read([encoding.multi_read(requests)], deadline=deadline, action=_ACTION, fresh=fresh)[0]
    if answer.error:
        raise translate(answer.error, action=_ACTION, write=False)
    found = {path: _node(path, result, hidden) for path, result in zip(paths, encoding.read_parts(answer), strict=True)}
    for path, node in found.items():
        if node is not None:
            connection.versions.note(path, node.stat, answer.zxid)
    return found, answer.zxid


def _node(path: str, result: encoding.Result, hidden: set[str]) -> encoding.Node | None:
    """What an answer means: a node, a missing one, or an error that is raised."""
    if isinstance(result, encoding.Node):
        return result
    if result == encoding.Code.NO_NODE or (result == encoding.Code.NO_AUTH and path in hidden):
        return None
    raise translate(bulk_reads.code(result), action=_ACTION, write=False)


def _key_state(folder: str, name: str, nodes: dict[str, encoding.Node | None]) -> KeyState:
    above = tuple((path, node.stat.version) for path in chain(folder) if (node := nodes[path]) is not None)
    # Where the nodes were read one after the other, a key that moved meanwhile may show in both: it moved to this one.
    moved = nodes[keys.join(folder, keys.MOVED + name)]
    if moved is not None:
        _, origin = keys.unpack(moved.data, moved.stat.czxid)
        return KeyState(folder, keys.MOVED, name, moved.stat, origin, above)
    plain = nodes[keys.join(folder, keys.PLAIN + name)]
    if plain is not None:
        return KeyState(folder, keys.PLAIN, name, plain.stat, plain.stat.czxid, above)
    return KeyState(folder, "", name, None, 0, above)
