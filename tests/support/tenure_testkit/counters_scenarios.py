"""Scenarios for exploring what has to apply exactly once: each participant makes calls, and the end is counted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from tenure._runtime.clock import TimeLimit
from tenure._steps.effects import Commit, Steps
from tenure.errors import OutcomeUnknown, TenureError
from tenure.recipes import _names
from tenure.recipes._cron import Every
from tenure.recipes._held_state import HeldState
from tenure.recipes._janitor import Janitor
from tenure.recipes._marks import MarkedCommits
from tenure.recipes._queue import Queue
from tenure.recipes.atomic_value import Changing
from tenure.recipes.counter import Counting
from tenure.recipes.id_block import Numbering
from tenure.recipes.once import OneRun, UntilDone
from tenure.recipes.schedule import Slots
from tenure.recipes.session import Session
from tenure.recipes.transact import Optimistic, TransactView
from tenure.spi.types import Put, RevisionEquals
from tenure_testkit.exploration import Cancelled, Mark, Scenario, World

BASE = 10
"""Each participant adds another power of it, so the digits of the sum tell how often each was counted."""


ONCE = _names.folder("once", "it")


@dataclass
class Calls:
    """What became of the calls of one participant.

    Attributes:
        done: the results of the calls that returned.
        open: the calls that began and were neither done nor refused: they may have been applied.
    """

    done: list[int] = field(default_factory=list)
    open: int = 0

    def make(self, call: Steps[int]) -> Steps[None]:
        """Make a call and note what became of it."""
        self.open += 1
        try:
            self.done.append((yield from call))
        except (OutcomeUnknown, Cancelled):
            return
        except TenureError:
            pass  # refused: not applied, and never will be
        except GeneratorExit:
            raise
        except BaseException:
            self.open -= 1
            raise
        self.open -= 1

    def check(self, applied: int, what: str) -> None:
        """Raise unless all calls that returned were applied once, and those that may have been at most once."""
        least, most = len(self.done), len(self.done) + self.open
        assert least <= applied <= most, f"{what} was applied {applied} times, not {least} to {most} times"


@dataclass
class Marking(Scenario):
    """Participants whose operations leave marks."""

    def __post_init__(self) -> None:
        self._commits: list[MarkedCommits] = []

    def janitor(self, world: World) -> Janitor:
        """Return what removes the marks of operations that were given up."""
        return world

    def transactions(self, world: World, session: Session) -> Optimistic:
        """Return what transacts for a participant with a session."""
        self._commits.append(MarkedCommits(world.store, self.janitor(world), session))
        return Optimistic(self._commits[-1])

    def check_marks(self, world: World) -> None:
        """Raise if there is a mark that no next operation uses."""
        left = set(world.store.list("tenure/mark/").keys)
        used = {mark.key for commits in self._commits for mark in commits.free}
        assert left <= used, f"the marks {left - used} are left behind"


@dataclass
class Counters(Marking):
    """Participants that add to one counter.

    Attributes:
        count: how many participants there are.
        calls: how often each adds.
    """

    count: int = 2
    calls: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        self._made = [Calls() for _ in range(self.count)]

    def begin(self, world: World) -> None:
        for number, made in enumerate(self._made):
            session = world.session()
            world.add(f"p{number + 1}", self._take_part(world, session, BASE**number, made), session)

    def check_end(self, world: World) -> None:
        item = world.store.get("counted")
        total = 0 if item is None else int(item.value)
        for number, made in enumerate(self._made):
            made.check(total // BASE**number % BASE, f"the addition of p{number + 1}")
        sums = sorted(result for made in self._made for result in made.done)
        assert len(set(sums)) == len(sums), f"two additions returned the same sum: {sums}"
        self.check_marks(world)

    def _take_part(self, world: World, session: Session, n: int, made: Calls) -> Steps[None]:
        counter = Counting(self.transactions(world, session), "counted")
        for _ in range(self.calls):
            yield from made.make(counter.add(n, TimeLimit(world.clock, None)))


@dataclass
class Transfers(Marking):
    """Participants that move one unit between two keys, to and fro. A key of nothing is deleted."""

    count: int = 2
    total: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        self._made = [Calls() for _ in range(self.count)]

    def begin(self, world: World) -> None:
        world.store.put("a", str(self.total).encode())
        for number, made in enumerate(self._made):
            session = world.session()
            world.add(f"p{number + 1}", self._take_part(world, session, number, made), session)

    def check_end(self, world: World) -> None:
        b = world.store.get("b")
        moved = 0 if b is None else int(b.value)
        there, back = ([one for number, one in enumerate(self._made) if number % 2 == side] for side in (0, 1))
        least = _sum(there) - _sum(back) - sum(one.open for one in back)
        most = _sum(there) - _sum(back) + sum(one.open for one in there)
        assert least <= moved <= most, f"{moved} units were moved, not {least} to {most}"
        for one in world.participants:
            assert one.error is None, f"{one.name}: {one.error!r}"
        self.check_marks(world)

    def _take_part(self, world: World, session: Session, number: int, made: Calls) -> Steps[None]:
        source, target = ("a", "b") if number % 2 == 0 else ("b", "a")

        def move(view: TransactView) -> int:
            left, there = (int(view.get(key) or 0) for key in (source, target))
            assert left + there == self.total, f"{left} and {there} units were never there together"
            if not left:
                return 0
            for key, units in ((source, left - 1), (target, there + 1)):
                if units:
                    view.put(key, str(units).encode())
                else:
                    view.delete(key)
            return 1

        yield from made.make(self.transactions(world, session).transact(move, TimeLimit(world.clock, None)))


@dataclass
class Sets(Marking):
    """Participants that change a value: the first sets it twice, the second replaces the last of these if it is there.

    A change that is late never replaces a later one.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        self._order = [None, b"one", b"two", b"three"]
        self._last = 0

    def begin(self, world: World) -> None:
        for name, steps in (("p1", self._set_twice), ("p2", self._replace)):
            session = world.session()
            world.add(name, steps(world, Changing(self.transactions(world, session), "value")), session)

    def check_end(self, world: World) -> None:
        item = world.store.get("value")
        present = None if item is None else item.value
        assert self._order.index(present) >= self._last, f"{present!r} replaced {self._order[self._last]!r}"
        self.check_marks(world)

    def _set_twice(self, world: World, value: Changing) -> Steps[None]:
        for place in (1, 2):
            yield from value.set(self._order[place] or b"", TimeLimit(world.clock, None))
            self._last = max(self._last, place)

    def _replace(self, world: World, value: Changing) -> Steps[None]:
        for _ in range(2):
            if (yield from value.compare_and_set(b"two", b"three", TimeLimit(world.clock, None))):
                self._last = 3


@dataclass
class Numbers(Scenario):
    """Participants that take numbers from blocks of two.

    Attributes:
        count: how many participants there are.
        calls: how many numbers each takes.
    """

    count: int = 2
    calls: int = 1

    def __post_init__(self) -> None:
        self._given: list[int] = []

    def begin(self, world: World) -> None:
        for number in range(self.count):
            world.add(f"p{number + 1}", self._take_part(world, Numbering(world.store, "last", 2)))

    def check_end(self, world: World) -> None:
        assert len(set(self._given)) == len(self._given), f"a number was given twice: {self._given}"
        assert all(number >= 1 for number in self._given)
        assert world.store.list().keys in ((), ("last",))

    def _take_part(self, world: World, numbers: Numbering) -> Steps[None]:
        for _ in range(self.calls):
            self._given.append((yield from numbers.next(TimeLimit(world.clock, None))))


@dataclass
class Runs(Scenario):
    """Participants that run something once. Each makes a guarded write, and its result is its own name.

    Attributes:
        count: how many participants there are.
        paused: whether the first is paused, before its result is kept, until its session has expired.
    """

    count: int = 2
    paused: bool = False

    def __post_init__(self) -> None:
        self._running: dict[str, Callable[[], bool]] = {}
        self._results: list[bytes] = []
        self._kept: list[bytes] = []

    def begin(self, world: World) -> None:
        for number in range(self.count):
            session = world.session()
            queue = Queue(world.store, ONCE, "it", UntilDone(), world, session)
            world.add(
                f"p{number + 1}", self._take_part(world, f"p{number + 1}", OneRun(queue, "it", HeldState)), session
            )

    def check_end(self, world: World) -> None:
        left = set(world.store.list(ONCE).keys)
        assert left <= {f"{ONCE}done"}, f"{left} are left behind"
        assert len(self._kept) <= 1, f"the results of {self._kept} were kept"
        found = world.store.get(f"{ONCE}done")
        kept = None if found is None else found.value.partition(b"\n")[2]
        assert all(result == kept for result in self._results), f"{self._results} were told, {kept!r} is kept"
        written = world.store.get("resource")
        if self._kept:
            assert written is not None
            assert written.value == self._kept[0], f"{written.value!r} replaced what the run of {kept!r} wrote"
        for one in world.participants:
            assert one.done
            assert one.error is None or isinstance(one.error, TenureError | Cancelled), f"{one.name}: {one.error!r}"
            if one.session is not None and one.error is None and not one.crashed:
                assert kept is not None, f"{one.name} returned, and it isn't done"

    def _take_part(self, world: World, name: str, steps: OneRun[HeldState]) -> Steps[None]:
        found = yield from steps.enter(TimeLimit(world.clock, None))
        if isinstance(found, bytes):
            self._results.append(found)
            return
        try:
            yield from Mark(lambda: self._begin(world, name, found))
            guard = RevisionEquals(found.key, found.token)
            yield from Commit((guard,), (Put("resource", name.encode()),), TimeLimit(world.clock, None))
            if self.paused and name == "p1":
                yield from Mark(lambda: world.expire(world.participants[0]))
        except BaseException:
            yield from found.release_steps(TimeLimit(world.clock, None))
            raise
        finally:
            self._running.pop(name, None)
        yield from steps.finish(found, name.encode())
        self._results.append(name.encode())
        self._kept.append(name.encode())

    def _begin(self, world: World, name: str, held: HeldState) -> None:
        if held.held:
            others = [other for other, relies in self._running.items() if relies()]
            assert not others, f"{name} runs while {others} rely on running alone"
            me = next(one for one in world.participants if one.name == name)
            self._running[name] = lambda: held.held and not me.crashed


@dataclass
class Slotted(Scenario):
    """Participants that share a schedule of a slot every two seconds.

    Attributes:
        count: how many participants there are.
        calls: how many slots each takes.
        catch_up: whether missed slots are taken.
    """

    count: int = 2
    calls: int = 1
    catch_up: bool = False

    def __post_init__(self) -> None:
        self._taken: list[datetime] = []

    def begin(self, world: World) -> None:
        def now() -> datetime:
            return datetime.fromtimestamp(world.clock.now(), UTC)

        for number in range(self.count):
            slots = Slots(world.store, "schedule", Every(2), catch_up=self.catch_up, now=now)
            world.add(f"p{number + 1}", self._take_part(world, slots))

    def check_end(self, world: World) -> None:
        assert len(set(self._taken)) == len(self._taken), f"a slot was taken twice: {self._taken}"
        assert world.store.list().keys in ((), ("schedule",))

    def _take_part(self, world: World, slots: Slots) -> Steps[None]:
        for _ in range(self.calls):
            self._taken.append((yield from slots.take(TimeLimit(world.clock, None))))


def _sum(calls: list[Calls]) -> int:
    return sum(result for one in calls for result in one.done)


@dataclass(frozen=True)
class Kind:
    """What is explored, with two and with more participants.

    Attributes:
        name: the recipe's name.
        small: makes the scenario that is tried completely.
        large: makes the scenario that is tried by seed.
    """

    name: str
    small: Callable[[], Scenario]
    large: Callable[[], Scenario]


KINDS = (
    Kind("counter", Counters, lambda: Counters(3, calls=2)),
    Kind("value", Sets, Sets),
    Kind("ids", Numbers, lambda: Numbers(3, calls=3)),
    Kind("once", Runs, lambda: Runs(3)),
    Kind("schedule", Slotted, lambda: Slotted(3, calls=2, catch_up=True)),
    Kind("transact", Transfers, lambda: Transfers(3)),
)

__all__ = [
    "KINDS",
    "Calls",
    "Counters",
    "Kind",
    "Numbers",
    "Runs",
    "Sets",
    "Slotted",
    "Transfers",
]
