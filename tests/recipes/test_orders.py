"""Recipes in every order of their steps, with whatever can befall a participant at any of them.

What two participants can do with one fault is tried completely. More participants and more faults are tried by seed.
"""

from __future__ import annotations

import orders
import pytest

from tenure_testkit.exploration import explore_all, explore_some

SMALL = [
    orders.lock(),
    orders.unfair_lock(),
    orders.election(),
    orders.read_write_lock("read", "write"),
    orders.read_write_lock("write", "read"),
    orders.semaphore(2, limit=1),
]
LARGE = [
    orders.lock(3),
    orders.unfair_lock(3),
    orders.election(3),
    orders.read_write_lock("read", "write", "read"),
    orders.semaphore(3, limit=2),
]


@pytest.mark.parametrize("kind", SMALL, ids=lambda kind: kind.name)
def test_two_participants_in_every_order_with_one_fault(kind: orders.Kind) -> None:
    result = explore_all(lambda: orders.Holders(kind), most_faults=1)
    assert result.complete
    assert result.runs > 100


@pytest.mark.parametrize("kind", LARGE, ids=lambda kind: kind.name)
@pytest.mark.parametrize("seed", range(2))
def test_three_participants_with_three_faults(kind: orders.Kind, seed: int) -> None:
    explore_some(lambda: orders.Holders(kind), runs=200, seed=seed, most_faults=3)
