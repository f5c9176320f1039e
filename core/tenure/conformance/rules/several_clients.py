"""Rules about several clients of one key: processes that write the same value at the same time."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial

from tenure.conformance.fault_injection.client_process import ClientProcess
from tenure.conformance.harness.context import RuleContext
from tenure.conformance.harness.rule import Rules, requires_capability
from tenure.conformance.workloads.recording_watcher import Follower
from tenure.conformance.workloads.threads import together

_PROCESSES = 3
_PUTS = 10


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
