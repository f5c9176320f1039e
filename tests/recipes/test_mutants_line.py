"""Lines and signs with a fault in them: the exploration finds each one. Further mutants are in the other modules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tenure.recipes._line import Line, Spot
from tenure.recipes.semaphore import FirstOnes
from tenure_testkit import recipe_scenarios as kinds
from tenure_testkit.exploration import Scenario
from tenure_testkit.recipe_mutants import Mutants

MUTANTS = Mutants()


def in_line(kind: kinds.Kind, *, opened: bool = False) -> Callable[[], Scenario]:
    """Return what makes a scenario of participants that wait in one line."""
    return lambda: kinds.Holders(kinds.sharing(kind, opened=opened))


@MUTANTS.add(in_line(kinds.lock(), opened=True), by_seed=True)
def line_takes_one_for_the_first_that_it_has_not_seen(patch: pytest.MonkeyPatch) -> None:
    def join(line: Line, key: str, place: int, *args: Any, **more: Any) -> Spot | None:
        if line._whole and not line._tickets:
            spot = Spot(line, key, place, 1, args[-1])
            spot.say(first=True)
            return spot
        return right(line, key, place, *args, **more)

    right = Line.join
    patch.setattr(Line, "join", join)


@MUTANTS.add(in_line(kinds.lock(3)))
def line_calls_the_second(patch: pytest.MonkeyPatch) -> None:
    def join(line: Line, *args: Any, together: int = 1, **more: Any) -> Spot | None:
        return right(line, *args, together=together + 1, **more)

    right = Line.join
    patch.setattr(Line, "join", join)


@MUTANTS.add(in_line(kinds.lock(3)), by_seed=True)
def line_is_ordered_by_names(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Line, "_in_order", property(lambda line: True, lambda line, value: None), raising=False)


@MUTANTS.add(in_line(kinds.lock(3)))
def line_does_not_see_who_leaves(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Line, "_forget", lambda *args: None)


@MUTANTS.add(lambda: kinds.Meets(False, True, True), by_seed=True)
def line_says_that_nobody_waits_for_a_sign(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Spot, "followed", property(lambda spot: False, lambda spot, value: None), raising=False)


@MUTANTS.add(kinds.Meets, by_seed=True)
def holder_of_a_permit_gives_no_sign(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(FirstOnes, "signs", False)


@MUTANTS.add(kinds.Meets, by_seed=True)
def next_holder_of_a_permit_looks_at_the_one_before_it(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(FirstOnes, "watches_folder", lambda *args: False)


@pytest.mark.parametrize("name", MUTANTS.by_name)
def test_the_exploration_finds_the_mutant(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    MUTANTS.find(name, monkeypatch)
