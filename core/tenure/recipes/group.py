"""A group: who takes part, with a text that each member attaches. Each member is a ticket that waits for no other."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Self

from tenure._client.store import Store
from tenure._runtime.clock import TimeLimit
from tenure._steps.effects import ListKeys, Steps
from tenure._steps.threads import run
from tenure.errors import TenureError
from tenure.recipes import _names
from tenure.recipes._acquirable import Acquirable
from tenure.recipes._held_state import ITSELF
from tenure.recipes._holding import Held
from tenure.recipes._janitor import janitor_of
from tenure.recipes._observing import Changes
from tenure.recipes._owner import fields_of, owner_value
from tenure.recipes._queue import Queue, Turn, view_of
from tenure.recipes.session import Session
from tenure.spi.types import KeyValue

_MEMBER, _DATA = "owner", "data"


@dataclass(frozen=True, slots=True)
class Member:
    """A member of a group.

    Attributes:
        name: the name that the member gave itself.
        data: the text that it attached, such as its address.
        token: the revision of its joining. It grows with each member that joins.
    """

    name: str
    data: str
    token: int


class Membership(Held):
    """What a member has until it leaves, or its session ends. In ``with``, it leaves at the end of the block."""

    if TYPE_CHECKING:

        def __enter__(self) -> Self: ...

    else:
        __enter__ = ITSELF

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        try:
            self.release()
        except TenureError:
            if error is None:
                raise
            return  # the error of the body tells more
        except BaseException:  # an interrupt, maybe before anything was done
            self.give_up()
            raise


class Group:
    """A group of processes that know of each other.

    * A member that leaves is gone at once; one that dies or is cut off, when its session ends. It knows by its local
      clock before others see it go, and joins again if it wants to.
    * Members are listed in the order in which they joined.

    One object is one member: a second ``join`` by it is an error.

    >>> import tenure
    >>> with tenure.connect("memory://") as store:
    ...     group = tenure.Group(store, "workers")
    ...     with group.join(member="a", data="10.0.0.1:80"):
    ...         print([(member.name, member.data) for member in group.members()])
    ...     print(group.members())
    [('a', '10.0.0.1:80')]
    ()

    Args:
        store: the store.
        name: the name of the group, at most 400 bytes.
        session: a session of one's own; by default one that all recipes of the store object share.

    Raises:
        InvalidArgument: the name is empty, too long, or no text without NUL.
    """

    def __init__(self, store: Store, name: str, *, session: Session | None = None) -> None:
        self._folder = _names.folder("group", name)
        self._store = store
        self._name = name
        queue = Queue(store, self._folder, f"the group {name!r}", Turn(), janitor_of(store), session)
        self._steps: Acquirable[Membership] = Acquirable(store, queue, Membership, kind="group", name=name)

    @property
    def name(self) -> str:
        """The name of the group."""
        return self._name

    @property
    def membership(self) -> Membership | None:
        """This object's membership; ``None`` if it is no member. Reads the local clock, makes no call to the store."""
        return self._steps.held

    def join(self, *, member: str | None = None, data: str = "", timeout: float | None = None) -> Membership:
        """Become a member.

        Args:
            member: a name of this member for the others; by default host and process id.
            data: a text for the others, such as an address.
            timeout: seconds that the call may take; by default the store's timeout for each of its requests.

        Returns:
            The membership. Its ``release`` leaves the group.

        Raises:
            AlreadyHeld: this object is a member already.
            LeaseLost: the session ended meanwhile.
            Unavailable: the store can't be reached. ``DeadlineExceeded`` if the time ran out.
            OutcomeUnknown: the time ran out while a write had no answer. What it left is removed in the background.
            PermissionDenied: the store forbids the call. ``AuthenticationFailed`` if it no longer accepts the
                credentials.
            StoreClosed: the store was closed. ``UsedAfterFork`` if it belongs to the parent process.
        """
        return run(self._store, self._joining(member, data, timeout), undo=lambda membership: membership.give_up())

    def members(self, *, timeout: float | None = None) -> tuple[Member, ...]:
        """Read who is a member now.

        Args:
            timeout: seconds that the call may take; by default the store's timeout.

        Returns:
            The members, in the order in which they joined.

        Raises:
            Unavailable: the store can't be reached. ``DeadlineExceeded`` if the time ran out.
            PermissionDenied: the store forbids the call. ``AuthenticationFailed`` if it no longer accepts the
                credentials.
            StoreClosed: the store was closed. ``UsedAfterFork`` if it belongs to the parent process.
        """
        return run(self._store, self._reading_members(timeout=timeout))

    def watch(self, *, timeout: float | None = None) -> Changes[tuple[Member, ...]]:
        """Follow who is a member. Close what it returns, or use it in ``with``.

        Args:
            timeout: seconds that the call may take; by default the store's timeout.

        Returns:
            The members now, and after each change.

        Raises:
            Unavailable: the store can't be reached. ``DeadlineExceeded`` if the time ran out.
            PermissionDenied: the store forbids the call. ``AuthenticationFailed`` if it no longer accepts the
                credentials.
            StoreClosed: the store was closed. ``UsedAfterFork`` if it belongs to the parent process.
        """
        return Changes(self._store, self._folder, self._read, what=f"the group {self._name!r}", timeout=timeout)

    def _joining(self, member: str | None, data: str, timeout: float | None) -> Steps[Membership]:
        return self._steps.acquire(owner_value(member, data=data), TimeLimit(self._store.clock, timeout))

    def _reading_members(self, *, timeout: float | None = None) -> Steps[tuple[Member, ...]]:
        limit = TimeLimit(self._store.clock, timeout)
        return self._read((yield from ListKeys(self._folder, limit, values=True)).items)

    def _read(self, items: Iterable[KeyValue]) -> tuple[Member, ...]:
        found = []
        for ticket in view_of(self._folder, items).tickets:
            fields = fields_of(ticket.value)
            found.append(Member(str(fields.get(_MEMBER, "")), str(fields.get(_DATA, "")), ticket.place))
        return tuple(found)
