"""A setting that reloads: it is declared with the application, and follows its key while the lifespan is open."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from tenure import Codec, aio

T = TypeVar("T")


class Setting(Generic[T]):
    """The value of one key, kept up to date while the lifespan is open. Made by :meth:`Lifespan.setting`.

    It is an ``aio.CachedValue`` that can be named before there is a store, with the same guarantees. The object itself
    is a dependency: ``Annotated[int, Depends(limit)]``.
    """

    def __init__(self, key: str, codec: Codec[T], default: T, validate: Callable[[T], object] | None) -> None:
        self.key = key
        self._codec = codec
        self._default = default
        self._validate = validate
        self._view: aio.CachedValue[T] | None = None

    @property
    def value(self) -> T:
        """The last good value, or the default while the key doesn't exist. Others read the same object."""
        return self._default if self._view is None else self._view.value

    @property
    def problem(self) -> BaseException | None:
        """Why the stored value isn't used: what the codec or ``validate`` raised. ``None`` if it is used."""
        return None if self._view is None else self._view.problem

    @property
    def view(self) -> aio.CachedValue[T] | None:
        """What follows the key, for ``set``, ``on_change`` and ``wait_for``; ``None`` before the first startup."""
        return self._view

    async def __call__(self) -> T:
        """Return :attr:`value`, for frameworks that ask a function for what a request needs."""
        return self.value

    async def follow(self, store: aio.Store) -> None:
        """Read the value, and follow it until the store is closed.

        Args:
            store: an open store. Its timeout limits the first reading.

        Raises:
            Unavailable: the store can't be reached. ``DeadlineExceeded`` if the time ran out.
        """
        self._view = await aio.CachedValue(
            store, self.key, codec=self._codec, default=self._default, validate=self._validate
        )
