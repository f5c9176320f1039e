"""Double barriers, latches and several locks at once with a fault in them: the exploration finds each one."""

from __future__ import annotations

import json
import secrets
from dataclasses import replace
from typing import Any

import pytest

from tenure._runtime.clock import TimeLimit
from tenure._steps.effects import Commit, Effect, Steps, WaitUntil
from tenure.errors import OutcomeUnknown, Unavailable, WaitTimeout
from tenure.recipes import multi_lock
from tenure.recipes._meeting import Gathering, Meeting, name_of, round_of
from tenure.recipes._messages import Head, Messages
from tenure.recipes._queue import Acquired, Queue, Ticket, View
from tenure.recipes.count_down_latch import Latch
from tenure.recipes.multi_lock import AllInOrder
from tenure.spi.types import Put
from tenure_testkit.exploration import Fault, World
from tenure_testkit.meeting_scenarios import CountsDown, LocksSeveral, Meets, Publishes
from tenure_testkit.recipe_mutants import Mutants, alter

MUTANTS = Mutants()


# -- the double barrier --


@MUTANTS.add(Meets)
def round_is_announced_with_one_member_too_few(patch: pytest.MonkeyPatch) -> None:
    def complete(gathering: Gathering, view: View, mine: Ticket) -> Any:
        return tuple(map(name_of, view.tickets)), view.tickets

    patch.setattr(Gathering, "_complete", complete)


@MUTANTS.add(Meets)
def quick_member_leaves_others_behind(patch: pytest.MonkeyPatch) -> None:
    def leave(meeting: Meeting, entered: Acquired, limit: TimeLimit) -> Steps[None]:
        yield from meeting.queue.release(entered, limit)
        others = {meeting.queue.folder + name for name in round_of(entered.ticket)}
        yield from WaitUntil(meeting.queue.folder, lambda present: not others & present.keys(), limit, None)

    patch.setattr(Meeting, "_leave", leave)


@MUTANTS.add(lambda: Meets(2, hasty=1))
def member_whose_time_is_up_does_not_withdraw(patch: pytest.MonkeyPatch) -> None:
    def last_look(meeting: Meeting, attempt: Any) -> Steps[Acquired]:
        raise WaitTimeout("its time is up")
        yield

    patch.setattr(Meeting, "_last_look", last_look)


@MUTANTS.add(Meets)
def member_does_not_wait_for_the_others_to_leave(patch: pytest.MonkeyPatch) -> None:
    def leave(meeting: Meeting, entered: Acquired, limit: TimeLimit) -> Steps[None]:
        yield from meeting.queue.release(entered, limit)

    patch.setattr(Meeting, "_leave", leave)


@MUTANTS.add(Meets, Fault.CRASH)
def dead_member_stays(patch: pytest.MonkeyPatch) -> None:
    def without_lease(effect: Effect[Any]) -> Effect[Any]:
        if not isinstance(effect, Commit):
            return effect
        puts = tuple(replace(one, lease_id=None) if isinstance(one, Put) else one for one in effect.operations)
        return replace(effect, operations=puts)

    alter(patch, Queue, "_put", without_lease)
    alter(patch, Meeting, "_announce", without_lease)


@MUTANTS.add(Meets, Fault.CANCEL)
def cancelled_member_leaves_its_ticket(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(World, "remove", lambda *args, **kwargs: None)


@MUTANTS.add(Meets)
def member_does_not_look_again_after_its_announcement(patch: pytest.MonkeyPatch) -> None:
    def enter(meeting: Meeting, value: bytes, limit: TimeLimit) -> Steps[Acquired]:
        attempt = yield from meeting.queue.enter(value, limit)
        acquired = yield from meeting.queue.await_turn(attempt, limit)
        assert meeting._gathering.seen is not None
        yield from meeting._announce(acquired.ticket, meeting._gathering.seen, attempt, limit)
        return acquired

    patch.setattr(Meeting, "_enter", enter)


# -- the latch --


@MUTANTS.add(CountsDown, Fault.APPLIED)
def lost_answer_counts_twice(patch: pytest.MonkeyPatch) -> None:
    def put(latch: Latch, key: str, limit: TimeLimit) -> Steps[None]:
        while True:
            try:
                yield from Commit((), (Put(latch.folder + secrets.token_hex(8), b""),), limit)
            except (OutcomeUnknown, Unavailable):
                continue
            return

    patch.setattr(Latch, "_put", put)


@MUTANTS.add(CountsDown, Fault.APPLIED)
def failed_count_down_is_forgotten(patch: pytest.MonkeyPatch) -> None:
    def count_down(latch: Latch, limit: TimeLimit) -> Steps[int]:
        latch._unknown.clear()
        yield from Commit((), (Put(latch.folder + secrets.token_hex(8), b""),), limit)
        return (yield from latch.remaining(limit))

    patch.setattr(Latch, "count_down", count_down)


@MUTANTS.add(CountsDown, Fault.NOT_APPLIED)
def lost_answer_is_taken_for_done(patch: pytest.MonkeyPatch) -> None:
    def put(latch: Latch, key: str, limit: TimeLimit) -> Steps[None]:
        try:
            yield from Commit((), (Put(key, b""),), limit)
        except OutcomeUnknown:
            return

    patch.setattr(Latch, "_put", put)


@MUTANTS.add(CountsDown)
def latch_opens_one_too_early(patch: pytest.MonkeyPatch) -> None:
    def early(effect: Effect[Any]) -> Effect[Any]:
        if not isinstance(effect, WaitUntil):
            return effect
        return replace(effect, ready=lambda present: len(present) >= 1)

    alter(patch, Latch, "wait", early)


# -- several locks --


@MUTANTS.add(lambda: LocksSeveral((("a", "b"), ("b", "a"))))
def locks_are_acquired_in_the_order_of_the_call(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(multi_lock, "in_order", tuple)


@MUTANTS.add(LocksSeveral, Fault.CANCEL)
def locks_before_the_one_that_failed_stay(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(AllInOrder, "_leave", lambda contest, parts: None)


@MUTANTS.add(LocksSeveral)
def only_the_last_lock_is_released(patch: pytest.MonkeyPatch) -> None:
    def release(contest: AllInOrder, held: Any, limit: TimeLimit) -> Steps[bool]:
        return (yield from contest.queues[-1].release(held.parts[-1], limit))

    patch.setattr(AllInOrder, "release", release)


@MUTANTS.add(lambda: LocksSeveral((("a", "b"), ("a",))))
def only_the_last_lock_is_acquired(patch: pytest.MonkeyPatch) -> None:
    def acquire(contest: AllInOrder, value: bytes, limit: TimeLimit) -> Steps[Any]:
        last = AllInOrder(contest.queues[-1:])
        return (yield from right(last, value, limit))

    right = AllInOrder.acquire
    patch.setattr(AllInOrder, "acquire", acquire)


# -- the bus --


@MUTANTS.add(Publishes)
def publisher_does_not_look_whether_another_was_quicker(patch: pytest.MonkeyPatch) -> None:
    def unguarded(effect: Effect[Any]) -> Effect[Any]:
        return replace(effect, preconditions=()) if isinstance(effect, Commit) else effect

    alter(patch, Messages, "publish", unguarded)


@MUTANTS.add(Publishes, Fault.APPLIED)
def message_is_published_again_after_a_lost_answer(patch: pytest.MonkeyPatch) -> None:
    def find(messages: Messages, attempt: Any, head: Any, limit: TimeLimit) -> Steps[bool]:
        return False
        yield

    patch.setattr(Messages, "_find", find)


@MUTANTS.add(Publishes, Fault.NOT_APPLIED)
def lost_message_is_taken_for_published(patch: pytest.MonkeyPatch) -> None:
    def find(messages: Messages, attempt: Any, head: Any, limit: TimeLimit) -> Steps[bool]:
        return True
        yield

    patch.setattr(Messages, "_find", find)


@MUTANTS.add(lambda: Publishes(2, each=2, most=1), Fault.LATE, by_seed=True)
def message_that_was_trimmed_meanwhile_is_published_again(patch: pytest.MonkeyPatch) -> None:
    def find(messages: Messages, attempt: Any, head: Head, limit: TimeLimit) -> Steps[bool | None]:
        return (yield from right(messages, attempt, head._replace(last=0), limit))

    right = Messages._find
    patch.setattr(Messages, "_find", find)


@MUTANTS.add(lambda: Publishes(2, each=2, most=1))
def head_forgets_what_was_trimmed(patch: pytest.MonkeyPatch) -> None:
    def first_of_all(effect: Effect[Any]) -> Effect[Any]:
        if not isinstance(effect, Commit):
            return effect
        head, *others = effect.operations
        assert isinstance(head, Put)
        wrong = replace(head, value=json.dumps({**json.loads(head.value), "first": 1}).encode())
        return replace(effect, operations=(wrong, *others))

    alter(patch, Messages, "publish", first_of_all)


@pytest.mark.parametrize("name", MUTANTS.by_name)
def test_the_exploration_finds_the_mutant(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    MUTANTS.find(name, monkeypatch)
