"""What applies exactly once, in every order of its steps, with whatever can befall a participant at any of them.

A lost answer whose write is applied late is the fault that a mark is made for.
"""

from __future__ import annotations

import pytest

from tenure_testkit import counters_scenarios as kinds
from tenure_testkit.exploration import Fault, explore_all, explore_some

UNKNOWN = [Fault.APPLIED, Fault.NOT_APPLIED, Fault.LATE]
MOST = 1_000
"""Runs of what has very many. ``tox -e explore`` makes the others, too."""


@pytest.mark.parametrize("kind", kinds.KINDS, ids=lambda kind: kind.name)
def test_two_participants_in_every_order(kind: kinds.Kind) -> None:
    result = explore_all(kind.small, most_faults=0)
    assert result.complete
    assert result.runs >= 6


@pytest.mark.parametrize("kind", kinds.KINDS, ids=lambda kind: kind.name)
@pytest.mark.parametrize("fault", [Fault.CRASH, Fault.CANCEL, *UNKNOWN])
def test_two_participants_in_every_order_with_one_fault(kind: kinds.Kind, fault: Fault) -> None:
    most = None if fault is Fault.CRASH else MOST
    result = explore_all(kind.small, faults=frozenset([fault]), most_faults=1, most_runs=most)
    assert result.complete or result.runs == most
    assert result.runs > 20


def test_a_runner_is_paused_before_its_result_is_kept() -> None:
    explore_all(lambda: kinds.Runs(paused=True), most_faults=0, most_runs=MOST)
    explore_some(lambda: kinds.Runs(3, paused=True), runs=200, seed=1, most_faults=2)


@pytest.mark.parametrize("kind", kinds.KINDS, ids=lambda kind: kind.name)
def test_three_participants_with_three_faults(kind: kinds.Kind) -> None:
    explore_some(kind.large, runs=200, seed=1, most_faults=3)


@pytest.mark.parametrize("kind", kinds.KINDS, ids=lambda kind: kind.name)
def test_three_participants_with_lost_answers(kind: kinds.Kind) -> None:
    explore_some(kind.large, runs=200, seed=2, faults=frozenset(UNKNOWN), most_faults=4)
