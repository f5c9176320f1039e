"""Keep a registry's warm file: when it is written, and how old what was read from it is.

It is written soon after the cache is in sync, at the close, and in between: ten seconds after a change at the earliest,
and every five minutes without one, so that its age tells how long ago the registry was there. Writing takes a fiftieth
of the time at most, however large the registry is.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from tenure._client.store import Store
from tenure._runtime.clock import Clock
from tenure._runtime.deadline import monotonic, wall_clock
from tenure._runtime.monitor import Monitor
from tenure.registry.lifecycle.cache import Cache
from tenure.registry.warm.file import Known, Refused, WarmFile

_log = logging.getLogger("tenure.registry")
_EVERY = 10.0
_AT_LEAST_EVERY = 300.0
_PART = 50.0


class WarmCopy:
    """The file of one registry, and its age.

    Args:
        path: where the file is.
        prefix: the prefix of the registry's keys.
        url: the store's URL, without a password.
        cache: the registry's cache.
        staleness: returns how old the cache is.
        clock: the store's clock.
    """

    def __init__(
        self, path: Path, *, prefix: str, url: str, cache: Cache, staleness: Callable[[], float], clock: Clock
    ) -> None:
        self._file = WarmFile(path, prefix=prefix, store=url)
        self._cache = cache
        self._staleness = staleness
        self._clock = clock
        self._lock = Monitor()
        self._saved: tuple[object, float] | None = None
        self._read_at = 0.0
        self._age_then = 0.0
        self._running = False
        self._last_took = 0.0
        self.loaded = False
        """Whether the cache has been filled from the file."""

    def load(self) -> bool:
        """Fill the cache from the file; return whether there is a file that can be used."""
        try:
            known: Known = self._file.read()
        except Refused as exc:
            _log.warning("the registry starts without its warm file %s: %s", self._file.path, exc)
            return False
        self._read_at, self._age_then = self._clock.now(), known.age
        self._cache.load(known.entries)
        self.loaded = True
        return True

    @property
    def age(self) -> float:
        """Seconds since what was loaded was that of the store."""
        return self._age_then + max(0.0, self._clock.now() - self._read_at)

    def follow(self, store: Store) -> None:
        """Write the file from now on, whenever that is due, on the threads of ``store``."""
        strand = store._strand(self.save)

        def look() -> None:
            if not self._running or self._cache.frozen or store.closed:
                return
            if self._due():
                strand.wake()
            store._timers.call_at(monotonic() + max(_EVERY, _PART * self._last_took), look)

        self._running = True
        look()

    def stop(self) -> None:
        """Write no more but by :meth:`save`."""
        self._running = False

    def _due(self) -> bool:
        saved = self._saved
        if saved is None:
            return True
        return self._cache.directory is not saved[0] or monotonic() - saved[1] >= _AT_LEAST_EVERY

    def save(self) -> None:
        """Write the file, if the cache was ever in sync. What goes wrong is logged: nothing depends on the file."""
        cache = self._cache
        if not cache.in_sync:
            return
        with self._lock:
            started = monotonic()
            with cache.changed:
                directory, entries = cache.directory, cache.entries()
            try:
                self._file.write(entries, wall_clock() - self._staleness())
            except OSError as exc:
                _log.warning("the registry can't write its warm file %s: %s", self._file.path, exc)
            self._saved, self._last_took = (directory, monotonic()), monotonic() - started
