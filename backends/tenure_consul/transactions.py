"""A transaction of ours as one of Consul's, which takes all its operations at one index or none.

What a write must do depends on what it meets. Consul's plain ``set`` leaves a key with the session that holds
it, where a put without a lease has to detach it; ``delete`` doesn't say whether there was anything. So each write is
sent together with a check of what it was planned for::

    put                 key free, or not there    set, check that no session holds it
                        held by S                 unlock for S with the new value
    put with lease L    key free, held by L       lock for L
                        held by S                 unlock for S, lock for L
    delete              key free, or held by S    check that it is there and held so, delete
                        not there                 check that it isn't

Keys are taken to be there and free, which is right nearly always and costs one request. A check that fails has
changed nothing; the key is read, and the transaction planned again until the deadline. Only a precondition of
the caller's makes it a ``Conflict``: preconditions go first, where they meet the store as it was.

The revision is the index of what was put. A transaction that only deletes also writes ``Layout.revision``. Each value
goes with a random number in Flags (``history_evidence``), since Consul takes a write of what is there already for no
change.
"""

from __future__ import annotations

import json
import re
from binascii import b2a_base64
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from tenure.errors import Conflict, HistoryReplaced, LeaseNotFound, LimitExceeded, OutcomeUnknown
from tenure.plugin_kit import Deadline
from tenure.spi.types import CommitResult, Delete, KeyAbsent, KeyExists, LeaseId, Precondition, Put, Transaction
from tenure_consul import reads
from tenure_consul.connection import Answer
from tenure_consul.errors import is_denied, refused, refused_operations
from tenure_consul.history_evidence import History, identity, next_flags
from tenure_consul.keys import Layout, url_path
from tenure_consul.pool import Pool
from tenure_consul.revisions import Revisions

OPERATIONS = 64
"""What Consul takes in one transaction."""
MOST = (OPERATIONS - 1) // 2
"""Preconditions, puts and deletes of ours that surely fit: two of Consul's each, and one for the revision."""

_SESSION = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_FREE = ""
_ACTION = "committing"


class _Role(Enum):
    """What it means that an operation failed."""

    PRECONDITION = "a precondition of the caller's doesn't hold"
    EXISTS = "the precondition doesn't hold, or the key isn't held by whom it was taken to be"
    STATE = "the key isn't as it was taken to be"
    LEASE = "the same, or the lease is gone"
    WRITE = "can't fail alone"


@dataclass(frozen=True, slots=True)
class _Step:
    """One of Consul's operations, and what its failure means for the key and the lease that it is about."""

    operation: dict[str, Any]
    role: _Role
    key: str
    lease: LeaseId | None


@dataclass(slots=True)
class _Plan:
    """A transaction of Consul's. ``flags`` are the random numbers that go with the keys that are put."""

    steps: list[_Step] = field(default_factory=list)
    flags: dict[str, int] = field(default_factory=dict)
    writes: bool = False
    deleted: int = 0

    def add(self, role: _Role, key: str, verb: str, path: str, /, *, lease: LeaseId | None = None, **more: Any) -> None:
        self.steps.append(_Step({"KV": {"Verb": verb, "Key": path, **more}}, role, key, lease))


class _NewConnection(Exception):
    """The request would go over a connection that was made after the revisions in it were verified."""


def is_session(lease_id: LeaseId) -> bool:
    """Whether this can be the id of a session at all."""
    return _SESSION.fullmatch(lease_id) is not None


def commit(
    pool: Pool, layout: Layout, revisions: Revisions, transaction: Transaction, *, most_bytes: int, timeout: float
) -> CommitResult:
    """``Backend.commit``. ``most_bytes``: the largest request that the agent takes.

    It is planned and sent again for three reasons, none of which has changed anything: another session holds a key than
    was planned for, a key that was planned for has come or gone, or the connection was made anew and revisions have to
    be verified on it.
    """
    deadline = Deadline(timeout)
    _check_leases(transaction)
    history = revisions.history
    # A key that the caller wants to be absent is planned for as such.
    absent = [precondition.key for precondition in transaction.preconditions if isinstance(precondition, KeyAbsent)]
    holders: dict[str, str | None] = dict.fromkeys(absent)
    while True:
        doubts = history.doubts
        if doubtful := history.doubtful(transaction.preconditions):
            _verify(pool, layout, revisions, doubtful, deadline=deadline)
        plan = _plan(layout, transaction, holders)
        # One that changes nothing is told with the present revision: asked for first, or something that came after
        # its checks would seem to be seen by it.
        present = 0 if plan.writes else reads.present(pool, layout, revisions, timeout=deadline.remaining())
        if not plan.steps:
            return CommitResult(present)
        before = revisions.known
        guard = _guard(history, transaction, doubts)
        try:
            answer = _send(pool, plan, most_bytes=most_bytes, guard=guard, deadline=deadline)
        except _NewConnection:
            continue
        if answer.status == 200:
            return _applied(revisions, plan, answer, present=present, before=before)
        _learn(pool, layout, plan, answer, holders=holders, deadline=deadline)


def _check_leases(transaction: Transaction) -> None:
    for operation in transaction.operations:
        if isinstance(operation, Put) and operation.lease_id is not None and not is_session(operation.lease_id):
            raise LeaseNotFound(f"there is no lease {operation.lease_id!r}")


def _verify(pool: Pool, layout: Layout, revisions: Revisions, doubtful: list[str], *, deadline: Deadline) -> None:
    """Read these keys again. Raises ``HistoryReplaced`` if one shows that its revision stands for another put now."""
    history = revisions.history
    before = history.name
    for key in doubtful:
        reads.get(pool, layout, revisions, key, timeout=deadline.remaining())
    history.settle(doubtful)
    if history.name != before:
        raise HistoryReplaced("committing: Consul's data were lost or replaced by a backup; read the keys again")


def _guard(history: History, transaction: Transaction, doubts: int) -> Callable[[], None]:
    """What has to hold once a connection was found: it isn't newer than the last verification."""

    def check() -> None:
        if history.doubts != doubts and history.doubtful(transaction.preconditions):
            raise _NewConnection

    return check


def _applied(revisions: Revisions, plan: _Plan, answer: Answer, *, present: int, before: int) -> CommitResult:
    if not plan.writes:
        return CommitResult(present)
    revision = revisions.of_write(_index(answer), before=before)
    for key, flags in plan.flags.items():
        revisions.history.note(key, identity(revision, flags))
    return CommitResult(revision, plan.deleted)


def _plan(layout: Layout, transaction: Transaction, holders: dict[str, str | None]) -> _Plan:
    plan = _Plan()
    for precondition in transaction.preconditions:
        _plan_precondition(plan, layout.path(precondition.key), precondition, holders)
    absent = {precondition.key for precondition in transaction.preconditions if isinstance(precondition, KeyAbsent)}
    for operation in transaction.operations:
        path = layout.path(operation.key)
        holder = holders.get(operation.key, _FREE)
        if isinstance(operation, Delete):
            _plan_delete(plan, path, operation.key, holder)
        else:
            _plan_put(plan, path, operation, holder, sure=operation.key in absent)
    if plan.writes and not plan.flags:
        plan.add(_Role.WRITE, "", "set", layout.revision, Value="", Flags=next_flags())
    return plan


def _plan_precondition(plan: _Plan, path: str, precondition: Precondition, holders: dict[str, str | None]) -> None:
    if isinstance(precondition, KeyAbsent):
        plan.add(_Role.PRECONDITION, precondition.key, "check-not-exists", path)
    elif isinstance(precondition, KeyExists):
        plan.add(_Role.EXISTS, precondition.key, "check-session", path, Session=holders.get(precondition.key) or _FREE)
    elif 0 < precondition.revision < 1 << 63:
        plan.add(_Role.PRECONDITION, precondition.key, "check-index", path, Index=precondition.revision)
    else:
        raise Conflict(
            f"was never put at revision {precondition.revision}; nothing was changed", keys=[precondition.key]
        )


def _plan_put(plan: _Plan, path: str, put: Put, holder: str | None, *, sure: bool) -> None:
    flags = plan.flags[put.key] = next_flags()
    content: dict[str, Any] = {"Value": b2a_base64(put.value, newline=False).decode(), "Flags": flags}
    plan.writes = True
    if put.lease_id is not None:
        if holder and holder != put.lease_id:
            plan.add(_Role.STATE, put.key, "unlock", path, Session=holder)
        plan.add(_Role.LEASE, put.key, "lock", path, lease=put.lease_id, Session=put.lease_id, **content)
    elif holder:
        plan.add(_Role.STATE, put.key, "unlock", path, Session=holder, **content)
    else:
        plan.add(_Role.WRITE, put.key, "set", path, **content)
        if not sure:
            plan.add(_Role.STATE, put.key, "check-session", path, Session=_FREE)


def _plan_delete(plan: _Plan, path: str, key: str, holder: str | None) -> None:
    if holder is None:
        plan.add(_Role.STATE, key, "check-not-exists", path)
        return
    plan.add(_Role.STATE, key, "check-session", path, Session=holder)
    plan.add(_Role.WRITE, key, "delete", path)
    plan.writes = True
    plan.deleted += 1


def _send(pool: Pool, plan: _Plan, *, most_bytes: int, guard: Callable[[], None], deadline: Deadline) -> Answer:
    """Consul's answer: taken (200) or refused by a check (409). ``guard`` may raise once a connection was found."""
    operations = [step.operation for step in plan.steps]
    body = json.dumps(operations, ensure_ascii=False, separators=(",", ":")).encode()
    if len(body) > most_bytes or len(operations) > OPERATIONS:
        raise LimitExceeded(
            f"the transaction makes a request of {len(body)} bytes with {len(operations)} operations, Consul "
            f"takes {most_bytes} with {OPERATIONS}: use smaller values, shorter keys or fewer of them"
        )
    # One that only checks is answered like a read, and has to be a linearizable one whatever other reads are.
    query = "" if plan.writes else "consistent"
    return pool.call(
        "PUT",
        pool.target("/v1/txn", query),
        body,
        timeout=deadline.remaining(),
        action=_ACTION,
        write=plan.writes,
        allow=(409,),
        guard=guard,
    )


def _learn(
    pool: Pool, layout: Layout, plan: _Plan, answer: Answer, *, holders: dict[str, str | None], deadline: Deadline
) -> None:
    """From a refusal, learn what the keys are really like. Raises if that isn't the reason."""
    failed = _failed_steps(plan, answer)
    for step in failed:
        if step.role is _Role.PRECONDITION:
            raise Conflict("a precondition doesn't hold; nothing was changed", keys=[step.key])
    for lease in {step.lease for step in failed if step.lease is not None}:
        if not session_exists(pool, lease, timeout=deadline.remaining()):
            raise LeaseNotFound(f"there is no lease {lease!r}")
    for step in failed:
        holders[step.key] = _holder(pool, layout, step.key, timeout=deadline.remaining())
    for step in failed:
        if step.role is _Role.EXISTS and holders[step.key] is None:
            raise Conflict("doesn't exist; nothing was changed", keys=[step.key])


def _failed_steps(plan: _Plan, answer: Answer) -> list[_Step]:
    """The steps that failed because of what the keys are like. Raises if there is another reason, or none of these."""
    refusals = refused_operations(answer, action=_ACTION, write=True)
    failed = [plan.steps[number] for number, _ in refusals if 0 <= number < len(plan.steps)]
    explained = [step for step in failed if step.role is not _Role.WRITE]
    if not explained or any(is_denied(what) for _, what in refusals):
        raise refused(answer.status, answer.body, action=_ACTION, where=answer.where, write=True)
    return explained


def _holder(pool: Pool, layout: Layout, key: str, *, timeout: float) -> str | None:
    """The session that holds the key now, an empty text for none, ``None`` if there is no such key."""
    target = pool.target(f"/v1/kv/{url_path(layout.path(key))}", "consistent")
    answer = pool.call("GET", target, None, timeout=timeout, action=_ACTION, allow=(404,))
    if answer.status == 404:
        return None
    return reads.only_entry(answer).get("Session") or _FREE


def session_exists(pool: Pool, lease_id: LeaseId, *, timeout: float) -> bool:
    """Whether the session is alive.

    Consul shows no session to a token that may not read it. So a missing one is asked for again by a renewal, which is
    refused then: a lease mustn't seem lost because a right is missing.
    """
    action, deadline = "looking for a lease", Deadline(timeout)
    target = pool.target(f"/v1/session/info/{lease_id}", "consistent")
    if reads.entries(pool.call("GET", target, None, timeout=timeout, action=action)):
        return True
    target = pool.target(f"/v1/session/renew/{lease_id}")
    return pool.call("PUT", target, b"", timeout=deadline.remaining(), action=action, allow=(404,)).status == 200


def _index(answer: Answer) -> int:
    """The index at which it was applied: that of everything written, and higher than that of what was checked."""
    try:
        results = json.loads(answer.body)["Results"]
        return max(int(result["KV"]["ModifyIndex"]) for result in results)
    except (ValueError, KeyError, TypeError) as exc:
        raise OutcomeUnknown(
            f"committing: what answers at {answer.where} isn't Consul, or something between changes its answers: there "
            "is no index in it; it may have been applied: read before trying again"
        ) from exc
