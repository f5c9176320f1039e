"""The checkers by name: functions from a recorded history, in JSON's types, to the problems found in it.

A checker reads nothing but its data. So anyone can check a saved report again, at any time, with the same result. The
functions live beside what they know about; this is the table of their names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

Checker = Callable[[Mapping[str, Any]], list[str]]

CHECKERS: dict[str, str] = {
    "counter": "tenure.conformance.checkers.counter:check",
    "exclusion": "tenure.conformance.checkers.locks:exclusion",
    "fenced-writes": "tenure.conformance.checkers.locks:fenced",
    "fencing-tokens": "tenure.conformance.checkers.locks:tokens",
    "leases-in-time": "tenure.conformance.checkers.leases:in_time",
    "leases-not-early": "tenure.conformance.checkers.leases:not_early",
    "linearizability": "tenure.conformance.checkers.linearizability.checkers:revisions_explain",
    "locks": "tenure.conformance.checkers.linearizability.checkers:a_lock_explains",
    "loss-reported": "tenure.conformance.checkers.locks:loss_reported",
    "permits": "tenure.conformance.checkers.locks:permits",
    "search": "tenure.conformance.checkers.linearizability.checkers:an_order_explains",
    "watch": "tenure.conformance.checkers.watches:check",
}
"""Name of each checker, and its ``module:function``, imported when it is needed."""


def check(name: str, data: Mapping[str, Any]) -> list[str]:
    """Return the problems that the checker ``name`` finds in ``data``. Raises ``LookupError`` for an unknown name."""
    if name not in CHECKERS:
        raise LookupError(f"no such checker: {name!r}; choose from: {', '.join(sorted(CHECKERS))}")
    module, _, function = CHECKERS[name].partition(":")
    checker: Checker = getattr(import_module(module), function)
    return checker(data)
