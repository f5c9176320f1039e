"""Ready-made controls over any server: by shell commands, a container's name, or a process.

::

    controls = from_commands({"kill": "systemctl kill -s KILL mystore", "start": "systemctl start mystore"}, url=url)
    controls = for_container("mystore-1", url)

A rule relies on the effect being there when a control returns. So each control waits, with the URL given, until the
store stops answering, or answers again. It raises :class:`ControlFailed` if that doesn't happen. The module runs only
the commands given; it needs no Docker library, only the ``docker`` command.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence

from tenure._client.opening import connect
from tenure.conformance.controls.controls import CONTROLS, Control, ServerControls
from tenure.errors import ConfigError, TenureError

CONTROL_TIMEOUT = 60.0
"""Seconds that a control may take, until its effect is there."""

_PROBE = 2.0
"""Seconds in which a running store answers."""
_POLL = 0.05

_STOPS = frozenset({"kill", "pause", "restrict"})
_STARTS = frozenset({"start", "resume", "heal", "free_disk", "backup", "permit"})


class ControlFailed(Exception):
    """A control failed, or its effect didn't come in time. This shows nothing about the store."""


def answers(url: str) -> bool:
    """Return whether the store behind ``url`` accepts a new connection and answers on it within two seconds.

    Args:
        url: URL of the store.

    Raises:
        ConfigError: the URL is wrong, so the store was never asked.
    """
    try:
        with connect(url, timeout=_PROBE) as store:
            store.get("tenure-controls", timeout=_PROBE)
    except ConfigError:
        raise
    except TenureError:
        return False
    return True


def from_commands(commands: Mapping[str, str], *, url: str | None = None) -> ServerControls:
    """Return controls that run shell commands.

    A control raises :class:`ControlFailed` if its command exits with a status other than 0, or runs for more than 60
    seconds. With ``url``, ``kill`` and ``pause`` return once the store no longer answers, ``restrict`` once it refuses;
    ``start``, ``resume``, ``heal``, ``free_disk``, ``backup`` and ``permit`` return once it answers.

    Args:
        commands: commands by the names of the controls: ``{"kill": "...", "start": "..."}``.
        url: URL of the store, asked for the effect of each control; ``None`` trusts the commands.

    Returns:
        Controls for the names in ``commands``, and no others.

    Raises:
        ConfigError: a name in ``commands`` is no control.
    """
    unknown = sorted(set(commands) - set(CONTROLS))
    if unknown:
        raise ConfigError(f"no such control: {', '.join(unknown)}; choose from: {', '.join(CONTROLS)}")
    return _awaiting({name: _command(name, command) for name, command in commands.items()}, url)


def for_container(name: str, url: str, *, docker: str = "docker") -> ServerControls:
    """Return ``kill``, ``start``, ``pause`` and ``resume`` for a server that runs in a container.

    Args:
        name: name of the container.
        url: URL of the store, asked for the effect of each control.
        docker: the command to run, which may have arguments of its own.

    Returns:
        Controls that run ``docker kill``, ``docker start``, ``docker pause`` and ``docker unpause``.

    Raises:
        ConfigError: the command can't be run, or knows no such container.
    """

    def act(verb: str) -> Control:
        return _command(verb, f"{docker} {verb} {shlex.quote(name)}")

    try:
        _run(f"{docker} inspect --type container {shlex.quote(name)}")
    except ControlFailed as exc:
        raise ConfigError(f"controlling the container {name!r} by {docker!r}: {exc}") from exc
    return _awaiting({"kill": act("kill"), "start": act("start"), "pause": act("pause"), "resume": act("unpause")}, url)


class ServerProcess:
    """A server that is a process on this machine.

    The caller ends the process that was started last: its id is :attr:`pid`.

    Args:
        pid: id of the running process; 0 if it doesn't run yet, then ``start`` runs it.
        command: program and arguments that start the server again after a kill.
        url: URL of the store, asked for the effect of each control.
    """

    def __init__(self, pid: int, command: Sequence[str], *, url: str) -> None:
        self.pid = pid
        self._command = list(command)
        self._url = url
        self._child: subprocess.Popen[bytes] | None = None

    def controls(self) -> ServerControls:
        """Return ``kill``, ``start``, ``pause`` and ``resume`` for this process."""
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
            self._child.wait(CONTROL_TIMEOUT)
            self._child = None

    def _start(self) -> None:
        self._child = subprocess.Popen(  # noqa: S603 - the caller's own command
            self._command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self.pid = self._child.pid


def _awaiting(controls: Mapping[str, Control], url: str | None) -> ServerControls:
    """Return controls that return once their effect is there."""
    return ServerControls(**{name: _with_effect(name, control, url) for name, control in controls.items()})


def _with_effect(name: str, control: Control, url: str | None) -> Control:
    if url is None or name not in _STOPS | _STARTS:
        return control

    def act() -> None:
        control()
        if name in _STOPS:
            _wait(lambda: not answers(url), f"{name} ran, and the store still answers")
        else:
            _wait(lambda: answers(url), f"{name} ran, and the store doesn't answer")

    return act


def _wait(until: Callable[[], bool], failure: str) -> None:
    deadline = time.monotonic() + CONTROL_TIMEOUT
    while not until():
        if time.monotonic() > deadline:
            raise ControlFailed(f"{failure} after {CONTROL_TIMEOUT:g} s")
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
            timeout=CONTROL_TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired as exc:
        raise ControlFailed(f"{command!r} did not end within {CONTROL_TIMEOUT:g} s") from exc
    if done.returncode != 0:
        output = done.stdout.decode(errors="replace").strip()[-500:]
        raise ControlFailed(f"{command!r} exited with status {done.returncode}: {output or 'it printed nothing'}")
