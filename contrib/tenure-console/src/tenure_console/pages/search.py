"""One search for everything: services, instances, keys, and names of locks."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from tenure_console.pages.site import Site

_MOST = 25


def search(site: Site, request: Request) -> Response:
    """Show what contains a text, a few of each kind."""
    wanted = request.query_params.get("q", "").strip()
    text = wanted.casefold()
    services, instances, names = [], [], []
    if text:
        for service, entries in sorted(site.picture.services().items()):
            if text in service[1].casefold():
                services.append((service, len(entries)))
            for entry in entries:
                row = entry.instance
                if row is not None and any(text in field.casefold() for field in (row.id, row.address, row.host_name)):
                    instances.append(entry)
        names = sorted({(place.kind, place.name) for place in site.picture.places() if text in place.name.casefold()})
    keys, in_all = site.picture.search(text, most=_MOST) if text else ([], 0)
    return site.render(
        request,
        "search.html",
        here="search",
        q=wanted,
        services=services[:_MOST],
        all_services=len(services),
        instances=instances[:_MOST],
        all_instances=len(instances),
        keys=keys,
        all_keys=in_all,
        names=names[:_MOST],
        all_names=len(names),
        most=_MOST,
    )
