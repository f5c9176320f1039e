"""``tenure healthy``: one look, and an exit code that a container's probe understands."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import click

from tenure._text import visible
from tenure.cli.completion import service_names
from tenure.cli.options import Settings, common, settings
from tenure.cli.ui import errors
from tenure.errors import TenureError

if TYPE_CHECKING:
    from tenure.registry import Instance

_SHORT = 3.0
"""Seconds at most for each call: a probe that takes longer counts as failed anyway."""


@click.command(short_help="Check a store or a service by an exit code, as a container's probe.")
@click.argument("service", required=False, shell_complete=service_names)
@click.option("--id", "instance_id", metavar="ID", help="Only the instance with this id counts.")
@click.option("--here", is_flag=True, help="Only instances that this machine (by its host name) registered count.")
@click.option("--count", type=click.IntRange(min=1), default=1, show_default=True, help="Ready instances needed.")
@click.option("--quiet", "-q", is_flag=True, help="Print nothing.")
@common(registry=True)
@settings
@click.pass_context
def healthy(
    ctx: click.Context,
    options: Settings,
    *,
    service: str | None,
    instance_id: str | None,
    here: bool,
    count: int,
    quiet: bool,
) -> None:
    """Check that the store answers and, if SERVICE is given, that ready instances of it are registered.

    \b
    HEALTHCHECK CMD ["tenure", "healthy", "web", "--here"]

    Draining instances don't count. The command reads once, writes nothing, and waits 3 seconds at most for each call.
    Exit code 0: healthy; 1: not, whatever the reason. (Docker reserves the other codes.)
    """
    from dataclasses import replace

    if service is None and (instance_id is not None or here):
        raise click.UsageError("--id and --here are about the instances of a SERVICE: name it")
    options = replace(options, timeout=min(options.timeout, _SHORT), quiet=quiet or options.quiet)
    record: dict[str, object] = {"service": service}
    try:
        ready = _ready(options, service)
        if service is None:
            record["healthy"], record["reason"] = True, "the store answers"
        else:
            chosen = [each for each in ready if _counts(each, instance_id, here=here)]
            who = f"ready instances of {service!r}{_described(instance_id, here=here)}"
            record["ready"], record["healthy"] = len(chosen), len(chosen) >= count
            record["reason"] = f"{len(chosen)} of {count} {who}"
    except TenureError as exc:
        record["healthy"], record["reason"] = False, str(exc)
    if options.json:
        options.output.document(record)
    elif not quiet:
        word = "healthy" if record["healthy"] else "not healthy"
        click.echo(f"{word}: {visible(str(record['reason']))}", err=not record["healthy"])
    ctx.exit(0 if record["healthy"] else errors.FAILED)


def _ready(options: Settings, service: str | None) -> list[Instance]:
    """Return the ready instances of a service, by one read."""
    from tenure.errors import MalformedEntry
    from tenure.registry import InstanceStatus, RegistryConfig
    from tenure.registry.model.wire_format import decode

    prefix = RegistryConfig(options.name).key_prefix
    found = []
    with options.connect() as store:
        if service is None:
            store.get(prefix)
            return []
        for item in store.list(f"{prefix}{service}/"):
            try:
                instance = decode(prefix, item.key, item.value)
            except MalformedEntry:
                continue
            if instance.service_name == service and instance.status == InstanceStatus.READY:
                found.append(instance)
    return found


def _counts(instance: Instance, instance_id: str | None, *, here: bool) -> bool:
    return instance_id in (None, instance.id) and (not here or instance.host_name == socket.gethostname())


def _described(instance_id: str | None, *, here: bool) -> str:
    return (f" with the id {instance_id!r}" if instance_id else "") + (" on this machine" if here else "")
