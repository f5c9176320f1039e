"""Run a function once for a name: of all processes one runs it, and the others wait for its result.

It is a queue of tickets (:mod:`tenure.recipes._queue`) that ends. The first ticket's participant runs the function.
What it returns is put in the same transaction that deletes the ticket, and only if the ticket is still there. From then
on nobody waits.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Generic, TypeVar

from tenure._client.store import Store
from tenure._runtime.clock import TimeLimit
from tenure._steps.effects import Commit, Get, ListKeys, Steps
from tenure._steps.threads import run
from tenure.errors import Conflict, InvalidArgument, LeaseLost, OutcomeUnknown, TenureError, Unavailable
from tenure.recipes import _names
from tenure.recipes._held_state import HeldState
from tenure.recipes._holding import Held
from tenure.recipes._janitor import janitor_of
from tenure.recipes._owner import fields_of, owner_value
from tenure.recipes._patience import beside, pause
from tenure.recipes._queue import Acquired, Queue, Ticket, Turn, View, view_of
from tenure.recipes.session import Session
from tenure.spi.types import Delete, Put, RevisionEquals

H = TypeVar("H", bound=HeldState)

_DONE = "done"


class UntilDone(Turn):
    """One at a time, in the order of the tickets, until it is done. Then nothing is in anybody's way."""

    def watches_folder(self, view: View, mine: Ticket) -> bool:
        """It may be done at any time."""
        return True

    def blocker(self, view: View, mine: Ticket) -> Ticket | None:
        """Return the ticket before ``mine``, unless it is done."""
        index = view.tickets.index(mine)
        return None if not index or _DONE in view.settings else view.tickets[index - 1]


class OneRun(Generic[H]):
    """One participant's call. Steps, without I/O; ``make`` gives a face to what it holds while it runs."""

    def __init__(self, queue: Queue, name: str, make: Callable[..., H]) -> None:
        self._queue = queue
        self._name = name
        self._make = make
        self._key = queue.folder + _DONE
        self._acquired: Acquired | None = None

    def enter(self, limit: TimeLimit) -> Steps[H | bytes]:
        """Steps that return the result if it is done, or what is held: then the function has to be run."""
        item = yield from Get(self._key, limit)
        if item is not None:
            return _result(item.value)[1]
        while True:
            acquired = self._acquired = yield from self._queue.acquire(owner_value(None), limit)
            try:
                calls = beside(self._queue.store, limit)
                listing = yield from ListKeys(self._queue.folder, calls, values=True)
                view = view_of(self._queue.folder, listing.items)
                done, mine = view.settings.get(_DONE), view.find(acquired.ticket.key)
                if done is None and mine is not None and not view.before(mine):
                    return self._hold(acquired)
                yield from self._queue.release(acquired, calls)
            except BaseException:
                self._queue.give_up(acquired)
                raise
            if done is not None:
                return _result(done)[1]

    def finish(self, held: H, result: bytes) -> Steps[None]:
        """Steps that keep the result and end the run. They go on in an outage as long as the session lives."""
        acquired = self._acquired
        assert acquired is not None
        ticket, limit = acquired.ticket, TimeLimit(self._queue.store.clock, None)
        keep = Commit(
            (RevisionEquals(ticket.key, ticket.revision),),
            (Put(self._key, owner_value(None, token=ticket.revision) + b"\n" + result), Delete(ticket.key)),
            limit,
        )
        kept = False
        unknown: OutcomeUnknown | None = None
        held._ending = True
        try:
            while not kept:
                try:
                    kept = yield from self._kept(keep, ticket)
                except OutcomeUnknown as exc:
                    unknown = exc
                except Unavailable:
                    pass
                if not kept:
                    if not acquired.session.alive:
                        raise unknown or self._lost()
                    yield from pause()
        finally:
            held.end()
            if not kept or acquired.uncertain:
                self._queue.give_up(acquired)

    def _kept(self, keep: Commit, ticket: Ticket) -> Steps[bool]:
        try:
            yield from keep
        except Conflict as exc:
            item = yield from Get(self._key, keep.limit)
            if item is None or _result(item.value)[0] != ticket.revision:
                raise self._lost() from exc
            # An earlier try was applied, and its answer was lost.
        return True

    def _hold(self, acquired: Acquired) -> H:
        return self._make(
            self._queue.store,
            acquired.session,
            kind="run",
            name=self._name,
            key=acquired.ticket.key,
            token=acquired.ticket.revision,
            give_back=lambda limit: self._queue.release(acquired, limit),
            leave=lambda: self._queue.give_up(acquired),
        )

    def _lost(self) -> LeaseLost:
        return LeaseLost(
            f"running {self._name!r} once: it was lost before the result was kept, so another process may run it "
            "again; guard what the function writes by the token"
        )


def _result(value: bytes) -> tuple[object, bytes]:
    """Return the token of the run that is done, and its result."""
    head, _, result = value.partition(b"\n")
    return fields_of(head).get("token"), result


def once(
    store: Store,
    name: str,
    function: Callable[[Held], bytes | None],
    *,
    timeout: float | None = None,
    session: Session | None = None,
) -> bytes:
    """Run ``function`` if no process has done so for this name, and return what it returned, wherever it ran.

    * One process at a time runs it. Others wait, and return the kept result, now and in later years.
    * If it raises, or its process dies, hangs or is cut off, the next process runs it. So it may begin several times,
      and it is done once: the result of one run is kept.
    * The function gets what is held while it runs. ``held.guard(transaction)`` lets the store refuse what a former
      runner writes; ``held.check()`` raises before others can run it.

    The name stays done: give another one, with a date or a version, to run something again.

    >>> import tenure
    >>> def migrate(held):
    ...     print("migrating")
    ...     return b"to version 2"
    >>> with tenure.connect("memory://") as store:
    ...     print(tenure.once(store, "migration-2", migrate))
    ...     print(tenure.once(store, "migration-2", migrate))
    migrating
    b'to version 2'
    b'to version 2'

    Args:
        store: the store.
        name: the name that participants share, at most 400 bytes.
        function: called with what is held. It returns a short result, ``None`` for an empty one.
        timeout: seconds to wait for other processes; ``None`` waits as long as the session lives.
        session: a session of one's own; by default one that all recipes of the store object share. Its TTL decides how
            soon a runner that dies is replaced.

    Returns:
        The result; ``b""`` if the function returned ``None``.

    Raises:
        WaitTimeout: another process ran it all the time.
        LeaseLost: the session ended before the result was kept; another process may run it again.
        InvalidArgument: the name is empty, too long, or no text without NUL, or the function returned no ``bytes``.
        LimitExceeded: the result is larger than the store takes; it was not kept.
        Unavailable: the store can't be reached. ``DeadlineExceeded`` if the time ran out.
        OutcomeUnknown: the session ended before it could be found out whether the result was kept. Or the time ran out
            while a write of the wait had no answer; what it left is removed in the background.
        PermissionDenied: the store forbids the call. ``AuthenticationFailed`` if it no longer accepts the
            credentials.
        StoreClosed: the store was closed. ``UsedAfterFork`` if it belongs to the parent process.
    """
    steps = one_run(store, name, session)
    found: Held | bytes = b""
    try:
        found = run(store, steps.enter(TimeLimit(store.clock, timeout)), undo=_undo)
        if isinstance(found, bytes):
            return found
        result = checked(name, function(found))
        run(store, steps.finish(found, result))
        return result
    except BaseException:
        if isinstance(found, Held):
            with suppress(TenureError):  # the error that is raised tells more
                found.release()
        raise


def one_run(store: Store, name: str, session: Session | None) -> OneRun[Held]:
    """Return one participant's call."""
    queue = Queue(
        store,
        _names.folder("once", name),
        f"the run of {name!r}",
        UntilDone(),
        janitor_of(store),
        session,
        "once",
        name,
    )
    return OneRun(queue, name, Held)


def _undo(found: Held | bytes) -> None:
    if isinstance(found, Held):
        found.give_up()


def checked(name: str, result: bytes | None) -> bytes:
    """Return the result that is kept for what the function returned."""
    if result is not None and not isinstance(result, bytes):
        raise InvalidArgument(
            f"running {name!r} once: the function returned {result!r}, and a result is bytes; return such, or None"
        )
    return result or b""
