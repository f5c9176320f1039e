"""A command under its guardian, as ``tenure`` sees it.

The guardian kills the command by the last deadline that it was told. If the guardian is killed or stopped itself,
``tenure`` does the same: the end of :class:`Guarded` is told only when the command's whole group is dead.
"""

from __future__ import annotations

import math
import os
import select
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tenure.cli.process import guardian

_START = 30.0
"""Seconds that a guardian may take to start its command, on a machine that is very busy."""
_HINDERED = 2.0
"""Seconds after the deadline in which the guardian should have told that the command is dead."""
_CHANGE = 0.01


@dataclass(frozen=True, slots=True)
class End:
    """How a command ended.

    Attributes:
        code: its exit code, as a shell would have it.
        lost: whether it was ended because a deadline had passed.
    """

    code: int
    lost: bool


class Guarded:
    """One command. It may run until ``kill_at`` of the guardian's clock, and gets SIGTERM ``grace`` seconds before."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], *, kill_at: float, grace: float) -> None:
        self._grace = grace
        self._kill_at = math.inf
        self._group = 0
        self._end: End | None = None
        guardian.adopt_orphans()  # if the guardian dies: then this process waits for the command
        reading, self._deadlines = os.pipe()
        self._reports, writing = os.pipe()
        os.set_blocking(self._deadlines, False)
        try:
            self._process = subprocess.Popen(  # noqa: S603 - the user's own command
                [sys.executable, "-I", "-S", guardian.__file__, str(reading), str(writing), *command],
                pass_fds=(reading, writing),
                env=environment,
            )
        finally:
            os.close(reading)
            os.close(writing)
        self.may_run_until(kill_at)
        select.select([self._reports], [], [], _START)
        self._listen()

    def may_run_until(self, kill_at: float) -> None:
        """Tell another deadline. One that has passed ends the command, and stays."""
        if kill_at <= guardian.now():
            kill_at = min(kill_at, self._kill_at)
        if abs(kill_at - self._kill_at) < _CHANGE:
            return
        try:
            os.write(self._deadlines, guardian.DEADLINE.pack(kill_at - self._grace, kill_at))
        except OSError:
            return  # it has been stopped for long, or has ended: see poll
        self._kill_at = kill_at

    def send_signal(self, number: int) -> None:
        """Send a signal to the command's group."""
        if self._group and self._end is None:
            guardian.kill_group(self._group, number)

    def poll(self) -> End | None:
        """Return how the command ended, once its whole group is dead; ``None`` before."""
        if self._end is None and not self._listen():
            self._bury()  # the guardian died
        elif self._end is None and guardian.now() > self._kill_at:
            self.send_signal(signal.SIGKILL)
            if guardian.now() > self._kill_at + _HINDERED:
                self._process.kill()  # it is stopped
        if self._end is not None:
            self._process.wait()
        return self._end

    def close(self) -> None:
        """Let the guardian end the command if it still runs."""
        os.close(self._deadlines)
        os.close(self._reports)

    def _listen(self) -> bool:
        """Read what the guardian tells. Returns whether it lives, or has told the end."""
        while select.select([self._reports], [], [], 0)[0]:
            record = os.read(self._reports, guardian.REPORT.size)
            if not record:
                return False
            kind, number, lost = guardian.REPORT.unpack(record)
            if kind == guardian.ENDED:
                self._end = End(number, bool(lost))
                return True
            self._group = number
        return True

    def _bury(self) -> None:
        self._process.wait()
        guardian.bury(self._group, descendants=True)
        late = guardian.now() >= self._kill_at - self._grace
        self._end = End(128 + signal.SIGKILL, lost=late)
