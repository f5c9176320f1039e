"""Listing: the answer of ``Store.list``, and putting it together from a plugin's pages."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from tenure._runtime import retry
from tenure.errors import Compacted
from tenure.spi.types import KeyValue, Page
from tenure.watch.diff import local


@dataclass(frozen=True, slots=True)
class Listing:
    """Items in UTF-8 byte order of their keys, the store revision they show, and whether there are ``has_more``."""

    items: tuple[KeyValue, ...]
    revision: int
    has_more: bool = False

    def __iter__(self) -> Iterator[KeyValue]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> KeyValue:
        return self.items[index]

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys alone."""
        return tuple(item.key for item in self.items)


class ReadPage(Protocol):
    """Reads one page of a prefix (complete, with its namespace) within some seconds."""

    def __call__(
        self, prefix: str, after: str | None, limit: int | None, revision: int | None, seconds: float, /
    ) -> Page: ...


class Pager:
    """Reads page after page; where the store can (``pinned``), all at the revision of the first."""

    def __init__(self, read: ReadPage, *, pinned: bool, strip: int) -> None:
        self._read = read
        self._pinned = pinned
        self._strip = strip

    def all(self, prefix: str, limit: int | None, timeout: float) -> Listing:
        """Everything, or the first ``limit`` items, within ``timeout`` seconds."""
        deadline = time.monotonic() + timeout
        while True:
            try:
                return self._all(prefix, limit, deadline)
            except Compacted:
                # The state that the first page showed has left the history meanwhile: begin again.
                if time.monotonic() >= deadline:
                    raise

    def _all(self, prefix: str, limit: int | None, deadline: float) -> Listing:
        items: list[KeyValue] = []
        after: str | None = None
        pinned: int | None = None
        while True:
            left = None if limit is None else limit - len(items)
            seconds = retry.left(deadline, f"listing, {len(items)} keys had been read")
            page = self._read(prefix, after, left, pinned, seconds)
            items += page.items
            if not page.has_more or not page.items or (limit is not None and len(items) >= limit):
                break
            after = page.items[-1].key
            pinned = page.revision if self._pinned else None
        if self._strip:
            items = [local(item, self._strip) for item in items]
        return Listing(tuple(items), page.revision, page.has_more)

    def each(self, prefix: str, page_size: int, timeout: float) -> Iterator[KeyValue]:
        """Item by item, ``page_size`` of them in memory, ``timeout`` seconds for each page."""
        after: str | None = None
        pinned: int | None = None
        while True:
            page = self._read(prefix, after, page_size, pinned, timeout)
            for item in page.items:
                yield local(item, self._strip)
            if not page.has_more or not page.items:
                return
            after = page.items[-1].key
            pinned = page.revision if self._pinned else None
