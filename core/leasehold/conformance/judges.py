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
    "counter": "leasehold.conformance.counter:judge",
    "exclusion": "leasehold.conformance.lock_judges:exclusion",
    "fenced-writes": "leasehold.conformance.lock_judges:fenced",
    "fencing-tokens": "leasehold.conformance.lock_judges:tokens",
    "leases-in-time": "leasehold.conformance.lease_judges:in_time",
    "leases-not-early": "leasehold.conformance.lease_judges:not_early",
    "linearizability": "leasehold.conformance.linearizability.judging:revisions_explain",
    "locks": "leasehold.conformance.linearizability.judging:a_lock_explains",
    "loss-told": "leasehold.conformance.lock_judges:loss_told",
    "search": "leasehold.conformance.linearizability.judging:an_order_explains",
    "watch": "leasehold.conformance.watch_judge:judge",
}
"""Name of the judge to ``module:function``, imported when it is needed."""


def judge(name: str, data: Mapping[str, Any]) -> list[str]:
    """What the judge called ``name`` finds wrong in ``data``. Raises ``LookupError`` for a judge there isn't."""
    if name not in JUDGES:
        raise LookupError(f"there is no judge {name!r}, there are: {', '.join(sorted(JUDGES)) or 'none'}")
    module, _, function = JUDGES[name].partition(":")
    found: Judge = getattr(import_module(module), function)
    return found(data)
