"""Becomes the command of ``tenure run``: a few lines in a fresh interpreter, then ``exec``.

Run as a script, with the parent's process id and the command as arguments. It imports nothing of Tenure. In
between two processes it sets what can't be set from outside without running Python in a forked, threaded process:

* no signal is blocked or ignored that wasn't for the parent;
* the command gets SIGTERM when ``tenure run`` dies, even by SIGKILL: a service must not go on unregistered.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

NOT_FOUND = 127
NOT_EXECUTABLE = 126
_PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> int:
    """Doesn't return unless the command can't be started; then with the shell's exit code for that."""
    parent, command = int(arguments[0]), arguments[1:]
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM))
    if os.getppid() != parent:
        return 128 + signal.SIGTERM  # it died before we asked to be told
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    try:
        os.execvp(command[0], command)  # noqa: S606 - the user's own command, without a shell on purpose
    except FileNotFoundError as exc:
        return _refuse(command, exc, NOT_FOUND)
    except OSError as exc:
        return _refuse(command, exc, NOT_EXECUTABLE)


def _refuse(command: list[str], error: OSError, code: int) -> int:
    print(f"tenure: can't start {command[0]!r}: {error.strerror}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
