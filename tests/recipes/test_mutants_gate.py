"""Faults of a gate that the exploration must find."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tenure.errors import Conflict
from tenure.recipes import fencing
from tenure.recipes.fencing import Fence, GateSteps
from tenure.spi.types import KeyAbsent, KeyExists
from tenure_testkit.exploration import Fault, Violation, explore_all
from tenure_testkit.gate_scenarios import Writers

_pass_through = GateSteps.pass_through
Patch = Callable[[pytest.MonkeyPatch], None]


def compares_only(patch: pytest.MonkeyPatch) -> None:
    """Another writer may pass between the look and the write."""

    def pass_through(self: GateSteps, fence: Fence, limit: Any) -> Any:
        guard, put = yield from _pass_through(self, fence, limit)
        return (KeyAbsent("never") if isinstance(guard, KeyAbsent) else KeyExists(guard.key)), put

    patch.setattr(GateSteps, "pass_through", pass_through)


def compares_nothing(patch: pytest.MonkeyPatch) -> None:
    """A smaller fence passes after a greater one."""
    patch.setattr(fencing.GateSteps, "_passed", lambda self, item: None)


def compares_tokens_alone(patch: pytest.MonkeyPatch) -> None:
    """A fence of an older history passes after one of a newer history with a smaller token."""
    patch.setattr(Fence, "__lt__", lambda self, other: self.token < other.token)


def forgets_who_passed(patch: pytest.MonkeyPatch) -> None:
    """The gate's key is never put."""

    def pass_through(self: GateSteps, fence: Fence, limit: Any) -> Any:
        guard, _ = yield from _pass_through(self, fence, limit)
        return guard, None

    patch.setattr(GateSteps, "pass_through", pass_through)


def takes_a_conflict_for_admission(patch: pytest.MonkeyPatch) -> None:
    """A writer that another one overtook believes that the gate is closed."""
    admit = GateSteps.admit

    def once(self: GateSteps, fence: Fence, limit: Any) -> Any:
        steps, result = admit(self, fence, limit), None
        while True:
            try:
                effect = steps.send(result)
            except StopIteration:
                return
            try:
                result = yield effect
            except Conflict:
                return

    patch.setattr(GateSteps, "admit", once)


@pytest.mark.parametrize(
    ("mutant", "admits"),
    [
        (compares_only, False),
        (compares_nothing, False),
        (compares_tokens_alone, False),
        (forgets_who_passed, False),
        (takes_a_conflict_for_admission, True),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_it_is_found(mutant: Patch, admits: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    mutant(monkeypatch)
    with pytest.raises(Violation):
        explore_all(lambda: Writers((Fence(1, 5), Fence(2, 3)), admits), faults=frozenset([Fault.CRASH]))
