"""The judges by name: functions from a recorded history, in JSON's types, to the problems found in it.

A judge looks at nothing but its data, so a saved report can be judged again, by anyone, at any time, and has to come
out the same. The functions live beside what they know about; this is the table of their names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

Judge = Callable[[Mapping[str, Any]], list[str]]

JUDGES: dict[str, str] = {
    "counter": "tenure.conformance.checkers.counter:judge",
    "exclusion": "tenure.conformance.checkers.locks:exclusion",
    "fenced-writes": "tenure.conformance.checkers.locks:fenced",
    "fencing-tokens": "tenure.conformance.checkers.locks:tokens",
    "leases-in-time": "tenure.conformance.checkers.leases:in_time",
    "leases-not-early": "tenure.conformance.checkers.leases:not_early",
    "linearizability": "tenure.conformance.checkers.linearizability.checkers:revisions_explain",
    "locks": "tenure.conformance.checkers.linearizability.checkers:a_lock_explains",
    "loss-told": "tenure.conformance.checkers.locks:loss_told",
    "search": "tenure.conformance.checkers.linearizability.checkers:an_order_explains",
    "watch": "tenure.conformance.checkers.watches:judge",
}
"""Name of the judge to ``module:function``, imported when it is needed."""


def judge(name: str, data: Mapping[str, Any]) -> list[str]:
    """What the judge called ``name`` finds wrong in ``data``. Raises ``LookupError`` for a judge there isn't."""
    if name not in JUDGES:
        raise LookupError(f"there is no judge {name!r}, there are: {', '.join(sorted(JUDGES)) or 'none'}")
    module, _, function = JUDGES[name].partition(":")
    found: Judge = getattr(import_module(module), function)
    return found(data)
