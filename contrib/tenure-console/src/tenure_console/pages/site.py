"""What all pages share: the store, what is known of it, and how a template becomes a response."""

from __future__ import annotations

import hashlib
import math
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from tenure import LeaseInfo, Store
from tenure.plugin_kit import monotonic, wall_clock
from tenure_console.following.follower import Follower
from tenure_console.following.picture import Picture
from tenure_console.looks import amounts, text, values
from tenure_console.web.guard import session_of
from tenure_console.web.sessions import Session

_HERE = Path(__file__).parents[1]
STATIC = {
    path.name: path.read_bytes() for path in (_HERE / "static").iterdir() if path.suffix in (".css", ".js", ".svg")
}
_VERSION = hashlib.sha256(b"".join(STATIC[name] for name in sorted(STATIC))).hexdigest()[:12]
_LEASES_AGE = 1.0
FRESH = 2.5
"""Seconds for which a page marks what has changed."""


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a long list.

    Attributes:
        number: from 1.
        of: how many pages there are.
        total: how many rows there are in all.
    """

    number: int
    of: int
    total: int


class Site:
    """One console's pages.

    Args:
        store: the store that is shown and, if allowed, changed.
        picture: what the watch has shown.
        follower: the watch.
        writes: whether the pages may change the store.
        title: what stands in the corner of each page.
    """

    def __init__(self, store: Store, picture: Picture, follower: Follower, *, writes: bool, title: str) -> None:
        self.store, self.picture, self.follower = store, picture, follower
        self.writes, self.title = writes, title
        self._leases_lock = threading.Lock()
        self._leases: tuple[LeaseInfo, ...] = ()
        self._leases_read = -math.inf
        self._templates = Environment(
            loader=FileSystemLoader(_HERE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._templates.filters |= {
            "show": text.show,
            "plain": text.plain,
            "size": amounts.size,
            "duration": amounts.duration,
            "latency": amounts.latency,
            "plural": amounts.plural,
            "preview": values.preview,
            "since": since,
            "at": at,
        }

    def leases(self) -> tuple[LeaseInfo, ...]:
        """Return the store's leases, at most a second old: each page of leases asks for them again and again."""
        with self._leases_lock:
            if monotonic() - self._leases_read > _LEASES_AGE:
                self._leases = self.store.leases()
                self._leases_read = monotonic()
            return self._leases

    def forget_leases(self) -> None:
        """Have the next page of leases ask the store."""
        with self._leases_lock:
            self._leases_read = -math.inf

    def render(self, request: Request, template: str, *, status: int = 200, **more: Any) -> Response:
        """Return the page of ``template``, for a request that the guard has let through."""
        session = session_of(request)
        notice, notice_kind = session.take_notice()
        version, _ = self.follower.changed_since(0)
        return self._page(
            request,
            template,
            status,
            session=session,
            form_key=request.scope["tenure_console.form_key"],
            totals=self.picture.totals(),
            link_state=self.follower.link,
            notice=notice,
            notice_kind=notice_kind,
            stream_version=version,
            **more,
        )

    def refuse(self, request: Request, status: int, heading: str, reason: str) -> Response:
        """Return a page that shows nothing of the store, for a request that the guard refused."""
        return self._page(request, "refused.html", status, heading=heading, reason=reason)

    def failed(self, request: Request, status: int, heading: str, reason: str) -> Response:
        """Return a page that says why something failed, for a request that the guard has let through."""
        return self.render(request, "failed.html", status=status, here="", heading=heading, reason=reason)

    def back(self, request: Request, path: str, **query: str) -> Response:
        """Send the browser to another page of the console, after a form."""
        return RedirectResponse(address(request, path, **query), status_code=303)

    def author(self, session: Session) -> str:
        """Return who makes a change, for the timeline."""
        return session.person or "this console"

    def _page(self, request: Request, template: str, status: int, **more: Any) -> Response:
        root = request.scope.get("root_path", "")

        def link(path: str, **query: object) -> str:
            return address(request, path, **query)

        content = self._templates.get_template(template).render(
            link=link, root=root, version=_VERSION, site=self, now=wall_clock(), request=request, **more
        )
        return HTMLResponse(content, status_code=status)


def address(request: Request, path: str, **query: object) -> str:
    """Return the address of a page of the console, also where it is mounted under a prefix."""
    given = {name: value for name, value in query.items() if value not in (None, "")}
    return f"{request.scope.get('root_path', '')}/{path}" + (f"?{urlencode(given)}" if given else "")


def paged(rows: list[Any], request: Request, *, size: int = 100) -> tuple[list[Any], Page]:
    """Return the rows of the page that the request asks for, by ``page`` from 1."""
    of = max(1, -(-len(rows) // size))
    asked = request.query_params.get("page", "1")
    number = min(max(1, int(asked) if asked.isascii() and asked.isdigit() and len(asked) < 8 else 1), of)
    return rows[(number - 1) * size : number * size], Page(number, of, len(rows))


def since(moment: float | None, unknown: str = "") -> Markup:
    """Return how long ago a moment was, as an element that the page's script keeps up to date."""
    if moment is None:
        return Markup('<span class="faint">{}</span>').format(unknown)
    return Markup('<time datetime="{}" data-since="{:.1f}" title="{}">{}</time>').format(
        amounts.iso(moment), moment, amounts.iso(moment), amounts.duration(wall_clock() - moment)
    )


def at(moment: float) -> Markup:
    """Return the time of day."""
    return Markup('<time datetime="{0}" title="{0}">{1}</time>').format(amounts.iso(moment), amounts.clock(moment))
