"""What a call makes, known before the call returns it: an interrupt may keep it from returning.

A caller can close only what it knows. A call that registers something, starts a thread for it and then returns it may
be interrupted in between. So what has to be closed announces itself when it is made, to the call of its context: in the
caller's thread, or in one that the call was handed to with a copy of the context.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import TypeVar

T = TypeVar("T")

_call: ContextVar[Makings | None] = ContextVar("_call", default=None)


class Makings:
    """What one call makes. The caller takes it out of :attr:`made` once it needs no closing by that.

    Attributes:
        made: what has announced itself by :func:`announce`, in that order.
        running: whether the call has neither returned nor raised.
    """

    __slots__ = ("made", "running")

    def __init__(self) -> None:
        self.made: list[object] = []
        self.running = False

    def of(self, call: Callable[[], T]) -> T:
        """Make the call.

        Args:
            call: what makes something.

        Returns:
            What it returns.
        """
        outer = _call.get()
        self.running = True
        try:
            _call.set(self)
            return call()
        finally:
            self.running = False
            _call.set(outer)


def announce(thing: object) -> None:
    """Say that ``thing`` is being made, and will have to be closed.

    Args:
        thing: what the call is about to return or to keep.
    """
    makings = _call.get()
    if makings is not None and makings.running:
        makings.made.append(thing)
