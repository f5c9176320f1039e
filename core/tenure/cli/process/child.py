"""Prepare the process of a command: a few lines in a new interpreter, then ``exec``.

It runs as a script, with the parent's process id and the command as arguments, and imports nothing of Tenure. It sets
what the parent can't set from outside without running Python in a forked process with threads:

* it unblocks the signals, and ignores only those that the parent ignored;
* the command gets SIGTERM when ``tenure run`` dies, even by SIGKILL, since a service must not run unregistered. Under a
  guardian (``guardian.py``) it gets SIGKILL when the guardian dies.
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
    return become(arguments[1:], int(arguments[0]), signal.SIGTERM)


def become(command: list[str], parent: int, death: signal.Signals) -> int:
    """Replace this process by ``command``, which gets ``death`` when ``parent`` dies. Returns as :func:`main` does."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(death))
    if os.getppid() != parent:
        return 128 + death  # the parent died before this request for a signal
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
