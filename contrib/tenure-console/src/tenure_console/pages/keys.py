"""The tree of keys, a search in it, and one key with its value."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from tenure_console.following.entries import Entry
from tenure_console.following.tree import Folder
from tenure_console.looks import difference, values
from tenure_console.looks.text import has_invisible
from tenure_console.looks.values import Codec
from tenure_console.pages.services import remaining
from tenure_console.pages.site import FRESH, Site
from tenure_console.web.guard import session_of

_MOST = 200


def tree(site: Site, request: Request) -> Response:
    """Show the folders and keys below a prefix, or the keys that contain a text."""
    prefix, wanted = request.query_params.get("prefix", ""), request.query_params.get("q", "")
    found: list[Folder | Entry]
    if wanted:
        matching, total = site.picture.search(wanted, most=_MOST, prefix=prefix)
        found, more = list(matching), total > _MOST
    else:
        found, more = site.picture.children(prefix, most=_MOST)
        total = len(found)
    return site.render(
        request,
        "keys.html",
        here="keys",
        prefix=prefix,
        crumbs=crumbs(prefix),
        folders=[child for child in found if isinstance(child, Folder)],
        entries=[child for child in found if isinstance(child, Entry)],
        more=more,
        total=total,
        q=wanted,
        fresh=FRESH,
    )


def key(site: Site, request: Request) -> Response:
    """Show one key: its revisions, its lease, its value if asked for, and its last changes."""
    name = request.query_params.get("key", "")
    item = site.store.get(name) if name else None
    history = site.picture.history(name)
    if item is None:
        return site.render(
            request,
            "gone.html",
            status=404,
            here="keys",
            key=name,
            what="key",
            history=history,
            compare=difference.compare,
        )
    asked = request.query_params.get("show") == "1" or session_of(request).values
    shown = values.shown(item.value, _codec(request.query_params.get("as", ""))) if asked else None
    entry = site.picture.entry(name)
    return site.render(
        request,
        "key.html",
        here="keys",
        item=item,
        entry=entry,
        crumbs=crumbs(name)[:-1] if not name.endswith("/") else crumbs(name),
        leaf=name.rpartition("/")[2] or name,
        shown=shown,
        invisible=shown is not None and shown.codec is not Codec.BYTES and has_invisible(item.value.decode()),
        editable=len(item.value) <= values.MOST_EDITED,
        size=len(item.value),
        lease=remaining(site, item.lease_id),
        lease_owner="" if item.lease_id is None else site.picture.owner_of_lease(item.lease_id),
        is_instance=entry is not None and entry.instance is not None,
        history=history,
        compare=difference.compare,
    )


def raw(site: Site, request: Request) -> Response:
    """Return the bytes of a value as a file, which the browser saves and never shows."""
    name = request.query_params.get("key", "")
    item = site.store.get(name) if name else None
    if item is None:
        return site.failed(request, 404, "No such key", "The key is gone by now.")
    return Response(
        item.value,
        media_type="application/octet-stream",
        headers={"Content-Disposition": 'attachment; filename="value.bin"', "Content-Security-Policy": "sandbox"},
    )


def crumbs(prefix: str) -> list[tuple[str, str]]:
    """Return the folders that lead to a prefix: what each is called, and its own prefix."""
    found: list[tuple[str, str]] = []
    start = 0
    while start < len(prefix):
        slash = prefix.find("/", start + 1)
        end = len(prefix) if slash < 0 else slash + 1
        found.append((prefix[start:end], prefix[:end]))
        start = end
    return found


def _codec(name: str) -> Codec | None:
    return Codec(name) if name in set(Codec) else None
