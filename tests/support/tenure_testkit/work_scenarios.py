"""Scenarios for exploring what shares work: producers and consumers of a queue, members that share partitions."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from tenure._runtime.clock import TimeLimit
from tenure._steps.effects import Commit, Steps
from tenure.errors import Conflict, LeaseLost, OutcomeUnknown, TenureError, Unavailable
from tenure.recipes import _names
from tenure.recipes._held_state import HeldState
from tenure.recipes._marks import MarkedCommits
from tenure.recipes._owner import owner_value
from tenure.recipes._shares import PARTITIONS, Share
from tenure.recipes._work_claims import claim
from tenure.recipes._work_items import Layout, items_of
from tenure.recipes._work_puts import put
from tenure.recipes.rate_limiter import Bucket
from tenure.recipes.session import Session
from tenure.recipes.work_queue import ClaimState
from tenure.spi.types import Put, RevisionEquals
from tenure_testkit.exploration import Cancelled, Mark, Participant, Scenario, World

QUEUE = _names.folder("queue", "explored")
SHARES = _names.folder("partitioner", "explored")


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
        left = [key for key in there if key.endswith(".claim")]
        assert not left, f"{left} are left behind"
        items = items_of(world.store.list(f"{QUEUE}items/").items, f"{QUEUE}items/")
        queued = [world.store.get(f"{QUEUE}data/{item.place}") for item in items]
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
        marks = MarkedCommits(world.store, world, session)
        return Layout(world.store, QUEUE, "the queue", self.places, world, marks, session, world.clock.now)

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


@dataclass
class RateLimiter(Scenario):
    """Participants that each take some permits of a bucket that hardly fills.

    Attributes:
        name: what is explored.
        takes: how many permits each participant tries to take, one after the other.
        burst: how many there are.
    """

    name: str = "rate limiter"
    takes: tuple[int, ...] = (2, 1)
    burst: int = 2
    _granted: int = 0

    def begin(self, world: World) -> None:
        random.seed(1)
        for number, takes in enumerate(self.takes):
            bucket = Bucket(world.store, "bucket", "it", 1e-9, self.burst, world.clock.now)
            world.add(f"taker{number}", self._take(world, bucket, takes), world.session())

    def check_end(self, world: World) -> None:
        assert self._granted <= self.burst, f"{self._granted} permits were given of {self.burst}"
        if all(one.error is None and not one.crashed for one in world.participants):
            assert self._granted >= self.burst - 1, f"only {self._granted} permits were given of {self.burst}"

    def _take(self, world: World, bucket: Bucket, takes: int) -> Steps[None]:
        for _ in range(takes):
            if (yield from bucket.take(1.0, TimeLimit(world.clock, None), wait=False)):
                self._granted += 1


def one_item() -> WorkQueue:
    """Two consumers, and one item."""
    return WorkQueue("work queue, one item")


def an_item_each() -> WorkQueue:
    """Two consumers that wait for an item each."""
    return WorkQueue("work queue, an item each", before=2, wait=True)


def put_and_claim() -> WorkQueue:
    """A producer and a consumer."""
    return WorkQueue("work queue, a put and a claim", before=0, producers=1, consumers=(3,))


def many() -> WorkQueue:
    """Producers and consumers, more than places."""
    return WorkQueue("work queue, many", before=1, producers=2, consumers=(2, 2), places=2)


@dataclass
class Partitioner(Scenario):
    """Members that join, look at their share a few times, write for what they own, and leave.

    Attributes:
        name: what is explored.
        members: how many.
        partitions: how many.
        looks: how often each member goes towards its fair share.
    """

    name: str
    members: int = 2
    partitions: int = 2
    looks: int = 2
    _shares: dict[str, tuple[Share[HeldState], Participant]] = field(default_factory=dict)
    _acknowledged: dict[int, list[int]] = field(default_factory=dict)
    _tokens: dict[int, dict[int, str]] = field(default_factory=dict)
    _working: set[tuple[str, int]] = field(default_factory=set)

    def begin(self, world: World) -> None:
        random.seed(1)
        for number in range(self.members):
            name, session = f"member{number}", world.session()
            share = Share(
                world.store,
                SHARES,
                "explored",
                self.partitions,
                value=owner_value(name, **{PARTITIONS: self.partitions}),
                make=HeldState,
                janitor=world,
                session=session,
                on_release=lambda partition, _, name=name: self._working.discard((name, partition)),  # type: ignore[misc]
            )
            self._shares[name] = share, world.add(name, self._take_part(world, name, share), session)

    def check_end(self, world: World) -> None:
        left = world.store.list(SHARES).keys
        assert not left, f"{left} are left behind"
        for partition, tokens in self._acknowledged.items():
            written = world.store.get(f"resource/{partition}")
            assert written is not None
            assert int(written.value) >= max(tokens), "a former owner's write replaced a later one"
        for one in world.participants:
            assert one.error is None or isinstance(one.error, TenureError | Cancelled), f"{one.name}: {one.error!r}"

    def _take_part(self, world: World, name: str, share: Share[HeldState]) -> Steps[None]:
        limit = TimeLimit(world.clock, None)
        try:
            for _ in range(self.looks):
                yield from share.update(limit)
                yield from Mark(lambda: self._look(name))
            for partition, held in share.owned.items():
                yield from self._write(partition, held, limit)
        finally:
            self._working -= {(name, partition) for partition in range(self.partitions)}
            yield from share.leave(limit)

    def _look(self, name: str) -> None:
        share, _ = self._shares[name]
        for partition, held in share.owned.items():
            for other, (theirs, participant) in self._shares.items():
                relies = not participant.crashed and partition in theirs.owned
                works = not participant.crashed and participant.session is not None and participant.session.alive
                if other != name:
                    assert not relies, f"{name} and {other} rely on partition {partition}"
                    assert not works or (other, partition) not in self._working, f"{other} still works on {partition}"
            self._working.add((name, partition))
            owner = self._tokens.setdefault(partition, {}).setdefault(held.token, name)
            assert owner == name, "two owners have one token"
            assert held.token == max(self._tokens[partition]), "a token did not grow"

    def _write(self, partition: int, held: HeldState, limit: TimeLimit) -> Steps[None]:
        guard = RevisionEquals(held.key, held.token)
        try:
            yield from Commit((guard,), (Put(f"resource/{partition}", str(held.token).encode()),), limit)
        except (Conflict, OutcomeUnknown, Unavailable):
            return
        self._acknowledged.setdefault(partition, []).append(held.token)


def partitioner() -> Partitioner:
    """Two members and one partition."""
    return Partitioner("partitioner, one partition", partitions=1, looks=1)


def two_partitions() -> Partitioner:
    """Two members that share two partitions."""
    return Partitioner("partitioner, two partitions")


def three_members() -> Partitioner:
    """Three members that share three partitions, with time to give some back."""
    return Partitioner("partitioner, three members", members=3, partitions=3, looks=3)
