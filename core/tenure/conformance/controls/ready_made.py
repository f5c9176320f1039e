"""Ready-made controls over anybody's server: by shell commands, a container's name, or a process.

::

    driver = from_commands({"kill": "systemctl kill -s KILL mystore", "start": "systemctl start mystore"}, url=url)
    driver = for_container("mystore-1", url)

A rule relies on the effect being there when a control returns. So each waits, with the URL given, until the store
no longer answers, or answers again, and raises :class:`ControlFailed` if that doesn't happen. Nothing is run but
what was asked for; no Docker library is needed, only its command.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence

from tenure._client.opening import connect
from tenure.conformance.controls.controls import CONTROLS, Control, Driver
from tenure.errors import ConfigError, TenureError

PATIENCE = 60.0
"""Seconds that a control may take, its effect included."""

_PROBE = 2.0
"""Seconds for a store that is well to answer."""
_POLL = 0.05

_STOPS = frozenset({"kill"})
_STARTS = frozenset({"start", "resume", "heal", "free_disk"})


class ControlFailed(Exception):
    """A control couldn't do what it is for: the run says nothing about the store."""


def answers(url: str) -> bool:
    """Whether the store behind ``url`` takes a new connection and answers on it."""
    try:
        with connect(url, timeout=_PROBE) as store:
            store.get("tenure-driver", timeout=_PROBE)
    except ConfigError:
        raise
    except TenureError:
        return False
    return True


def from_commands(commands: Mapping[str, str], *, url: str | None = None) -> Driver:
    """A driver of shell commands by the names of the controls: ``{"kill": "...", "start": "..."}``.

    A command has failed if its exit status isn't 0. With ``url``, ``kill`` returns when the store no longer answers,
    and what brings it back when it answers. Raises ``ConfigError`` for a name that is no control.
    """
    unknown = sorted(set(commands) - set(CONTROLS))
    if unknown:
        raise ConfigError(f"a driver has no control {', '.join(unknown)}; it has: {', '.join(CONTROLS)}")
    return _awaiting({name: _command(name, command) for name, command in commands.items()}, url)


def for_container(name: str, url: str, *, docker: str = "docker") -> Driver:
    """A driver for the server that runs in the container called ``name`` and is reached by ``url``.

    ``docker`` is the command to use, which may have arguments of its own. Raises ``ConfigError`` where it can't
    be run or knows no such container.
    """

    def act(verb: str) -> Control:
        return _command(verb, f"{docker} {verb} {shlex.quote(name)}")

    try:
        _run(f"{docker} inspect --type container {shlex.quote(name)}")
    except ControlFailed as exc:
        raise ConfigError(f"no container {name!r} can be controlled by {docker!r}: {exc}") from exc
    return _awaiting({"kill": act("kill"), "start": act("start"), "pause": act("pause"), "resume": act("unpause")}, url)


class ServerProcess:
    """A server that is a process of this machine, by its ``pid``; ``command`` starts it again after a kill.

    :meth:`driver` gives its controls. Whoever uses it ends the process that was started last: :attr:`pid`.
    """

    def __init__(self, pid: int, command: Sequence[str], *, url: str) -> None:
        self.pid = pid
        self._command = list(command)
        self._url = url
        self._child: subprocess.Popen[bytes] | None = None

    def driver(self) -> Driver:
        """Kill, start, pause and resume this process."""
        return _awaiting(
            {
                "kill": self._kill,
                "start": self._start,
                "pause": lambda: os.kill(self.pid, signal.SIGSTOP),
                "resume": lambda: os.kill(self.pid, signal.SIGCONT),
            },
            self._url,
        )

    def _kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        if self._child is not None:
            self._child.wait(PATIENCE)
            self._child = None

    def _start(self) -> None:
        self._child = subprocess.Popen(  # noqa: S603 - the caller's own command
            self._command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self.pid = self._child.pid


def _awaiting(controls: Mapping[str, Control], url: str | None) -> Driver:
    """A driver whose controls return when their effect is there."""
    return Driver(**{name: _with_effect(name, control, url) for name, control in controls.items()})


def _with_effect(name: str, control: Control, url: str | None) -> Control:
    if url is None or name not in _STOPS | _STARTS:
        return control

    def act() -> None:
        control()
        if name in _STOPS:
            _wait(lambda: not answers(url), f"{name} was done, and the store still answers")
        else:
            _wait(lambda: answers(url), f"{name} was done, and the store doesn't answer")

    return act


def _wait(until: Callable[[], bool], failed: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not until():
        if time.monotonic() > deadline:
            raise ControlFailed(f"{failed} after {PATIENCE:g} s")
        time.sleep(_POLL)


def _command(name: str, command: str) -> Control:
    def act() -> None:
        try:
            _run(command)
        except ControlFailed as exc:
            raise ControlFailed(f"the control {name!r} failed: {exc}") from exc

    return act


def _run(command: str) -> None:
    try:
        done = subprocess.run(  # noqa: S602 - the caller's own command, meant for a shell
            command,
            shell=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired as exc:
        raise ControlFailed(f"{command!r} didn't end within {PATIENCE:g} s") from exc
    if done.returncode != 0:
        said = done.stdout.decode(errors="replace").strip()[-500:]
        raise ControlFailed(f"{command!r} ended with status {done.returncode}: {said or 'it said nothing'}")
