"""Double barriers, latches and several locks at once, in every order of their steps, with faults at any of them."""

from __future__ import annotations

import pytest

from tenure_testkit.exploration import Fault, explore_all, explore_some
from tenure_testkit.meeting_scenarios import CountsDown, LocksSeveral, Meets, Publishes

OVERLAPPING = (("a", "b"), ("b", "c"), ("a", "c"))


def test_two_members_in_every_order() -> None:
    result = explore_all(Meets, most_faults=0)
    assert result.complete
    assert result.runs > 1_000


def test_a_member_whose_time_is_up() -> None:
    """``tox -e explore`` tries all orders, which are 3,400."""
    explore_some(lambda: Meets(2, hasty=1), runs=500, seed=1, most_faults=0)


@pytest.mark.parametrize("fault", [Fault.CRASH, Fault.CANCEL, Fault.EXPIRE])
def test_two_members_with_one_fault(fault: Fault) -> None:
    """``tox -e explore`` tries all orders, which are 12,000 to 16,000."""
    explore_some(Meets, runs=150, seed=1, faults=frozenset([fault]), most_faults=1)


@pytest.mark.parametrize("fault", [Fault.CRASH, Fault.CANCEL])
def test_two_who_lock_several_in_every_order_with_one_fault(fault: Fault) -> None:
    assert explore_all(LocksSeveral, faults=frozenset([fault]), most_faults=1).complete


@pytest.mark.parametrize("fault", list(Fault))
def test_two_who_count_down_in_every_order_with_one_fault(fault: Fault) -> None:
    assert explore_all(CountsDown, faults=frozenset([fault]), most_faults=1).complete


@pytest.mark.parametrize("fault", list(Fault))
def test_two_publishers_in_every_order_with_one_fault(fault: Fault) -> None:
    assert explore_all(Publishes, faults=frozenset([fault]), most_faults=1).complete


def test_three_participants_with_three_faults() -> None:
    explore_some(lambda: Meets(3), runs=150, seed=1)
    explore_some(lambda: CountsDown(3), runs=150, seed=1)
    explore_some(lambda: LocksSeveral(OVERLAPPING), runs=150, seed=1)
    explore_some(lambda: Publishes(3, each=2, most=2), runs=150, seed=1)


def test_overlapping_locks_never_deadlock() -> None:
    result = explore_some(lambda: LocksSeveral(OVERLAPPING), runs=300, seed=2, most_faults=0)
    assert result.runs == 300
