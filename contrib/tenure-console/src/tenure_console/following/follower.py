"""One watch for all who look: it feeds the picture, and wakes those who listen.

The watch itself survives outages. If it ends with an error, the follower opens another one after a pause, for as long
as it is not closed.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

from tenure import Batch, BatchType, Store, StoreClosed, TenureError, Watch
from tenure.plugin_kit import wall_clock
from tenure_console.following.picture import Picture

_log = logging.getLogger("tenure.console")
_PAUSE = 5.0
"""Seconds until a watch that ended is opened again."""
MOST_LISTENERS = 256


@dataclass(frozen=True, slots=True)
class Link:
    """How the console is connected to the store.

    Attributes:
        state: ``starting``, ``live``, ``outage``, or ``ended``.
        since: since when, in seconds since 1970.
        error: what keeps it from the store; empty if nothing does.
    """

    state: str
    since: float
    error: str = ""


class TooManyListeners(Exception):
    """As many pages listen as the console serves at once."""


class Follower:
    """Feeds ``picture`` from ``store``. ``start`` it once, and ``close`` it. Thread-safe."""

    def __init__(self, store: Store, picture: Picture) -> None:
        self._store, self._picture = store, picture
        self._lock = threading.Lock()
        self._link = Link("starting", wall_clock())
        self._versions: dict[str, int] = {}
        self._version = 0
        self._listeners: set[Callable[[], object]] = set()
        self._watch: Watch | None = None
        self._again: threading.Timer | None = None
        self._closed = False

    @property
    def link(self) -> Link:
        """How it is connected."""
        return self._link

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._closed

    def start(self) -> None:
        """Open the watch. Raises what :meth:`tenure.Store.watch` raises."""
        watch = self._store.watch("", callback=self._take, on_error=self._ended, on_outage=self._outage)
        with self._lock:
            self._watch = watch
            closed = self._closed
        if closed:
            watch.close()

    def close(self) -> None:
        """End the watch, and call the listeners."""
        with self._lock:
            self._closed = True
            watch, again = self._watch, self._again
        if again is not None:
            again.cancel()
        if watch is not None:
            watch.close()
        self._tell(())

    def changed_since(self, version: int) -> tuple[int, list[str]]:
        """Return the present version, and the topics that have changed after ``version``."""
        with self._lock:
            return self._version, sorted(topic for topic, at in self._versions.items() if at > version)

    @contextlib.contextmanager
    def listening(self, wake: Callable[[], object]) -> Iterator[None]:
        """Have ``wake`` called after each change, from any thread. Raises ``TooManyListeners``."""
        with self._lock:
            if len(self._listeners) >= MOST_LISTENERS:
                raise TooManyListeners
            self._listeners.add(wake)
        try:
            yield
        finally:
            with self._lock:
                self._listeners.discard(wake)

    # -- called by the watch -----------------------------------------------------------------------

    def _take(self, batch: Batch) -> None:
        topics = set(self._picture.take(batch))
        if batch.type is not BatchType.CHANGES and self._link.state != "live":
            self._link = Link("live", wall_clock())
            topics.add("link")
        self._tell(topics)

    def _outage(self, error: TenureError | None) -> None:
        self._link = Link("live", wall_clock()) if error is None else Link("outage", wall_clock(), str(error))
        self._tell(("link",))

    def _ended(self, error: TenureError) -> None:
        if self._closed:
            return
        _log.warning("the console's watch ended: %s", error)
        self._link = Link("ended", wall_clock(), str(error))
        self._tell(("link",))
        if not isinstance(error, StoreClosed):
            self._later()

    def _later(self) -> None:
        with self._lock:
            if self._closed:
                return
            self._again = threading.Timer(_PAUSE, self._restart)
            self._again.daemon = True
            self._again.start()

    def _restart(self) -> None:
        try:
            self.start()
        except TenureError as exc:
            self._ended(exc)

    def _tell(self, topics: Collection[str]) -> None:
        with self._lock:
            if topics:
                self._version += 1
                self._versions.update(dict.fromkeys(topics, self._version))
            listeners = tuple(self._listeners)
        for wake in listeners:
            wake()
