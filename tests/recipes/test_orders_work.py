"""Recipes that share work, in every order of their steps, with whatever can befall a participant at any of them.

What two participants can do with one of the commonest faults is tried completely, and more by seed. ``tox -e explore``
tries more.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tenure_testkit import work_scenarios as kinds
from tenure_testkit.exploration import Fault, Scenario, explore_all, explore_some

Make = Callable[[], Scenario]

SMALL = [kinds.one_item, kinds.an_item_each, kinds.put_and_claim, kinds.partitioner, kinds.RateLimiter]
LARGE = [kinds.many, kinds.two_partitions, kinds.three_members]


@pytest.mark.parametrize("make", SMALL)
def test_two_participants_in_every_order(make: Make) -> None:
    result = explore_all(make, most_faults=0)
    assert result.complete
    assert result.runs > 3


@pytest.mark.parametrize("make", [kinds.one_item, kinds.put_and_claim, kinds.RateLimiter])
@pytest.mark.parametrize("fault", [Fault.CRASH, Fault.CANCEL, Fault.APPLIED, Fault.NOT_APPLIED])
def test_two_participants_in_every_order_with_one_fault(make: Make, fault: Fault) -> None:
    result = explore_all(make, faults=frozenset([fault]), most_faults=1)
    assert result.complete
    assert result.runs > 20


@pytest.mark.parametrize("fault", list(Fault))
def test_two_members_in_the_first_orders_with_one_fault(fault: Fault) -> None:
    explore_all(kinds.partitioner, faults=frozenset([fault]), most_faults=1, most_runs=200)


@pytest.mark.parametrize("make", LARGE)
def test_several_participants_with_three_faults(make: Make) -> None:
    explore_some(make, runs=200, seed=1, most_faults=3)
