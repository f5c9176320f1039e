"""Entry point of the command ``tenure``: without click and rich it prints a clear message."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import sys
import threading

_NEEDED = ("click", "rich")
_USAGE = 2
_COMPLETION = "_TENURE_COMPLETE"


def main() -> int:
    """Run the command line given in ``sys.argv``; the answer is the exit code (or ``SystemExit`` carries it)."""
    _replace_closed_streams()
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        print(
            f"tenure: the command line needs {' and '.join(missing)}, not installed in {sys.prefix}: "
            "pip install 'tenure[cli]'",
            file=sys.stderr,
        )
        return _USAGE
    for stream in (sys.stdout, sys.stderr):
        # A terminal that can't show a character gets its escape, not an exception.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    if _COMPLETION in os.environ:
        _complete()
    from tenure.cli.app import cli

    try:
        cli.main(prog_name="tenure")
    finally:
        _drop_unwritten_remarks()
    return 0


def _drop_unwritten_remarks() -> None:
    """Keep remarks that can't be written, as on a full disk, from replacing the exit code by Python's 120."""
    try:
        sys.stderr.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


def _replace_closed_streams() -> None:
    """Give a command that was started without stdin, stdout or stderr (``>&-``) the null device in its place.

    What is opened later would get the number of a closed one, and a child would write into it.
    """
    for number, (name, mode) in enumerate([("stdin", "r"), ("stdout", "w"), ("stderr", "w")]):
        if getattr(sys, name) is None:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
            os.set_inheritable(number, True)
            setattr(sys, name, open(number, mode, encoding="utf-8"))  # noqa: SIM115 - open until the end


def _complete() -> None:
    """Answer the shell that completes a command line, in bounded time, and without a word if that fails."""
    from tenure.cli.completion import given_up

    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    watchdog = threading.Timer(given_up(), os._exit, (0,))
    watchdog.daemon = True
    watchdog.start()
    with contextlib.suppress(BaseException):  # SystemExit after the answer; anything else completes nothing
        from tenure.cli.app import cli

        cli.main(prog_name="tenure")
    sys.stdout.flush()
    os._exit(0)  # a thread that still waits for the store must not hold up the shell
