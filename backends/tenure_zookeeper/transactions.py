"""Commits: read the nodes, judge the caller's preconditions, then write by a multi that holds only if all is still so.

Two kinds of preconditions meet in the multi. The caller's are judged on what was read, so that a refused transaction
writes nothing; in the multi they are checked again. The plugin's own say that a key is still where it was read. When
the multi fails nothing was applied, whichever of them it was: everything is read anew, and only if the caller's
preconditions no longer hold is that a ``Conflict``. This goes on until the deadline.

On several servers a read may be behind. That does no harm to what is written, as the leader judges the multi; but a
state in which a precondition doesn't hold, or nothing is to be written, is read again after a write through the leader
(``Fresh.SURE``) before it counts. So a ``Conflict`` always rests on a state no older than the call. Nor may others who
keep changing the keys hold it up: what decides is one key's state, or a multi of the preconditions alone (``_refuse``,
``_agree``).

ABA: ZooKeeper's versions start again at 0 when a node is made again, so a version alone doesn't say that a key is
the same. Hence every write that makes a node also touches the folder it is made in (``setData``), folders
included, and a precondition on a revision also holds the versions of all folders above the key, up to the root, which
is never made again. The same versions prove that a missing key is still missing.

A key that changes its lease gets another node (``keys``): delete and create in one multi. Its create revision goes
along in the node's data.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tenure.errors import Conflict, DeadlineExceeded, HistoryReplaced, LimitExceeded
from tenure.plugin_kit import Deadline
from tenure.spi.types import CommitResult, Delete, KeyAbsent, Operation, Precondition, Put, RevisionEquals, Transaction
from tenure_zookeeper import encoding, folders, keys, node_state
from tenure_zookeeper.connection import Connection, Fresh
from tenure_zookeeper.encoding import Code
from tenure_zookeeper.errors import RACES, translate
from tenure_zookeeper.node_state import KeyState, TransactionState
from tenure_zookeeper.reads import lease_name

_ACTION = "committing a transaction"
_LONGEST_PAUSE = 0.05

Send = Callable[[encoding.Request, Deadline], encoding.Reply]
"""Sends a multi and answers its reply, by a moment of the monotonic clock."""

OnLease = Callable[[str], Send]
"""How a multi is sent in the name of a lease. Raises ``LeaseNotFound``."""


@dataclass(slots=True)
class _Plan:
    """The parts of a multi. ``held`` are folders whose version must be as read, ``touched`` those to be touched.

    ``put``: which parts put a key. ``in_place``: which of them put one that never had a lease, with the paths of their
    leaves.
    """

    held: dict[str, int] = field(default_factory=dict)
    touched: set[str] = field(default_factory=set)
    parts: list[encoding.Request] = field(default_factory=list)
    put: dict[int, str] = field(default_factory=dict)
    in_place: dict[int, str] = field(default_factory=dict)
    missing: set[str] = field(default_factory=set)
    writes: bool = False
    deleted: int = 0

    def request(self) -> encoding.Request:
        preconditions = [
            encoding.check(path, version) for path, version in self.held.items() if path not in self.touched
        ]
        touches = [
            encoding.set_data(path, b"", self.held.get(path, encoding.ANY_VERSION)) for path in sorted(self.touched)
        ]
        return encoding.multi([*preconditions, *touches, *self.parts])


def commit(connection: Connection, on_lease: OnLease, transaction: Transaction, *, deadline: Deadline) -> CommitResult:
    """``Backend.commit``."""
    history = connection.history.name
    lease_id = _lease_of(transaction.operations)
    if len(transaction.operations) == 1 and isinstance(put := transaction.operations[0], Put) and lease_id is None:
        done = _put_in_place(connection, transaction.preconditions, put, deadline=deadline)
        if done is not None:
            return done
    if len(transaction.operations) > 1 and not transaction.preconditions:
        done = _delete_in_place(connection, transaction.operations, deadline=deadline)
        if done is not None:
            return done
    send = _plain(connection) if lease_id is None else on_lease(lease_id)
    fresh = Fresh.AS_IS
    pause = 0.001
    while True:
        done = _attempt(connection, send, transaction, fresh, history=history, deadline=deadline)
        if done is not None:
            return done
        # A server that refuses a write has caught up with what made it fail; but a lease may have asked another server.
        fresh = Fresh.AS_IS if lease_id is None else Fresh.SURE
        if deadline.expired:
            raise DeadlineExceeded(f"{_ACTION}: others kept changing the same keys; nothing was applied")
        time.sleep(random.uniform(0, deadline.within(pause)))  # noqa: S311 - spreads rivals, hides nothing
        pause = min(pause * 2, _LONGEST_PAUSE)


def _attempt(
    connection: Connection, send: Send, transaction: Transaction, fresh: Fresh, *, history: str, deadline: Deadline
) -> CommitResult | None:
    """Read, judge, write. ``None`` if nothing was applied and it has to be tried again."""
    losses = connection.losses
    state = node_state.read(connection, transaction, fresh=fresh, deadline=deadline)
    connection.history.note_all((key, each.stat) for key, each in state.keys.items() if each.stat is not None)
    if connection.history.name != history:
        raise HistoryReplaced(f"{_ACTION}: ZooKeeper's data were lost or replaced by a backup; read the keys again")
    broken = _judge(transaction.preconditions, state)
    plan = _plan(connection, transaction, state.keys)
    if broken or not plan.writes:
        # No write will tell whether this state was right, so it mustn't be behind what any server has acknowledged.
        if fresh is not Fresh.SURE and connection.ensemble:
            return _attempt(connection, send, transaction, Fresh.SURE, history=history, deadline=deadline)
        if broken:
            _refuse(connection, broken, state, deadline=deadline)
            return None
        return _agree(connection, transaction, plan, state, deadline=deadline)
    if plan.missing:
        for folder in sorted(plan.missing):
            folders.ensure(connection, folder, deadline=deadline)
        return None
    request = plan.request()
    connection.check_size(request, action=_ACTION)
    if connection.losses != losses:
        return None  # what was read may be of data that are lost
    answer = send(request, deadline)
    results = [] if answer.error else encoding.read_parts(answer)
    error = answer.error or encoding.first_error(results)
    if not error:
        _note(connection, plan, results[len(results) - len(plan.parts) :])
        return CommitResult(answer.zxid, plan.deleted)
    if _is_race(error, transaction):
        return None
    raise translate(error, action=_ACTION, write=True)


def _is_race(error: int, transaction: Transaction) -> bool:
    """Whether nothing was applied, and another look tells more."""
    if error == Code.MARSHALLING:  # what servers answer, too, on a session that is just being closed
        return _lease_of(transaction.operations) is not None
    return error in RACES


def _note(connection: Connection, plan: _Plan, written: Sequence[encoding.Result]) -> None:
    """Remember what was written. Servers before 3.5 don't tell of a node that was made."""
    for index, key in plan.put.items():
        stat = written[index]
        if isinstance(stat, encoding.Stat):
            connection.history.note(key, stat)
            if index in plan.in_place:
                connection.versions.note(plan.in_place[index], stat, stat.mzxid)


def _refuse(connection: Connection, broken: Precondition, state: TransactionState, *, deadline: Deadline) -> None:
    """Raise ``Conflict`` for a precondition that doesn't hold, if that was so at one moment."""
    if not state.at_once:
        # It is enough to read this one key, however often others change the rest.
        alone = Transaction((broken,), ())
        state = node_state.read(connection, alone, fresh=Fresh.AS_IS, deadline=deadline)
        if not node_state.is_certain(connection, alone, state, deadline=deadline):
            return
    found = _found(broken, state)
    if found is not None:
        raise Conflict(f"{found}; nothing was changed", keys=[broken.key], revision=state.zxid)


def _agree(
    connection: Connection, transaction: Transaction, plan: _Plan, state: TransactionState, *, deadline: Deadline
) -> CommitResult | None:
    """All preconditions hold and there is nothing to write: done, if so at one moment. ``None``: read again."""
    if node_state.is_certain(connection, transaction, state, deadline=deadline):
        return CommitResult(state.zxid)
    if plan.missing:
        return None
    # Others keep changing what has to be read unchanged. The preconditions alone ask for less, and at once.
    answer = connection.call(plan.request(), deadline=deadline, action=_ACTION)
    error = answer.error or encoding.first_error(encoding.read_parts(answer))
    if not error:
        return CommitResult(connection.unchanged(answer))
    if error in RACES:
        return None
    raise translate(error, action=_ACTION, write=False)


def _lease_of(operations: tuple[Operation, ...]) -> str | None:
    named = {operation.lease_id for operation in operations if isinstance(operation, Put)} - {None}
    if len(named) > 1:
        raise LimitExceeded(
            f"a transaction may put keys on one lease only, this one names {len(named)}: in ZooKeeper a lease is a "
            "session, and a transaction is sent by one session"
        )
    return named.pop() if named else None


def _plain(connection: Connection) -> Send:
    return lambda request, deadline: connection.call(request, deadline=deadline, action=_ACTION, write=True)


def _put_in_place(
    connection: Connection, preconditions: tuple[Precondition, ...], put: Put, *, deadline: Deadline
) -> CommitResult | None:
    """A put on a key that never had a lease, by one request: without preconditions, or on a revision that was seen.

    ``None`` if it can't be done so; then nothing was applied, and the key has to be read.
    """
    path, _ = keys.leaves(put.key)
    if not preconditions:
        request = encoding.set_data(path, put.value)
    else:
        if (
            len(preconditions) > 1
            or not isinstance(preconditions[0], RevisionEquals)
            or preconditions[0].key != put.key
        ):
            return None
        proof = connection.versions.proof(node_state.chain(keys.place(put.key)[0]), path, preconditions[0].revision)
        if proof is None:
            return None
        checks = [encoding.check(folder, version) for folder, version in proof.folders.items()]
        request = encoding.multi([*checks, encoding.set_data(path, put.value, proof.leaf)])
    answer = connection.call(request, deadline=deadline, action="putting a key", write=True)
    results = encoding.read_parts(answer) if preconditions and not answer.error else []
    error = answer.error or encoding.first_error(results)
    if error in RACES:
        return None
    if error:
        raise translate(error, action="putting a key", write=True)
    stat = results[-1] if preconditions else encoding.read_stat(answer)
    assert isinstance(stat, encoding.Stat)
    connection.versions.note(path, stat, stat.mzxid)
    connection.history.note(put.key, stat)
    return CommitResult(stat.mzxid)


def _delete_in_place(
    connection: Connection, operations: tuple[Operation, ...], *, deadline: Deadline
) -> CommitResult | None:
    """Deletes of keys that all exist and never had a lease, by one request.

    ``None`` if it can't be done so; then nothing was applied, and the keys have to be read.
    """
    if not all(isinstance(operation, Delete) for operation in operations):
        return None
    request = encoding.multi(encoding.delete(keys.leaves(operation.key)[0]) for operation in operations)
    if not connection.fits(request):
        return None
    answer = connection.call(request, deadline=deadline, action=_ACTION, write=True)
    error = answer.error or encoding.first_error(encoding.read_parts(answer))
    if error in RACES:
        return None
    if error:
        raise translate(error, action=_ACTION, write=True)
    return CommitResult(answer.zxid, len(operations))


# -- judging and planning --------------------------------------------------------------------------


def _judge(preconditions: tuple[Precondition, ...], state: TransactionState) -> Precondition | None:
    """The first precondition that doesn't hold; ``None`` if all do."""
    return next((precondition for precondition in preconditions if _found(precondition, state) is not None), None)


def _found(precondition: Precondition, state: TransactionState) -> str | None:
    """What was found where a precondition doesn't hold, in words."""
    stat = state.keys[precondition.key].stat
    if isinstance(precondition, KeyAbsent):
        return None if stat is None else f"exists (revision {stat.mzxid}) and should not"
    if stat is None:
        return "doesn't exist"
    if isinstance(precondition, RevisionEquals) and stat.mzxid != precondition.revision:
        return f"was last put at revision {stat.mzxid}, not at {precondition.revision}"
    return None


def _plan(connection: Connection, transaction: Transaction, states: dict[str, KeyState]) -> _Plan:
    plan = _Plan()
    unchanged = {
        precondition.key for precondition in transaction.preconditions if isinstance(precondition, RevisionEquals)
    }
    operations = {operation.key: operation for operation in transaction.operations}
    for key, state in states.items():
        exact = key in unchanged
        if exact:
            plan.held.update(state.above)
        version = state.stat.version if exact and state.stat is not None else encoding.ANY_VERSION
        operation = operations.get(key)
        if isinstance(operation, Put):
            _plan_put(connection, plan, operation, state, version)
            plan.put[len(plan.parts) - 1] = key
        elif state.stat is None:
            plan.held.update(state.above)
            if not state.above:
                plan.missing.add(state.folder)  # nothing there that could prove the absence
        elif isinstance(operation, Delete):
            plan.parts.append(encoding.delete(state.path, version))
            plan.writes = True
            plan.deleted += 1
        else:
            plan.parts.append(encoding.check(state.path, version))
    return plan


def _plan_put(connection: Connection, plan: _Plan, put: Put, state: KeyState, version: int) -> None:
    plan.writes = True
    stat = state.stat
    plain, moved = (keys.join(state.folder, mark + state.name) for mark in (keys.PLAIN, keys.MOVED))
    if stat is None:
        # Made and removed again: proves that the key isn't in its other leaf, without holding up other writers.
        if put.lease_id is None:
            plan.parts += [_create(connection, moved, b"", encoding.PERSISTENT), encoding.delete(moved)]
            plan.parts.append(_create(connection, plain, put.value, encoding.PERSISTENT))
        else:
            plan.parts += [_create(connection, plain, b"", encoding.PERSISTENT), encoding.delete(plain)]
            plan.parts.append(_create(connection, moved, keys.pack(put.value), encoding.EPHEMERAL))
        plan.touched.add(state.folder)
        if state.homeless:
            plan.missing.add(state.folder)
        return
    if state.leaf == keys.PLAIN and put.lease_id is None:
        plan.in_place[len(plan.parts)] = plain
        plan.parts.append(encoding.set_data(plain, put.value, version))
        return
    # What is written depends on what the node was: nothing but that very node will do.
    plan.held.update(state.above)
    data = keys.pack(put.value, state.origin)
    if state.leaf == keys.MOVED and lease_name(stat.owner) == put.lease_id:
        plan.parts.append(encoding.set_data(moved, data, stat.version))
        return
    mode = encoding.PERSISTENT if put.lease_id is None else encoding.EPHEMERAL
    plan.parts += [encoding.delete(state.path, stat.version), _create(connection, moved, data, mode)]
    plan.touched.add(state.folder)


def _create(connection: Connection, path: str, value: bytes, mode: int) -> encoding.Request:
    if connection.modern:
        return encoding.create(path, value, connection.acl, mode)
    request = encoding.create(path, value, connection.acl, mode)
    return encoding.Request(encoding.Op.CREATE, request.body)
