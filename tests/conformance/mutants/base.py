"""What broken stores are made of: wrappers around the memory store's backend that pass everything on but one thing.

A mutant is a class. Its docstring is the defect in one sentence, ``rules`` names what has to find it: rules of one
area, each of which alone has to. Most change what goes to the backend or comes back; what core does for every
store (watches, leases, closing, the registry) is broken by a patch that lasts as long as the mutant is installed.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, ClassVar

import tenure_memory
from tenure._plugins import discovery
from tenure._runtime.clock import SystemClock
from tenure.conformance import ServerControls
from tenure.errors import TenureError
from tenure.hookspecs import hookimpl
from tenure.spi import (
    Backend,
    BackendPlugin,
    Capabilities,
    Changes,
    CommitResult,
    Feed,
    FeedItem,
    KeyValue,
    LeaseGrant,
    LeaseId,
    LeaseInfo,
    ListRequest,
    OpenRequest,
    Operation,
    Page,
    ReadResult,
    ServerInfo,
    Sink,
    Snapshot,
    Transaction,
    UrlForm,
    WatchRequest,
)
from tenure_memory.servers import open_backend
from tenure_testkit.servers.controls import MemoryBackup


class Breakable:
    """What the trial wants of a mutant."""

    rules: ClassVar[tuple[str, ...]] = ()
    """Ids of the rules that have to find what a subclass breaks."""

    declares: ClassVar[Mapping[str, Any]] = {}
    """Capabilities that are declared otherwise than the sound store does."""

    @classmethod
    def bent(cls) -> AbstractContextManager[object]:
        """What of core is broken while the mutant is installed; nothing here."""
        return nullcontext()

    @classmethod
    def plugin(cls, scheme: str) -> BackendPlugin:
        """How the store is opened."""
        raise NotImplementedError

    @classmethod
    def served(cls, scheme: str) -> AbstractContextManager[tuple[str, ServerControls]]:
        """While this lasts there is a server; what comes after ``scheme://``, and controls."""
        raise NotImplementedError


Mutant = type[Breakable]


class Faithful(Breakable, Backend):
    """Breaks nothing: passes everything on."""

    server: tenure_memory.MemoryServer
    """What all connections to this mutant share."""

    def __init__(self, inner: Backend) -> None:
        self.inner = inner

    # -- for the trial --

    @classmethod
    def plugin(cls, scheme: str) -> BackendPlugin:
        def open_mutant(request: OpenRequest) -> Backend:
            backend = cls(cls.opened(request, scheme))
            backend.server = tenure_memory.server(scheme)
            return backend

        return BackendPlugin(scheme=scheme, summary="broken", open=open_mutant, url_form=UrlForm.NAME, spi_version=1)

    @classmethod
    def served(cls, scheme: str) -> AbstractContextManager[tuple[str, ServerControls]]:
        return nullcontext(("store", cls.controls(tenure_memory.server(scheme))))

    @classmethod
    def opened(cls, request: OpenRequest, server: str) -> Backend:
        """The sound backend below; the name of the memory server is the mutant's own."""
        sound = OpenRequest(
            url=request.url,
            variants=frozenset(),
            path=server,
            options={"history": None},
            timeout=request.timeout,
            clock=SystemClock(),
        )
        return open_backend(sound)

    @classmethod
    def controls(cls, server: tenure_memory.MemoryServer) -> ServerControls:
        """Controls over the server; a kill is an outage that keeps the data."""
        backup = MemoryBackup(server)
        return ServerControls(
            kill=server.pause,
            start=server.resume,
            cut=server.cut_watches,
            compact=server.compact,
            backup=backup.back_up,
            restore=backup.restore,
        )

    # -- the SPI --

    @property
    def capabilities(self) -> Capabilities:
        # Without the short cuts, so that what a mutant breaks is on the way of every call that needs it.
        plain = dataclasses.replace(self.inner.capabilities, multi_get=False, prefix_delete=False)
        return dataclasses.replace(plain, **self.declares)

    @property
    def history(self) -> str:
        return self.inner.history

    def get(self, key: str, *, timeout: float) -> ReadResult:
        return self.inner.get(key, timeout=timeout)

    def list(self, request: ListRequest, *, timeout: float) -> Page:
        return self.inner.list(request, timeout=timeout)

    def commit(self, transaction: Transaction, *, timeout: float) -> CommitResult:
        return self.inner.commit(transaction, timeout=timeout)

    def grant(self, ttl: float, *, timeout: float) -> LeaseGrant:
        return self.inner.grant(ttl, timeout=timeout)

    def refresh(self, lease_ids: Sequence[LeaseId], *, timeout: float) -> dict[LeaseId, float]:
        return self.inner.refresh(lease_ids, timeout=timeout)

    def revoke(self, lease_ids: Sequence[LeaseId], *, timeout: float) -> frozenset[LeaseId]:
        return self.inner.revoke(lease_ids, timeout=timeout)

    def leases(self, lease_id: LeaseId | None, *, timeout: float) -> tuple[LeaseInfo, ...]:
        return self.inner.leases(lease_id, timeout=timeout)

    def watch(self, request: WatchRequest, *, sink: Sink, timeout: float) -> Feed:
        return self.inner.watch(request, sink=sink, timeout=timeout)

    def server_info(self, *, timeout: float) -> ServerInfo:
        return self.inner.server_info(timeout=timeout)

    def close(self) -> None:
        self.inner.close()

    # -- helping subclasses --

    def write(self, *operations: Operation) -> CommitResult:
        """Commit the operations without a guard."""
        return self.inner.commit(Transaction((), operations), timeout=10.0)

    @property
    def present(self) -> int:
        """The store's revision now."""
        return self.inner.server_info(timeout=10.0).revision


class BentItems(Faithful):
    """Reads and lists show what :meth:`item` makes of each item, and leave out what it makes ``None``."""

    def item(self, item: KeyValue) -> KeyValue | None:
        return item

    def get(self, key: str, *, timeout: float) -> ReadResult:
        found = self.inner.get(key, timeout=timeout)
        return ReadResult(found.item and self.item(found.item), found.revision)

    def list(self, request: ListRequest, *, timeout: float) -> Page:
        page = self.inner.list(request, timeout=timeout)
        bent = (self.item(item) for item in page.items)
        return Page(tuple(item for item in bent if item is not None), page.has_more, page.revision)


class BentPages(Faithful):
    """Lists show what :meth:`page` makes of each page."""

    def page(self, page: Page, prefix: str, limit: int | None) -> Page:
        return page

    def list(self, request: ListRequest, *, timeout: float) -> Page:
        page = self.inner.list(request, timeout=timeout)
        return self.page(page, request.prefix, request.limit)


class BentFeed:
    """Stands between the store and the sink of one feed; ``count`` and ``known`` are for what a mutant remembers."""

    def __init__(self, store: BentWatch, sink: Sink) -> None:
        self.store = store
        self.sink = sink
        self.count = itertools.count(1)
        self.known: dict[str, Any] = {}

    def deliver(self, item: FeedItem, /) -> None:
        if isinstance(item, Changes):
            items = self.store.changes(item, self)
        elif isinstance(item, Snapshot):
            items = self.store.snapshot(item, self)
        else:
            items = [item]
        for bent in items:
            self.sink.deliver(bent)

    def fail(self, error: TenureError, /) -> None:
        self.store.failed(error, self)


class BentWatch(Faithful):
    """Feeds tell what the three methods make of what they are told."""

    def changes(self, item: Changes, feed: BentFeed) -> Sequence[FeedItem]:
        return [item]

    def snapshot(self, item: Snapshot, feed: BentFeed) -> Sequence[FeedItem]:
        return [item]

    def failed(self, error: TenureError, feed: BentFeed) -> None:
        feed.sink.fail(error)

    def watch(self, request: WatchRequest, *, sink: Sink, timeout: float) -> Feed:
        return self.inner.watch(request, sink=BentFeed(self, sink), timeout=timeout)


def scheme_of(mutant: Mutant) -> str:
    """The URL scheme that a mutant has while it is installed; also the name of its server."""
    return f"mutant-{mutant.__name__.lower()}"


@contextmanager
def standing(mutant: Mutant) -> Iterator[tuple[str, ServerControls]]:
    """Make the mutant a plugin of this process; gives the URL of a store that no one else has, and controls over it."""
    scheme = scheme_of(mutant)

    class Plugin:
        @hookimpl
        def tenure_backend(self) -> BackendPlugin:
            return mutant.plugin(scheme)

    discovery.register(Plugin(), scheme)
    try:
        with mutant.served(scheme) as (place, controls), mutant.bent():
            yield f"{scheme}://{place}", controls
    finally:
        discovery.unregister(scheme)
        tenure_memory.forget(scheme)


@contextmanager
def installed(mutant: Mutant) -> Iterator[str]:
    """The URL of :func:`standing` alone."""
    with standing(mutant) as (url, _):
        yield url
