"""What has changed since the console began: who, what, and the difference if values are shown."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from tenure_console.looks import difference
from tenure_console.pages.site import FRESH, Site

_MOST = 60


def timeline(site: Site, request: Request) -> Response:
    """Show the last changes."""
    query = request.query_params
    return site.render(
        request,
        "timeline.html",
        here="timeline",
        changes=site.picture.changes(prefix=query.get("prefix", ""), text=query.get("q", ""), most=_MOST),
        q=query.get("q", ""),
        prefix=query.get("prefix", ""),
        most=_MOST,
        fresh=FRESH,
        compare=difference.compare,
        began=site.picture.began,
    )
