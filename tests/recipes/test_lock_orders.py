"""Locks in every order: two participants, and whatever can befall one of them at any step."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tenure._runtime.clock import TimeLimit
from tenure._steps.effects import Commit, Steps
from tenure.errors import Conflict, OutcomeUnknown, TenureError, Unavailable
from tenure.recipes import _names
from tenure.recipes._acquirable import Contest
from tenure.recipes._queue import Acquired, Queue
from tenure.recipes._single_key import SingleKey
from tenure.recipes.lock import InOrder
from tenure.spi.types import Put, RevisionEquals
from tenure_testkit.exploration import Cancelled, Mark, Scenario, World, explore_all

_FOLDER = _names.folder("lock", "l")


class LockScenario(Scenario):
    """Participants that each hold a lock once and write under its guard."""

    def __init__(self, count: int, *, fair: bool) -> None:
        self._count = count
        self._fair = fair
        self._inside: dict[str, Callable[[], bool]] = {}
        self._tokens: list[int] = []
        self._acknowledged: list[int] = []

    def begin(self, world: World) -> None:
        for number in range(self._count):
            name = f"p{number + 1}"
            session = world.session()
            contest: Contest
            if self._fair:
                contest = Queue(world.store, _FOLDER, "the lock", InOrder(), world, session)
            else:
                contest = SingleKey(world.store, f"{_FOLDER}holder", "the lock", world, session)
            world.add(name, self._take_part(world, name, contest), session)

    def check_end(self, world: World) -> None:
        left = world.store.list(_FOLDER).keys
        assert not left, f"{left} are left behind"
        written = world.store.get("resource")
        last = int(written.value) if written is not None else 0
        assert last >= max(self._acknowledged, default=0), "a former holder's write replaced a later one"
        for one in world.participants:
            assert one.crashed or one.error is None or isinstance(one.error, TenureError | Cancelled), one.error

    def _take_part(self, world: World, name: str, contest: Contest) -> Steps[None]:
        limit = TimeLimit(world.clock, None)
        held = yield from contest.acquire(name.encode(), limit)
        try:
            yield from Mark(lambda: self._enter(world, name, held))
            yield from self._write(held, limit)
        finally:
            # What ``with`` does, after a cancel as well. It counts as inside until its release has begun.
            self._inside.pop(name, None)
            yield from contest.release(held, limit)

    def _enter(self, world: World, name: str, held: Acquired) -> None:
        if not held.session.alive:
            return
        me = next(one for one in world.participants if one.name == name)
        others = [other for other, relies in self._inside.items() if relies()]
        assert not others, f"{name} holds the lock while {others} hold it"
        assert held.ticket.place > max(self._tokens, default=0), "a token did not grow"
        self._tokens.append(held.ticket.place)
        self._inside[name] = lambda: held.session.alive and not me.crashed

    def _write(self, held: Acquired, limit: TimeLimit) -> Steps[None]:
        token = held.ticket.place
        guard = RevisionEquals(held.ticket.key, token)
        try:
            yield from Commit((guard,), (Put("resource", str(token).encode()),), limit)
        except (Conflict, OutcomeUnknown, Unavailable):
            return
        self._acknowledged.append(token)


@pytest.mark.parametrize("fair", [True, False])
def test_two_participants_in_every_order_with_one_fault(fair: bool) -> None:
    result = explore_all(lambda: LockScenario(2, fair=fair), most_faults=1)
    assert result.complete
    print(result)
