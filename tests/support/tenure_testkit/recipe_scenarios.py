"""Scenarios for exploring recipes: participants that each acquire once, write under the guard, and release."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from tenure._runtime.clock import TimeLimit
from tenure._steps.effects import Commit, Steps, WaitUntil
from tenure.errors import Conflict, OutcomeUnknown, TenureError, Unavailable
from tenure.recipes import _names
from tenure.recipes._acquirable import Contest
from tenure.recipes._janitor import Janitor
from tenure.recipes._line import lines_of
from tenure.recipes._owner import fields_of, owner_value
from tenure.recipes._queue import PAGE, Acquired, Queue, Turn
from tenure.recipes._single_key import SingleKey
from tenure.recipes.election import Campaign, InOrderOrHeir
from tenure.recipes.lock import InOrder
from tenure.recipes.read_write_lock import ReadersTogether
from tenure.recipes.semaphore import FirstOnes
from tenure.recipes.session import Session
from tenure.spi.types import Put, RevisionEquals
from tenure_testkit.exploration import Cancelled, Mark, Participant, Scenario, World

FOLDER = _names.folder("explored", "name")

Make = Callable[[World, Session, Janitor], Contest]


@dataclass(frozen=True)
class Kind:
    """A recipe that is explored.

    Attributes:
        name: the recipe's name.
        make: makes the contest of one participant.
        values: the value of each participant's ticket. Their number is the number of participants.
        together: whether participants with these values may hold at the same time.
        exclusive: whether tokens grow with each holder, and a guarded write by an earlier one is refused.
        shares: whether each of the first participants waits in one line with the others that do. Further ones don't.
        opened: whether that line is there from the beginning, as others have waited before.
    """

    name: str
    make: Make
    values: tuple[bytes, ...]
    together: Callable[[list[bytes]], bool]
    exclusive: bool = True
    shares: tuple[bool, ...] = ()
    opened: bool = False


def sharing(kind: Kind, *shares: bool, opened: bool = False) -> Kind:
    """Return ``kind`` with participants of whom some wait in one line: by default all."""
    name = f"{kind.name}, in a line that is there" if opened else f"{kind.name}, in line"
    return replace(kind, name=name, shares=shares or (True,) * len(kind.values), opened=opened)


def queue(turn: Callable[[], Turn], page: int = PAGE) -> Make:
    """Return what makes a queue with this turn, whose waiters read so many tickets of a long one."""
    return lambda world, session, janitor: Queue(world.store, FOLDER, "it", turn(), janitor, session, page=page)


def _election(world: World, session: Session, janitor: Janitor) -> Contest:
    return Campaign(Queue(world.store, FOLDER, "it", InOrderOrHeir(), janitor, session))


def _single(world: World, session: Session, janitor: Janitor) -> Contest:
    return SingleKey(world.store, FOLDER, "it", janitor, session)


def _alone(values: list[bytes]) -> bool:
    return len(values) <= 1


def _one_writer(values: list[bytes]) -> bool:
    return len(values) <= 1 or all(b"read" in value for value in values)


def participants(count: int, **fields: str | int) -> tuple[bytes, ...]:
    """Return the values of the tickets of ``count`` participants."""
    return tuple(owner_value(f"p{number + 1}", **fields) for number in range(count))


def lock(count: int = 2) -> Kind:
    """A fair lock."""
    return Kind("lock", queue(InOrder), participants(count), _alone)


def long_lock(count: int = 3, page: int = 1) -> Kind:
    """A fair lock with more waiters than one reads at a time."""
    return Kind(f"lock, pages of {page}", queue(InOrder, page=page), participants(count), _alone)


def unfair_lock(count: int = 2) -> Kind:
    """A lock of a single key."""
    return Kind("unfair lock", _single, participants(count), _alone)


def read_write_lock(*modes: str) -> Kind:
    """A read-write lock with a participant for each mode."""
    values = tuple(owner_value(f"p{number + 1}", mode=mode) for number, mode in enumerate(modes or ("read", "write")))
    return Kind("read-write lock", queue(ReadersTogether), values, _one_writer, exclusive=False)


def long_read_write_lock(*modes: str, page: int = 1) -> Kind:
    """A read-write lock with more waiters than one reads at a time."""
    contest = queue(ReadersTogether, page=page)
    return replace(read_write_lock(*modes), name=f"read-write lock, pages of {page}", make=contest)


def lock_beside_readers(count: int = 2) -> Kind:
    """A reader of a read-write lock, a lock of the same name, and more readers."""
    values = tuple(
        owner_value(f"p{number + 1}", **({} if number == 1 else {"mode": "read"})) for number in range(count)
    )

    def make(world: World, session: Session, janitor: Janitor) -> Contest:
        turn: Turn = InOrder() if len(world.participants) == 1 else ReadersTogether()
        return Queue(world.store, FOLDER, "it", turn, janitor, session)

    return Kind("lock beside readers", make, values, _one_writer, exclusive=False)


def semaphore(count: int = 3, limit: int = 2) -> Kind:
    """A semaphore."""
    values = participants(count, limit=limit)
    return Kind("semaphore", queue(lambda: FirstOnes("name")), values, lambda held: len(held) <= limit, exclusive=False)


def election(count: int = 2) -> Kind:
    """An election."""
    return Kind("election", _election, participants(count), _alone)


@dataclass
class Holders(Scenario):
    """Participants of one kind of recipe.

    Attributes:
        kind: the recipe.
        janitor: makes the janitor; by default the world itself.
    """

    kind: Kind
    janitor: Callable[[World], Janitor] = field(default=lambda world: world)

    def __post_init__(self) -> None:
        self._inside: dict[str, tuple[bytes, Callable[[], bool]]] = {}
        self._tokens: list[int] = []
        self._acknowledged: list[int] = []

    def begin(self, world: World) -> None:
        janitor = self.janitor(world)
        if self.kind.opened:
            lines_of(world.store).open(world.store, FOLDER, 1.0)
        for number, value in enumerate(self.kind.values):
            session = world.session()
            contest = self.kind.make(world, session, janitor)
            name = f"p{number + 1}"
            shares = number < len(self.kind.shares) and self.kind.shares[number]
            world.add(name, self._take_part(world, name, value, contest), session, shares=shares)

    def check_end(self, world: World) -> None:
        left = world.store.list(FOLDER).keys
        assert not left, f"{left} are left behind"
        if self.kind.exclusive:
            written = world.store.get("resource")
            last = int(written.value) if written is not None else 0
            assert last >= max(self._acknowledged, default=0), "a former holder's write replaced a later one"
        for one in world.participants:
            assert one.error is None or isinstance(one.error, TenureError | Cancelled), f"{one.name}: {one.error!r}"

    def _take_part(self, world: World, name: str, value: bytes, contest: Contest) -> Steps[None]:
        limit = TimeLimit(world.clock, None)
        held = yield from contest.acquire(value, limit)
        assert held.session.alive, f"{name} acquired it on a session that had ended"
        try:
            yield from Mark(lambda: self._enter(_of(world, name), value, held))
            yield from self._write(held, limit)
        finally:
            # What ``with`` does, after a cancel as well. It counts as inside until its release begins.
            self._inside.pop(name, None)
            yield from self._give_back(contest, held, limit)

    def _give_back(self, contest: Contest, held: Acquired, limit: TimeLimit) -> Steps[bool]:
        return (yield from contest.release(held, limit))

    def _enter(self, me: Participant, value: bytes, held: Acquired) -> None:
        if not held.session.alive:
            return
        others = [other for other, relies in self._inside.values() if relies()]
        assert self.kind.together([*others, value]), f"{me.name} holds it while {len(others)} others do"
        token = held.ticket.revision
        if self.kind.exclusive:
            assert token > max(self._tokens, default=0), "a token did not grow"
        assert token not in self._tokens, "two holders have one token"
        self._tokens.append(token)
        self._inside[me.name] = value, lambda: held.session.alive and not me.crashed

    def _write(self, held: Acquired, limit: TimeLimit) -> Steps[None]:
        token = held.ticket.revision
        guard = RevisionEquals(held.ticket.key, token)
        try:
            yield from Commit((guard,), (Put("resource", str(token).encode()),), limit)
        except (Conflict, OutcomeUnknown, Unavailable):
            return
        self._acknowledged.append(token)


class Meets(Holders):
    """Participants of a semaphore with two permits, of whom the last two hold until both do. Without faults only."""

    def __init__(self, *shares: bool) -> None:
        kind = semaphore(4, limit=2)
        super().__init__(sharing(kind, *shares) if shares else kind)

    def _write(self, held: Acquired, limit: TimeLimit) -> Steps[None]:
        if fields_of(held.ticket.value)["owner"] in ("p3", "p4"):
            yield from Commit((), (Put(f"inside/{held.ticket.place}", b""),), limit)
            yield from WaitUntil("inside/", lambda present: len(present) > 1, limit, held.session.lease)


class HandsOver(Holders):
    """An election whose first leader hands over to the last candidate, if that one campaigns already."""

    def __init__(self, count: int = 2) -> None:
        super().__init__(election(count))
        self._first = True

    def _give_back(self, contest: Contest, held: Acquired, limit: TimeLimit) -> Steps[bool]:
        assert isinstance(contest, Campaign)
        first, self._first = self._first, False
        done = False
        try:
            done = first and (yield from contest.hand_over(held, f"p{len(self.kind.values)}", limit))
        except OutcomeUnknown:
            done = True  # the term has ended
        finally:
            if not done:
                yield from contest.release(held, limit)
        return True


def _of(world: World, name: str) -> Participant:
    return next(one for one in world.participants if one.name == name)
