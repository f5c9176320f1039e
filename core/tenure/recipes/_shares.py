"""How members share partitions. Steps, without I/O.

Each member is a ticket, and each partition a key that its owner has put, on the same session. A member's fair share
follows from the number of members and its place among them; the shares add up to all partitions. A member that owns
more gives some back, one that owns fewer takes free ones. So few partitions move when a member comes or goes, and
nothing has to be agreed on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

from tenure._client.store import Store
from tenure._runtime.clock import TimeLimit
from tenure._runtime.monitor import Monitor
from tenure._steps.effects import Call, ListKeys, Steps, WaitUntil
from tenure.errors import AlreadyHeld, InvalidArgument, LeaseLost, LeaseNotFound, Unavailable
from tenure.recipes._held_state import HeldState
from tenure.recipes._janitor import Janitor
from tenure.recipes._owner import fields_of
from tenure.recipes._patience import beside, over, patiently
from tenure.recipes._queue import Acquired, Queue, Turn, view_of
from tenure.recipes._single_key import HOLDER, SingleKey
from tenure.recipes.session import Session
from tenure.spi.types import KeyValue

H = TypeVar("H", bound=HeldState)

PARTITIONS = "partitions"
"""The field of a member's value that tells the number of partitions."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a member has to do.

    Attributes:
        give: the partitions that it gives back.
        take: the free partitions that it tries to take, up to ``want``.
        want: how many it lacks.
        member: whether it is still a member.
    """

    give: tuple[int, ...]
    take: tuple[int, ...]
    want: int
    member: bool = True

    @property
    def idle(self) -> bool:
        """Whether there is nothing to do."""
        return self.member and not self.give and not (self.want and self.take)


class Share(Generic[H]):
    """One member and its partitions."""

    def __init__(
        self,
        store: Store,
        folder: str,
        name: str,
        count: int,
        *,
        value: bytes,
        make: Callable[..., H],
        janitor: Janitor,
        session: Session | None,
        on_release: Callable[[int, H], object] | None = None,
    ) -> None:
        """``value`` is the member's; ``make`` gives a face to a partition that is owned."""
        self.what = f"the partitions {name!r}"
        self._store = store
        self._folder = folder
        self._name = name
        self._count = count
        self._value = value
        self._make = make
        self._janitor = janitor
        self._session = session
        self._members = Queue(store, folder + "members/", self.what, Turn(), janitor, session)
        self._me: Acquired | None = None
        self._owned: dict[int, H] = {}
        self._told: set[tuple[int, int]] = set()
        self._on_release = on_release
        self._lock = Monitor()
        self._caller: object = None  # who is giving and taking now

    @property
    def owned(self) -> dict[int, H]:
        """The partitions that the member can rely on now, by the local clock."""
        return {number: held for number, held in sorted(self._owned.items()) if held.held}

    def update(self, limit: TimeLimit) -> Steps[bool]:
        """Steps that join if necessary, and go once towards the fair share. Return whether what is owned has changed.

        A session that is the store's may end at any moment; the next update joins on another one.
        """
        caller = object()
        try:
            self._begin(caller)
            me = yield from self._join(limit)
            listing = yield from patiently(ListKeys(self._folder, limit, values=True), limit, me.session)
            yield from self._follow(self._plan(listing.items, me), me, limit)
        except (LeaseLost, LeaseNotFound):
            if self._session is not None:
                raise
        finally:
            if self._caller is caller:
                self._caller = None
        return self._changed()

    def wait(self, limit: TimeLimit) -> Steps[bool]:
        """Steps that go on until what is owned has changed, or until ``limit``."""
        calls = beside(self._store, limit)
        while not (yield from self.update(calls)):
            if over(limit):
                return False
            me = self._me
            if me is not None:

                def ready(present: Mapping[str, KeyValue], me: Acquired = me) -> bool:
                    return not self._plan(present.values(), me).idle

                with suppress(Unavailable):  # the update that follows goes on trying
                    yield from WaitUntil(self._folder, ready, limit, me.session.lease)
        return True

    def leave(self, limit: TimeLimit) -> Steps[None]:
        """Steps that give everything back, and end the membership. If they are interrupted, the janitor goes on."""
        caller = object()
        try:
            self._begin(caller)
            for number in tuple(self._owned):
                yield from self._give(number, limit)
            if self._me is not None:
                yield from self._members.release(self._me, limit)
                self._me = None
        except BaseException:
            if self._caller is not caller:  # refused: what is owned is another caller's business
                raise
            self.give_up()
            raise
        finally:
            if self._caller is caller:
                self._caller = None

    def give_up(self) -> None:
        """Let the janitor give everything back. Never blocks or raises."""
        for held in self._owned.values():
            held.give_up()
        self._owned.clear()
        me, self._me = self._me, None
        if me is not None:
            self._members.give_up(me)

    # -- inside --

    def _begin(self, caller: object) -> None:
        """Let ``caller`` alone give and take: two at a time would join twice, with one of the memberships nobody's.

        The caller ends it if it finds itself in it: also when it was interrupted before this method returned.
        """
        with self._lock:
            if self._caller is not None:
                raise AlreadyHeld(
                    f"sharing {self.what}: this object is giving and taking already, for another caller or in "
                    "on_release; use an object for each member"
                )
            self._caller = caller

    def _join(self, limit: TimeLimit) -> Steps[Acquired]:
        if self._me is not None and not self._me.session.alive:
            self._me = None  # and what it owned is lost with it
        if self._me is None:
            self._me = yield from self._members.acquire(self._value, limit)
        return self._me

    def _plan(self, items: Iterable[KeyValue], me: Acquired) -> Plan:
        present = {item.key: item for item in items}
        members = view_of(self._members.folder, (item for key, item in present.items() if "/members/" in key)).tickets
        rank = next((at for at, ticket in enumerate(members) if ticket.key == me.ticket.key), None)
        owned = tuple(self.owned)
        if rank is None:
            return Plan(owned, (), 0, member=False)
        for ticket in members:
            theirs = fields_of(ticket.value).get(PARTITIONS)
            if theirs != self._count:
                raise InvalidArgument(
                    f"sharing {self.what} with partitions={self._count}: another member has partitions={theirs!r}; "
                    "give the same everywhere, after all members with another number have left"
                )
        quota = self._count // len(members) + (rank < self._count % len(members))
        start = rank * self._count // len(members)  # members look at different places, and meet seldom
        order = [(start + number) % self._count for number in range(self._count)]
        free = tuple(number for number in order if self._part(number) + HOLDER not in present)
        return Plan(owned[quota:], free, max(0, quota - len(owned)))

    def _follow(self, plan: Plan, me: Acquired, limit: TimeLimit) -> Steps[None]:
        for number in plan.give:
            yield from self._give(number, limit)
        if not plan.member:
            self._me = None
            yield from self._members.release(me, limit)
        want = plan.want
        for number in plan.take:
            if not want:
                return
            try:
                want -= yield from self._take(number, me, limit)
            except (LeaseLost, LeaseNotFound, Unavailable):
                return  # the next update joins again, or goes on trying

    def _take(self, number: int, me: Acquired, limit: TimeLimit) -> Steps[bool]:
        what = f"partition {number} of {self.what}"
        part = SingleKey(self._store, self._part(number), what, self._janitor, me.session, alone=True)
        self._owned.pop(number, None)  # what was lost with an earlier session
        got = None
        try:
            got = yield from part.try_acquire(self._value, limit)
            if got is None:
                return False
            self._owned[number] = self._make(
                self._store,
                got.session,
                kind="partition",
                name=f"{self._name}/{number}",
                key=got.ticket.key,
                token=got.ticket.revision,
                give_back=lambda limit: part.release(got, limit),
                leave=lambda: part.give_up(got),
            )
            return True
        except BaseException:
            if got is not None and number not in self._owned:
                part.give_up(got)
            raise

    def _give(self, number: int, limit: TimeLimit) -> Steps[None]:
        held = self._owned[number]
        if held.held and self._on_release is not None:
            yield from Call(partial(self._on_release, number, held))
        yield from held.release_steps(limit)
        self._owned.pop(number, None)

    def _part(self, number: int) -> str:
        return f"{self._folder}owners/{number:05}/"

    def _changed(self) -> bool:
        for number, held in tuple(self._owned.items()):
            if not held.held:
                held.end()
                del self._owned[number]
        now = {(number, held.token) for number, held in self._owned.items()}
        before, self._told = self._told, now
        return now != before
