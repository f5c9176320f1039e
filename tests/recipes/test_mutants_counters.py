"""Recipes that are broken on purpose: the exploration has to see each of them.

Each mutant changes one step in a way that an author could get wrong, and names the scenario that must break.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import pytest

from tenure._steps.effects import Commit, Get, Steps
from tenure.errors import OutcomeUnknown
from tenure.recipes import _marks, once, schedule
from tenure.recipes.atomic_value import Changing
from tenure.recipes.id_block import Numbering
from tenure.recipes.once import UntilDone
from tenure.recipes.transact import Optimistic, unchanged
from tenure.spi.types import KeyAbsent, Put
from tenure_testkit import counters_scenarios as kinds
from tenure_testkit.exploration import Fault, Scenario, Violation, explore_all, explore_some

UNKNOWN = frozenset([Fault.APPLIED, Fault.NOT_APPLIED, Fault.LATE])


@dataclass(frozen=True)
class Mutant:
    """A fault of a recipe.

    Attributes:
        what: what is wrong, in a sentence.
        scenario: makes the scenario that must break.
        owner: the class or module that is changed.
        name: the function that is changed.
        change: makes the wrong function of the right one.
        most_faults: faults that it takes to see it.
    """

    what: str
    scenario: Callable[[], Scenario]
    owner: object
    name: str
    change: Callable[[Any], Any]
    most_faults: int = 1


def _never_settled(right: Any) -> Any:
    def settle(self: Any, mark: Any, unknown: Any, limit: Any) -> Steps[bool]:
        return False
        yield

    return settle


def _always_applied(right: Any) -> Any:
    def settle(self: Any, mark: Any, unknown: Any, limit: Any) -> Steps[bool]:
        return True
        yield

    return settle


def _only_read(right: Any) -> Any:
    def settle(self: Any, mark: Any, unknown: Any, limit: Any) -> Steps[bool]:
        item = yield from Get(mark.key, limit)
        if item is None or item.mod_revision == mark.revision:
            return False
        mark.revision = item.mod_revision
        return True

    return settle


def _any_write_counts(right: Any) -> Any:
    def next_put(self: Any) -> Any:
        put = right(self)
        self.number = 1
        return replace(put, value=b"1")

    return next_put


def _unguarded_reads(right: Any) -> Any:
    def apply(self: Any, read: Any, operations: Any, limit: Any) -> Steps[bool]:
        return (
            yield from right(self, {key: item for key, item in read.items() if item is not None}, operations, limit)
        )

    return apply


def _no_check_of_reads(right: Any) -> Any:
    def apply(self: Any, read: Any, operations: Any, limit: Any) -> Steps[bool]:
        return not operations or (yield from right(self, read, operations, limit))

    return apply


def _last_read_guarded(right: Any) -> Any:
    def apply(self: Any, read: Any, operations: Any, limit: Any) -> Steps[bool]:
        return (yield from right(self, dict(list(read.items())[-1:]), operations, limit))

    return apply


def _unguarded_mark(right: Any) -> Any:
    return lambda self: KeyAbsent("nothing")


def _blind_put(right: Any) -> Any:
    def set_value(self: Any, value: bytes, limit: Any) -> Steps[None]:
        while True:
            try:
                yield from Commit((), (Put(self._key, value),), limit)
            except OutcomeUnknown:
                continue
            return

    return set_value


def _block_of_unknown_outcome(right: Any) -> Any:
    def reserve(self: Any, limit: Any) -> Steps[range]:
        item = yield from Get(self._key, limit)
        last = (int(item.value) if item else 0) + self._size
        with suppress(OutcomeUnknown):
            yield from Commit((unchanged(self._key, item),), (Put(self._key, str(last).encode()),), limit)
        return range(last - self._size + 1, last + 1)

    return reserve


def _unguarded_block(right: Any) -> Any:
    def reserve(self: Any, limit: Any) -> Steps[range]:
        item = yield from Get(self._key, limit)
        last = (int(item.value) if item else 0) + self._size
        yield from Commit((), (Put(self._key, str(last).encode()),), limit)
        return range(last - self._size + 1, last + 1)

    return reserve


def _result_unguarded(right: Any) -> Any:
    return lambda preconditions, operations, limit: right((), operations, limit)


def _ticket_left(right: Any) -> Any:
    return lambda preconditions, operations, limit: right(preconditions, operations[:1], limit)


def _any_conflict_is_mine(right: Any) -> Any:
    return lambda value: (AlwaysEqual(), right(value)[1])


class AlwaysEqual:
    """Equal to everything."""

    def __ne__(self, other: object) -> bool:
        return False


def _all_at_once(right: Any) -> Any:
    return lambda self, view, mine: None


def _slot_unguarded(right: Any) -> Any:
    return lambda preconditions, operations, limit: right((), operations, limit)


def _unknown_slot_is_mine(right: Any) -> Any:
    def claim(self: Any, slot: Any, me: str, limit: Any) -> Steps[bool]:
        try:
            return (yield from right(self, slot, me, limit))
        except OutcomeUnknown:
            return True

    return claim


def _same_slot_is_mine(right: Any) -> Any:
    return lambda self, slot, me, limit: right(self, slot, "somebody", limit)


def _paused() -> Scenario:
    return kinds.Runs(paused=True)


MUTANTS = [
    Mutant(
        "a write without an answer counts as refused",
        kinds.Counters,
        _marks.MarkedCommits,
        "_settle",
        _never_settled,
    ),
    Mutant(
        "a write without an answer counts as applied",
        kinds.Counters,
        _marks.MarkedCommits,
        "_settle",
        _always_applied,
    ),
    Mutant(
        "a write that was not applied yet is not refused",
        kinds.Counters,
        _marks.MarkedCommits,
        "_settle",
        _only_read,
    ),
    Mutant(
        "the put that refuses a write is taken for the write",
        kinds.Counters,
        _marks.Mark,
        "next",
        _any_write_counts,
        most_faults=2,
    ),
    Mutant("a missing key is not guarded", kinds.Counters, Optimistic, "_apply", _unguarded_reads),
    Mutant("only the last key read is guarded", kinds.Transfers, Optimistic, "_apply", _last_read_guarded),
    Mutant("an error from keys of two moments is told", kinds.Transfers, Optimistic, "_apply", _no_check_of_reads),
    Mutant("a value is set again without a mark", kinds.Sets, Changing, "set", _blind_put),
    Mutant(
        "a block is used though it may not be reserved", kinds.Numbers, Numbering, "_reserve", _block_of_unknown_outcome
    ),
    Mutant("a block is reserved unguarded", kinds.Numbers, Numbering, "_reserve", _unguarded_block),
    Mutant("a former runner's result is kept", _paused, once, "Commit", _result_unguarded),
    Mutant("a run that is done leaves its ticket", kinds.Runs, once, "Commit", _ticket_left),
    Mutant("another runner's result counts as the own", _paused, once, "_result", _any_conflict_is_mine),
    Mutant("nobody waits for a runner", kinds.Runs, UntilDone, "blocker", _all_at_once),
    Mutant("a slot is taken unguarded", kinds.Slotted, schedule, "Commit", _slot_unguarded),
    Mutant("a slot of unknown outcome counts as taken", kinds.Slotted, schedule.Slots, "_claim", _unknown_slot_is_mine),
    Mutant("a slot has no taker", kinds.Slotted, schedule.Slots, "_claim", _same_slot_is_mine),
    Mutant("a mark is written unguarded", kinds.Transfers, _marks.Mark, "unchanged", _unguarded_mark),
]


def explore(mutant: Mutant) -> None:
    """Look for the fault: completely without a fault, then by seed."""
    explore_all(mutant.scenario, most_faults=0)
    explore_some(mutant.scenario, runs=3_000, seed=1, faults=UNKNOWN, most_faults=mutant.most_faults)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.what)
def test_the_exploration_sees(mutant: Mutant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mutant.owner, mutant.name, mutant.change(getattr(mutant.owner, mutant.name)))
    with pytest.raises(Violation):
        explore(mutant)
