"""``tenure services`` and ``tenure instances``: who is registered right now."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from tenure._text import seconds
from tenure.cli.completion import service_names
from tenure.cli.options import Settings, common, settings
from tenure.cli.process.registration import meta_option
from tenure.cli.ui.output import Column

if TYPE_CHECKING:
    from tenure.registry import Instance, Registry


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
@click.option("--leases", is_flag=True, help="Look at each lease, too: its id, TTL and remaining time.")
@common(registry=True)
@settings
def instances(options: Settings, *, service: str, meta: dict[str, str], ready: bool, leases: bool) -> None:
    """List the instances of SERVICE. Exit code 1 if there is none.

    --leases needs a store that declares list_leases. A remaining time below two thirds of the TTL means a late refresh.
    """
    with opened_registry(options) as registry:
        found = registry.get_service(service, meta or None, ready_only=ready)
        _warn_of_rejected(options, registry)
        records = [
            instance.to_dict()
            | {"status": str(instance.status), "address": instance.address}
            | (_lease_of(registry, options.name, instance) if leases else {})
            for instance in found
        ]
    options.output.listing(
        records,
        [
            Column("id", lambda r: r["id"], "bold", whole=True),
            Column("address", lambda r: r["address"], whole=True),
            Column("host", lambda r: r["host_name"], "dim"),
            Column("status", lambda r: r["status"]),
            Column("meta", lambda r: describe_meta(r["meta"]), "dim"),
            *(_LEASE_COLUMNS if leases else ()),
        ],
        empty="no instances",
    )


def _amount(value: float | None) -> str:
    return "unknown" if value is None else seconds(value)


_LEASE_COLUMNS = (
    Column("lease", lambda r: r["lease_id"] or "none", "dim"),
    Column("ttl", lambda r: _amount(r["ttl"]), right=True),
    Column("remaining", lambda r: _amount(r["remaining"]), right=True),
)


def _lease_of(registry: Registry, name: str, instance: Instance) -> dict[str, Any]:
    """The lease of an entry, if it is still there."""
    from tenure.errors import LeaseNotFound
    from tenure.registry import RegistryConfig
    from tenure.registry.model.wire_format import key_of

    item = registry.store.get(key_of(RegistryConfig(name).key_prefix, instance))
    lease_id = None if item is None else item.lease_id
    record: dict[str, Any] = {"lease_id": lease_id, "ttl": None, "remaining": None}
    if lease_id is not None:
        with contextlib.suppress(LeaseNotFound):
            info = registry.store.describe_lease(lease_id)
            record |= {"ttl": info.ttl, "remaining": info.remaining}
    return record


def describe_meta(meta: Any) -> str:
    """Return the metadata on one line; the status has a column of its own."""
    return " ".join(f"{name}={content}" for name, content in (meta or {}).items() if name != "status")


def _warn_of_rejected(options: Settings, registry: Registry) -> None:
    for key, reason in registry.malformed_entries.items():
        options.output.note(f"tenure: the key {key!r} is no registration and was left out: {reason}")
