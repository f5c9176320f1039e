"""Rules about the order in which many clients see their operations; both inspect one recorded run."""

from __future__ import annotations

from collections.abc import Sequence

from tenure.conformance.checkers.linearizability import by_revision, search
from tenure.conformance.checkers.linearizability.operations import Operation, beginning, to_json
from tenure.conformance.harness.context import RuleContext
from tenure.conformance.harness.rule import Rules, requires_capability
from tenure.conformance.workloads.concurrent_operations import observe

_SEARCHED = (300, 100, 40)
"""Numbers of first operations that are also searched for an order; the next number if a search takes too long."""


class OrderRules(Rules, area="kv"):
    """Many clients, few keys."""

    def test_kv_clients_see_their_own_order(self, context: RuleContext) -> None:
        """Each client reads its own writes and never goes back; all writes and preconditions follow one order."""
        run = context.run_once("order", observe)
        run.check_enough(context)
        data = {"operations": to_json(run.operations), "order": by_revision.CLIENT}
        context.check.no_problems(
            context.evidence.check("linearizability", data),
            f"put {len(run.operations)} operations of {run.clients} clients in the order of their revisions",
            expected="results that this order explains, for each client separately",
        )

    @requires_capability("linearizable")
    def test_kv_is_linearizable(self, context: RuleContext) -> None:
        """One order of all operations, which real time allows, explains what many clients did and saw."""
        run = context.run_once("order", observe)
        run.check_enough(context)
        did = f"recorded {len(run.operations)} operations of {run.clients} clients at once"
        expected = "one order that explains every answer"
        data = {"operations": to_json(run.operations)}
        context.check.no_problems(context.evidence.check("linearizability", data), did, expected=expected)
        part = _searchable(run.operations)
        context.check.enough(len(part), min(_SEARCHED) // 2, "an operation in a part small enough to be searched")
        context.check.no_problems(
            context.evidence.check("search", {"operations": to_json(part)}),
            f"{did}, searched for an order of {len(part)} of them by their values alone",
            expected=expected,
        )


def _searchable(operations: Sequence[Operation]) -> list[Operation]:
    """As much of the beginning as a search can decide; nothing if that is too little."""
    for count in _SEARCHED:
        part = beginning(operations, count)
        if search.check(part).answer is not search.Answer.UNKNOWN:
            return part
    return []
