"""A gate in every order of its writers' steps, with whatever can befall them."""

from __future__ import annotations

import pytest

from tenure.recipes.fencing import Fence
from tenure_testkit.exploration import Fault, explore_all, explore_some
from tenure_testkit.gate_scenarios import Writers

THREE = (Fence(1, 5), Fence(2, 3), Fence(2, 4))


@pytest.mark.parametrize("admits", [False, True])
def test_two_writers_in_every_order(admits: bool) -> None:
    result = explore_all(lambda: Writers(admits=admits), most_faults=0)
    assert result.complete
    assert result.runs >= 5


@pytest.mark.parametrize("admits", [False, True])
def test_two_writers_in_every_order_with_one_fault(admits: bool) -> None:
    faults = frozenset([Fault.CRASH, Fault.APPLIED, Fault.NOT_APPLIED, Fault.LATE])
    result = explore_all(lambda: Writers(admits=admits), faults=faults, most_faults=1)
    assert result.complete
    assert result.runs > 20


@pytest.mark.parametrize("admits", [False, True])
def test_three_writers_with_three_faults(admits: bool) -> None:
    explore_some(lambda: Writers(THREE, admits), runs=200, seed=1, most_faults=3)
