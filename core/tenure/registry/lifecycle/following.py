"""What the cache follows: one watch of all entries, or one watch for each service that is asked for.

A registry that follows some services receives their changes alone, however many services others have. Its own
instance's service is always among them: the registry has to notice what happens to its own entry.

All watches together count as one: the cache is in sync when all have delivered their first snapshot, as old as the
oldest of them, and without the store as soon as one is.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Collection
from functools import partial

from tenure._client.store import Store
from tenure._runtime.deadline import Deadline
from tenure.errors import DeadlineExceeded, StoreClosed, TenureError
from tenure.registry.lifecycle.cache import Cache
from tenure.registry.model.events import Part, Status, StatusChange
from tenure.registry.model.instance import Instance
from tenure.watch.engine import Watch
from tenure.watch.events import Batch

_log = logging.getLogger("tenure.registry")


class Following:
    """The watches of one registry.

    Args:
        store: the registry's store.
        cache: what the watches fill.
        prefix: the prefix of the registry's keys.
        services: the services to follow; ``None``: all.
        own: the instance that the registry will register at its start.
        observe: called with each batch after the cache has it.
        report: called with what changes in the state of the watches.
    """

    def __init__(
        self,
        store: Store,
        cache: Cache,
        *,
        prefix: str,
        services: Collection[str] | None,
        own: Instance | None,
        observe: Callable[[Batch], object],
        report: Callable[[StatusChange], object],
    ) -> None:
        self._store = store
        self._cache = cache
        self._prefix = prefix
        self._observe = observe
        self._report = report
        self._watches: dict[str, Watch] = {}
        self._lost: set[str] = set()
        self.services: frozenset[str] | None = None
        """The services that are followed; ``None``: all."""
        if services is not None:
            self.services = frozenset(services) | ({own.service_name} if own is not None else set())
        self._closed = False
        self.error: TenureError | None = None
        """What has ended a watch for good."""

    # -- state; reading it takes no lock -----------------------------------------------------------

    @property
    def begun(self) -> bool:
        """Whether :meth:`begin` has opened a watch."""
        return bool(self._watches)

    def includes(self, service: str) -> bool:
        """Whether the instances of ``service`` are followed."""
        return self.services is None or service in self.services

    @property
    def staleness(self) -> float:
        """Seconds since the oldest of the watches was connected."""
        return max((watch.staleness for watch in tuple(self._watches.values())), default=0.0)

    @property
    def outage(self) -> TenureError | None:
        """Why a watch has no connection at present."""
        return next((watch.outage for watch in tuple(self._watches.values()) if watch.outage is not None), None)

    # -- opening and closing; the caller sees to it that one thread does so at a time --------------

    def begin(self, deadline: Deadline) -> None:
        """Open the watches, and wait until the cache is in sync.

        Raises:
            DeadlineExceeded: the store did not deliver the entries in time.
            TenureError: what the store raised, or what ended a watch.
        """
        names = [""] if self.services is None else sorted(self.services)
        self._cache.expect(names)
        for name in names:
            self._open(name, deadline)
        self._wait(lambda: self._cache.in_sync, deadline)

    def include(self, service: str, deadline: Deadline) -> None:
        """Follow ``service`` too, from now on. Raises as :meth:`begin`."""
        if self.services is None or service in self.services:
            return
        self._open(service, deadline)
        self.services |= {service}
        self._wait(lambda: service in self._cache.synced, deadline)

    def _open(self, name: str, deadline: Deadline) -> None:
        self._watches[name] = self._store.watch(
            f"{self._prefix}{name}/" if name else self._prefix,
            callback=partial(self._apply, name),
            on_error=self._ended,
            on_outage=partial(self._outage, name),
            timeout=deadline.remaining(),
        )

    def _wait(self, done: Callable[[], bool], deadline: Deadline) -> None:
        self._cache.wait(lambda: done() or self.error is not None, deadline.remaining())
        if self.error is not None:
            raise self.error
        if not done():
            raise DeadlineExceeded(
                f"starting the registry: {self._store.url} did not deliver {self._prefix!r} within "
                f"{deadline.seconds:g} s; give a longer timeout"
            )

    def close(self) -> None:
        """End the watches. What they deliver at this moment is dropped."""
        with self._cache.changed:
            self._closed = True
        for watch in tuple(self._watches.values()):
            watch.close()

    def store_closed(self, error: StoreClosed) -> None:
        """The store is being closed, and ends the watches."""
        if self.error is None:
            self._end(error)

    # -- the watches' threads ----------------------------------------------------------------------

    def _apply(self, name: str, batch: Batch) -> None:
        if name and batch.events:
            # The prefix of the service "a" is also one of the service "a/b".
            folder = f"{self._prefix}{name}"
            own = tuple(event for event in batch.events if event.key.rpartition("/")[0] == folder)
            if len(own) < len(batch.events):
                batch = dataclasses.replace(batch, events=own)
        with self._cache.changed:
            if not self._closed:
                self._cache.apply(batch, name)
        self._observe(batch)

    def _ended(self, error: TenureError) -> None:
        _log.error("registry %s: the cache no longer follows the store: %s", self._prefix, error)
        self._end(error)

    def _end(self, error: TenureError) -> None:
        self.error = error
        reason = f"the cache no longer follows the store: {error}"
        self._report(StatusChange(Part.CACHE, Status.FAILED, reason, error))
        self._cache.wake()

    def _outage(self, name: str, error: TenureError | None) -> None:
        with self._cache.changed:  # the watches have threads of their own
            before = bool(self._lost)
            (self._lost.discard if error is None else self._lost.add)(name)
            if error is None and (self._lost or not before):
                return
            if error is not None and len(self._lost) > 1 and before:
                return  # the same outage, by another watch
        if error is None:
            change = StatusChange(Part.CACHE, Status.FOLLOWING, "the cache follows the store again")
        else:
            reason = f"the cache doesn't follow the store at present: {error}"
            _log.warning("registry %s: %s", self._prefix, reason)
            change = StatusChange(Part.CACHE, Status.RECOVERING, reason, error)
        self._report(change)
