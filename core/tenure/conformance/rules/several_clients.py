"""Rules about several clients of one key: processes that write the same value, and a key that was made again."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial

from tenure.conformance.fault_injection.client_process import ClientProcess
from tenure.conformance.harness.context import RuleContext
from tenure.conformance.harness.rule import Rules, requires_capability
from tenure.conformance.workloads.recording_watcher import Follower
from tenure.conformance.workloads.threads import together
from tenure.errors import Conflict

_PROCESSES = 3
_PUTS = 30
_ROUNDS = 3


class IdenticalPutRules(Rules, area="kv"):
    """The same value by several clients."""

    @requires_capability("multi_process")
    def test_kv_identical_puts_of_several_processes_all_count(self, context: RuleContext) -> None:
        """Processes that put one value to one key make as many changes as puts, each with a revision of its own."""
        with ExitStack() as stack, Follower(context.check, context.connect().watch("same")) as follower:
            follower.wait_in_sync()
            clients = [stack.enter_context(ClientProcess(context)) for _ in range(_PROCESSES)]
            puts = [partial(client.ask, "puts", key="same", value="same", count=_PUTS) for client in clients]
            answers = together(context.check, puts, "processes put one value to one key")
            revisions = []
            for answer in answers:
                context.check.true("error" not in answer, "put a key repeatedly", expected="revisions", seen=answer)
                context.check.equal(answer["revisions"], sorted(answer["revisions"]), "the revisions of one process")
                revisions += answer["revisions"]
            did = f"{_PROCESSES} processes put one value to one key {_PUTS} times each"
            context.check.equal(len(set(revisions)), _PROCESSES * _PUTS, f"{did}: the number of revisions")
            follower.wait_for("same", max(revisions), did)
            if context.capabilities.lossless_watch:
                seen = [event.revision for batch in list(follower.batches)[2:] for event in batch.events]
                context.check.equal(seen, sorted(revisions), f"{did}: the revisions that a watcher saw")


class RecreatedKeyRules(Rules, area="transactions"):
    """A key that another client deleted and made again."""

    def test_transactions_notice_that_others_recreated_a_key(self, context: RuleContext) -> None:
        """Clients that know a key are refused at its revision after another client deleted it and made it again."""
        first, second, third = context.store, context.connect(), context.connect()
        for number in range(_ROUNDS):
            key = f"key{number}"
            revision = third.put(key, b"same").revision
            for puts in range(number + 1):
                for store in (first, second):
                    item = store.get(key)
                    context.check.equal(item and item.mod_revision, revision, "the revision of a key as read")
                third.delete(key)
                for _ in range(puts + 1):
                    made = third.put(key, b"same").revision
                did = f"another client deleted a key and put it {puts + 1} times with the same value"
                guarded = partial(first.put_if_unchanged, key, b"stale", revision=revision)
                context.check.raises(Conflict, guarded, f"{did}; put_if_unchanged at the old revision")
                context.check.raises(
                    Conflict, partial(second.delete, key, revision=revision), f"{did}; delete at the old revision"
                )
                item = first.get(key)
                context.check.equal(item and (item.value, item.mod_revision), (b"same", made), f"{did}; the key")
                revision = made
