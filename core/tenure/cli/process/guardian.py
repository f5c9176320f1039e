"""Hold the deadline of a command, and kill it in time, whatever becomes of ``tenure``.

It runs as a script in a process of its own, with two pipes and the command as arguments, and imports nothing of Tenure
but ``child.py`` beside it. It is the command's parent. It starts the command once ``tenure`` has told the first
deadline, in a process group of its own. Two kinds of records of one length each go through the pipes:

* ``DEADLINE``, to the guardian: from when the command's group gets SIGTERM, and SIGKILL, in seconds of the clock;
* ``REPORT``, to ``tenure``: ``STARTED``, group, 0; or ``ENDED``, exit code, whether a deadline had passed. The whole
  group is dead then.

If ``tenure`` is stopped or cut off, no later deadline comes. If it dies, its end of the pipe closes: the group gets
SIGTERM at once, and SIGKILL by the last deadline. If the guardian dies, the system kills the command.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import os
import select
import signal
import struct
import sys
import time

DEADLINE = struct.Struct("=dd")
REPORT = struct.Struct("=iii")
STARTED, ENDED = 0, 1

_PR_SET_CHILD_SUBREAPER = 36
_SLICE = 0.25
"""Seconds after a suspend of the machine within which the guardian looks at the clock."""
_PAUSE = 0.01
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def now() -> float:
    """Return the time of the clock that leases use, which all processes share."""
    return time.clock_gettime(_CLOCK)


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parent dies, so that they can be found and waited for."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def kill_group(group: int, number: int) -> bool:
    """Send a signal to a process group, also if it is stopped. Returns whether a process of it is left."""
    try:
        os.killpg(group, number)
        os.killpg(group, signal.SIGCONT)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # a process of another user: it can't be killed, so it has to be waited for
    return True


def hand_terminal(giver: int, taker: int) -> bool:
    """Make the group ``taker`` the terminal's foreground in place of ``giver``. Returns whether it is now."""
    try:
        terminal = os.open("/dev/tty", os.O_RDWR)
    except OSError:
        return False
    try:
        if os.tcgetpgrp(terminal) != giver:
            return False
        os.tcsetpgrp(terminal, taker)
    except OSError:
        return False
    finally:
        os.close(terminal)
    return True


def bury(group: int, *, descendants: bool) -> None:
    """Kill what is left of a group, and with ``descendants`` all children of this process. Return when all are dead."""
    while True:
        left = group > 0 and kill_group(group, signal.SIGKILL)
        for child in _children() if descendants else ():
            os.kill(child, signal.SIGKILL)  # not waited for yet, so the number is still its own
            left = True
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            pass
        if not left:
            return
        time.sleep(_PAUSE)


def _children() -> list[int]:
    try:
        with open(f"/proc/self/task/{os.getpid()}/children") as file:
            return [int(number) for number in file.read().split()]
    except OSError:
        return []  # a system that doesn't tell: then the group is all that is known


class Guardian:
    """One command and its deadlines."""

    def __init__(self, deadlines: int, reports: int, command: list[str]) -> None:
        self._deadlines = deadlines
        self._reports = reports
        self._command = command
        self._alone = False
        self._term_at = self._kill_at = 0.0
        self._group = 0
        self._lost = False
        self._callers = os.getpgid(os.getppid())
        self._stopped = 0
        self._has_terminal = False

    def run(self) -> None:
        """Start the command, wait for its end, and return once its whole group is dead."""
        self._listen()
        if self._alone or now() >= self._kill_at:
            return
        woken, wake = os.pipe()
        os.set_blocking(wake, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._start()
        self._tell(STARTED, self._group)
        while (code := self._ended()) is None:
            self._wait(woken)
            self._enforce()
            self._continue()
        if self._has_terminal:
            hand_terminal(self._group, self._callers)
        bury(self._group, descendants=self._lost)
        self._tell(ENDED, code, lost=self._lost)

    def _start(self) -> None:
        sys.path.append(os.path.dirname(os.path.abspath(__file__)))
        child = importlib.import_module("child")
        parent = os.getpid()
        self._group = os.fork()
        if not self._group:
            os.setpgid(0, 0)
            os._exit(child.become(self._command, parent, signal.SIGKILL))
        with contextlib.suppress(OSError):  # the command has begun, so it has done that itself
            os.setpgid(self._group, self._group)  # here too: either process may be the first

    def _ended(self) -> int | None:
        """Return the command's exit code as a shell would have it, once it has ended. Its process id stays taken."""
        while True:
            found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if found is None:
                return None
            if found.si_pid == self._group:
                return found.si_status if found.si_code == os.CLD_EXITED else 128 + found.si_status
            os.waitpid(found.si_pid, 0)

    def _wait(self, woken: int) -> None:
        due = self._kill_at if self._lost else min(self._term_at, self._kill_at)
        pause = min(max(due - now(), _PAUSE), _SLICE)
        ready = select.select([woken] if self._alone else [woken, self._deadlines], [], [], pause)[0]
        if woken in ready:
            os.read(woken, 512)
        if self._deadlines in ready:
            self._listen()

    def _listen(self) -> None:
        """Read all that was told: only the last deadline counts. The first call waits."""
        try:
            while record := os.read(self._deadlines, DEADLINE.size):
                self._term_at, self._kill_at = DEADLINE.unpack(record)
                os.set_blocking(self._deadlines, False)
        except BlockingIOError:
            return
        self._alone = True

    def _enforce(self) -> None:
        if now() >= self._kill_at:
            self._lost = True
            kill_group(self._group, signal.SIGKILL)
        elif not self._lost and (self._alone or now() >= self._term_at):
            self._lost = True
            kill_group(self._group, signal.SIGTERM)

    def _continue(self) -> None:
        """Give the command the terminal if it stopped for want of it. Then no key of the terminal stops it for long."""
        try:
            found = os.waitid(os.P_PID, self._group, os.WSTOPPED | os.WNOHANG)
        except ChildProcessError:
            return  # it has ended meanwhile
        if found is not None:
            self._stopped = found.si_status
        if self._stopped in (signal.SIGTTIN, signal.SIGTTOU):
            # Not before: as long as tenure's group is in the foreground, Ctrl-C reaches the script that called it.
            self._has_terminal = self._has_terminal or hand_terminal(self._callers, self._group)
            if not self._has_terminal:
                return  # tenure is in the background: look again
        elif not (self._stopped == signal.SIGTSTP and self._has_terminal):
            return
        self._stopped = 0
        with contextlib.suppress(OSError):
            os.killpg(self._group, signal.SIGCONT)

    def _tell(self, kind: int, number: int, *, lost: bool = False) -> None:
        with contextlib.suppress(BrokenPipeError):  # tenure died: the other pipe tells
            os.write(self._reports, REPORT.pack(kind, number, lost))


def main(arguments: list[str]) -> int:
    """Guard the command until it is dead."""
    deadlines, reports, command = int(arguments[0]), int(arguments[1]), arguments[2:]
    os.set_inheritable(deadlines, False)
    os.set_inheritable(reports, False)
    # What is sent to tenure's group, or typed on its terminal, is not for the guardian.
    os.setpgid(0, 0)
    signal.pthread_sigmask(signal.SIG_SETMASK, signal.valid_signals() - {signal.SIGCHLD})
    adopt_orphans()
    Guardian(deadlines, reports, command).run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
