"""Revisions of reads. Consul tells of each read when what was read last changed, not how far the store is.

A read is true at every revision from the one it is told with to the one the store has when it is answered. So it may
as well be told with the highest revision that this client knew of before it asked, and then no read is older than a
write or a read that this client had an answer to. That holds where reads are linearizable; where any server may
answer, what Consul says is what counts.
"""

from __future__ import annotations

from tenure.plugin_kit import Monitor
from tenure_consul.history_evidence import History


class Revisions:
    """The highest revision seen by one backend. Thread-safe. ``following``: reads see what was acknowledged before."""

    def __init__(self, *, following: bool) -> None:
        self._following = following
        self._lock = Monitor()
        self._highest = 0
        self.history = History()

    @property
    def following(self) -> bool:
        """Whether each read sees what was acknowledged before it was asked for."""
        return self._following

    @property
    def known(self) -> int:
        """The highest revision known now: take it before asking."""
        return self._highest

    def of_write(self, revision: int, *, before: int) -> int:
        """The revision of a write asked for when ``before`` was known.

        One that isn't higher is of another history: the servers lost their data and count anew.
        """
        with self._lock:
            replaced = self._following and revision <= before
            if self._following and (revision > self._highest or replaced):
                self._highest = revision
        if replaced:
            self.history.replaced()
        return revision

    def of_read(self, index: int, *, before: int) -> int:
        """The revision to tell of a read that Consul answered with ``index``."""
        with self._lock:
            if self._following:
                self._highest = max(self._highest, index)
        return max(index, before)

    def of_store(self, index: int, *, before: int) -> int:
        """The same for an answer whose index is that of all keys together, which never goes back in one history."""
        with self._lock:
            replaced = self._following and index < before
            if self._following and (index > self._highest or replaced):
                self._highest = index
        if replaced:
            self.history.replaced()
        return index
