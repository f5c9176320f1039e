"""Mutants of recipes: a step replaced by a wrong one, and the scenario in which the exploration must find it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from tenure._steps.effects import Effect, Steps
from tenure_testkit.exploration import Fault, Scenario, Violation, explore_all, explore_some

_MOST_RUNS = 3_000
"""The slowest mutant needs a third of it."""
_SEED = 1

Patch = Callable[[pytest.MonkeyPatch], None]


@dataclass(frozen=True)
class Mutant:
    """A recipe with a fault.

    Attributes:
        patch: replaces a step by the wrong one.
        make: makes the scenario that shows it.
        faults: what has to befall participants; none if the order alone shows it.
        by_seed: whether orders are tried at random, because the first that shows it comes late in the systematic order.
    """

    patch: Patch
    make: Callable[[], Scenario]
    faults: tuple[Fault, ...] = ()
    by_seed: bool = False

    def look(self) -> None:
        """Explore. Raises ``Violation`` once the fault shows."""
        faults, most = frozenset(self.faults), len(self.faults)
        if self.by_seed:
            explore_some(self.make, runs=_MOST_RUNS, seed=_SEED, faults=faults, most_faults=most)
        else:
            explore_all(self.make, faults=faults, most_faults=most, most_runs=_MOST_RUNS)


@dataclass
class Mutants:
    """The mutants of one file of tests, by name."""

    by_name: dict[str, Mutant] = field(default_factory=dict)

    def add(self, make: Callable[[], Scenario], *faults: Fault, by_seed: bool = False) -> Callable[[Patch], Patch]:
        """Add the decorated function, which patches a step, under its own name."""

        def add(patch: Patch) -> Patch:
            self.by_name[patch.__name__] = Mutant(patch, make, faults, by_seed)
            return patch

        return add

    def find(self, name: str, patch: pytest.MonkeyPatch) -> None:
        """Fail unless the exploration finds this mutant."""
        self.by_name[name].patch(patch)
        with pytest.raises(Violation):
            self.by_name[name].look()


def alter(
    patch: pytest.MonkeyPatch,
    owner: type,
    step: str,
    effect: Callable[[Effect[Any]], Effect[Any]] = lambda effect: effect,
    error: Callable[[BaseException], BaseException] = lambda error: error,
) -> None:
    """Let a method of steps ask for another effect, or hear of another error."""
    right = getattr(owner, step)
    patch.setattr(owner, step, lambda *args: _altered(right(*args), effect, error))


def _altered(
    steps: Steps[Any],
    effect: Callable[[Effect[Any]], Effect[Any]],
    error: Callable[[BaseException], BaseException],
) -> Steps[Any]:
    result: Any = None
    failed: BaseException | None = None
    while True:
        try:
            asked = steps.send(result) if failed is None else steps.throw(failed)
        except StopIteration as stop:
            return stop.value
        result, failed = None, None
        try:
            result = yield effect(asked)
        except BaseException as exc:  # noqa: BLE001 - passed on to the steps, which raise it again
            failed = error(exc)
