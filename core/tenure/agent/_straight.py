"""The way past the agent: the store itself, opened when it is needed for the first time.

Keys of the agent's programs are without the namespace of the store's URL. It is put in front of them here, and taken
off what comes back.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import TypeVar

from tenure._client.opening import Opening, open_backend
from tenure._runtime.deadline import Deadline
from tenure._runtime.monitor import Monitor
from tenure.errors import Conflict, DeadlineExceeded, StoreClosed
from tenure.spi.backend import Backend
from tenure.spi.feed import Changes, Deleted, Feed, FeedItem, Sink, Snapshot
from tenure.spi.types import KeyValue, LeaseInfo, ListRequest, Operation, Page, Precondition, Transaction, WatchRequest

T = TypeVar("T")


class Straight:
    """The store that the URL of a program names beside its agent.

    Args:
        opening: the store, whose URL was checked.
    """

    def __init__(self, opening: Opening) -> None:
        self._opening = opening
        self._prefix = opening.prefix
        self.url = opening.request.url
        self.scheme = opening.plugin.scheme
        self.namespace = opening.request.namespace
        self._lock = Monitor()
        self._backend: Backend | None = None
        self._first_history = ""
        self._closed = False

    @property
    def opened(self) -> bool:
        """Whether there was a need of the store."""
        return self._backend is not None

    @property
    def history(self) -> str:
        """The history of the store's answers; empty until it is another one than at first."""
        backend = self._backend
        return "" if backend is None or backend.history == self._first_history else backend.history

    def backend(self, deadline: Deadline) -> Backend:
        """Return the store's backend, opened within the deadline. Raises like ``tenure.connect``."""
        if self._backend is not None:
            return self._backend
        self._lock.alone("opening the store behind the agent")
        try:
            if not self._lock.acquire(timeout=deadline.remaining()):
                raise DeadlineExceeded(
                    f"opening {self._opening.request.url}: another call has tried for {deadline.seconds:g} s; try again"
                )
            if self._backend is None:
                self._open(deadline)
        finally:
            try:
                self._lock.leave()
            finally:
                self._lock.leave()
        if self._backend is None:
            raise StoreClosed(f"using {self._opening.request.url}: the store was closed")
        return self._backend

    def _open(self, deadline: Deadline) -> None:
        if self._closed:
            return
        request = self._opening.request
        if deadline.remaining() < request.timeout:
            request = dataclasses.replace(request, timeout=deadline.remaining())
        backend = open_backend(self._opening.plugin, request)
        self._first_history = backend.history
        self._backend = backend
        if self._closed:
            self._backend = None
            backend.close()

    def close(self) -> None:
        """Release what was opened."""
        self._closed = True
        backend, self._backend = self._backend, None
        if backend is not None:
            backend.close()

    # -- keys --

    def key(self, key: str) -> str:
        """Return the store's key."""
        return self._prefix + key

    def item(self, item: KeyValue) -> KeyValue:
        """Return an entry with the program's key."""
        return item._replace(key=item.key[len(self._prefix) :]) if self._prefix else item

    def page(self, page: Page) -> Page:
        """Return a page with the program's keys."""
        return dataclasses.replace(page, items=tuple(map(self.item, page.items))) if self._prefix else page

    def list_request(self, request: ListRequest) -> ListRequest:
        """Return a request with the store's keys."""
        after = None if request.after is None else self.key(request.after)
        return dataclasses.replace(request, prefix=self.key(request.prefix), after=after)

    def transaction(self, transaction: Transaction) -> Transaction:
        """Return a transaction with the store's keys."""
        if not self._prefix:
            return transaction

        def moved(part: T) -> T:
            return dataclasses.replace(part, key=self.key(part.key))  # type: ignore[attr-defined,type-var]

        preconditions: tuple[Precondition, ...] = tuple(map(moved, transaction.preconditions))
        operations: tuple[Operation, ...] = tuple(map(moved, transaction.operations))
        return Transaction(preconditions, operations)

    def leases(self, found: Sequence[LeaseInfo]) -> tuple[LeaseInfo, ...]:
        """Return leases with the program's keys; keys of other namespaces are left out."""
        cut = len(self._prefix)
        return tuple(
            dataclasses.replace(each, keys=tuple(key[cut:] for key in each.keys if key.startswith(self._prefix)))
            for each in found
        )

    def told(self, call: Callable[[], T]) -> T:
        """Call, and name the program's keys in a ``Conflict``."""
        if not self._prefix:
            return call()
        try:
            return call()
        except Conflict as exc:
            cut = len(self._prefix)
            raise Conflict(exc.reason, keys=[key[cut:] for key in exc.keys], revision=exc.revision) from exc

    def watch(self, request: WatchRequest, *, sink: Sink, deadline: Deadline) -> Feed:
        """Open a watch at the store."""
        backend = self.backend(deadline)
        if not self._prefix:
            return backend.watch(request, sink=sink, timeout=deadline.remaining())
        moved = dataclasses.replace(request, prefix=self.key(request.prefix))
        return backend.watch(moved, sink=_Stripping(sink, len(self._prefix)), timeout=deadline.remaining())


class _Stripping:
    """A sink that takes the namespace off."""

    def __init__(self, sink: Sink, cut: int) -> None:
        self._sink = sink
        self._cut = cut
        self.fail = sink.fail

    def deliver(self, item: FeedItem, /) -> None:
        cut = self._cut
        if isinstance(item, Snapshot):
            items = tuple(each._replace(key=each.key[cut:]) for each in item.items)
            item = dataclasses.replace(item, items=items)
        elif isinstance(item, Changes):
            entries = tuple(
                Deleted(each.key[cut:], each.revision)
                if isinstance(each, Deleted)
                else each._replace(key=each.key[cut:])
                for each in item.entries
            )
            item = dataclasses.replace(item, entries=entries)
        self._sink.deliver(item)
