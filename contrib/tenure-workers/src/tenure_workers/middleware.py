"""A WSGI application around another one: it passes the lifespan on to requests, and answers probes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

from tenure_workers.lifespan import Lifespan

StartResponse: TypeAlias = Callable[..., Any]
Application: TypeAlias = Callable[[dict[str, Any], StartResponse], Iterable[bytes]]

ENVIRON_KEY = "tenure"
"""Where a request's ``environ`` has the lifespan."""


class TenureMiddleware:
    """Wraps a WSGI application, so that gunicorn's hooks and requests find the lifespan.

    Requests find it in ``environ["tenure"]``. ``/health/live`` says 200. ``/health/ready`` says 200 while this
    process's instance is registered, is not stopping, and the store gives signs of life. Otherwise it says 503, with
    the reasons. Neither makes a call to the store.

    >>> from tenure_workers import Lifespan, TenureMiddleware
    >>> def application(environ, start_response): ...
    >>> application = TenureMiddleware(application, Lifespan("memory://"))

    Args:
        app: the application.
        lifespan: what each worker has. The middleware starts nothing: see :mod:`tenure_workers.gunicorn`.
        health: the path under which ``/live`` and ``/ready`` are answered; ``None`` leaves them to the application.
    """

    def __init__(self, app: Application, lifespan: Lifespan, *, health: str | None = "/health") -> None:
        self.app = app
        self.lifespan = lifespan
        self._live = None if health is None else f"{health}/live"
        self._ready = None if health is None else f"{health}/ready"

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Serve a request."""
        environ[ENVIRON_KEY] = self.lifespan
        path = environ.get("PATH_INFO", "")
        if path and path in (self._live, self._ready):
            reasons = self.lifespan.not_ready() if path == self._ready else []
            return _answer(environ, start_response, path == self._live, reasons)
        return self.app(environ, start_response)


def _answer(environ: dict[str, Any], start_response: StartResponse, live: bool, reasons: list[str]) -> Iterable[bytes]:
    method = environ.get("REQUEST_METHOD", "GET")
    content: dict[str, object]
    if method not in ("GET", "HEAD"):
        status, content = "405 Method Not Allowed", {"error": "use GET or HEAD"}
    elif live:
        status, content = "200 OK", {"live": True}
    else:
        status = "503 Service Unavailable" if reasons else "200 OK"
        content = {"ready": not reasons, "reasons": reasons}
    body = json.dumps(content).encode()
    headers = [
        ("Content-Type", "application/json"),
        ("Content-Length", str(len(body))),
        ("Cache-Control", "no-store"),
    ]
    start_response(status, headers)
    return [] if method == "HEAD" else [body]
