"""What a holder passes on is not its own any more before the store can have given it to another."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

import tenure
import tenure_memory
from tenure import Store
from tenure._runtime.clock import TimeLimit
from tenure._steps.effects import Commit, Steps
from tenure._steps.threads import perform
from tenure.errors import AlreadyHeld, DeadlineExceeded, LeaseLost, OutcomeUnknown
from tenure.recipes.multi_lock import AllHeld
from tenure_testkit.waiting import until


@pytest.fixture
def store() -> Iterator[Store]:
    name = f"passing-{uuid.uuid4().hex}"
    with tenure.connect(f"memory://{name}") as opened:
        yield opened
    tenure_memory.forget(name)


def _to_the_commit(store: Store, steps: Steps[Any]) -> Commit:
    """Perform steps until they ask for a commit."""
    effect = next(steps)
    while not isinstance(effect, Commit):
        effect = steps.send(perform(store, effect))
    return effect


class _Passing:
    """A term that is being handed over, or a write side that becomes the read side: at the commit that does it."""

    def __init__(self, store: Store, what: str) -> None:
        limit = TimeLimit(store.clock, None)
        self.store = store
        self.acquire_again: Callable[[], Any]
        if what == "term":
            one = tenure.Election(store, "e", candidate="one")
            self.held = one.campaign()
            heir = tenure.Election(store, "e", candidate="heir")._steps._contest
            self.waiting = heir.acquire(tenure.Election(store, "e", candidate="heir")._value, limit)
            perform(store, _to_the_commit(store, self.waiting))
            self.steps: Steps[Any] = one._steps.hand_over("heir", limit)
            self.acquire_again = lambda: one.campaign(timeout=0.1)
        else:
            lock = tenure.ReadWriteLock(store, "l")
            self.held = lock.write.acquire()
            self.steps = lock.read._steps.move(
                lambda held: lock._queue.change(held, value=lock.read._value, limit=limit)
            )
            self.acquire_again = lambda: lock.write.acquire(timeout=0.1)
        self.commit = _to_the_commit(store, self.steps)


@pytest.fixture(params=["term", "write side"])
def passing(request: pytest.FixtureRequest, store: Store) -> _Passing:
    return _Passing(store, request.param)


def test_it_is_not_held_while_the_store_passes_it_on(passing: _Passing) -> None:
    assert not passing.held.held
    assert passing.held.remaining == 0.0
    with pytest.raises(LeaseLost, match="handed over"):
        passing.held.check()
    with pytest.raises(AlreadyHeld):
        passing.acquire_again()


def test_it_is_held_again_if_the_store_was_not_reached(passing: _Passing) -> None:
    with pytest.raises(DeadlineExceeded):
        passing.steps.throw(DeadlineExceeded("handing over: no store"))
    assert passing.held.held
    passing.held.check()


@pytest.mark.parametrize("error", [KeyboardInterrupt, lambda: OutcomeUnknown("handing over: no answer")])
def test_it_is_not_held_after_an_interrupt_or_a_lost_answer(
    passing: _Passing, error: Callable[[], BaseException]
) -> None:
    perform(passing.store, passing.commit)
    raised = error()
    with suppress(type(raised), StopIteration):  # what the lost answer told may be found out
        effect = passing.steps.throw(raised)
        while True:
            effect = passing.steps.send(perform(passing.store, effect))
    assert not passing.held.held


@pytest.mark.parametrize("error", [KeyboardInterrupt, lambda: LeaseLost("handing over: it has gone")])
def test_its_loss_is_told_if_passing_it_on_fails(passing: _Passing, error: Callable[[], BaseException]) -> None:
    told: list[str] = []
    passing.held.on_lost(lambda: told.append("lost"))
    raised = error()
    with pytest.raises(type(raised)):
        passing.steps.throw(raised)
    until(lambda: told, what="the holder is told")
    assert passing.held.lost
    assert passing.held.wait_until_lost(0)
    assert not passing.held.release()
    assert told == ["lost"]


def test_nothing_is_told_of_what_was_passed_on(passing: _Passing) -> None:
    told: list[str] = []
    passing.held.on_lost(lambda: told.append("lost"))
    with suppress(StopIteration):
        passing.steps.send(perform(passing.store, passing.commit))
    passing.store.close()  # runs what is to be called
    assert told == []


def test_an_interrupted_hand_over_that_was_not_applied_leaves_no_leader(store: Store) -> None:
    passing = _Passing(store, "term")
    with pytest.raises(KeyboardInterrupt):
        passing.steps.throw(KeyboardInterrupt())
    until(lambda: store.get(passing.held.key) is None, what="the term's key is gone")


def test_several_locks_are_seen_by_other_threads_with_the_guard_of_each(store: Store, monkeypatch: Any) -> None:
    locks = tenure.MultiLock(store, ["a", "b"])
    seen: list[object] = []

    def note(held: AllHeld, parts: object) -> None:
        seen.append(locks.held)  # what another thread would see at this moment
        vars(held)["parts"] = parts

    monkeypatch.setattr(AllHeld, "parts", property(lambda held: vars(held)["parts"], note))
    with locks.hold():
        assert seen == [None]


def _given_back(store: Store) -> None:
    with tenure.Lock(store, "l").hold() as held:
        held.release()


def _moved_down(store: Store) -> None:
    files = tenure.ReadWriteLock(store, "l")
    with files.write.hold():
        reading = files.downgrade()
    assert reading.release()


def _handed_over(store: Store) -> None:
    election, heir = tenure.Election(store, "e"), tenure.Election(store, "e", candidate="heir")
    waiting = threading.Thread(target=heir.campaign)
    with election.lead():
        waiting.start()
        until(lambda: election.hand_over("heir"))
    waiting.join()
    assert heir.term is not None
    heir.term.release()


@pytest.mark.parametrize("block", [_given_back, _moved_down, _handed_over])
def test_leaving_a_block_that_gave_it_away_is_no_loss(store: Store, block: Callable[[Store], None]) -> None:
    block(store)
    assert not store.list().keys


def test_leaving_a_block_that_released_too_late_is_a_loss(store: Store) -> None:
    session = tenure.Session.open(store, ttl=30)
    kept = []
    with pytest.raises(LeaseLost, match="before the end"), tenure.Lock(store, "l", session=session).hold() as held:
        kept.append(session.close() or held.release())
    assert kept == [False]


def test_an_heir_may_have_attached_half_a_character(store: Store) -> None:
    election = tenure.Election(store, "e")
    term = election.campaign()
    store.put(f"tenure/election/e/{'0' * 16}", b'{"owner": "heir", "data": "\\udfff"}')
    assert election.hand_over("heir")
    assert not term.held
