"""Recipes that share work, each broken in one place: the exploration finds it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest

from tenure._steps.effects import Commit
from tenure.errors import Conflict, OutcomeUnknown
from tenure.recipes import _single_key, _work_claims, rate_limiter
from tenure.recipes._held_state import HeldState
from tenure.recipes._marks import MarkedCommits
from tenure.recipes._shares import Share
from tenure.recipes.rate_limiter import Bucket
from tenure.spi.types import Delete, KeyAbsent, Operation, Precondition, Put, RevisionEquals
from tenure_testkit import work_scenarios as kinds
from tenure_testkit.exploration import Fault, Scenario, Violation, explore_all, explore_some

Parts = tuple[tuple[Precondition, ...], tuple[Operation, ...]]


def break_commits(patch: pytest.MonkeyPatch, module: ModuleType, change: Callable[..., Parts]) -> None:
    """Let ``change`` alter what each transaction of a recipe's module has."""

    def commit(preconditions: Any, operations: Any, *rest: Any) -> Commit:
        return Commit(*change(preconditions, operations), *rest)

    patch.setattr(module, "Commit", commit)


def _deletes_item(operations: tuple[Operation, ...]) -> bool:
    return any(isinstance(one, Delete) and "/data/" in one.key for one in operations)


def unguarded_acknowledgement(patch: pytest.MonkeyPatch) -> None:
    """An acknowledgement doesn't need the claim."""
    break_commits(patch, _work_claims, lambda pre, ops: (tuple(p for p in pre if not _deletes_item(ops)), ops))


def claim_of_what_was_seen(patch: pytest.MonkeyPatch) -> None:
    """A claim doesn't ask whether the item has changed since it was listed."""
    break_commits(
        patch,
        _work_claims,
        lambda pre, ops: (tuple(p for p in pre if not (isinstance(p, RevisionEquals) and "claim" not in p.key)), ops),
    )


def claim_of_claimed(patch: pytest.MonkeyPatch) -> None:
    """A claim asks for nothing, and replaces another one."""
    break_commits(
        patch,
        _work_claims,
        lambda pre, ops: (tuple(p for p in pre if not any(isinstance(one, KeyAbsent) for one in pre)), ops),
    )


def forgotten_claim(patch: pytest.MonkeyPatch) -> None:
    """The claim of a consumer that was cancelled stays."""
    patch.setattr(_work_claims, "_claim", _without_janitor(_work_claims._claim))


class Nobody:
    """A janitor that does nothing."""

    def remove(self, *_: Any, **__: Any) -> None:
        """Remove nothing."""


def _without_janitor(steps: Callable[..., Any]) -> Callable[..., Any]:
    def broken(layout: Any, *rest: Any, **more: Any) -> Any:
        return steps(replace(layout, janitor=Nobody()), *rest, **more)

    return broken


def put_again(patch: pytest.MonkeyPatch) -> None:
    """A put without an answer counts as not applied, and is done again."""
    _without_marks(patch, applied=False)


def hopeful_put(patch: pytest.MonkeyPatch) -> None:
    """A put without an answer counts as applied."""
    _without_marks(patch, applied=True)


def _without_marks(patch: pytest.MonkeyPatch, *, applied: bool) -> None:
    def commit(self: Any, preconditions: Any, operations: Any, limit: Any) -> Any:
        try:
            yield from Commit(preconditions, operations, limit)
        except Conflict:
            return False
        except OutcomeUnknown:
            return applied
        return True

    patch.setattr(MarkedCommits, "commit", commit)


def hand_over_while_the_work_goes_on(patch: pytest.MonkeyPatch) -> None:
    """A member gives a partition back without telling the one who works on it."""

    def give(self: Any, number: int, limit: Any) -> Any:
        held = self._owned.pop(number)
        yield from held.release_steps(limit)

    patch.setattr(Share, "_give", give)


def keep_what_is_taken_while_the_session_ends(patch: pytest.MonkeyPatch) -> None:
    """A member relies on what it owns without a look at its clock."""
    patch.setattr(Share, "owned", property(lambda self: dict(self._owned)))


def take_what_another_owns(patch: pytest.MonkeyPatch) -> None:
    """A member puts the key of a partition although it is there."""
    break_commits(patch, _single_key, lambda pre, ops: ((() if any(isinstance(o, Put) for o in ops) else pre), ops))


def leave_without_giving_back(patch: pytest.MonkeyPatch) -> None:
    """A member that is interrupted as it leaves forgets what it still owns."""
    patch.setattr(HeldState, "give_up", lambda self: None)


def permits_without_comparison(patch: pytest.MonkeyPatch) -> None:
    """Who takes permits writes what it computed, whatever is in the bucket by now."""
    break_commits(patch, rate_limiter, lambda pre, ops: ((), ops))


def permits_for_nothing(patch: pytest.MonkeyPatch) -> None:
    """A change that was refused counts as made."""
    real = Bucket._change

    def change(self: Any, *rest: Any) -> Any:
        yield from real(self, *rest)
        return True

    patch.setattr(Bucket, "_change", change)


MUTANTS = [
    (unguarded_acknowledgement, kinds.one_item, Fault.EXPIRE),
    (claim_of_what_was_seen, kinds.one_item, Fault.CRASH),
    (claim_of_claimed, kinds.one_item, Fault.CRASH),
    (forgotten_claim, kinds.one_item, Fault.CANCEL),
    (put_again, kinds.put_and_claim, Fault.APPLIED),
    (hopeful_put, kinds.put_and_claim, Fault.NOT_APPLIED),
    (hand_over_while_the_work_goes_on, kinds.two_partitions, None),
    (keep_what_is_taken_while_the_session_ends, kinds.partitioner, Fault.EXPIRE),
    (take_what_another_owns, kinds.two_partitions, None),
    (permits_without_comparison, kinds.RateLimiter, None),
    (permits_for_nothing, kinds.RateLimiter, None),
    (leave_without_giving_back, kinds.two_partitions, Fault.CANCEL),
]


@pytest.mark.parametrize(("mutant", "make", "fault"), MUTANTS, ids=[mutant.__name__ for mutant, _, _ in MUTANTS])
def test_the_exploration_finds_it(
    mutant: Callable[[pytest.MonkeyPatch], None],
    make: Callable[[], Scenario],
    fault: Fault | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mutant(monkeypatch)
    if fault is None:
        with pytest.raises(Violation):
            explore_some(make, runs=1000, seed=1, most_faults=0)
    else:
        with pytest.raises(Violation):
            explore_all(make, faults=frozenset([fault]), most_faults=1, most_runs=2000)
