"""The synchronous face of what can be held: ``acquire``, ``Held`` with ``release``, and ``with ... .hold()``."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType

from tenure._runtime.clock import TimeLimit
from tenure._steps.effects import Steps
from tenure._steps.threads import run
from tenure.errors import LeaseLost, TenureError
from tenure.recipes._acquirable import Acquirable
from tenure.recipes._entered import EnteredByMethod, NotYetHeld
from tenure.recipes._held_state import HeldState
from tenure.recipes._owner import stamped
from tenure.recipes.fencing import Fence


class Held(HeldState):
    """What is held, with the call that gives it back."""

    def release(self, *, timeout: float | None = None) -> bool:
        """Give it back. A second call does nothing, and so does one in a forked child.

        If the store can't be reached, the key is removed in the background, or with its session.

        Args:
            timeout: seconds that the call may take; by default the store's timeout.

        Returns:
            Whether it was held until now.

        Raises:
            PermissionDenied: the store forbids the call. ``AuthenticationFailed`` if it no longer accepts the
                credentials.
            StoreClosed: the store was closed.
        """
        try:
            counted: list[bool] = []
            if self._store._inherited:
                return False
            return run(self._store, self.release_steps(TimeLimit(self._store.clock, timeout), counted))
        except TenureError:
            raise
        except BaseException:
            if not locals().get("counted"):  # it may have come before there was any
                self.give_up()
            raise

    def fence(self, *, timeout: float | None = None) -> Fence:
        """Return the token with the history that it belongs to, to send along to what is not in this store.

        The first call reads two keys, on stores that may repeat revisions after a restore; others make none.

        Args:
            timeout: seconds that the call may take; by default the store's timeout for each of its requests.

        Returns:
            The fence. It is greater than that of each earlier holder.

        Raises:
            LeaseLost: it is held no longer.
            OutcomeUnknown: no answer came; calling again is safe.
            Unavailable: the store can't be reached. ``DeadlineExceeded`` if the time ran out.
            PermissionDenied: the store forbids the call. ``AuthenticationFailed`` if it no longer accepts the
                credentials.
            StoreClosed: the store was closed. ``UsedAfterFork`` if it belongs to the parent process.
        """
        return run(self._store, self.fence_steps(TimeLimit(self._store.clock, timeout)))


class Holding(NotYetHeld):
    """A context manager: acquires when it is entered, releases at the end. Each can be entered once at a time."""

    def __init__(self, acquire: Callable[[], Held], of: object) -> None:
        self._acquire = acquire
        self._of = of
        self._held: Held | None = None

    def __enter__(self) -> Held:
        try:
            self._entered = True
            self._held = self._acquire()
            return self._held
        except BaseException:  # an interrupt after it was acquired: the block isn't entered, so nothing would release
            if self._held is not None:
                self._held.give_up()
            raise

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        try:
            kept = self._held is None or self._held.release() or self._held._given_back
        except TenureError:
            if error is None:
                raise
            return  # the error of the body tells more
        except BaseException:  # an interrupt, maybe before the release began
            if self._held is not None:
                self._held.give_up()
            raise
        held, self._held = self._held, None
        if not kept and error is None:
            if held is not None:
                held._store._check_fork()
            raise lost_within(held)


def lost_within(held: object) -> LeaseLost:
    """Return the error for a block whose lock was lost before its end."""
    return LeaseLost(
        f"leaving {held!r}: it was lost before the end of the block, so others may have held it meanwhile; guard what "
        "the block writes by the token"
    )


def acquisition(steps: Acquirable[Held], value: bytes, timeout: float | None) -> Steps[Held]:
    """Steps that wait until it is held."""
    return steps.acquire(stamped(value), TimeLimit(steps.store.clock, timeout))


def attempt(steps: Acquirable[Held], value: bytes, timeout: float | None) -> Steps[Held | None]:
    """Steps that take it if nothing is in the way now."""
    return steps.try_acquire(stamped(value), TimeLimit(steps.store.clock, timeout))


def acquire(steps: Acquirable[Held], value: bytes, timeout: float | None) -> Held:
    """Wait until it is held. If an interrupt comes as this returns, it is given back in the background."""
    return run(steps.store, acquisition(steps, value, timeout), undo=_give_up)


def _give_up(held: Held | None) -> None:
    if held is not None:
        held.give_up()


class Acquires(EnteredByMethod):
    """The calls of an object that can hold something. One object is one participant, and holds once at a time."""

    def __init__(self, steps: Acquirable[Held], value: bytes) -> None:
        self._steps = steps
        self._value = value

    @property
    def held(self) -> Held | None:
        """What this object holds now; ``None`` if nothing. Reads the local clock and makes no call to the store."""
        return self._steps.held

    def acquire(self, *, timeout: float | None = None) -> Held:
        """Wait until it is held.

        Args:
            timeout: seconds to wait; ``None`` waits as long as the session lives.

        Returns:
            What is held. Release it when done.

        Raises:
            WaitTimeout: others held it all the time.
            AlreadyHeld: this object holds it, or is acquiring it.
            LeaseLost: the session ended during the wait.
            Unavailable: the store can't be reached. ``DeadlineExceeded`` if the time ran out.
            OutcomeUnknown: the time ran out while a write had no answer. What it left is removed in the background.
            PermissionDenied: the store forbids the call. ``AuthenticationFailed`` if it no longer accepts the
                credentials.
            StoreClosed: the store was closed. ``UsedAfterFork`` if it belongs to the parent process.
        """
        return acquire(self._steps, self._value, timeout)

    def try_acquire(self, *, timeout: float | None = None) -> Held | None:
        """Take it if nothing is in the way now: no holder, and no other participant that waits.

        Args:
            timeout: seconds that the call may take; by default the store's timeout for each of its requests.

        Returns:
            What is held; ``None`` if another participant is in the way.

        Raises:
            AlreadyHeld: this object holds it, or is acquiring it.
            LeaseLost: the session ended meanwhile.
            Unavailable: the store can't be reached. ``DeadlineExceeded`` if the time ran out.
            OutcomeUnknown: a write had no answer. What it left is removed in the background.
            PermissionDenied: the store forbids the call. ``AuthenticationFailed`` if it no longer accepts the
                credentials.
            StoreClosed: the store was closed. ``UsedAfterFork`` if it belongs to the parent process.
        """
        return run(self._steps.store, attempt(self._steps, self._value, timeout), undo=_give_up)

    def hold(self, *, timeout: float | None = None) -> Holding:
        """Hold it for the block of ``with``.

        At the end of the block it is released, unless the block did so. If it was lost before, and the block raised
        nothing, leaving the block raises ``LeaseLost``.

        Args:
            timeout: seconds to wait; ``None`` waits as long as the session lives.

        Returns:
            A context manager that gives the :class:`Held`. Entering it raises like :meth:`acquire`.
        """
        return Holding(lambda: self.acquire(timeout=timeout), self)
