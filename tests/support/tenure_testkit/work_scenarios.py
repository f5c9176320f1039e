"""Scenarios for exploring what shares work: producers and consumers of a queue."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from tenure._runtime.clock import TimeLimit
from tenure._steps.effects import Steps
from tenure.errors import Conflict, LeaseLost, OutcomeUnknown, TenureError
from tenure.recipes import _names
from tenure.recipes._work_claims import claim
from tenure.recipes._work_items import Layout, items_of
from tenure.recipes._work_puts import put
from tenure.recipes.session import Session
from tenure.recipes.work_queue import ClaimState
from tenure_testkit.exploration import Cancelled, Mark, Participant, Scenario, World

QUEUE = _names.folder("queue", "explored")


@dataclass
class WorkQueue(Scenario):
    """Producers that each put an item, and consumers that each do some.

    Attributes:
        name: what is explored.
        before: items that are there from the beginning.
        producers: how many put an item.
        consumers: how many items each consumer tries to do.
        wait: whether consumers wait for an item. There have to be enough for each.
        places: the bound of the queue.
    """

    name: str
    before: int = 1
    producers: int = 0
    consumers: tuple[int, ...] = (1, 1)
    wait: bool = False
    places: int = 3
    _inside: dict[str, tuple[bytes, ClaimState, Participant]] = field(default_factory=dict)
    _acknowledged: list[bytes] = field(default_factory=list)

    def begin(self, world: World) -> None:
        random.seed(1)  # places are chosen at random; the trace has to repeat the run
        for number in range(self.before):
            self._put_at_once(world, f"before{number}")
        for number in range(self.producers):
            name, session = f"producer{number}", world.session()
            world.add(name, self._put(world, name, session), session)
        for number, rounds in enumerate(self.consumers):
            name, session = f"consumer{number}", world.session()
            world.add(name, self._consume(world, name, session, rounds), session)

    def check_end(self, world: World) -> None:
        there = world.store.list(QUEUE).keys
        left = [key for key in there if "/putting/" in key or key.endswith(".claim")]
        assert not left, f"{left} are left behind"
        queued = [world.store.get(QUEUE + f"data/{item.place}") for item in items_of(world.store.list(QUEUE).items)]
        values = [item.value.decode() for item in queued if item is not None]
        assert len(values) == len(queued) == len(there) // 2, "an item without a value, or a value without an item"
        done = {item.key.removeprefix("done/"): item for item in world.store.list("done/")}
        for name, item in done.items():
            assert item.create_revision == item.mod_revision, f"{name} was acknowledged twice"
            assert name not in values, f"{name} was acknowledged, and is still there"
        assert len(values) == len(set(values)), f"an item is there twice: {values}"
        assert done.keys() >= {value.decode() for value in self._acknowledged}, "an acknowledged write is missing"
        for number in range(self.before):
            assert f"before{number}" in {*values, *done}, f"item {number} was lost"
        for one in world.participants:
            if one.name.startswith("producer") and not one.crashed:
                self._check_put(one, one.name in {*values, *done})

    def _check_put(self, producer: Participant, there: bool) -> None:
        if producer.error is None:
            assert there, f"the item of {producer.name} was lost"
        elif not isinstance(producer.error, OutcomeUnknown | Cancelled):
            assert not there, f"{producer.name} was told that its item was not put, but it was: {producer.error!r}"

    def _layout(self, world: World, session: Session) -> Layout:
        return Layout(world.store, QUEUE, "the queue", self.places, world, session, world.clock.now)

    def _put_at_once(self, world: World, name: str) -> None:
        session = world.session()
        one = world.add(name, self._put(world, name, session), session)
        while not one.done:
            world.act(one, None)
        world.participants.remove(one)

    def _put(self, world: World, name: str, session: Session) -> Steps[str]:
        limit = TimeLimit(world.clock, None)
        return put(self._layout(world, session), name.encode(), limit, priority=0, delay=0.0, attempts=9)

    def _consume(self, world: World, name: str, session: Session, rounds: int) -> Steps[None]:
        limit = TimeLimit(world.clock, None)
        layout = self._layout(world, session)
        for _ in range(rounds):
            claimed = yield from claim(layout, name, limit, wait=self.wait)
            if claimed is None:
                continue
            held = ClaimState(layout, "explored", claimed)
            try:
                yield from Mark(lambda held=held: self._enter(world, name, held))  # type: ignore[misc]
                writes = world.store.transaction().put(f"done/{held.value.decode()}", b"")
                self._inside.pop(name, None)
                yield from held.ack_steps(writes, limit)
                self._acknowledged.append(held.value)
            except (TenureError, Cancelled) as exc:
                self._inside.pop(name, None)
                yield from held.give_back_steps(0.0, limit)
                if not isinstance(exc, Conflict | LeaseLost | OutcomeUnknown):
                    raise

    def _enter(self, world: World, name: str, held: ClaimState) -> None:
        if not held.held:
            return
        for other, theirs, participant in self._inside.values():
            relies = theirs.held and not participant.crashed
            assert other != held.value or not relies, f"{name} has {other!r} while another consumer relies on it"
        me = next(one for one in world.participants if one.name == name)
        self._inside[name] = held.value, held, me


def one_item() -> WorkQueue:
    """Two consumers, and one item."""
    return WorkQueue("work queue, one item")


def an_item_each() -> WorkQueue:
    """Two consumers that wait for an item each."""
    return WorkQueue("work queue, an item each", before=2, wait=True)


def put_and_claim() -> WorkQueue:
    """A producer and a consumer."""
    return WorkQueue("work queue, a put and a claim", before=0, producers=1, consumers=(2,))


def many() -> WorkQueue:
    """Producers and consumers, more than places."""
    return WorkQueue("work queue, many", before=1, producers=2, consumers=(2, 2), places=2)
