"""A semaphore: at most so many hold it at a time, in the order in which they asked.

It is a queue of tickets (:mod:`tenure.recipes._queue`): the first ones hold. The next one watches the folder, as any of
them may leave. Each other waits for a sign of the one before it, that this one holds or has gone.

Each ticket names the limit that its participant was made with, and the oldest ticket's counts. So the limit is in the
store as long as there is a ticket, and nothing is left when there is none. :meth:`Semaphore.resize` puts a key that
counts instead, until it is deleted.
"""

from __future__ import annotations

from tenure._client.store import Store
from tenure._text import shown
from tenure.errors import InvalidArgument
from tenure.recipes import _names
from tenure.recipes._acquirable import Acquirable
from tenure.recipes._holding import Acquires, Held
from tenure.recipes._janitor import janitor_of
from tenure.recipes._owner import MOST, fields_of, owner_value
from tenure.recipes._queue import Queue, Ticket, Turn, View
from tenure.recipes.session import Session

_LIMIT = "limit"


class FirstOnes(Turn):
    """The first tickets hold together, as many as the limit allows."""

    values = True
    signs = True

    def __init__(self, name: str) -> None:
        self._name = name

    def blocker(self, view: View, mine: Ticket) -> Ticket | None:
        """Return the ticket before ``mine`` if it has to wait. Raises if it expects another limit."""
        before = view.before(mine)
        return before[-1] if len(before) >= self._limit(view, mine) else None

    def together(self, value: bytes) -> int:
        """Return the limit, unless it was changed: then no line serves."""
        return _limit_in(value) or 0

    def fits(self, value: bytes, first: bytes) -> bool:
        """Whether both name the same limit."""
        return _limit_in(value) == _limit_in(first)

    def watches_folder(self, view: View, mine: Ticket) -> bool:
        """Whether ``mine`` is the next one: any holder may leave, and the limit may be changed.

        The others wait for the one before them, which gives a sign when it holds. Where the limit was lowered, several
        may be next, as holders are beyond it.
        """
        return len(view.before(mine)) <= max(self._limit(view, mine), _limit_of(mine) or 1)

    def _limit(self, view: View, mine: Ticket) -> int:
        resized = _number(view.settings.get(_LIMIT))
        limit = resized or _limit_of(view.tickets[0]) or 1
        if resized is None and _limit_of(mine) != limit:
            raise InvalidArgument(
                f"acquiring the semaphore {self._name!r}: it has {limit} permits in the store, this object was made "
                f"with limit={_limit_of(mine)}; give the same limit everywhere, or call resize()"
            )
        return limit


def _limit_of(ticket: Ticket) -> int | None:
    return _limit_in(ticket.value)


def _limit_in(value: bytes) -> int | None:
    found = fields_of(value).get(_LIMIT)
    return found if isinstance(found, int) and 0 < found <= MOST else None


def _number(value: bytes | None) -> int | None:
    try:
        return min(max(1, int(value)), MOST) if value is not None else None
    except ValueError:
        return None


class Semaphore(Acquires):
    """A number of permits that participants share, each with a fencing token.

    Participants get a permit in the order in which they asked. One object holds one permit at a time.

    >>> import tenure
    >>> with tenure.connect("memory://") as store:
    ...     one, two, three = (tenure.Semaphore(store, "uploads", limit=2) for _ in range(3))
    ...     with one.hold(), two.hold():
    ...         print(three.try_acquire())
    None

    Args:
        store: the store.
        name: the name that participants share, at most 400 bytes.
        limit: the number of permits. All participants give the same number; one that gives another is refused.
        session: a session of one's own; by default one that all recipes of the store object share.
        owner: a text for people who look who holds a permit; by default host and process id.

    Raises:
        InvalidArgument: the name is empty, too long, or no text without NUL, or ``limit`` is not a positive number.
    """

    def __init__(
        self, store: Store, name: str, *, limit: int, session: Session | None = None, owner: str | None = None
    ) -> None:
        self._folder = _names.folder("semaphore", name)
        self._store = store
        value = owner_value(owner, limit=_checked(name, limit))
        queue = Queue(
            store,
            self._folder,
            f"the semaphore {name!r}",
            FirstOnes(name),
            janitor_of(store),
            session,
            "semaphore",
            name,
            again=True,
        )
        super().__init__(Acquirable(store, queue, Held, kind="semaphore", name=name), value)

    @property
    def name(self) -> str:
        """The name that participants share."""
        return self._steps.name

    def resize(self, limit: int, *, timeout: float | None = None) -> None:
        """Set the number of permits for all participants, whatever they were made with, from now on.

        More permits let waiting participants hold at once. Fewer take nothing from those that hold: others wait until
        enough have released. The number is kept in the store until :meth:`resize` is called again.

        Args:
            limit: the number of permits.
            timeout: seconds that the call may take; by default the store's timeout.

        Raises:
            InvalidArgument: ``limit`` is not a positive number.
            OutcomeUnknown: no answer came; setting it again is safe.
            Unavailable: the store can't be reached; nothing was changed. ``DeadlineExceeded`` if the time ran out.
            PermissionDenied: the store forbids the call. ``AuthenticationFailed`` if it no longer accepts the
                credentials.
            StoreClosed: the store was closed. ``UsedAfterFork`` if it belongs to the parent process.
        """
        self._store.put(f"{self._folder}{_LIMIT}", str(_checked(self.name, limit)).encode(), timeout=timeout)

    def __repr__(self) -> str:
        return f"<Semaphore {self.name!r} {self.held or 'not held'}>"


def _checked(name: str, limit: int) -> int:
    if not isinstance(limit, int) or isinstance(limit, bool) or not 1 <= limit <= MOST:
        raise InvalidArgument(
            f"the semaphore {name!r}: limit={shown(limit)}: a limit is a number of permits, from 1 to 10**18; give "
            "such a number"
        )
    return limit
