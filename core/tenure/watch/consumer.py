"""One consumer at a time, known by its thread. An exception at any line leaves nothing taken for good."""

from __future__ import annotations

import threading


class SingleConsumer:
    """Lets one thread in; others are refused at once, without waiting.

    A lock would stay taken if a signal handler raised between taking it and the ``try`` that gives it back. Here the
    thread that was interrupted is let in again, and a thread that has ended keeps nobody out.
    """

    def __init__(self) -> None:
        self._inside: dict[str, threading.Thread] = {}

    def enter(self) -> bool:
        """Let the calling thread in. Returns ``False`` if another thread that is alive is inside."""
        me = threading.current_thread()
        inside = self._inside.setdefault("thread", me)  # one step, also for several threads
        if inside is not me and not inside.is_alive():
            self._inside["thread"] = inside = me
        return inside is me

    @property
    def taken(self) -> bool:
        """Whether a thread is inside."""
        return bool(self._inside)

    def leave(self) -> None:
        """Let the next thread in."""
        self._inside.pop("thread", None)
