"""Conformance suite for store plugins. Subclass :class:`StoreConformance`, or run ``tenure conformance URL``.

The docstring of the class is the tutorial. Needs the extra ``tenure[conformance]``. Importing this package imports
neither pytest nor the rules: a pytest entry point names it, and other projects' test runs shouldn't pay for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tenure.conformance.controls.controls import Driver
    from tenure.conformance.harness.assertions import RuleInconclusive, RuleViolated
    from tenure.conformance.pytest.suite import StoreConformance

_HOMES = {
    "Driver": "controls.controls",
    "RuleViolated": "harness.assertions",
    "RuleInconclusive": "harness.assertions",
    "StoreConformance": "pytest.suite",
}

__all__ = ["Driver", "RuleInconclusive", "RuleViolated", "StoreConformance"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415 - only who asks for the suite pays for it

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
