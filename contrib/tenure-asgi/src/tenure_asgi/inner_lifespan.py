"""The lifespan of the application inside: it is told to start and to shut down as a server would tell it."""

from __future__ import annotations

import asyncio
import logging

from tenure_asgi.types import Application, Message, Scope

_log = logging.getLogger("tenure.asgi")


class InnerLifespan:
    """Runs an application's lifespan in one task, as its context managers need it.

    An application that raises at the first message without saying that it failed has no lifespan. That is no failure.
    """

    def __init__(self, app: Application, scope: Scope) -> None:
        self._app = app
        self._scope = scope
        self._to_app: asyncio.Queue[Message] = asyncio.Queue()
        self._from_app: asyncio.Queue[Message] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> str | None:
        """Let the application start. Returns why it failed; ``None`` if it started, or has no lifespan."""
        self._task = asyncio.create_task(self._run(), name="lifespan of the application")
        try:
            return await self._tell("startup")
        except BaseException:
            self._task.cancel()
            raise

    async def shut_down(self, seconds: float) -> str | None:
        """Let the application shut down. Returns why it failed; ``None`` if it did.

        Args:
            seconds: the application is cancelled after so long.
        """
        if self._task is None or self._task.done():
            return None
        try:
            async with asyncio.timeout(seconds):
                return await self._tell("shutdown")
        except TimeoutError:
            _log.warning("the application's own shutdown took longer than %g s and was cancelled", seconds)
            return None
        finally:
            self._task.cancel()
            await asyncio.wait([self._task], timeout=seconds)

    async def _tell(self, what: str) -> str | None:
        assert self._task is not None
        await self._to_app.put({"type": f"lifespan.{what}"})
        answered = asyncio.create_task(self._from_app.get())
        try:
            await asyncio.wait([answered, self._task], return_when=asyncio.FIRST_COMPLETED)
            if not answered.done():
                await asyncio.wait([answered], timeout=0)  # the task may have answered as its last act
            if answered.done():
                message = answered.result()
                failed = message["type"] == f"lifespan.{what}.failed"
                return (str(message.get("message") or "") or f"the application's {what} failed") if failed else None
            return None
        finally:
            answered.cancel()

    async def _run(self) -> None:
        try:
            await self._app(self._scope, self._to_app.get, self._from_app.put)
        except asyncio.CancelledError:
            raise
        except BaseException as exc:  # noqa: BLE001 - a failure was told by a message; the rest means: no lifespan
            _log.debug("the application's lifespan ended: %r", exc)
