"""Conformance suite for store plugins. Subclass :class:`StoreConformance`, or run ``tenure conformance URL``.

The docstring of :class:`StoreConformance` is the tutorial. The suite needs the extra ``tenure[conformance]``.

Importing this package imports neither pytest nor the rules. A pytest entry point names the package, and test runs of
other projects shouldn't pay for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tenure.conformance.controls.controls import ServerControls
    from tenure.conformance.harness.assertions import RuleInconclusive, RuleViolated
    from tenure.conformance.pytest.suite import StoreConformance

_HOMES = {
    "RuleInconclusive": "harness.assertions",
    "RuleViolated": "harness.assertions",
    "ServerControls": "controls.controls",
    "StoreConformance": "pytest.suite",
}

__all__ = ["RuleInconclusive", "RuleViolated", "ServerControls", "StoreConformance"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415 - only code that asks for the suite imports it

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
