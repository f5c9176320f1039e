"""Locks, semaphores and elections with a fault in them: the exploration finds each one.

A mutant replaces one step of a recipe by a wrong one. It names the scenario and the faults of the surroundings that
bring it to light. A mutant that isn't found says that the exploration is blind there.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tenure._runtime.clock import TimeLimit
from tenure._steps.effects import Commit, Effect, Steps
from tenure.errors import OutcomeUnknown, Unavailable
from tenure.recipes import _janitor, _queue
from tenure.recipes._queue import Acquired, Attempt, Queue, Ticket, View
from tenure.recipes._single_key import SingleKey
from tenure.recipes.election import Campaign, InOrderOrHeir, _marked
from tenure.recipes.lock import InOrder
from tenure.recipes.read_write_lock import ReadersTogether, is_reader
from tenure.recipes.semaphore import FirstOnes
from tenure.recipes.session import Session
from tenure.spi.types import Put
from tenure_testkit import recipe_scenarios as kinds
from tenure_testkit.exploration import Fault, Scenario, World
from tenure_testkit.recipe_mutants import Mutants, alter

MUTANTS = Mutants()


def holders(kind: Callable[..., kinds.Kind], *args: Any) -> Callable[[], Scenario]:
    """Return what makes a scenario of this kind."""
    return lambda: kinds.Holders(kind(*args))


def _unguarded(effect: Effect[Any]) -> Effect[Any]:
    return replace(effect, preconditions=()) if isinstance(effect, Commit) else effect


def _refused(error: BaseException) -> BaseException:
    return Unavailable("taken for refused") if isinstance(error, OutcomeUnknown) else error


# -- whose turn it is --


@MUTANTS.add(holders(kinds.lock, 3))
def lock_waits_for_the_ticket_before_its_predecessor(patch: pytest.MonkeyPatch) -> None:
    def blocker(turn: InOrder, view: View, mine: Ticket) -> Ticket | None:
        index = view.tickets.index(mine)
        return view.tickets[index - 2] if index > 1 else None

    patch.setattr(InOrder, "blocker", blocker)


@MUTANTS.add(holders(kinds.lock))
def queue_is_ordered_from_the_newest(patch: pytest.MonkeyPatch) -> None:
    def view_of(folder: str, items: Any) -> View:
        view = right(folder, items)
        return View(tuple(reversed(view.tickets)), view.settings)

    right = _queue.view_of
    patch.setattr(_queue, "view_of", view_of)


@MUTANTS.add(holders(kinds.lock, 3), Fault.CANCEL, by_seed=True)
def queue_does_not_list_again_after_the_wait(patch: pytest.MonkeyPatch) -> None:
    def acquire(queue: Queue, value: bytes, limit: TimeLimit) -> Steps[Acquired]:
        attempt = yield from queue.enter(value, limit)
        try:
            mine = yield from queue._find((view := (yield from queue._view(limit, attempt.session))), attempt)
            assert mine is not None
            blocker = queue.turn.blocker(view, mine)
            if blocker is not None:
                yield from queue._wait(blocker, limit, attempt.session)
            attempt.session.check()
            return Acquired(mine, attempt.session, attempt.uncertain)
        except BaseException:
            queue.janitor.remove(attempt.key, attempt.session, uncertain=attempt.uncertain)
            raise

    patch.setattr(Queue, "acquire", acquire)


@MUTANTS.add(holders(kinds.read_write_lock, "write", "read", "read"), by_seed=True)
def reader_looks_only_at_the_ticket_before_it(patch: pytest.MonkeyPatch) -> None:
    def blocker(turn: ReadersTogether, view: View, mine: Ticket) -> Ticket | None:
        before = view.before(mine)[-1:]
        return None if not before or (is_reader(mine) and is_reader(before[0])) else before[0]

    patch.setattr(ReadersTogether, "blocker", blocker)


@MUTANTS.add(holders(kinds.read_write_lock, "read", "write"))
def writer_does_not_wait_for_readers(patch: pytest.MonkeyPatch) -> None:
    def blocker(turn: ReadersTogether, view: View, mine: Ticket) -> Ticket | None:
        return next((ticket for ticket in reversed(view.before(mine)) if not is_reader(ticket)), None)

    patch.setattr(ReadersTogether, "blocker", blocker)


@MUTANTS.add(holders(kinds.semaphore, 2, 1))
def semaphore_gives_one_permit_too_many(patch: pytest.MonkeyPatch) -> None:
    def blocker(turn: FirstOnes, view: View, mine: Ticket) -> Ticket | None:
        return right(turn, view, mine) if len(view.before(mine)) > 1 else None

    right = FirstOnes.blocker
    patch.setattr(FirstOnes, "blocker", blocker)


# -- a part of a long queue --


@MUTANTS.add(holders(kinds.long_lock), Fault.CANCEL, by_seed=True)
def waiter_forgets_who_came_before_it_with_a_later_name(patch: pytest.MonkeyPatch) -> None:
    def note(attempt: Attempt, view: View, history: object) -> None:
        attempt.late, attempt.history = (), history

    patch.setattr(Attempt, "note", note)


@MUTANTS.add(holders(kinds.long_lock, 4, 2), Fault.CANCEL, by_seed=True)
def waiter_holds_if_its_part_of_the_queue_shows_no_other(patch: pytest.MonkeyPatch) -> None:
    def look(queue: Queue, attempt: Attempt, limit: TimeLimit) -> Steps[View | None]:
        after = attempt.key[:-1]
        return (yield from queue._view(limit, attempt.session, after=after, most=queue.page))

    patch.setattr(Queue, "_look_at_part", look)


# -- putting and removing tickets --


@MUTANTS.add(holders(kinds.lock), Fault.CRASH)
def ticket_is_on_no_lease(patch: pytest.MonkeyPatch) -> None:
    def without_lease(effect: Effect[Any]) -> Effect[Any]:
        if not isinstance(effect, Commit):
            return effect
        puts = tuple(replace(one, lease_id=None) if isinstance(one, Put) else one for one in effect.operations)
        return replace(effect, operations=puts)

    alter(patch, Queue, "_put", without_lease)


@MUTANTS.add(holders(kinds.lock), Fault.APPLIED)
def queue_takes_an_unknown_outcome_for_refused(patch: pytest.MonkeyPatch) -> None:
    alter(patch, Queue, "_put", error=_refused)


@MUTANTS.add(holders(kinds.lock), Fault.APPLIED)
def queue_takes_another_ticket_after_an_unknown_outcome(patch: pytest.MonkeyPatch) -> None:
    def put(queue: Queue, attempt: Any, value: bytes, limit: TimeLimit) -> Steps[None]:
        lease = attempt.session.lease
        while not attempt.place:
            put = Commit((), (Put(attempt.key, value, lease.id),), limit, lease)
            try:
                attempt.place = (yield from put).revision
            except OutcomeUnknown:
                attempt.key = queue.folder + secrets.token_hex(8)

    patch.setattr(Queue, "_put", put)


@MUTANTS.add(holders(kinds.lock), Fault.REFUSED)
def release_leaves_the_ticket_if_the_store_is_unavailable(patch: pytest.MonkeyPatch) -> None:
    def release(queue: Queue, held: Acquired, limit: TimeLimit) -> Steps[bool]:
        silent = replace(queue, janitor=_Idle())
        return (yield from right(silent, held, limit))

    right = Queue.release
    patch.setattr(Queue, "release", release)


class _Idle:
    def remove(self, key: str, session: Session, *, value: bytes | None = None, uncertain: bool = False) -> None:
        """Do nothing."""


# -- the session --


@MUTANTS.add(holders(kinds.unfair_lock), Fault.EXPIRE)
def unfair_lock_does_not_check_for_a_loss(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Session, "check", lambda session, margin=0.0: None)


# -- the single key --


@MUTANTS.add(holders(kinds.unfair_lock))
def unfair_lock_overwrites_the_holder(patch: pytest.MonkeyPatch) -> None:
    alter(patch, SingleKey, "_try", _unguarded)


@MUTANTS.add(holders(kinds.unfair_lock, 3), Fault.EXPIRE, by_seed=True)
def unfair_lock_is_released_without_a_guard(patch: pytest.MonkeyPatch) -> None:
    alter(patch, SingleKey, "release", _unguarded)


@MUTANTS.add(holders(kinds.unfair_lock), Fault.APPLIED)
def unfair_lock_takes_an_unknown_outcome_for_refused(patch: pytest.MonkeyPatch) -> None:
    alter(patch, SingleKey, "_try", error=_refused)


# -- the janitor --


@MUTANTS.add(holders(kinds.lock), Fault.CANCEL)
def no_janitor_comes_after_a_cancel(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(World, "remove", lambda *args, **kwargs: None)


@MUTANTS.add(holders(kinds.lock), Fault.LATE)
def janitor_looks_once(patch: pytest.MonkeyPatch) -> None:
    right = _janitor.remove
    patch.setattr(_janitor, "remove", lambda *args, **kwargs: right(*args, **{**kwargs, "uncertain": False}))


@MUTANTS.add(holders(kinds.unfair_lock), Fault.NOT_APPLIED)
def janitor_removes_what_another_holder_has_put(patch: pytest.MonkeyPatch) -> None:
    right = _janitor.remove
    patch.setattr(_janitor, "remove", lambda *args, **kwargs: right(*args, **{**kwargs, "value": None}))


# -- the election --


@MUTANTS.add(kinds.HandsOver)
def leader_has_the_revision_of_its_candidacy_for_a_token(patch: pytest.MonkeyPatch) -> None:
    def mark(campaign: Campaign, acquired: Acquired, value: bytes, limit: TimeLimit) -> Steps[Acquired]:
        marked = yield from right(campaign, acquired, value, limit)
        return replace(marked, ticket=replace(marked.ticket, revision=marked.ticket.place))

    right = Campaign._mark
    patch.setattr(Campaign, "_mark", mark)


@MUTANTS.add(lambda: kinds.HandsOver(3))
def leader_does_not_mark_its_ticket(patch: pytest.MonkeyPatch) -> None:
    def mark(campaign: Campaign, acquired: Acquired, value: bytes, limit: TimeLimit) -> Steps[Acquired]:
        return acquired
        yield

    patch.setattr(Campaign, "_mark", mark)


@MUTANTS.add(kinds.HandsOver, Fault.CANCEL)
def leader_hands_over_to_a_candidate_that_has_gone(patch: pytest.MonkeyPatch) -> None:
    def guarded_by_the_leader(effect: Effect[Any]) -> Effect[Any]:
        return replace(effect, preconditions=effect.preconditions[:1]) if isinstance(effect, Commit) else effect

    alter(patch, Campaign, "hand_over", guarded_by_the_leader)


@MUTANTS.add(kinds.HandsOver, Fault.NOT_APPLIED)
def handing_over_leaves_the_ticket_after_an_unknown_outcome(patch: pytest.MonkeyPatch) -> None:
    def hand_over(campaign: Campaign, held: Acquired, candidate: str, limit: TimeLimit) -> Steps[bool]:
        silent = Campaign(replace(campaign.queue, janitor=_Idle()))
        return (yield from right(silent, held, candidate, limit))

    right = Campaign.hand_over
    patch.setattr(Campaign, "hand_over", hand_over)


@MUTANTS.add(kinds.HandsOver, Fault.LATE, by_seed=True)
def handing_over_forgets_a_ticket_that_may_come_back(patch: pytest.MonkeyPatch) -> None:
    def hand_over(campaign: Campaign, held: Acquired, candidate: str, limit: TimeLimit) -> Steps[bool]:
        return (yield from right(campaign, replace(held, uncertain=False), candidate, limit))

    right = Campaign.hand_over
    patch.setattr(Campaign, "hand_over", hand_over)


@MUTANTS.add(lambda: kinds.HandsOver(3), by_seed=True)
def leader_does_not_call_the_candidate_that_it_names(patch: pytest.MonkeyPatch) -> None:
    def for_the_heir_alone(effect: Effect[Any]) -> Effect[Any]:
        if not isinstance(effect, Commit) or len(effect.operations) < 3:
            return effect
        end, _, heir = effect.operations
        return replace(effect, operations=(end, heir))

    alter(patch, Campaign, "hand_over", for_the_heir_alone)


@MUTANTS.add(lambda: kinds.HandsOver(3))
def others_do_not_wait_for_the_heir(patch: pytest.MonkeyPatch) -> None:
    def blocker(turn: InOrderOrHeir, view: View, mine: Ticket) -> Ticket | None:
        others = tuple(one for one in view.tickets if one.key == mine.key or not _marked(one, "heir"))
        return right(turn, View(others, view.settings), mine)

    right = InOrderOrHeir.blocker
    patch.setattr(InOrderOrHeir, "blocker", blocker)


@pytest.mark.parametrize("name", MUTANTS.by_name)
def test_the_exploration_finds_the_mutant(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    MUTANTS.find(name, monkeypatch)
