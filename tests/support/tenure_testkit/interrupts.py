"""Interrupt a call by what a signal handler raises, at each line in turn, and look each time at what it has left.

A line is interrupted once for each way to it: the lines of all callers, and where the steps stand that they perform.
What it would leave at a second turn along the same way is the same.
"""

from __future__ import annotations

import linecache
import sys
from collections.abc import Callable, Hashable, Iterator
from functools import partial
from types import CodeType, FrameType, GeneratorType
from typing import Any

CLEARS = ("try:",)
"""Lines in which the interpreter looks for no signal: it does so in calls of functions and in turns of loops."""

Act = Callable[[int], tuple[Callable[[], object], Callable[[], object]]]
"""Makes the call to be interrupted at a line, and what looks and clears up afterwards."""


TURNS_ARE_LINES = sys.version_info >= (3, 12)
"""Whether each turn of a comprehension is told as its line once more. An exception there that comes by tracing leaves
the lock of a "with" around it held; one that a signal brings never does."""

Tracer = Callable[[FrameType, str, Any], Any]


class Limit(Exception):
    """What the signal handler raises."""


def handler(number: int, frame: FrameType) -> None:
    """A signal handler: the library knows its exception by the frame that it was called with."""
    raise Limit


class Interrupts:
    """Interrupts calls at lines of some packages.

    Args:
        inside: parts of the paths of the modules in question.
        uninterruptible: more lines in which the interpreter looks for no signal.
    """

    def __init__(self, *inside: str, uninterruptible: tuple[str, ...] = ()) -> None:
        self._inside = inside
        self._uninterruptible = {*CLEARS, *uninterruptible}
        self._lines: dict[CodeType, frozenset[int]] = {}

    def every_line(self, act: Act) -> int:
        """Interrupt the first of what ``act`` makes at each line, and then call the second.

        Args:
            act: called with the number of the line for each interrupt.

        Returns:
            The number of lines that were interrupted.
        """
        steps: list[int] = []
        for _ in range(2):  # a first call may find things to be made that later ones find made
            call, afterwards = act(0)
            steps = self._ways_through(call)
            afterwards()
        for step in steps:
            call, afterwards = act(step)
            came = self.interrupted_at(step, call)
            assert came is None or isinstance(came, Limit), f"interrupted at line {step}: {came!r}"
            afterwards()
        return len(steps)

    def interrupted_at(self, step: int, call: Callable[[], object]) -> BaseException | None:
        """Make ``call``, with an exception at its line number ``step``; return what came out."""
        try:
            self._traced(call, partial(handler, 0), first=step)
        except BaseException as exc:  # noqa: BLE001 - judged by the caller
            return exc.with_traceback(None)  # it would keep what the call had in hand
        return None

    def _ways_through(self, call: Callable[[], object]) -> list[int]:
        """Make ``call``; return the numbers of its lines, one for each way to a line."""
        ways: dict[Hashable, int] = {}
        count = 0

        def seen(frame: FrameType) -> None:
            nonlocal count
            count += 1
            ways.setdefault(tuple(self._way_to(frame)), count)

        self._traced(call, seen, first=1)
        return list(ways.values())

    def _way_to(self, frame: FrameType | None) -> Iterator[Hashable]:
        while frame is not None:
            if self._of(frame.f_code):
                yield frame.f_code, frame.f_lineno
                if frame.f_code.co_name == "_go_on":  # it performs steps, which stand elsewhere meanwhile
                    steps = frame.f_locals.get("steps")
                    # Those that run are among the frames. Python 3.11 crashes when one is asked what it delegates to.
                    while isinstance(steps, GeneratorType) and not steps.gi_running:
                        yield None if steps.gi_frame is None else steps.gi_frame.f_lineno
                        steps = steps.gi_yieldfrom
            frame = frame.f_back

    def _traced(self, call: Callable[[], object], seen: Callable[[FrameType], None], *, first: int) -> None:
        """Make ``call``, and call ``seen`` at its line number ``first`` and at each later one."""
        sys.settrace(_Trace(self._of, seen, first).enter)
        try:
            call()
        finally:
            sys.settrace(None)

    def _of(self, code: CodeType) -> frozenset[int]:
        """The lines of ``code`` that can be interrupted; none where it is not one of the packages'."""
        lines = self._lines.get(code)
        if lines is None:
            lines = self._lines[code] = frozenset(self._interruptible(code))
        return lines

    def _interruptible(self, code: CodeType) -> Iterator[int]:
        if any(part in code.co_filename for part in self._inside):
            for number in {number for _, _, number in code.co_lines() if number is not None}:
                text = linecache.getline(code.co_filename, number).strip()
                # The interpreter looks for no signal at the end of a lock's block.
                if not text.startswith("with ") and text not in self._uninterruptible:
                    yield number


class _Trace:
    """Counts the lines of one call."""

    def __init__(
        self, lines_of: Callable[[CodeType], frozenset[int]], seen: Callable[[FrameType], None], first: int
    ) -> None:
        self._lines_of = lines_of
        self._seen = seen
        self._left = first
        self._finalizers = 0
        self._tracers: dict[CodeType, Tracer | None] = {}

    def enter(self, frame: FrameType, event: str, argument: Any) -> Tracer | None:
        """Trace functions of the packages."""
        code = frame.f_code
        if code.co_name == "__del__":  # what is raised there comes out nowhere
            self._finalizers += 1
            return self._finalizer
        if code not in self._tracers:
            lines = self._lines_of(code)
            self._tracers[code] = self._tracer(lines) if lines else None
        return self._tracers[code]

    def _finalizer(self, frame: FrameType, event: str, argument: Any) -> Tracer:
        self._finalizers -= event == "return"
        return self._finalizer

    def _tracer(self, lines: frozenset[int]) -> Tracer:
        before: dict[FrameType, int] = {}

        def line(frame: FrameType, event: str, argument: Any) -> Tracer:
            number = frame.f_lineno
            if event == "line" and number in lines and not self._finalizers:
                if TURNS_ARE_LINES:
                    again, before[frame] = before.get(frame) == number, number
                    if again:
                        return line
                self._left -= 1
                if self._left <= 0:
                    self._seen(frame)
            return line

        return line
