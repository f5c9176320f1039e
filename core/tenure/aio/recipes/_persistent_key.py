"""A key that comes back, on an event loop: also what puts it again is a task there."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Self

from tenure._steps.effects import Steps
from tenure.aio._faces import described, documented
from tenure.aio._store import Store
from tenure.aio.recipes._session import Session
from tenure.aio.recipes._steps import run
from tenure.errors import TenureError
from tenure.recipes import persistent_key as sync
from tenure.recipes import session as sync_session


@described(sync.PersistentKey)
class PersistentKey:
    """A key for one event loop. If :meth:`start` is cancelled, its session is ended in the background.

    >>> import asyncio
    >>> from tenure import aio
    >>> async def main():
    ...     async with aio.connect("memory://") as store:
    ...         async with aio.PersistentKey(store, "up/node-a", b"10.0.0.1") as key:
    ...             print(key.present, (await store.get("up/node-a")).value)
    ...         print(await store.get("up/node-a"))
    >>> asyncio.run(main())
    True b'10.0.0.1'
    None
    """

    def __init__(self, store: Store, key: str, value: bytes, *, ttl: float = sync_session.DEFAULT_TTL) -> None:
        self._store = store
        self._kept = sync.KeptKey(store._sync, key, value, ttl, resume=self._resume, drop=self._drop)

    @property
    @documented(sync.PersistentKey.key)
    def key(self) -> str:
        return self._kept.key

    @property
    @documented(sync.PersistentKey.present)
    def present(self) -> bool:
        return self._kept.present

    @documented(sync.PersistentKey.start)
    async def start(self, *, timeout: float | None = None) -> None:
        await run(self._store, self._kept.start(timeout))

    @documented(sync.PersistentKey.close)
    async def close(self, *, timeout: float | None = None) -> None:
        if self._store._sync._inherited:
            return
        session = self._kept.stop()
        if session is not None:
            await Session(session).close(timeout=timeout)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        try:
            await self.close()
        except TenureError:
            if error is None:
                raise  # otherwise the error of the body tells more

    def _resume(self, steps: Steps[None]) -> None:
        """Let the loop perform ``steps``. A thread that noticed the loss calls this."""
        self._store._bridge.calls.post(self._perform, steps)

    def _perform(self, steps: Steps[None]) -> None:
        async def perform() -> None:
            with suppress(TenureError):  # they try again until they are done, or the store is closed
                await run(self._store, steps)

        self._store._bridge.keep(perform(), f"putting {self.key!r} again")

    def _drop(self, session: sync_session.Session) -> None:
        """End a session that nobody gets. The key may be there already, or come until then, and goes with it."""
        self._store._bridge.in_background(partial(session.lease.revoke_now, None))

    def __repr__(self) -> str:
        return f"<PersistentKey {self.key!r} {'present' if self.present else 'absent'}>"
