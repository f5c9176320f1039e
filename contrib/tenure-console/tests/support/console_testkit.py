"""A console on a store in memory, and a browser that is none: it keeps cookies, reads forms, and sends them."""

from __future__ import annotations

import asyncio
import re
from html import unescape
from html.parser import HTMLParser
from typing import Any

import httpx
from tenure_console import Console

import tenure
from tenure.registry import Instance, encode, key_of
from tenure_testkit.waiting import until

REGISTRY = "/registry/default/"
PAGES = (
    "",
    "service",
    "instance",
    "keys",
    "key",
    "raw",
    "timeline",
    "leases",
    "lease",
    "locks",
    "search",
    "store",
    "confirm",
    "edit",
    "events",
)
FORMS = ("do", "save", "doctor", "preferences", "leave")


class InProcess(httpx.BaseTransport):
    """Passes requests to an ASGI application in this process."""

    def __init__(self, app: Any) -> None:
        self._transport = httpx.ASGITransport(app)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return asyncio.run(self._handle(request))

    async def _handle(self, request: httpx.Request) -> httpx.Response:
        request.read()
        answer = await self._transport.handle_async_request(
            httpx.Request(request.method, request.url, headers=request.headers, content=request.content)
        )
        return httpx.Response(answer.status_code, headers=answer.headers, content=await answer.aread(), request=request)


class Visitor:
    """One person's browser. ``prefix`` is what the console is mounted under."""

    def __init__(self, app: Any, *, prefix: str = "", base: str = "http://127.0.0.1:8765") -> None:
        self.client = httpx.Client(transport=InProcess(app), base_url=base, follow_redirects=True)
        self.prefix = prefix

    def enter(self, token: str) -> httpx.Response:
        """Open the link with a token."""
        return self.get("enter", token=token)

    def get(self, path: str, **query: object) -> httpx.Response:
        """Load a page."""
        return self.client.get(f"{self.prefix}/{path}", params={name: str(value) for name, value in query.items()})

    def post(self, path: str, *, like: httpx.Response | None = None, **fields: object) -> httpx.Response:
        """Send a form: the hidden fields of the first form of ``like`` for this path, and ``fields``."""
        page = like if like is not None else self.get("search")
        hidden = form_on(page.text, f"{self.prefix}/{path}") if like is not None else {"form_key": key_on(page.text)}
        return self.client.post(
            f"{self.prefix}/{path}", data={**hidden, **{name: str(value) for name, value in fields.items()}}
        )

    def show_values(self) -> None:
        """Ask for values."""
        self.post("preferences", values="show", back=f"{self.prefix}/")


def key_on(page: str) -> str:
    """Return the key of the forms on a page."""
    found = re.search(r'name="form_key" value="([^"]+)"', page)
    assert found is not None, page
    return found[1]


def form_on(page: str, action: str) -> dict[str, str]:
    """Return the hidden fields, and the text, of the form on a page that is sent to ``action``."""
    found = re.search(rf'<form[^>]*action="{re.escape(action)}"[^>]*>(.*?)</form>', page, re.DOTALL)
    assert found is not None, f"no form for {action}"
    fields = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', found[1]))
    area = re.search(r"<textarea[^>]*>\n(.*?)</textarea>", found[1], re.DOTALL)
    if area is not None:
        fields["content"] = area[1]
        chosen = re.search(r'name="codec" value="(\w+)" checked', found[1])
        fields["codec"] = chosen[1] if chosen else "text"
    return {name: unescape(value) for name, value in fields.items()}


def text_of(page: str) -> str:
    """Return what a reader of the page's content sees, on one line."""
    main = page.partition("<main")[2] or page
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", main.partition(">")[2])).split())


class Tags(HTMLParser):
    """The elements of a page with their attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def register(store: tenure.Store, service: str, number: int = 1, **meta: object) -> str:
    """Put an instance's entry under a lease of its own, as a registry does, and return its key."""
    instance = Instance(
        service, id=f"{service}-{number}", host=f"10.0.0.{number}", host_name="node", port=8000, meta=meta
    )
    key = key_of(REGISTRY, instance)
    store.put(key, encode(instance), lease=store.lease(30))
    return key


def settle(console: Console, store: tenure.Store) -> None:
    """Wait until the console's watch has seen everything that was written so far."""
    store.put("settled", str(store.server_info().revision).encode())
    store.delete("settled")
    last = store.server_info().revision
    until(lambda: console._picture.revision >= last, what="the console has seen the last change")
