"""One deadline for everything that a call does: how much time is left, and one error when there is none."""

from __future__ import annotations

import sys
import time

from tenure.errors import DeadlineExceeded

_REALTIME = 5 if sys.platform == "linux" else time.CLOCK_REALTIME
"""Linux's coarse clock: time-machine replaces the other one in ``clock_gettime``, too."""

SHORTEST = 0.001
"""Seconds that are always granted: clients and sockets take zero for "without a limit"."""


def monotonic() -> float:
    """Return seconds of real time that only grow, from an arbitrary start.

    Read from ``clock_gettime``, which tools that freeze time in tests (freezegun, time-machine) leave alone.
    A deadline has to pass while the application's own clock stands still.

    Returns:
        Seconds; only differences between two values mean something.
    """
    return time.clock_gettime(time.CLOCK_MONOTONIC)


def wall_clock() -> float:
    """Return the machine's calendar time, also while a test has frozen the application's.

    Returns:
        Seconds since 1970, to a few milliseconds.
    """
    return time.clock_gettime(_REALTIME)


class RealTime:
    """Stands in for the module ``time`` in a client library whose waits have to end while a test freezes time.

    Freezing tools replace what the module ``time`` offers, and such a library computes its deadlines from that. A
    plugin puts an object of this class in the place of ``time`` among the library's module globals.
    """

    sleep = staticmethod(time.sleep)
    monotonic = perf_counter = staticmethod(monotonic)
    time = staticmethod(wall_clock)


class Deadline:
    """The moment by which a call has to return. Immutable, so one object serves every step and thread of a call.

    >>> deadline = Deadline(5.0)
    >>> 4.0 < deadline.remaining() <= 5.0
    True
    >>> deadline.check("reading a key")

    Args:
        seconds: time from now until the deadline, in seconds.

    Attributes:
        seconds: the time that was given, in seconds.
    """

    __slots__ = ("_ends", "seconds")

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._ends = monotonic() + seconds

    @property
    def expired(self) -> bool:
        """Whether the time is up."""
        return monotonic() >= self._ends

    def remaining(self) -> float:
        """Return the time left, never zero: a value that every client and socket accepts as a time limit.

        Returns:
            Seconds, at least 0.001, also after the deadline.
        """
        left = self._ends - monotonic()
        return left if left > SHORTEST else SHORTEST  # every step of every call asks, and max costs more

    def within(self, seconds: float) -> float:
        """Return the limit of one step of the call: ``seconds``, or the time left if that is less.

        Args:
            seconds: the longest that the step should take, in seconds.

        Returns:
            Seconds, at least 0.001 unless ``seconds`` is less.
        """
        return min(seconds, self.remaining())

    def check(self, action: str) -> None:
        """Do nothing while there is time left, and raise once the time is up.

        Args:
            action: what the caller is doing, such as ``"reading a key"``.

        Raises:
            DeadlineExceeded: the time is up. The step that would have come next has applied nothing.
        """
        if self.expired:
            raise DeadlineExceeded(
                f"{action}: the {self.seconds:g} s given were over; give a longer timeout, or try again"
            )

    def progressed(self) -> None:
        """Take notice that some bytes of an answer have arrived. A plain deadline stays where it is."""

    def __repr__(self) -> str:
        return f"<Deadline in {self._ends - monotonic():.3f} s of {self.seconds:g} s>"


class ProgressDeadline(Deadline):
    """A deadline for what has to get on, however slow the link is: it moves on with each piece that arrives.

    For a feed, whose answers no caller waits for by a certain moment, and for a long answer that a caller waits for. A
    server that trickles must not hold the caller beyond ``at_most``.

    >>> deadline = ProgressDeadline(5.0)
    >>> deadline.progressed()
    >>> 4.0 < deadline.remaining() <= 5.0
    True

    Args:
        seconds: time without any progress until the deadline, in seconds.
        at_most: seconds for everything; ``None`` for no limit.
    """

    __slots__ = ("_last",)

    def __init__(self, seconds: float, at_most: float | None = None) -> None:
        super().__init__(seconds)
        self._last = float("inf") if at_most is None else monotonic() + max(at_most, seconds)

    @classmethod
    def of_request(cls, timeout: float, patience: float | None) -> Deadline:
        """Return the deadline for reading what may be long.

        Args:
            timeout: seconds, as the method of the SPI was given them.
            patience: as the request has it.

        Returns:
            A plain deadline if the caller has no patience.
        """
        return Deadline(timeout) if patience is None else cls(timeout, patience)

    def progressed(self) -> None:
        """Begin the time again."""
        self._ends = min(monotonic() + self.seconds, self._last)
