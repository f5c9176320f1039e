"""The keys of the store as they are now: a dictionary, and its keys in order.

Text compares by code point in Python, which is the byte order of UTF-8.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterator

from tenure.spi import KeyValue


class State:
    """Not thread-safe: the server's lock guards it. Setting and removing may be done twice, see ``MemoryServer``."""

    def __init__(self) -> None:
        self._items: dict[str, KeyValue] = {}
        self._ordered: list[str] = []

    def get(self, key: str) -> KeyValue | None:
        return self._items.get(key)

    def set(self, item: KeyValue) -> None:
        if item.key not in self._items:
            position = bisect_left(self._ordered, item.key)
            if self._ordered[position : position + 1] != [item.key]:
                self._ordered.insert(position, item.key)
        self._items[item.key] = item

    def remove(self, key: str) -> None:
        position = bisect_left(self._ordered, key)
        if self._ordered[position : position + 1] == [key]:
            del self._ordered[position]
        self._items.pop(key, None)

    def remove_many(self, keys: Collection[str]) -> None:
        """Remove ``keys`` in one pass over all keys: one by one, many would take quadratic time."""
        self._ordered = [key for key in self._ordered if key not in keys]
        for key in keys:
            self._items.pop(key, None)

    def under(self, prefix: str, after: str | None = None) -> Iterator[KeyValue]:
        """Items whose keys start with ``prefix`` and are greater than ``after``, in order."""
        position = bisect_left(self._ordered, prefix)
        if after is not None:
            position = max(position, bisect_right(self._ordered, after))
        while position < len(self._ordered) and self._ordered[position].startswith(prefix):
            yield self._items[self._ordered[position]]
            position += 1
