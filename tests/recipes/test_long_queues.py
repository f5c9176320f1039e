"""What a handover costs when many wait: one of them looks, and reads a page. Counted in steps on the memory store."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

import tenure
import tenure_memory
from tenure import Store
from tenure._runtime.clock import TimeLimit
from tenure._steps.effects import Commit, Effect, Hear, ListKeys, Sleep, Steps, WaitUntil
from tenure._steps.threads import perform, run
from tenure.errors import Conflict
from tenure.recipes import _names, _queue, _ticket_names
from tenure.recipes._acquirable import Contest
from tenure.recipes._janitor import janitor_of
from tenure.recipes._owner import owner_value
from tenure.recipes._queue import Acquired, Queue, Turn
from tenure.recipes._single_key import SingleKey
from tenure.recipes.election import Campaign, InOrderOrHeir
from tenure.recipes.lock import InOrder
from tenure.recipes.read_write_lock import ReadersTogether
from tenure.recipes.session import Session

FOLDER = _names.folder("lock", "long")
MANY = 300
PAGE = 64


@pytest.fixture
def store() -> Iterator[Store]:
    name = f"long-{uuid.uuid4().hex}"
    with tenure.connect(f"memory://{name}") as opened:
        yield opened
    tenure_memory.forget(name)


class Waiter:
    """A participant whose steps stop at each wait, with what they read on the way there."""

    def __init__(self, store: Store, contest: Contest, value: bytes) -> None:
        self._store = store
        self.steps: Steps[Acquired] = contest.acquire(value, TimeLimit(store.clock, None))
        self.effect: Effect[Any] | None = None
        self.held: Acquired | None = None
        self.read = self.commits = 0
        self._go_on(None)

    @property
    def waits_for(self) -> str:
        """The key or the prefix that it watches, empty once it holds."""
        return self.effect.prefix if isinstance(self.effect, WaitUntil) else ""

    @property
    def woken(self) -> bool:
        """Whether what it watches has changed so that it looks again."""
        assert isinstance(self.effect, WaitUntil)
        found = self._store.list(self.effect.prefix).items
        return self.effect.ready({one.key: one for one in found if not self.effect.exact or one.key == self.waits_for})

    def look(self) -> None:
        """Look again, as it was woken."""
        self.read = self.commits = 0
        self._go_on(True)

    def _go_on(self, result: Any) -> None:
        error: BaseException | None = None
        try:
            while True:
                effect = self.steps.send(result) if error is None else self.steps.throw(error)
                self.effect, result, error = effect, None, None
                if isinstance(effect, WaitUntil):
                    return
                if isinstance(effect, Sleep | Hear):  # as one that is alone in its process
                    continue
                try:
                    result = perform(self._store, effect)
                except Conflict as exc:
                    error = exc
                self.read += len(result) if isinstance(effect, ListKeys) and result is not None else 0
                self.commits += isinstance(effect, Commit)
        except StopIteration as stop:
            self.effect, self.held = None, stop.value


def waiting(store: Store, turn: Turn, count: int, **fields: Any) -> list[Waiter]:
    """Let participants ask, one after the other."""
    session = Session.open(store)
    janitor = janitor_of(store)
    queues = [Queue(store, FOLDER, "it", turn, janitor, session) for _ in range(count)]
    contests: list[Contest] = [Campaign(one) if isinstance(turn, InOrderOrHeir) else one for one in queues]
    return [Waiter(store, contest, owner_value(f"p{n}", **fields)) for n, contest in enumerate(contests)]


def leave(store: Store, one: Waiter) -> str:
    """Remove the ticket of one that holds or waits, as its release or its end does. Returns its key."""
    assert one.steps.gi_frame is not None or one.held is not None  # type: ignore[attr-defined]
    key = one.held.ticket.key if one.held is not None else one.steps.gi_frame.f_locals["attempt"].key  # type: ignore[attr-defined]
    store.delete(key)
    return str(key)


@pytest.mark.parametrize("turn", [InOrder(), ReadersTogether()], ids=["lock", "writers"])
def test_a_handover_wakes_one_that_reads_a_page(store: Store, turn: Turn) -> None:
    waiters = waiting(store, turn, MANY)
    for one, following in itertools.pairwise(waiters[:40]):
        assert one.held is not None
        assert following.waits_for == leave(store, one)
        assert sum(other.woken for other in waiters if other.waits_for) == 1
        following.look()
        assert following.read <= PAGE
        assert following.commits <= 1  # asks for some that came at the same time


def test_a_newcomer_does_not_read_the_whole_queue(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    now = itertools.count()
    monkeypatch.setattr(_ticket_names, "wall_clock", lambda: float(next(now)) * 2)  # one comes each other second
    waiters = waiting(store, InOrder(), MANY)
    assert max(one.read for one in waiters) <= PAGE + 16


def test_one_that_leaves_in_the_middle_is_noticed_by_its_follower_alone(store: Store) -> None:
    waiters = waiting(store, InOrder(), MANY)
    for number in (150, 149):
        gone, follower = waiters.pop(number), waiters[number]
        key = leave(store, gone)
        assert [one for one in waiters if one.waits_for and one.woken] == [follower]
        assert follower.waits_for == key
        follower.look()
        assert follower.held is None
        assert follower.waits_for == waiters[number - 1].steps.gi_frame.f_locals["attempt"].key  # type: ignore[attr-defined]


def test_one_with_a_later_name_is_in_the_way_of_those_that_came_after_it(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = iter(["7" * 16, "5" * 16, "3" * 16])
    monkeypatch.setattr(_queue, "new_name", lambda: next(names))
    session = Session.open(store)
    queue = Queue(store, FOLDER, "it", InOrder(), janitor_of(store), session, page=1)
    holder, second, third = (Waiter(store, queue, owner_value(None)) for _ in range(3))
    assert holder.held is not None
    assert third.waits_for == leave(store, second)
    third.look()
    assert third.held is None
    assert third.waits_for == leave(store, holder)
    third.look()
    assert third.held is not None


def test_a_leader_calls_the_candidate_that_it_hands_over_to(store: Store) -> None:
    leader, *candidates = waiting(store, InOrderOrHeir(), 5)
    assert leader.held is not None
    campaign = Campaign(Queue(store, FOLDER, "it", InOrderOrHeir(), janitor_of(store), None))
    assert run(store, campaign.hand_over(leader.held, "p3", TimeLimit(store.clock, None)))
    assert [one.woken for one in candidates] == [
        True,
        False,
        True,
        True,
    ]  # the next one, the heir, and the one behind it
    candidates[0].look()
    assert candidates[0].held is None
    candidates[2].look()
    assert candidates[2].held is not None


def test_candidates_watch_the_one_before_them(store: Store) -> None:
    waiters = waiting(store, InOrderOrHeir(), 50)
    assert len({one.waits_for for one in waiters[1:]}) == 49
    leave(store, waiters[0])
    waiters[1].look()
    assert waiters[1].held is not None
    # A leader marks its ticket. The candidate behind it sees that, and goes on waiting.
    assert not any(one.woken for one in waiters[2:])


def test_a_name_that_another_participant_has_is_given_up(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    names = iter(["0" * 16, "0" * 16, "0" * 16, "1" * 16])
    monkeypatch.setattr(_queue, "new_name", lambda: next(names))
    queues = [Queue(store, FOLDER, "it", InOrder(), janitor_of(store), Session.open(store)) for _ in range(2)]
    one, other = (Waiter(store, queue, owner_value(None)) for queue in queues)
    assert one.held is not None
    assert other.waits_for == one.held.ticket.key
    assert len(store.list(FOLDER)) == 2


def test_those_that_lost_an_unfair_lock_look_away_ever_longer(store: Store) -> None:
    holder = SingleKey(store, FOLDER, "it", janitor_of(store), None)
    limit = TimeLimit(store.clock, None)
    held = run(store, holder.acquire(b"{}", limit))
    steps = SingleKey(store, FOLDER, "it", janitor_of(store), None).acquire(b"{}", limit)
    absences: list[float] = []
    result: Any = None
    error: BaseException | None = None
    turns = 0
    while sum(absences) < 0.5:
        turns += 1
        assert turns < 1_000, "it never looks away for long"
        effect = steps.send(result) if error is None else steps.throw(error)
        error, result = None, True  # another was quicker each time
        if isinstance(effect, Sleep):
            absences.append(effect.seconds)
        elif not isinstance(effect, WaitUntil):
            try:
                result = perform(store, effect)
            except Conflict as exc:
                error = exc
    assert max(absences[:2]) < 0.01
    assert max(absences) <= 0.25
    assert run(store, holder.release(replace(held), limit))
