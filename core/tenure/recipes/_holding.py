"""The synchronous face of what can be held: ``Held`` with ``release``, and ``with ... .hold()``."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType

from tenure._runtime.clock import TimeLimit
from tenure._steps.threads import run
from tenure.errors import LeaseLost, TenureError
from tenure.recipes._held_state import HeldState


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
            StoreClosed: the store was closed. ``UsedAfterFork`` if it belongs to the parent process.
        """
        return run(self._store, self.release_steps(TimeLimit(self._store.clock, timeout)))


class Holding:
    """A context manager: acquires when it is entered, releases at the end. Each can be entered once at a time."""

    def __init__(self, acquire: Callable[[], Held]) -> None:
        self._acquire = acquire
        self._held: Held | None = None

    def __enter__(self) -> Held:
        self._held = self._acquire()
        return self._held

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        held, self._held = self._held, None
        if held is None:
            return
        try:
            kept = held.release()
        except TenureError:
            if error is None:
                raise
            return  # the error of the body tells more
        if not kept and error is None:
            raise LeaseLost(
                f"leaving {held!r}: it was lost before the end of the block, so others may have held it meanwhile; "
                "guard what the block writes by the token"
            )
