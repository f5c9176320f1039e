"""``tenure register``: register an instance that another program runs, as long as this command runs."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

import click

from tenure.cli.completion import service_names
from tenure.cli.options import Settings, common, settings
from tenure.cli.process.registration import (
    Joining,
    Reporter,
    instance_options,
    probe_options,
    registered,
    registered_when_healthy,
)
from tenure.cli.process.signals import ENDING, Ended, SignalInbox
from tenure.errors import TenureError

if TYPE_CHECKING:
    from tenure.registry import HealthCheck, Registry


@click.command(short_help="Keep something registered that runs elsewhere.")
@click.argument("service", shell_complete=service_names)
@instance_options
@probe_options
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
    health: HealthCheck | None,
) -> None:
    """Register an instance of SERVICE, and keep it registered until this command ends.

    For a service that is started some other way, or runs on another machine. Ctrl-C and SIGTERM deregister it at
    once (exit codes 130 and 143). If this command is killed, the registration ends when its lease expires
    (--heartbeat). SIGUSR1 marks the instance as draining, SIGUSR2 as ready again. There is no registration without a
    lease: it would stay after its process is gone. With --probe it is registered as soon as the probe succeeds, and
    marked as draining while it fails.
    """
    from tenure.registry import Instance

    instance = Instance(service, id=instance_id, host=host, port=port, meta=meta)
    report = Reporter(json=options.json, quiet=quiet, stamped=True)
    with SignalInbox() as inbox:
        try:
            arguments: Any = {"heartbeat": heartbeat, "wait": wait, "inbox": inbox, "report": report}
            if health is None:
                with registered(options, instance, **arguments) as registry:
                    number = _stay(registry, inbox, report)
            else:
                with registered_when_healthy(options, instance, health, **arguments) as (registry, joining):
                    joining.start()
                    number = _stay(registry, inbox, report, joining)
        except Ended as exc:
            number = exc.number
    click.get_current_context().exit(128 + number)


def _stay(registry: Registry, inbox: SignalInbox, report: Reporter, joining: Joining | None = None) -> int:
    """Handle signals until one asks to end, and return its number. Raises what makes the registration impossible."""
    while True:
        taken = inbox.take(None)
        if taken is None:
            if joining is not None and joining.error is not None:
                raise joining.error
            continue
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
