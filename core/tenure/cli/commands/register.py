"""``tenure register``: register an instance that another program runs, as long as this command runs."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import click

from tenure.cli.completion import service_names
from tenure.cli.options import Settings, common, settings
from tenure.cli.process.registration import Reporter, instance_options, registered
from tenure.cli.process.signals import ENDING, Ended, SignalInbox
from tenure.errors import TenureError

if TYPE_CHECKING:
    from tenure.registry import Registry


@click.command(short_help="Keep something registered that runs elsewhere.")
@click.argument("service", shell_complete=service_names)
@instance_options
@common(registry=True)
@settings
def register(
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
) -> None:
    """Register an instance of SERVICE, and keep it registered until this command ends.

    For a service that is started some other way, or runs on another machine. Ctrl-C and SIGTERM deregister it at
    once (exit codes 130 and 143). If this command is killed, the registration ends when its lease expires
    (--heartbeat). SIGUSR1 marks the instance as draining, SIGUSR2 as ready again. There is no registration without a
    lease: it would stay after its process is gone.
    """
    from tenure.registry import Instance

    instance = Instance(service, id=instance_id, host=host, port=port, meta=meta)
    report = Reporter(json=options.json, quiet=quiet)
    with SignalInbox() as inbox:
        try:
            with registered(options, instance, heartbeat=heartbeat, wait=wait, inbox=inbox, report=report) as registry:
                number = _stay(registry, inbox, report)
        except Ended as exc:
            number = exc.number
    click.get_current_context().exit(128 + number)


def _stay(registry: Registry, inbox: SignalInbox, report: Reporter) -> int:
    """Handle signals until one asks to end, and return its number."""
    while True:
        taken = inbox.take(None)
        assert taken is not None
        number = taken.si_signo
        if number in ENDING or number == signal.SIGHUP:
            return number
        try:
            if number == signal.SIGUSR1:
                registry.drain()
                report.say("draining", "marked as draining")
            elif number == signal.SIGUSR2:
                registry.undrain()
                report.say("ready", "marked as ready")
        except TenureError as exc:
            # The registration itself continues: only this change may not have been made.
            report.say("failed", f"could not be marked: {exc}")
