"""``tenure services`` and ``tenure instances``: who is registered right now."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from tenure.cli.completion import service_names
from tenure.cli.options import Settings, common, settings
from tenure.cli.process.registration import meta_option
from tenure.cli.ui.output import Column

if TYPE_CHECKING:
    from tenure.registry import Registry


@contextlib.contextmanager
def opened_registry(options: Settings, **more: Any) -> Iterator[Registry]:
    """The registry of the options, its cache complete."""
    from tenure.registry import Registry, RegistryConfig

    with options.connect(**more) as store, Registry(store, RegistryConfig(options.name)) as registry:
        yield registry


@click.command(short_help="List the services.")
@common(registry=True)
@settings
def services(options: Settings) -> None:
    """List the services and how many instances each has."""
    with opened_registry(options) as registry:
        records = [
            {"service": name, "instances": len(service), "ready": len(service.ready)}
            for name, service in sorted(registry.get_services().items())
        ]
        _warn_of_rejected(options, registry)
    options.output.listing(
        records,
        [
            Column("service", lambda r: r["service"], "bold", whole=True),
            Column("instances", lambda r: r["instances"], right=True),
            Column("ready", lambda r: r["ready"], right=True),
        ],
        empty=f"no services in the registry {options.name!r}",
    )


@click.command(short_help="List the instances of a service.")
@click.argument("service", shell_complete=service_names)
@meta_option("Only instances with this in their meta; may be given again.")
@click.option("--ready", is_flag=True, help="Leave out draining instances.")
@common(registry=True)
@settings
def instances(options: Settings, *, service: str, meta: dict[str, str], ready: bool) -> None:
    """List the instances of SERVICE. Exit code 1 if there is none."""
    with opened_registry(options) as registry:
        found = registry.get_service(service, meta or None, ready_only=ready)
        _warn_of_rejected(options, registry)
    records = [instance.to_dict() | {"status": str(instance.status), "address": instance.address} for instance in found]
    options.output.listing(
        records,
        [
            Column("id", lambda r: r["id"], "bold", whole=True),
            Column("address", lambda r: r["address"], whole=True),
            Column("host", lambda r: r["host_name"], "dim"),
            Column("status", lambda r: r["status"]),
            Column("meta", lambda r: describe_meta(r["meta"]), "dim"),
        ],
        empty="no instances",
    )


def describe_meta(meta: Any) -> str:
    """Return the metadata on one line; the status has a column of its own."""
    return " ".join(f"{name}={content}" for name, content in (meta or {}).items() if name != "status")


def _warn_of_rejected(options: Settings, registry: Registry) -> None:
    for key, reason in registry.malformed_entries.items():
        options.output.note(f"tenure: the key {key!r} is no registration and was left out: {reason}")
