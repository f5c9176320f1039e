"""Recipes in every order of their steps, with whatever can befall a participant at any of them.

What two participants can do with one of the commonest faults is tried completely, and more by seed. ``tox -e explore``
tries more.
"""

from __future__ import annotations

import pytest

from tenure_testkit import recipe_scenarios as kinds
from tenure_testkit.exploration import Fault, explore_all, explore_some

SMALL = [
    kinds.lock(),
    kinds.unfair_lock(),
    kinds.election(),
    kinds.read_write_lock("read", "write"),
    kinds.read_write_lock("write", "read"),
    kinds.lock_beside_readers(),
    kinds.semaphore(2, limit=1),
    kinds.long_lock(2),
    kinds.sharing(kinds.lock()),
]
LARGE = [
    kinds.lock(3),
    kinds.unfair_lock(3),
    kinds.election(3),
    kinds.read_write_lock("read", "write", "read"),
    kinds.lock_beside_readers(3),
    kinds.semaphore(3, limit=2),
    kinds.semaphore(4, limit=2),
    kinds.long_lock(3),
    kinds.long_read_write_lock("read", "write", "read", page=2),
    kinds.sharing(kinds.lock(3)),
    kinds.sharing(kinds.lock(3), opened=True),
    kinds.sharing(kinds.lock(4), False, True, True),
    kinds.sharing(kinds.semaphore(4, limit=2), False, True, True),
    kinds.sharing(kinds.read_write_lock("read", "write", "write")),
]


@pytest.mark.parametrize("kind", SMALL, ids=lambda kind: kind.name)
def test_two_participants_in_every_order(kind: kinds.Kind) -> None:
    result = explore_all(lambda: kinds.Holders(kind), most_faults=0)
    assert result.complete
    assert result.runs >= 10


@pytest.mark.parametrize("kind", SMALL, ids=lambda kind: kind.name)
@pytest.mark.parametrize("fault", [Fault.CRASH, Fault.CANCEL])
def test_two_participants_in_every_order_with_one_fault(kind: kinds.Kind, fault: Fault) -> None:
    result = explore_all(lambda: kinds.Holders(kind), faults=frozenset([fault]), most_faults=1)
    assert result.complete
    assert result.runs > 50


@pytest.mark.parametrize("fault", [Fault.CRASH, Fault.CANCEL])
def test_handing_over_in_every_order_with_one_fault(fault: Fault) -> None:
    result = explore_all(kinds.HandsOver, faults=frozenset([fault]), most_faults=1)
    assert result.complete
    assert result.runs > 50


@pytest.mark.parametrize("kind", LARGE, ids=lambda kind: kind.name)
@pytest.mark.parametrize("seed", range(1))
def test_three_participants_with_three_faults(kind: kinds.Kind, seed: int) -> None:
    explore_some(lambda: kinds.Holders(kind), runs=100, seed=seed, most_faults=3)


@pytest.mark.parametrize(
    "shares", [(), (False, True, True), (True, True, True, True)], ids=["alone", "some", "in line"]
)
def test_a_permit_that_is_free_is_taken_although_the_one_before_still_holds(shares: tuple[bool, ...]) -> None:
    explore_some(lambda: kinds.Meets(*shares), runs=100, seed=1, most_faults=0)
