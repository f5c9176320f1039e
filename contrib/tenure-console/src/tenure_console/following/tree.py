"""Keys in order, so that a folder of many keys is listed without looking at each of them."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_LAST = "\U0010ffff"


@dataclass(frozen=True, slots=True)
class Folder:
    """Keys that share a prefix up to a slash.

    Attributes:
        prefix: what the keys start with.
        name: the last part of the prefix, with its slash.
        keys: how many there are.
    """

    prefix: str
    name: str
    keys: int


class Tree:
    """The sorted keys. Not thread-safe: the picture's lock guards it."""

    def __init__(self) -> None:
        self._keys: list[str] = []

    def __len__(self) -> int:
        return len(self._keys)

    def fill(self, keys: Iterable[str]) -> None:
        """Take these keys in place of all."""
        self._keys = sorted(keys)

    def add(self, key: str) -> None:
        """Add a key that isn't there."""
        insort(self._keys, key)

    def remove(self, key: str) -> None:
        """Remove a key that is there."""
        at = bisect_left(self._keys, key)
        if at < len(self._keys) and self._keys[at] == key:
            del self._keys[at]

    def count(self, prefix: str) -> int:
        """Return the number of keys that start with ``prefix``."""
        return self._end(prefix) - bisect_left(self._keys, prefix)

    def starting_with(self, prefix: str, after: str = "") -> Iterator[str]:
        """Yield the keys that start with ``prefix``, in order, those after ``after``."""
        for at in range(bisect_left(self._keys, max(prefix, after)), self._end(prefix)):
            if self._keys[at] != after:
                yield self._keys[at]

    def children(self, prefix: str, *, most: int) -> tuple[list[Folder | str], bool]:
        """Return the folders and keys directly below ``prefix``, at most ``most``, and whether there are more."""
        found: list[Folder | str] = []
        at, end = bisect_left(self._keys, prefix), self._end(prefix)
        while at < end:
            if len(found) == most:
                return found, True
            key = self._keys[at]
            slash = key.find("/", len(prefix) + 1)  # a name of at least one character, which may be a slash itself
            if slash < 0:
                found.append(key)
                at += 1
                continue
            folder = key[: slash + 1]
            past = self._end(folder, at)
            found.append(Folder(folder, folder[len(prefix) :], past - at))
            at = past
        return found, False

    def _end(self, prefix: str, start: int = 0) -> int:
        return bisect_left(self._keys, prefix + _LAST, start) if prefix else len(self._keys)
