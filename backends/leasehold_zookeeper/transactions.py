"""Commits: look at the nodes, judge the caller's guards, then write by a multi that holds only if they are still so.

Two kinds of guards meet in the multi. The caller's are judged on what was read, so that a refused transaction
writes nothing and costs no zxid; in the multi they are checked again. The plugin's own say that a key is still
where it was seen. When the multi fails nothing was applied, whichever guard it was: everything is looked at anew,
and only if the caller's guards no longer hold is that a ``Conflict``. This goes on until the deadline.

ABA: ZooKeeper's versions start again at 0 when a node is made again, so a version alone doesn't say that a key is
the same. Hence every write that makes a node also touches the folder it is made in (``setData``), folders
included, and a guard on a revision also holds the versions of all folders above the key, up to the root, which is
never made again. The same versions prove that a missing key is still missing.

A key that changes its lease gets another node (``keys``): delete and create in one multi. Its create revision goes
along in the node's data.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from leasehold.errors import Conflict, DeadlineExceeded, LimitExceeded
from leasehold.spi.values import Absent, Committed, Delete, Guard, Operation, Put, Transaction, Unchanged
from leasehold_zookeeper import folders, keys, wire
from leasehold_zookeeper.connection import Connection
from leasehold_zookeeper.errors import RACES, translate
from leasehold_zookeeper.reads import lease_name

_ACTION = "committing a transaction"
_LONGEST_PAUSE = 0.05

_AT_ONCE = 4
"""Keys up to which a look is one packet. It brings their values along, which for many may be many megabytes."""
_AT_ONCE_BYTES = 50_000
_CHAIN_BYTES = 50_000
"""Of paths; a key of a thousand slashes is in a thousand folders, too many to hold at once."""

Send = Callable[[wire.Request, float], wire.Reply]
"""Sends a multi and answers its reply, by a moment of the monotonic clock."""

OnLease = Callable[[str], Send]
"""How a multi is sent in the name of a lease. Raises ``LeaseNotFound``."""


class _Seen(NamedTuple):
    """A key as it was read: which leaf holds it, if any, and the folders above."""

    folder: str
    leaf: str
    name: str
    stat: wire.Stat | None
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


class _Look(NamedTuple):
    """One look at every key of a transaction. ``at_once``: between two writes, as one packet of reads is answered."""

    keys: dict[str, _Seen]
    zxid: int
    at_once: bool


@dataclass(slots=True)
class _Plan:
    """The parts of a multi. ``held`` are folders whose version must be as read, ``touched`` those to be touched.

    ``in_place``: which parts put a key that never had a lease, with the paths of their leaves.
    """

    held: dict[str, int] = field(default_factory=dict)
    touched: set[str] = field(default_factory=set)
    parts: list[wire.Request] = field(default_factory=list)
    in_place: dict[int, str] = field(default_factory=dict)
    missing: set[str] = field(default_factory=set)
    writes: bool = False
    deleted: int = 0

    def request(self) -> wire.Request:
        guards = [wire.check(path, version) for path, version in self.held.items() if path not in self.touched]
        touches = [wire.set_data(path, b"", self.held.get(path, wire.ANY_VERSION)) for path in sorted(self.touched)]
        return wire.multi([*guards, *touches, *self.parts])


def commit(connection: Connection, on_lease: OnLease, transaction: Transaction, *, until: float) -> Committed:
    """``Backend.commit``."""
    lease_id = _lease_of(transaction.operations)
    if len(transaction.operations) == 1 and isinstance(put := transaction.operations[0], Put) and lease_id is None:
        done = _put_in_place(connection, transaction.guards, put, until=until)
        if done is not None:
            return done
    send = _plain(connection) if lease_id is None else on_lease(lease_id)
    pause = 0.001
    while True:
        done = _attempt(connection, send, transaction, until=until)
        if done is not None:
            return done
        left = until - time.monotonic()
        if left <= 0:
            raise DeadlineExceeded(f"{_ACTION}: others kept changing the same keys; nothing was applied")
        time.sleep(random.uniform(0, min(pause, left)))  # noqa: S311 - spreads rivals, hides nothing
        pause = min(pause * 2, _LONGEST_PAUSE)


def _attempt(connection: Connection, send: Send, transaction: Transaction, *, until: float) -> Committed | None:
    """Look, judge, write. ``None`` if nothing was applied and it has to be tried again."""
    look = _look(connection, transaction, until=until)
    broken = _judge(transaction.guards, look)
    if broken:
        if not _certain(connection, transaction, look, until=until):
            return None
        raise Conflict(
            f"a guard didn't hold at revision {look.zxid}, nothing was changed: {broken}", revision=look.zxid
        )
    plan = _plan(connection, transaction, look.keys)
    if not plan.writes:
        return Committed(look.zxid) if _certain(connection, transaction, look, until=until) else None
    if plan.missing:
        for folder in sorted(plan.missing):
            folders.ensure(connection, folder, until=until)
        return None
    request = plan.request()
    connection.check_size(request, action=_ACTION)
    answer = send(request, until)
    results = [] if answer.error else wire.read_parts(answer)
    error = answer.error or wire.first_error(results)
    if not error:
        written = results[len(results) - len(plan.parts) :]
        for index, path in plan.in_place.items():
            stat = written[index]
            assert isinstance(stat, wire.Stat)
            connection.facts.note(path, stat, stat.mzxid)
        return Committed(answer.zxid, plan.deleted)
    if error in RACES:
        return None
    raise translate(error, action=_ACTION, write=True)


def _lease_of(operations: tuple[Operation, ...]) -> str | None:
    named = {operation.lease_id for operation in operations if isinstance(operation, Put)} - {None}
    if len(named) > 1:
        raise LimitExceeded(
            f"a transaction may put keys on one lease only, this one names {len(named)}: in ZooKeeper a lease is a "
            "session, and a transaction is sent by one session"
        )
    return named.pop() if named else None


def _plain(connection: Connection) -> Send:
    return lambda request, until: connection.call(request, until=until, action=_ACTION, write=True)


def _put_in_place(connection: Connection, guards: tuple[Guard, ...], put: Put, *, until: float) -> Committed | None:
    """A put on a key that never had a lease, by one request: without guards, or guarded by a revision that was seen.

    ``None`` if it can't be done so; then nothing was applied, and the key has to be looked at.
    """
    path, _ = keys.leaves(put.key)
    if not guards:
        request = wire.set_data(path, put.value)
    else:
        if len(guards) > 1 or not isinstance(guards[0], Unchanged) or guards[0].key != put.key:
            return None
        proof = connection.facts.proof(_chain(keys.place(put.key)[0]), path, guards[0].revision)
        if proof is None:
            return None
        checks = [wire.check(folder, version) for folder, version in proof.folders.items()]
        request = wire.multi([*checks, wire.set_data(path, put.value, proof.leaf)])
    answer = connection.call(request, until=until, action="putting a key", write=True)
    results = wire.read_parts(answer) if guards and not answer.error else []
    error = answer.error or wire.first_error(results)
    if error in RACES:
        return None
    if error:
        raise translate(error, action="putting a key", write=True)
    stat = results[-1] if guards else wire.read_stat(answer)
    assert isinstance(stat, wire.Stat)
    connection.facts.note(path, stat, stat.mzxid)
    return Committed(stat.mzxid)


# -- looking ---------------------------------------------------------------------------------------


def _look(connection: Connection, transaction: Transaction, *, until: float) -> _Look:
    """Every key of the transaction with the folders above it."""
    wanted = dict.fromkeys([part.key for part in (*transaction.guards, *transaction.operations)])
    places = {key: keys.place(key) for key in wanted}
    # A folder's version has to be read before what is in it, the root's first of all.
    folders_of = {path for folder, _ in places.values() for path in _chain(folder)}
    leaves = [keys.join(folder, mark + name) for folder, name in places.values() for mark in (keys.PLAIN, keys.MOVED)]
    paths = (*sorted(folders_of, key=len), *leaves)
    at_once = connection.modern and len(wanted) <= _AT_ONCE and sum(map(len, paths)) <= _AT_ONCE_BYTES
    hidden = folders_of - {folder for folder, _ in places.values()}
    found, zxid = _nodes(connection, paths, at_once=at_once, hidden=hidden, until=until)
    return _Look({key: _found(folder, name, found) for key, (folder, name) in places.items()}, zxid, at_once)


def _chain(folder: str) -> list[str]:
    """The folders to hold for a key in this one, from the root down; of very many the nearest."""
    chain = ["/", *keys.ancestors(folder)]
    room = _CHAIN_BYTES
    for count, path in enumerate(reversed(chain)):
        room -= len(path)
        if room < 0:
            return chain[-max(count, 1) :]
    return chain


def _nodes(
    connection: Connection, paths: Sequence[str], *, at_once: bool, hidden: set[str], until: float
) -> tuple[dict[str, wire.Node | None], int]:
    """The nodes at these paths, ``None`` for a missing one, and a zxid. Data is there for moved leaves at least.

    Those in ``hidden`` may be forbidden to read, and count as missing then: whoever was given a folder of their own
    may have no rights above it.
    """
    leaf = keys.PLAIN
    requests = [
        wire.exists(path) if not at_once and path.rpartition("/")[2].startswith(leaf) else wire.get_data(path)
        for path in paths
    ]
    found: dict[str, wire.Node | None] = {}
    if at_once:
        answer = connection.read([wire.multi_read(requests)], until=until, action=_ACTION)[0]
        if answer.error:
            raise translate(answer.error, action=_ACTION, write=False)
        for path, result in zip(paths, wire.read_parts(answer), strict=True):
            if isinstance(result, wire.Node):
                connection.facts.note(path, result.stat, answer.zxid)
            elif not (result == wire.Code.NO_AUTH and path in hidden):
                _must_be_missing(result)
            found[path] = result if isinstance(result, wire.Node) else None
        return found, answer.zxid
    answers = connection.read(requests, until=until, action=_ACTION)
    for path, request, answer in zip(paths, requests, answers, strict=True):
        if answer.error:
            if not (answer.error == wire.Code.NO_AUTH and path in hidden):
                _must_be_missing(answer.error)
            found[path] = None
        elif request.op == wire.Op.GET_DATA:
            found[path] = wire.read_node(answer)
        else:
            found[path] = wire.Node(b"", wire.read_stat(answer))
    return found, answers[-1].zxid


def _must_be_missing(result: wire.Result) -> None:
    if result != wire.Code.NO_NODE:
        code = result if isinstance(result, int) else wire.Code.RUNTIME_INCONSISTENCY
        raise translate(code, action=_ACTION, write=False)


def _found(folder: str, name: str, nodes: dict[str, wire.Node | None]) -> _Seen:
    above = tuple((path, node.stat.version) for path in _chain(folder) if (node := nodes[path]) is not None)
    # Where the nodes were read one after the other, a key that moved meanwhile may show in both: it moved to this one.
    moved = nodes[keys.join(folder, keys.MOVED + name)]
    if moved is not None:
        _, origin = keys.unpack(moved.data, moved.stat.czxid)
        return _Seen(folder, keys.MOVED, name, moved.stat, origin, above)
    plain = nodes[keys.join(folder, keys.PLAIN + name)]
    if plain is not None:
        return _Seen(folder, keys.PLAIN, name, plain.stat, plain.stat.czxid, above)
    return _Seen(folder, "", name, None, 0, above)


# -- judging and planning --------------------------------------------------------------------------


def _judge(guards: tuple[Guard, ...], look: _Look) -> str:
    """Which of the caller's guards doesn't hold, in words; empty if all do."""
    for guard in guards:
        stat = look.keys[guard.key].stat
        if isinstance(guard, Absent):
            if stat is not None:
                return f"{guard.key!r} exists"
        elif stat is None:
            return f"{guard.key!r} doesn't exist"
        elif isinstance(guard, Unchanged) and stat.mzxid != guard.revision:
            return f"{guard.key!r} was last put at revision {stat.mzxid}, not at {guard.revision}"
    return ""


def _certain(connection: Connection, transaction: Transaction, look: _Look, *, until: float) -> bool:
    """Whether everything was so at one moment: it was read at once, or it is seen the same again."""
    return look.at_once or _look(connection, transaction, until=until).keys == look.keys


def _plan(connection: Connection, transaction: Transaction, seen: dict[str, _Seen]) -> _Plan:
    plan = _Plan()
    unchanged = {guard.key for guard in transaction.guards if isinstance(guard, Unchanged)}
    operations = {operation.key: operation for operation in transaction.operations}
    for key, found in seen.items():
        exact = key in unchanged
        if exact:
            plan.held.update(found.above)
        version = found.stat.version if exact and found.stat is not None else wire.ANY_VERSION
        operation = operations.get(key)
        if isinstance(operation, Put):
            _plan_put(connection, plan, operation, found, version)
        elif found.stat is None:
            plan.held.update(found.above)
            if not found.above:
                plan.missing.add(found.folder)  # nothing there that could prove the absence
        elif isinstance(operation, Delete):
            plan.parts.append(wire.delete(found.path, version))
            plan.writes = True
            plan.deleted += 1
        else:
            plan.parts.append(wire.check(found.path, version))
    return plan


def _plan_put(connection: Connection, plan: _Plan, put: Put, found: _Seen, version: int) -> None:
    plan.writes = True
    stat = found.stat
    plain, moved = (keys.join(found.folder, mark + found.name) for mark in (keys.PLAIN, keys.MOVED))
    if stat is None:
        # Made and removed again: proves that the key isn't in its other leaf, without holding up other writers.
        if put.lease_id is None:
            plan.parts += [_create(connection, moved, b"", wire.PERSISTENT), wire.delete(moved)]
            plan.parts.append(_create(connection, plain, put.value, wire.PERSISTENT))
        else:
            plan.parts += [_create(connection, plain, b"", wire.PERSISTENT), wire.delete(plain)]
            plan.parts.append(_create(connection, moved, keys.pack(put.value), wire.EPHEMERAL))
        plan.touched.add(found.folder)
        if found.homeless:
            plan.missing.add(found.folder)
        return
    if found.leaf == keys.PLAIN and put.lease_id is None:
        plan.in_place[len(plan.parts)] = plain
        plan.parts.append(wire.set_data(plain, put.value, version))
        return
    # What is written depends on what the node was: nothing but that very node will do.
    plan.held.update(found.above)
    data = keys.pack(put.value, found.origin)
    if found.leaf == keys.MOVED and lease_name(stat.owner) == put.lease_id:
        plan.parts.append(wire.set_data(moved, data, stat.version))
        return
    mode = wire.PERSISTENT if put.lease_id is None else wire.EPHEMERAL
    plan.parts += [wire.delete(found.path, stat.version), _create(connection, moved, data, mode)]
    plan.touched.add(found.folder)


def _create(connection: Connection, path: str, value: bytes, mode: int) -> wire.Request:
    if connection.modern:
        return wire.create(path, value, connection.acl, mode)
    request = wire.create(path, value, connection.acl, mode)
    return wire.Request(wire.Op.CREATE, request.body)
