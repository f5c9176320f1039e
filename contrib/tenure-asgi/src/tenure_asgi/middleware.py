"""The ASGI application around another one: it runs the lifespan, answers probes, and sees to the requests of a stop."""

from __future__ import annotations

import asyncio
import logging

from tenure import TenureError
from tenure_asgi.health import answer
from tenure_asgi.inner_lifespan import InnerLifespan
from tenure_asgi.lifespan import Lifespan
from tenure_asgi.types import Application, Message, Receive, Scope, Send

_log = logging.getLogger("tenure.asgi")
STATE_KEY = "tenure"
"""Where a request's ``scope["state"]`` has the lifespan."""


class TenureMiddleware:
    """Runs a :class:`Lifespan` around an ASGI 3 application, which may have a lifespan of its own or none.

    The application's own startup finds the store open, and its own shutdown runs before the store is closed. Requests
    find the lifespan in ``scope["state"]["tenure"]``. While the application stops, each response says
    ``Connection: close``, so that clients leave their connections before the listeners close. Requests that are still
    under way when three fifths of the stop time are over are cancelled. Those that have not begun to answer get 503.

    >>> from tenure_asgi import Lifespan, TenureMiddleware
    >>> async def application(scope, receive, send): ...
    >>> application = TenureMiddleware(application, Lifespan("memory://"))

    Args:
        app: the application.
        lifespan: what it has while it serves.
        health: the path under which ``/live`` and ``/ready`` are answered; ``None`` leaves them to the application.
    """

    def __init__(self, app: Application, lifespan: Lifespan, *, health: str | None = "/health") -> None:
        self.app = app
        self.lifespan = lifespan
        self._health = () if health is None else (f"{health}/live", f"{health}/ready")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the lifespan, a request or a websocket."""
        scope.setdefault("state", {})[STATE_KEY] = self.lifespan
        if scope["type"] == "lifespan":
            await self._serve_lifespan(scope, receive, send)
        elif scope["type"] == "http" and scope["path"] in self._health:
            await self.lifespan.health(scope, receive, send)
        else:
            await self._serve(scope, receive, send)

    # -- the lifespan --

    async def _serve_lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        inner = InnerLifespan(self.app, scope)
        failure = await self._start(inner)
        if failure is not None:
            await send({"type": "lifespan.startup.failed", "message": failure})
            return
        try:
            self.lifespan.register_soon()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await self.lifespan.leave()
            failure = await inner.shut_down(self.lifespan.time_for_shutdown())
        finally:
            await self.lifespan.close()
        if failure is None:
            await send({"type": "lifespan.shutdown.complete"})
        else:
            await send({"type": "lifespan.shutdown.failed", "message": failure})

    async def _start(self, inner: InnerLifespan) -> str | None:
        try:
            await self.lifespan.open()
        except Exception as exc:  # noqa: BLE001 - if it is raised, a server takes it for "has no lifespan", and serves
            _log.debug("the startup failed", exc_info=True)
            return f"opening the store: {exc}" if isinstance(exc, TenureError) else f"starting: {exc!r}"
        try:
            failure = await inner.start()
        except BaseException:
            await self.lifespan.close()
            raise
        if failure is not None:
            await self.lifespan.close()
        return failure

    # -- requests --

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False
        closes = scope["type"] == "http" and scope.get("http_version", "1.1").startswith("1")

        async def watched(message: Message) -> None:
            nonlocal begun
            begun = True
            if closes and self.lifespan.stopping and message["type"] == "http.response.start":
                headers = [each for each in message.get("headers", ()) if each[0].lower() != b"connection"]
                message = {**message, "headers": [*headers, (b"connection", b"close")]}
            await send(message)

        with self.lifespan.requests.under_way() as task:
            try:
                await self.app(scope, receive, watched)
            except asyncio.CancelledError:
                if not self.lifespan.requests.was_cut(task):
                    raise
                task.uncancel()
                if scope["type"] == "http" and not begun:
                    await answer(watched, 503, {"error": "the application stops"})
