"""What applies exactly once, broken on purpose: the exploration has to find each mutant."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest

from tenure._steps.effects import Commit, Get, Steps
from tenure.errors import OutcomeUnknown
from tenure.recipes import once, schedule
from tenure.recipes._marks import Mark, MarkedCommits
from tenure.recipes._queue import View
from tenure.recipes.atomic_value import Changing
from tenure.recipes.id_block import Numbering
from tenure.recipes.transact import Optimistic, unchanged
from tenure.spi.types import KeyAbsent, Put
from tenure_testkit import counters_scenarios as kinds
from tenure_testkit.exploration import Fault, Scenario
from tenure_testkit.recipe_mutants import Mutants

MUTANTS = Mutants()


def _paused() -> Scenario:
    return kinds.Runs(paused=True)


def _unguarded(patch: pytest.MonkeyPatch, module: ModuleType) -> None:
    patch.setattr(module, "Commit", lambda preconditions, operations, limit: Commit((), operations, limit))


# -- operation marks --


@MUTANTS.add(kinds.Counters, Fault.APPLIED)
def a_lost_answer_counts_as_refused(patch: pytest.MonkeyPatch) -> None:
    _settle_as(patch, applied=False)


@MUTANTS.add(kinds.Counters, Fault.NOT_APPLIED)
def a_lost_answer_counts_as_applied(patch: pytest.MonkeyPatch) -> None:
    _settle_as(patch, applied=True)


def _settle_as(patch: pytest.MonkeyPatch, *, applied: bool) -> None:
    def settle(self: Any, mark: Mark, unknown: Any, limit: Any) -> Steps[bool]:
        return applied
        yield

    patch.setattr(MarkedCommits, "_settle", settle)


@MUTANTS.add(kinds.Counters, Fault.LATE)
def a_write_that_may_be_late_is_not_refused(patch: pytest.MonkeyPatch) -> None:
    def settle(self: Any, mark: Mark, unknown: Any, limit: Any) -> Steps[bool]:
        item = yield from Get(mark.key, limit)
        if item is None or item.mod_revision == mark.revision:
            return False
        mark.revision = item.mod_revision
        return True

    patch.setattr(MarkedCommits, "_settle", settle)


@MUTANTS.add(kinds.Counters, Fault.NOT_APPLIED, Fault.APPLIED)
def the_put_that_refuses_is_taken_for_the_write(patch: pytest.MonkeyPatch) -> None:
    right = Mark.next

    def next_put(self: Mark) -> Put:
        put = right(self)
        self.number = 1
        return replace(put, value=b"1")

    patch.setattr(Mark, "next", next_put)


@MUTANTS.add(kinds.Counters, Fault.LATE)
def a_mark_is_written_unguarded(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Mark, "unchanged", lambda self: KeyAbsent("nothing"))


@MUTANTS.add(lambda: kinds.Counters(calls=2), Fault.CANCEL)
def the_mark_of_a_cancelled_call_stays(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(kinds.Counters, "janitor", lambda self, world: _Idle())


class _Idle:
    def remove(self, *args: object, **more: object) -> None:
        """Remove nothing."""


# -- transactions, values, ids --


@MUTANTS.add(kinds.Counters)
def a_missing_key_is_not_guarded(patch: pytest.MonkeyPatch) -> None:
    _apply_with(patch, lambda read: {key: item for key, item in read.items() if item is not None})


@MUTANTS.add(kinds.Transfers)
def only_the_last_key_read_is_guarded(patch: pytest.MonkeyPatch) -> None:
    _apply_with(patch, lambda read: dict(list(read.items())[-1:]))


def _apply_with(patch: pytest.MonkeyPatch, change: Any) -> None:
    right = Optimistic._apply
    patch.setattr(
        Optimistic, "_apply", lambda self, read, operations, limit: right(self, change(read), operations, limit)
    )


@MUTANTS.add(kinds.Transfers)
def an_error_from_keys_of_two_moments_is_told(patch: pytest.MonkeyPatch) -> None:
    right = Optimistic._apply

    def apply(self: Optimistic, read: Any, operations: Any, limit: Any) -> Steps[bool]:
        return not operations or (yield from right(self, read, operations, limit))

    patch.setattr(Optimistic, "_apply", apply)


@MUTANTS.add(kinds.Sets, Fault.LATE)
def a_value_is_set_again_without_a_mark(patch: pytest.MonkeyPatch) -> None:
    def set_value(self: Changing, value: bytes, limit: Any) -> Steps[None]:
        while True:
            with suppress(OutcomeUnknown):
                yield from Commit((), (Put(self._key, value),), limit)
                return

    patch.setattr(Changing, "set", set_value)


@MUTANTS.add(kinds.Numbers, Fault.NOT_APPLIED)
def a_block_of_unknown_outcome_is_used(patch: pytest.MonkeyPatch) -> None:
    def reserve(self: Numbering, limit: Any) -> Steps[range]:
        item = yield from Get(self._key, limit)
        last = (int(item.value) if item else 0) + self._size
        with suppress(OutcomeUnknown):
            yield from Commit((unchanged(self._key, item),), (Put(self._key, str(last).encode()),), limit)
        return range(last - self._size + 1, last + 1)

    patch.setattr(Numbering, "_reserve", reserve)


@MUTANTS.add(kinds.Numbers)
def a_block_is_reserved_unguarded(patch: pytest.MonkeyPatch) -> None:
    def reserve(self: Numbering, limit: Any) -> Steps[range]:
        item = yield from Get(self._key, limit)
        last = (int(item.value) if item else 0) + self._size
        yield from Commit((), (Put(self._key, str(last).encode()),), limit)
        return range(last - self._size + 1, last + 1)

    patch.setattr(Numbering, "_reserve", reserve)


# -- what runs once, and slots --


@MUTANTS.add(_paused)
def the_result_of_a_former_runner_is_kept(patch: pytest.MonkeyPatch) -> None:
    _unguarded(patch, once)


@MUTANTS.add(_paused)
def the_result_of_another_runner_counts_as_the_own(patch: pytest.MonkeyPatch) -> None:
    right = once._result
    patch.setattr(once, "_result", lambda value: (_Anything(), right(value)[1]))


class _Anything:
    def __ne__(self, other: object) -> bool:
        return False


@MUTANTS.add(kinds.Runs)
def a_run_that_is_done_leaves_its_ticket(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(once, "Commit", lambda preconditions, operations, limit: Commit(preconditions, operations[:1], limit))


@MUTANTS.add(kinds.Runs)
def nobody_waits_for_a_runner(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(once.UntilDone, "blocker", lambda self, view, mine: None)
    patch.setattr(View, "before", lambda self, mine: ())


@MUTANTS.add(kinds.Slotted)
def a_slot_is_taken_unguarded(patch: pytest.MonkeyPatch) -> None:
    _unguarded(patch, schedule)


@MUTANTS.add(kinds.Slotted, Fault.NOT_APPLIED)
def a_slot_of_unknown_outcome_counts_as_taken(patch: pytest.MonkeyPatch) -> None:
    right = schedule.Slots._claim

    def claim(self: schedule.Slots, slot: Any, me: str, limit: Any) -> Steps[bool]:
        try:
            return (yield from right(self, slot, me, limit))
        except OutcomeUnknown:
            return True

    patch.setattr(schedule.Slots, "_claim", claim)


@MUTANTS.add(kinds.Slotted)
def a_slot_does_not_tell_who_took_it(patch: pytest.MonkeyPatch) -> None:
    right = schedule.Slots._claim
    patch.setattr(schedule.Slots, "_claim", lambda self, slot, me, limit: right(self, slot, "somebody", limit))


@pytest.mark.parametrize("name", MUTANTS.by_name)
def test_the_exploration_finds(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    MUTANTS.find(name, monkeypatch)
