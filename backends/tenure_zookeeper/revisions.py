"""Revisions of several servers, where reading sends writes of nothing (``Fresh.SURE``) that raise the zxid.

A run of such writes, one directly after the other, is one state of the store. It is told as one revision, the zxid that
the run began at: so reading changes no revision, and neither does a refused transaction, unless others write as well
or come and go, which also takes zxids.
"""

from __future__ import annotations

from tenure.plugin_kit import Monitor


class Revisions:
    """What was seen last: the store was the same from one zxid to another. Thread-safe."""

    def __init__(self) -> None:
        self._lock = Monitor()
        self._first = self._last = 0

    def of(self, zxid: int, nothing: int = 0) -> int:
        """The revision of what was read at ``zxid``. ``nothing``: the zxid of a write of nothing, done before."""
        with self._lock:
            if nothing == self._last + 1:
                self._last = nothing
            if self._first <= zxid <= self._last:
                return self._first
            if zxid > self._last:
                self._first = self._last = zxid
            return zxid
