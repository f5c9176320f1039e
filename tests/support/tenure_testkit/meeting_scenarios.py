"""Scenarios for exploring recipes that let participants wait for each other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tenure._runtime.clock import TimeLimit
from tenure._steps.effects import Steps
from tenure.errors import OutcomeUnknown, TenureError, Unavailable, WaitTimeout
from tenure.recipes import _names, multi_lock
from tenure.recipes._meeting import Gathering, Meeting
from tenure.recipes._messages import Messages
from tenure.recipes._owner import owner_value
from tenure.recipes._queue import Queue
from tenure.recipes.count_down_latch import Latch
from tenure.recipes.lock import InOrder
from tenure.recipes.multi_lock import AllInOrder
from tenure.recipes.session import Session
from tenure_testkit.exploration import Cancelled, Scenario, World

FOLDER = _names.folder("explored", "name")
_PATIENCE = 40.0
"""Seconds that a member waits for others, who may be dead: longer than four sessions live."""


def noting(steps: Steps[Any], note: Callable[[], object]) -> Steps[Any]:
    """Steps that call ``note`` whenever a step has been done, or has failed."""
    result: Any = None
    failed: BaseException | None = None
    while True:
        try:
            effect = steps.send(result) if failed is None else steps.throw(failed)
        except StopIteration as stop:
            return stop.value
        result, failed = None, None
        try:
            result = yield effect
        except BaseException as exc:  # noqa: BLE001 - passed on to the steps, which raise it again
            failed = exc
        note()


@dataclass
class Meets(Scenario):
    """Members of a double barrier: each enters, and leaves.

    Attributes:
        count: the number of members, all of one round.
        hasty: the number of those whose time is up at once.
    """

    count: int = 2
    hasty: int = 0
    _coming: set[str] = field(default_factory=set)
    _inside: dict[str, Session] = field(default_factory=dict)
    _late: set[str] = field(default_factory=set)
    _left: set[str] = field(default_factory=set)

    def begin(self, world: World) -> None:
        for number in range(self.count):
            session = world.session()
            name = f"p{number + 1}"
            patience = 0.0 if number < self.hasty else _PATIENCE
            world.add(name, self._take_part(world, name, session, patience), session)

    def check_end(self, world: World) -> None:
        left = world.store.list(FOLDER).keys
        assert not left, f"{left} are left behind"
        for one in world.participants:
            assert one.error is None or isinstance(one.error, TenureError | Cancelled), f"{one.name}: {one.error!r}"
        assert not (self._late and self._left), f"{self._late} were left behind by {self._left}"
        if self._late and not self.hasty:
            assert any(one.crashed or not isinstance(one.error, WaitTimeout | None) for one in world.participants), (
                "all came, and none entered"
            )

    def _take_part(self, world: World, name: str, session: Session, patience: float) -> Steps[None]:
        gathering = Gathering("it", self.count)
        member = Meeting(Queue(world.store, FOLDER, "it", gathering, world, session), gathering)
        enter = member.enter(owner_value(name, count=self.count), TimeLimit(world.clock, patience))
        try:
            yield from noting(enter, lambda: self._coming.add(name))
        except WaitTimeout:
            self._late.add(name)
            raise
        assert len(self._coming) == self.count, f"{name} entered before the others came"
        assert member.inside, f"{name} entered on a session that had ended"
        self._inside[name] = session
        leave = member.leave(TimeLimit(world.clock, None))
        yield from noting(leave, lambda: self._inside.pop(name, None))
        others = [other for other in self._inside if self._relies(world, other)]
        assert not others, f"{name} has left while {others} are inside"
        self._left.add(name)

    def _relies(self, world: World, name: str) -> bool:
        member = next(one for one in world.participants if one.name == name)
        return self._inside[name].alive and not member.crashed


@dataclass
class CountsDown(Scenario):
    """Participants that each count a latch down once, and one that waits for it.

    Attributes:
        count: the number of those who count down.
    """

    count: int = 2
    _begun: int = 0
    _counted: int = 0

    def begin(self, world: World) -> None:
        for number in range(self.count):
            world.add(f"p{number + 1}", self._count_down(world, self._latch()), world.session())
        world.add("waiting", self._wait(world, self._latch()), world.session())

    def check_end(self, world: World) -> None:
        keys = len(world.store.list(FOLDER).keys)
        assert self._counted <= keys <= self._begun, f"{self._counted} counted, {self._begun} began, {keys} are there"

    def _latch(self) -> Latch:
        return Latch(FOLDER, self.count, b"", "it")

    def _count_down(self, world: World, latch: Latch) -> Steps[None]:
        self._begun += 1
        while True:
            try:
                yield from latch.count_down(TimeLimit(world.clock, None))
            except TenureError:
                continue  # as its documentation says: together the calls count once
            self._counted += 1
            return

    def _wait(self, world: World, latch: Latch) -> Steps[None]:
        yield from latch.wait(TimeLimit(world.clock, _PATIENCE))
        assert len(world.store.list(FOLDER).keys) >= self.count, "the latch opened too early"


@dataclass
class LocksSeveral(Scenario):
    """Participants that each hold several locks at once.

    Attributes:
        wanted: the names that each participant asks for.
    """

    wanted: tuple[tuple[str, ...], ...] = (("a", "b"), ("a", "b"))
    _holders: dict[str, set[str]] = field(default_factory=dict)

    def begin(self, world: World) -> None:
        for number, names in enumerate(self.wanted):
            session = world.session()
            name = f"p{number + 1}"
            folders = [f"{FOLDER}{one}/" for one in multi_lock.in_order(names)]
            queues = tuple(Queue(world.store, folder, "it", InOrder(), world, session) for folder in folders)
            world.add(name, self._take_part(world, name, names, AllInOrder(queues)), session)

    def check_end(self, world: World) -> None:
        left = world.store.list(FOLDER).keys
        assert not left, f"{left} are left behind"
        for one in world.participants:
            assert one.error is None or isinstance(one.error, TenureError | Cancelled), f"{one.name}: {one.error!r}"

    def _take_part(self, world: World, name: str, names: tuple[str, ...], contest: AllInOrder) -> Steps[None]:
        limit = TimeLimit(world.clock, None)
        acquired = yield from contest.acquire(name.encode(), limit)
        for other, held in self._holders.items():
            member = next(one for one in world.participants if one.name == other)
            relies = member.session is not None and member.session.alive and not member.crashed
            assert not (relies and held & set(names)), f"{name} holds {names} while {other} holds {held}"
        self._holders[name] = set(names)
        yield from noting(contest.release(acquired, limit), lambda: self._holders.pop(name, None))


@dataclass
class Publishes(Scenario):
    """Publishers that each publish some messages.

    Attributes:
        count: the number of publishers.
        each: how many messages each publishes.
        most: how many messages are kept.
    """

    count: int = 2
    each: int = 1
    most: int = 100
    _acknowledged: dict[int, bytes] = field(default_factory=dict)
    _open: set[bytes] = field(default_factory=set)

    def begin(self, world: World) -> None:
        for number in range(self.count):
            name = f"p{number + 1}"
            world.add(name, self._publish(world, name), world.session())

    def check_end(self, world: World) -> None:
        messages = self._messages()
        head = messages.read_head(world.store.get(messages.head))
        entries = [messages.read(item) for item in world.store.list(FOLDER).items if item.key != messages.head]
        numbers = [entry.position.number for entry in entries]
        assert numbers == list(range(head.first, head.last + 1)), f"{numbers} are kept, the head is {head}"
        assert len(numbers) <= self.most, f"{numbers} are kept"
        data = {entry.position.number: entry.data for entry in entries}
        assert len(set(data.values())) == len(data), f"a message was published twice: {data}"
        for number, sent in self._acknowledged.items():
            assert number < head.first or data.get(number) == sent, f"message {number} is another one or lost"
        assert head.last <= len(self._acknowledged) + len(self._open), "more is published than was sent"

    def _messages(self) -> Messages:
        return Messages(FOLDER, "it", self.most)

    def _publish(self, world: World, name: str) -> Steps[None]:
        for number in range(self.each):
            data = f"{name} {number}".encode()
            self._open.add(data)
            try:
                position = yield from self._messages().publish(data, TimeLimit(world.clock, None))
            except (OutcomeUnknown, Unavailable):
                continue
            assert position.number not in self._acknowledged, "two messages have one number"
            self._acknowledged[position.number] = data
            self._open.discard(data)
