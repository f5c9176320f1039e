"""Services, the instances of one, and one instance."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from tenure import LeaseNotFound, TenureError
from tenure.registry import Instance, decode
from tenure_console.following.entries import Entry, registry_prefix
from tenure_console.looks import amounts, difference
from tenure_console.pages.site import FRESH, Site, paged

_MOST_META = 100
_ZONES = 3
_VERSIONS = 3
_NUMBERS = re.compile("([0-9]{1,18})")


@dataclass(frozen=True, slots=True)
class ServiceRow:
    """One service in the list."""

    registry: str
    name: str
    instances: int
    ready: int
    unready: int
    broken: int
    zones: list[tuple[str, int]]
    more_zones: int
    versions: list[str]
    changed: float | None


@dataclass(frozen=True, slots=True)
class MetaRow:
    """One entry of an instance's metadata, as text."""

    name: str
    value: str


def overview(site: Site, request: Request) -> Response:
    """Show all services."""
    wanted = request.query_params.get("q", "")
    services = site.picture.services()
    names = [name for name in sorted(services) if wanted.casefold() in name[1].casefold()]
    shown, page = paged(names, request)
    rows = [entry.instance for name in names for entry in services[name] if entry.instance is not None]
    broken, ready = sum(bool(row.problem) for row in rows), sum(row.ready for row in rows)
    return site.render(
        request,
        "services.html",
        here="services",
        rows=[_row(name, services[name]) for name in shown],
        page=page,
        q=wanted,
        fresh=FRESH,
        registries=len({registry for registry, _ in services}),
        ready=ready,
        unready=len(rows) - ready - broken,
        broken=broken,
    )


def _row(service: tuple[str, str], entries: list[Entry]) -> ServiceRow:
    rows = [entry.instance for entry in entries if entry.instance is not None]
    fine = [row for row in rows if not row.problem]
    zones = Counter(row.zone for row in fine if row.zone).most_common()
    ready = sum(row.ready for row in fine)
    return ServiceRow(
        *service,
        instances=len(rows),
        ready=ready,
        unready=len(fine) - ready,
        broken=len(rows) - len(fine),
        zones=zones[:_ZONES],
        more_zones=max(0, len(zones) - _ZONES),
        versions=sorted({row.version for row in fine if row.version})[-_VERSIONS:],
        changed=max((entry.changed for entry in entries if entry.changed is not None), default=None),
    )


def service(site: Site, request: Request) -> Response:
    """Show the instances of one service."""
    query = request.query_params
    name, registry, wanted = query.get("name", ""), query.get("registry", ""), query.get("q", "").casefold()
    entries = sorted(site.picture.service((registry, name)), key=_in_order)
    rows = [entry for entry in entries if _matches(entry, wanted)]
    shown, page = paged(rows, request)
    return site.render(
        request,
        "service.html",
        here="services",
        service=_row((registry, name), entries),
        began=amounts.clock(site.picture.began)[:5],
        rows=shown,
        page=page,
        q=query.get("q", ""),
        fresh=FRESH,
    )


def _in_order(entry: Entry) -> list[tuple[int, str]]:
    """Return what sorts ``web-2`` before ``web-10``."""
    return [(int(part), "") if part[0] in "0123456789" else (-1, part) for part in _NUMBERS.split(entry.key) if part]


def _matches(entry: Entry, wanted: str) -> bool:
    row = entry.instance
    return row is not None and (
        not wanted
        or any(wanted in field.casefold() for field in (row.id, row.address, row.host_name, row.status, row.zone))
    )


def instance(site: Site, request: Request) -> Response:
    """Show one instance: its fields, its lease, its metadata if asked for, and its last changes."""
    key = request.query_params.get("key", "")
    entry = site.picture.entry(key)
    if entry is None or entry.instance is None:
        history = site.picture.history(key)
        return site.render(
            request,
            "gone.html",
            status=404,
            here="services",
            key=key,
            what="instance",
            history=history,
            compare=difference.compare,
        )
    found, meta = None, []
    if not entry.instance.problem:
        found = _read(site, entry)
        meta = (
            []
            if found is None
            else [MetaRow(name, _text(value)) for name, value in list(found.meta.items())[:_MOST_META]]
        )
    return site.render(
        request,
        "instance.html",
        here="services",
        entry=entry,
        row=entry.instance,
        found=found,
        meta=meta,
        more_meta=0 if found is None else max(0, len(found.meta) - _MOST_META),
        lease=remaining(site, entry.lease_id),
        history=site.picture.history(key, most=8),
        compare=difference.compare,
    )


def _read(site: Site, entry: Entry) -> Instance | None:
    prefix = registry_prefix(entry.key)
    item = entry.item if entry.value is not None else site.store.get(entry.key)
    return None if prefix is None or item is None else decode(prefix, entry.key, item.value)


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=_plain)


def _plain(value: object) -> object:
    """Return the mutable form of a read-only mapping, for JSON."""
    return dict(value) if isinstance(value, Mapping) else str(value)


def remaining(site: Site, lease_id: str | None) -> tuple[float, float | None] | None:
    """Return TTL and seconds left of a lease; ``None`` if there is none, or the store can't say now."""
    if lease_id is None:
        return None
    try:
        info = site.store.describe_lease(lease_id)
    except (LeaseNotFound, TenureError):
        return None
    return info.ttl, None if info.remaining is None or math.isnan(info.remaining) else info.remaining
