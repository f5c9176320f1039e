"""``tenure lease``: the leases of all clients in a store, if the store can list them."""

from __future__ import annotations

from typing import Any

import click

from tenure._text import seconds
from tenure.cli.completion import lease_ids
from tenure.cli.groups import Group
from tenure.cli.options import Settings, common, settings
from tenure.cli.ui.output import Column
from tenure.spi.types import LeaseInfo


@click.group(cls=Group)
def lease() -> None:
    """List, show and revoke leases.

    Some stores can't list their leases (see list_leases in "tenure doctor"); revoke works on every store.
    """


def _record(info: LeaseInfo) -> dict[str, Any]:
    return {"lease_id": info.lease_id, "ttl": info.ttl, "remaining": info.remaining, "keys": list(info.keys)}


def _remaining(record: Any) -> str:
    return "unknown" if record["remaining"] is None else seconds(record["remaining"])


@lease.command("list")
@common()
@settings
def list_all(options: Settings) -> None:
    """All leases of the store; keys of other namespaces are not shown."""
    with options.connect() as store:
        records = [_record(info) for info in store.leases()]
    options.output.listing(
        records,
        [
            Column("lease", lambda r: r["lease_id"], "bold", whole=True),
            Column("ttl", lambda r: f"{r['ttl']:g} s", right=True),
            Column("remaining", _remaining, right=True),
            Column("keys", lambda r: " ".join(r["keys"]), "dim"),
        ],
        empty="no leases",
    )


@lease.command()
@click.argument("lease_id", metavar="LEASE", shell_complete=lease_ids)
@common()
@settings
def show(options: Settings, lease_id: str) -> None:
    """Show one lease and its keys in this namespace."""
    with options.connect() as store:
        record = _record(store.describe_lease(lease_id))
    keys = [("key", key) for key in record["keys"]]
    facts = [("lease", record["lease_id"]), ("ttl", f"{record['ttl']:g} s"), ("remaining", _remaining(record))]
    options.output.facts(record, [*facts, *_refreshed(record), *keys])


def _refreshed(record: Any) -> list[tuple[str, str]]:
    """When the lease was refreshed last. One that runs does so each third of the TTL: half is late."""
    if record["remaining"] is None:
        return []
    ago = max(0.0, record["ttl"] - record["remaining"])
    late = "; late: a holder that runs refreshes it each third of the TTL" if ago > record["ttl"] / 2 else ""
    return [("refreshed", f"{seconds(ago)} ago{late}")]


@lease.command()
@click.argument("lease_id", metavar="LEASE", shell_complete=lease_ids)
@common()
@settings
def revoke(options: Settings, lease_id: str) -> None:
    """End a lease now: its keys are deleted, and its holder finds it lost."""
    with options.connect() as store:
        store.revoke_lease(lease_id)
    options.output.done({"lease_id": lease_id, "revoked": True}, ("revoked ", "dim"), (lease_id, "bold"))
