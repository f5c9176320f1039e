"""Whether the process lives, and whether it is ready for requests, as an ASGI application for probes."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from tenure_asgi.types import Receive, Scope, Send


class HealthEndpoint:
    """Answers ``.../live`` and ``.../ready``: 200 for yes, 503 for no, with the reasons in JSON.

    It makes no call to the store, so it answers at once while the store is frozen.

    Args:
        reasons: returns why the application isn't ready; nothing if it is.
    """

    def __init__(self, reasons: Callable[[], Sequence[str]]) -> None:
        self._reasons = reasons

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request. ``receive`` isn't read: a probe has no body."""
        if scope["type"] != "http":
            return
        last = scope["path"].rstrip("/").rpartition("/")[2]
        if scope["method"] not in ("GET", "HEAD"):
            await answer(send, 405, {"error": "use GET or HEAD"})
        elif last == "live":
            await answer(send, 200, {"live": True})
        elif last == "ready":
            reasons = list(self._reasons())
            await answer(send, 503 if reasons else 200, {"ready": not reasons, "reasons": reasons})
        else:
            await answer(send, 404, {"error": "there is live and ready"})


async def answer(send: Send, status: int, content: object) -> None:
    """Send a whole response with ``content`` in JSON."""
    body = json.dumps(content).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
