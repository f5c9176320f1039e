"""A setting that reloads: the value of one key, read without a call, and followed by a watch of the lifespan."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Generic, TypeVar

from tenure import Batch, BatchType, Codec, aio

T = TypeVar("T")

_log = logging.getLogger("tenure.asgi")


class Setting(Generic[T]):
    """The value of one key, kept up to date while the lifespan is open. Made by :meth:`Lifespan.setting`.

    * Reading :attr:`value` makes no call. It follows a change within ``capabilities.max_watch_latency``.
    * A stored value that can't be read or isn't valid changes nothing: the last good one stays, :attr:`problem` says
      why, and a warning is logged.
    * In an outage the last value stays.

    The object itself is a dependency: ``Annotated[int, Depends(limit)]``.
    """

    def __init__(self, key: str, codec: Codec[T], default: T, validate: Callable[[T], object] | None) -> None:
        self.key = key
        self._codec = codec
        self._validate = validate
        self._default = default
        self._value = default
        self._problem: Exception | None = None
        self._known = asyncio.Event()

    @property
    def value(self) -> T:
        """The last good value, or the default while the key doesn't exist. Others read the same object."""
        return self._value

    @property
    def problem(self) -> Exception | None:
        """Why the stored value isn't used: what the codec or ``validate`` raised. ``None`` if it is used."""
        return self._problem

    async def __call__(self) -> T:
        """Return :attr:`value`, for frameworks that ask a function for what a request needs."""
        return self._value

    async def follow(self, store: aio.Store) -> None:
        """Read the value, and follow it until the store is closed.

        Args:
            store: an open store. Its timeout limits the first reading.

        Raises:
            Unavailable: the store can't be reached. ``DeadlineExceeded`` if the time ran out.
        """
        self._known = asyncio.Event()
        await store.watch(self.key, exact=True, callback=self._apply)
        await self._known.wait()

    def _apply(self, batch: Batch) -> None:
        for event in batch.events:
            self._take(None if event.item is None else event.item.value)
        if batch.type is BatchType.SNAPSHOT and not batch.events:
            self._take(None)  # of an earlier use of the same object there may be another value
        self._known.set()

    def _take(self, data: bytes | None) -> None:
        try:
            value = self._default if data is None else self._read(data)
        except Exception as exc:  # noqa: BLE001 - whatever a codec raises
            _log.warning("reading the setting %r: the last good value stays, because %s", self.key, exc)
            self._problem = exc
        else:
            self._value, self._problem = value, None

    def _read(self, data: bytes) -> T:
        value = self._codec.decode(data)
        if self._validate is not None and self._validate(value) is False:
            raise ValueError(f"{value!r:.200} is not valid")
        return value
