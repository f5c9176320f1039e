"""Leases with their keys: as the store lists them, or as far as keys tell where it can't."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from tenure import LeaseInfo
from tenure_console.pages.services import remaining
from tenure_console.pages.site import Site, paged

_KEYS = 3


@dataclass(frozen=True, slots=True)
class LeaseRow:
    """One lease in the list. ``ttl`` is ``None`` where the store doesn't list leases."""

    lease_id: str
    owner: str
    ttl: float | None
    remaining: float | None
    keys: list[str]
    count: int


def leases(site: Site, request: Request) -> Response:
    """Show the leases, those that end soonest first."""
    wanted = request.query_params.get("q", "").casefold()
    listed = site.store.capabilities.list_leases
    if listed:
        rows = [_listed(site, info) for info in site.leases()]
    else:
        rows = [
            LeaseRow(lease, site.picture.owner_of_lease(lease), None, None, [e.key for e in found[:_KEYS]], len(found))
            for lease, found in site.picture.leases().items()
        ]
    if wanted:
        rows = [
            row
            for row in rows
            if wanted in row.lease_id.casefold()
            or wanted in row.owner.casefold()
            or any(wanted in key.casefold() for key in row.keys)
        ]
    rows.sort(key=lambda row: (row.owner == "", row.owner, row.lease_id))
    shown, page = paged(rows, request)
    return site.render(
        request, "leases.html", here="leases", rows=shown, page=page, listed=listed, q=request.query_params.get("q", "")
    )


def _listed(site: Site, info: LeaseInfo) -> LeaseRow:
    owner = site.picture.owner_of_lease(info.lease_id)
    return LeaseRow(info.lease_id, owner, info.ttl, info.remaining, list(info.keys[:_KEYS]), len(info.keys))


def lease(site: Site, request: Request) -> Response:
    """Show one lease with all its keys."""
    lease_id = request.query_params.get("id", "")
    entries = site.picture.lease(lease_id)
    times = remaining(site, lease_id) if lease_id else None
    shown, page = paged(entries, request)
    return site.render(
        request,
        "lease.html",
        status=200 if times is not None or entries else 404,
        here="leases",
        lease_id=lease_id,
        owner=site.picture.owner_of_lease(lease_id),
        times=times,
        rows=shown,
        page=page,
    )
