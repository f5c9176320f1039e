"""How many reloads there were, in memory that a master process shares with the workers that it forks."""

from __future__ import annotations

import mmap
import struct

_NUMBER = struct.Struct("=Q")


class Reloads:
    """A number that one process writes and its children read.

    Args:
        memory: anonymous shared memory of :attr:`SIZE` bytes, made before the fork.
    """

    SIZE = _NUMBER.size

    def __init__(self, memory: mmap.mmap) -> None:
        self._memory = memory

    @property
    def count(self) -> int:
        """The number of reloads until now."""
        found: int = _NUMBER.unpack_from(self._memory)[0]
        return found

    def count_one(self) -> None:
        """Add one. For one process only."""
        _NUMBER.pack_into(self._memory, 0, self.count + 1)
