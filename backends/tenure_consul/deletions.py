"""Deleting all keys of a prefix by one transaction of Consul's, which is one entry in its log.

A delete of a tree doesn't report what it deleted. So the transaction first reads the tree, which sends all its values
once, and writes ``Layout.revision``, which gives the delete its revision. Sessions that hold keys don't stand in its
way. The names are listed before, so that nothing is written where there is nothing to delete.

Few keys are deleted one by one in a transaction. So are the keys in a tree where another program has written what is no
key, since that has to stay.
"""

from __future__ import annotations

import json

from tenure.errors import OutcomeUnknown
from tenure.plugin_kit import Deadline
from tenure.spi.types import Delete, PrefixDeletion, Transaction
from tenure_consul import reads, transactions
from tenure_consul.access import Access
from tenure_consul.errors import refused
from tenure_consul.history_evidence import next_flags
from tenure_consul.keys import Layout
from tenure_consul.pool import Pool
from tenure_consul.revisions import Revisions

_ACTION = "deleting a prefix"
_RESULT, _EACH = b'{"KV":', b'"LockIndex":'


def delete_prefix(
    pool: Pool, layout: Layout, revisions: Revisions, access: Access, prefix: str, *, most_bytes: int, timeout: float
) -> PrefixDeletion:
    """``Backend.delete_prefix``. ``most_bytes``: the largest request that the agent takes."""
    deadline = Deadline(timeout)
    before = revisions.known
    listed = pool.read(reads.list_path(layout, prefix), "keys", timeout=timeout, action=_ACTION, allow=(404,))
    access.check(pool, layout.path(prefix), listed, action=_ACTION, deadline=deadline)
    names = reads.names(listed)
    keys = [key for key in map(layout.key, names) if key is not None]
    if not keys:
        return PrefixDeletion(deleted=0, revision=revisions.of_read(reads.index_of(listed), before=before))
    if len(keys) <= transactions.MOST or len(keys) < len(names):
        batch = Transaction((), tuple(map(Delete, keys[: transactions.MOST])))
        done = transactions.commit(pool, layout, revisions, batch, most_bytes=most_bytes, timeout=deadline.remaining())
        return PrefixDeletion(deleted=done.deleted, revision=done.revision, has_more=len(keys) > transactions.MOST)
    tree = layout.path(prefix)
    operations = [
        {"KV": {"Verb": "get-tree", "Key": tree}},
        {"KV": {"Verb": "delete-tree", "Key": tree}},
        {"KV": {"Verb": "set", "Key": layout.revision, "Value": "", "Flags": next_flags()}},
    ]
    body = json.dumps(operations, ensure_ascii=False).encode()
    answer = pool.call(
        "PUT",
        pool.target("/v1/txn"),
        body,
        timeout=deadline.remaining(),
        action=_ACTION,
        write=True,
        allow=(409,),
    )
    if answer.status != 200:
        raise refused(answer.status, answer.body, action=_ACTION, where=answer.where, write=True)
    try:
        deleted, revision = _counted(answer.body)
    except (ValueError, KeyError, TypeError) as exc:
        raise OutcomeUnknown(f"{_ACTION}: Consul at {answer.where} deleted and answered without a count") from exc
    return PrefixDeletion(deleted=deleted, revision=revisions.of_write(revision, before=before))


def _counted(body: bytes) -> tuple[int, int]:
    """How many keys an answer to the transaction has, and the revision at its end.

    Decoding all those values would take most of the call's time. In JSON no name or value can contain what is searched
    for, as its quotes would be escaped.
    """
    last, _ = json.JSONDecoder().raw_decode(body[body.rindex(_RESULT) :].decode())
    return body.count(_EACH) - 1, int(last["KV"]["ModifyIndex"])
