"""``tenure run``: run a command, registered as an instance, so that any program can be a service.

States::

    SETUP --registered, command started--> RUNNING --the command ends--> deregister, exit with its code
                                              | SIGTERM, SIGINT, SIGQUIT
                                              v
                                          DRAINING (marked, signal passed on) --the command ends--> the same

Only the main thread takes signals (see ``cli.process.signals``); the registry refreshes the lease in its own threads.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import click

from tenure._runtime.deadline import monotonic
from tenure.cli.completion import service_names
from tenure.cli.options import Settings, common, settings
from tenure.cli.process import child
from tenure.cli.process.registration import (
    Joining,
    Reporter,
    instance_options,
    probe_options,
    registered,
    registered_when_healthy,
)
from tenure.cli.process.signals import ENDING, Ended, SignalInbox, typed_on_terminal
from tenure.errors import TenureError

if TYPE_CHECKING:
    from tenure.registry import HealthCheck, Registry

_LOOK = 5.0
_DRAIN_MARK = 1.0
_DRAIN_LIMIT = 2.0
"""Seconds after which marking gives up: deregistering has to wait for it."""


@click.command(short_help="Run a command that is registered while it runs.")
@click.argument("service", shell_complete=service_names)
@instance_options
@probe_options
@click.option(
    "--drain",
    type=click.FloatRange(min=0),
    default=0.0,
    metavar="SECONDS",
    help="When asked to end: time between being marked as draining and passing the signal on. Default: none.",
)
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@common(registry=True)
@settings
def run(
    options: Settings,
    *,
    service: str,
    port: int,
    host: str,
    instance_id: str,
    meta: dict[str, str],
    heartbeat: float,
    wait: float,
    quiet: bool,
    health: HealthCheck | None,
    drain: float,
    command: tuple[str, ...],
) -> None:
    """Run a COMMAND, registered as an instance of SERVICE while it runs.

    \b
    tenure run web --port 8000 -- python -m http.server 8000

    The instance is registered first; if that fails, the command isn't started. When the command ends, the instance is
    deregistered at once, and "tenure run" exits with the command's exit code. That is 128+n if signal n ended it, and
    127 or 126 if it couldn't be started.

    SIGTERM, SIGINT and SIGQUIT mark the instance as draining and are passed on to the command; SIGHUP, SIGUSR1 and
    SIGUSR2 are only passed on. If "tenure run" itself is killed, the command gets SIGTERM, and the registration
    disappears when its lease expires (--heartbeat). Remarks go to stderr; stdout is the command's.

    With --probe the command is started first, and registered as soon as the probe succeeds. While the probe fails, the
    instance is marked as draining: no client picks it.
    """
    from tenure.registry import Instance

    instance = Instance(service, id=instance_id, host=host, port=port, meta=meta)
    report = Reporter(json=options.json, quiet=quiet, stamped=True)
    if shutil.which(command[0]) is None:
        report_not_found(command[0], "nothing was registered")
    with SignalInbox() as inbox:
        try:
            arguments: Any = {"heartbeat": heartbeat, "wait": wait, "inbox": inbox, "report": report}
            if health is None:
                with registered(options, instance, **arguments) as registry:
                    code = _Running(command, registry, inbox, report, drain=drain).wait()
            else:
                with registered_when_healthy(options, instance, health, **arguments) as (registry, joining):
                    code = _Running(command, registry, inbox, report, drain=drain, joining=joining).wait()
        except Ended as exc:
            code = 128 + exc.number
    click.get_current_context().exit(code)


def report_not_found(name: str, consequence: str) -> None:
    """Exit as a shell does if a command can't be started."""
    found = os.path.exists(name) if os.sep in name else False
    why = "is not executable" if found else "not found"
    click.echo(f"tenure: can't start {name!r}: {why}; {consequence}", err=True)
    click.get_current_context().exit(child.NOT_EXECUTABLE if found else child.NOT_FOUND)


class _Running:
    """The command while it runs."""

    def __init__(
        self,
        command: tuple[str, ...],
        registry: Registry,
        inbox: SignalInbox,
        report: Reporter,
        *,
        drain: float,
        joining: Joining | None = None,
    ) -> None:
        self._registry = registry
        self._inbox = inbox
        self._report = report
        self._drain = drain
        self._draining = False
        self._joining = joining
        starter = [sys.executable, "-I", "-S", child.__file__, str(os.getpid())]
        self._process = subprocess.Popen([*starter, *command])  # noqa: S603 - the user's own command
        if joining is not None:
            joining.start()

    def wait(self) -> int:
        """Pass signals on until the command ends; its exit code as a shell would have it.

        Raises what made the registration of a healthy command impossible, after the command has ended.
        """
        refused: TenureError | None = None
        while (ended := self._process.poll()) is None:
            taken = self._inbox.take(_LOOK)
            if refused is None and self._joining is not None and self._joining.error is not None:
                refused = self._joining.error
                self._report.say("failed", f"can't be registered, so the command is ended: {refused}", always=True)
                self._process.terminate()
            if taken is None or taken.si_signo == signal.SIGCHLD:
                continue
            if taken.si_signo in ENDING:
                self._mark_draining()
            if not typed_on_terminal(taken):
                self._process.send_signal(taken.si_signo)
        if refused is not None:
            raise refused
        return 128 - ended if ended < 0 else ended

    def _mark_draining(self) -> None:
        """Mark the instance, without letting a store that is down delay the signal to the command."""
        if self._draining:
            return
        self._draining = True
        if self._registry.current() is None:
            return  # not healthy yet: nobody knows it
        deadline = monotonic() + self._drain
        self._report.say("draining", "draining")
        marking = threading.Thread(target=self._try_mark, name="tenure-drain", daemon=True)
        marking.start()
        marking.join(_DRAIN_MARK)
        while (left := deadline - monotonic()) > 0 and self._process.poll() is None:
            taken = self._inbox.take(left)
            if taken is not None and taken.si_signo in ENDING:
                return  # a second signal means that there is no more time

    def _try_mark(self) -> None:
        try:
            self._registry.drain(timeout=_DRAIN_LIMIT)
        except TenureError as exc:
            self._report.say("draining", f"could not be marked as draining: {exc}")
