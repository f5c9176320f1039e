"""The console as an ASGI application: it opens the watch, routes requests, and says what failed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from tenure import OutcomeUnknown, Store, TenureError, Unavailable
from tenure_console.following.follower import Follower
from tenure_console.following.picture import MOST_KEYS, Picture
from tenure_console.pages import keys, leases, locks, preferences, search, services, timeline
from tenure_console.pages.changing import Changes
from tenure_console.pages.site import STATIC, Site
from tenure_console.pages.store import StorePages
from tenure_console.web import live
from tenure_console.web.guard import LOCAL, Allow, Guard, session_of
from tenure_console.web.sessions import Sessions

_log = logging.getLogger("tenure.console")
_TYPES = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
_UNKNOWN = (
    "The change was sent and no answer came, so it may have been applied. Look at what is there before you repeat it."
)


class Console:
    """An ASGI 3 application that shows a store, and changes it if allowed.

    It watches the whole namespace of the store from its start to its close, once for all who look. It doesn't close the
    store. Start it by its lifespan, as a server does. Where it is mounted, use :meth:`start` and :meth:`close`, since
    applications don't pass their lifespan on to what they mount. A request starts it, too.

    Args:
        store: an open store. The console shows its namespace.
        allow_writes: whether pages may change the store.
        allow: the application's own check of a request: returns the person's name or ``True`` to let them in, anything
            false to refuse. It may be a coroutine function. Without it a one-time token lets a browser in: see
            :attr:`token`.
        hosts: names that a request may have in its Host header, beside those of this machine.
        title: what stands in the corner of each page.
        on_entry: called with the next one-time token after one was used.
        most_keys: the number of keys that are kept in memory; others are counted and left out.
    """

    def __init__(
        self,
        store: Store,
        *,
        allow_writes: bool = False,
        allow: Allow | None = None,
        hosts: Collection[str] = (),
        title: str = "Tenure",
        on_entry: Callable[[str], object] | None = None,
        most_keys: int = MOST_KEYS,
    ) -> None:
        self._picture = Picture(most_keys=most_keys)
        self._follower = Follower(store, self._picture)
        self._sessions = Sessions(on_entry)
        self._site = Site(store, self._picture, self._follower, writes=allow_writes, title=title)
        self._starting = asyncio.Lock()
        self._started = False
        self._app = Guard(
            Starlette(
                routes=self._routes(),
                lifespan=self._lifespan,
                exception_handlers={
                    TenureError: self._tenure_error,
                    404: self._not_found,
                    405: self._not_found,
                    Exception: self._broken,
                },
            ),
            sessions=self._sessions,
            hosts=(*LOCAL, *hosts),
            allow=allow,
            refuse=self._site.refuse,
        )

    @property
    def token(self) -> str:
        """The one-time token of the next browser, for the address ``enter?token=...``."""
        return self._sessions.token

    def start(self) -> None:
        """Open the watch. May be called again, and then does nothing.

        Raises:
            TenureError: as ``tenure.Store.watch``. The watch isn't open then.
        """
        if not self._started:
            self._follower.start()
            self._started = True

    def close(self) -> None:
        """End the watch and the live streams of all pages. May be called again."""
        self._follower.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] == "http" and not self._started:
            async with self._starting:
                try:
                    await run_in_threadpool(self.start)
                except TenureError as exc:
                    _log.warning("the console can't watch the store: %s", exc)
        await self._app(scope, receive, send)

    @asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:
        await run_in_threadpool(self.start)
        try:
            yield
        finally:
            await run_in_threadpool(self.close)

    # -- routes ------------------------------------------------------------------------------------

    def _routes(self) -> list[Route]:
        changes, store = Changes(self._site), StorePages(self._site)
        looks: Mapping[str, Callable[[Site, Request], Response]] = {
            "": services.overview,
            "service": services.service,
            "instance": services.instance,
            "keys": keys.tree,
            "key": keys.key,
            "raw": keys.raw,
            "timeline": timeline.timeline,
            "leases": leases.leases,
            "lease": leases.lease,
            "locks": locks.locks,
            "search": search.search,
        }
        return [
            *(Route(f"/{path}", self._on_thread(page), methods=["GET"]) for path, page in looks.items()),
            Route("/store", store.show, methods=["GET"]),
            Route("/doctor", store.examine, methods=["POST"]),
            Route("/confirm", changes.confirm, methods=["GET"]),
            Route("/do", changes.do, methods=["POST"]),
            Route("/edit", changes.edit, methods=["GET"]),
            Route("/save", changes.save, methods=["POST"]),
            Route("/preferences", preferences.preferences, methods=["POST"]),
            Route("/leave", self._leave, methods=["POST"]),
            Route("/events", self._events, methods=["GET"]),
            Route("/static/{name}", _static, methods=["GET"]),
        ]

    def _on_thread(self, page: Callable[[Site, Request], Response]) -> Callable[[Request], Response]:
        def endpoint(request: Request) -> Response:
            return page(self._site, request)

        return endpoint

    async def _events(self, request: Request) -> Response:
        return live.stream(request, self._follower, self._picture)

    def _leave(self, request: Request) -> Response:
        self._sessions.leave(session_of(request))
        reason = "This browser's session has ended. The link that was printed last lets a browser in again."
        return self._site.refuse(request, 200, "You have left", reason)

    # -- failures ----------------------------------------------------------------------------------

    async def _tenure_error(self, request: Request, error: Exception) -> Response:
        unavailable = isinstance(error, Unavailable)
        heading = "The store can't be reached" if unavailable else "The store refused"
        reason = f"{error}. {_UNKNOWN}" if isinstance(error, OutcomeUnknown) else f"{error}."
        return await run_in_threadpool(self._site.failed, request, 503 if unavailable else 502, heading, reason)

    async def _not_found(self, request: Request, error: Exception) -> Response:
        reason = "There is no such page. Choose one on the left."
        return await run_in_threadpool(self._site.failed, request, 404, "Not found", reason)

    async def _broken(self, request: Request, error: Exception) -> Response:
        reason = "The console has a mistake in it. Its log says which; the store was not harmed by looking at it."
        return await run_in_threadpool(self._site.failed, request, 500, "This page is broken", reason)


def _static(request: Request) -> Response:
    name = request.path_params["name"]
    content = STATIC.get(name)
    if content is None:
        return Response(status_code=404)
    kind = _TYPES[name.rpartition(".")[2]]
    lasting = "public, max-age=31536000, immutable" if request.query_params.get("v") else "no-cache"
    return Response(content, media_type=kind, headers={"Cache-Control": lasting})
