"""The live stream: server-sent events that name what has changed, so that a page loads that part again.

No value goes through it. Changes that come close together are one event; a page is never behind by more than
``PAUSE`` and the time of its own request.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from tenure.plugin_kit import wall_clock
from tenure_console.following.follower import Follower, TooManyListeners
from tenure_console.following.picture import Picture

PAUSE = 0.15
"""Seconds between two events, at least."""
_SIGN_OF_LIFE = 10.0
"""Seconds without an event, after which a comment shows that the stream is alive."""


def stream(request: Request, follower: Follower, picture: Picture) -> Response:
    """Return the stream for one page; 503 if there are as many as the console serves."""
    woken = asyncio.Event()
    loop = asyncio.get_running_loop()
    stack = contextlib.ExitStack()
    try:
        stack.enter_context(follower.listening(lambda: _wake(loop, woken)))
    except TooManyListeners:
        return PlainTextResponse("too many pages listen; close some", status_code=503)
    given = request.query_params.get("since", "")
    since = int(given) if given.isascii() and given.isdigit() and len(given) < 16 else 0
    return StreamingResponse(
        _events(follower, picture, woken, stack, since),
        media_type="text/event-stream",
        headers={"X-Accel-Buffering": "no"},
    )


def _wake(loop: asyncio.AbstractEventLoop, woken: asyncio.Event) -> None:
    with contextlib.suppress(RuntimeError):  # the loop has ended before the watch
        loop.call_soon_threadsafe(woken.set)


async def _events(
    follower: Follower, picture: Picture, woken: asyncio.Event, stack: contextlib.ExitStack, since: int
) -> AsyncIterator[str]:
    with stack:
        seen, topics = follower.changed_since(since)
        first = True
        while not follower.closed:
            if topics or first:
                first = False
                yield f"event: change\ndata: {_news(follower, picture, topics)}\n\n"
                await asyncio.sleep(PAUSE)
            try:
                async with asyncio.timeout(_SIGN_OF_LIFE):
                    await woken.wait()
            except TimeoutError:
                yield ": alive\n\n"
            woken.clear()
            seen, topics = follower.changed_since(seen)
        yield "event: end\ndata: {}\n\n"


def _news(follower: Follower, picture: Picture, topics: list[str]) -> str:
    link = follower.link
    totals = picture.totals()
    return json.dumps(
        {
            "topics": topics,
            "state": link.state,
            "now": wall_clock(),
            "revision": totals.revision,
            "counts": {
                "services": totals.services,
                "keys": totals.keys,
                "timeline": totals.changes,
                "leases": totals.leases,
                "locks": totals.locks,
            },
        }
    )
