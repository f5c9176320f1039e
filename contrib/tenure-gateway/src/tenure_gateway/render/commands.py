"""Run a command with a deadline: at its end the command and everything that it has started are killed.

The command runs by ``sh -c``, since people write pipes and ``&&``. Text from the store never gets into it.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tenure.plugin_kit import monotonic

_LOOK = 0.1
_MOST_OUTPUT = 4_096
_AFTER_STOP = 5.0
"""Seconds that a running command still has once the program is asked to end."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a command ended.

    Attributes:
        problem: what went wrong, for people; empty if it succeeded.
        output: the end of what it wrote to stdout and stderr.
        seconds: how long it took.
    """

    problem: str
    output: str
    seconds: float


def run(command: str, *, deadline: float, stopping: Callable[[], bool] = lambda: False) -> Outcome:
    """Run a command.

    Args:
        command: a shell's command.
        deadline: seconds after which it is killed.
        stopping: returns whether the program is asked to end: then the command has 5 s at most.

    Returns:
        How it ended; no failure of the command raises.
    """
    began = monotonic()
    until = began + deadline
    # A file, not a pipe: a server that the command starts may keep it open.
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(  # noqa: S603 - the operator's own command
            ["/bin/sh", "-c", command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        asked = False
        while (code := _wait(process)) is None:
            if not asked and stopping():
                asked, until = True, min(until, monotonic() + _AFTER_STOP)
            if monotonic() >= until:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                break
        if code is None:
            problem = f"it was killed after {monotonic() - began:.1f} s, which is its deadline"
        elif code < 0:
            problem = f"signal {-code} ended it"
        else:
            problem = f"exit code {code}" if code else ""
        output.seek(max(0, output.seek(0, os.SEEK_END) - _MOST_OUTPUT))
        return Outcome(problem, output.read().decode(errors="replace").strip(), monotonic() - began)


def with_candidate(command: str, candidate: Path) -> str:
    """Return the command with the candidate's path, quoted, in place of ``{}``."""
    return command.replace("{}", shlex.quote(str(candidate)))


def _wait(process: subprocess.Popen[bytes]) -> int | None:
    try:
        return process.wait(timeout=_LOOK)
    except subprocess.TimeoutExpired:
        return None
