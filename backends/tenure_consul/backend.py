"""The ten methods of the SPI, each handed to the module that does it, and how a store is opened."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tenure.errors import Unavailable, Unsupported
from tenure.plugin_kit import Deadline, Monitor, TlsContext
from tenure.spi.backend import Backend
from tenure.spi.capabilities import Capabilities
from tenure.spi.diagnosis import Finding
from tenure.spi.feed import Feed, Sink
from tenure.spi.plugin import OpenRequest
from tenure.spi.types import (
    CommitResult,
    LeaseGrant,
    LeaseId,
    LeaseInfo,
    ListRequest,
    MultiReadResult,
    Page,
    PrefixDeletion,
    ReadResult,
    ServerInfo,
    Transaction,
    WatchRequest,
)
from tenure_consul import deletions, diagnosis, leases, reads, server_info, server_settings, transactions
from tenure_consul.access import Access
from tenure_consul.auth import Token
from tenure_consul.capabilities import declare
from tenure_consul.keys import Layout
from tenure_consul.pool import Pool
from tenure_consul.revisions import Revisions
from tenure_consul.server_settings import ServerSettings
from tenure_consul.watch import Watches


class ConsulBackend(Backend):
    """One store in an opened Consul."""

    def __init__(
        self, pool: Pool, layout: Layout, revisions: Revisions, request: OpenRequest, settings: ServerSettings
    ) -> None:
        options = request.options
        self._pool = pool
        self._layout = layout
        self._revisions = revisions
        self._request = request
        self._most_bytes = settings.largest_request
        self._capabilities = declare(settings, consistency=options["consistency"], wait=options["wait"])
        self._access = Access.of(settings.version, acls=settings.acls, token=Token(request).given)
        self._watches = Watches(pool, layout, revisions, self._access, wait=options["wait"], most=options["watches"])
        self._native: Any = None
        self._native_lock = Monitor()

    @classmethod
    def open(cls, request: OpenRequest) -> ConsulBackend:
        """Connect and read a key: is there a leader, may the token? Raises as ``BackendPlugin.open`` says."""
        deadline = Deadline(request.timeout)
        options = request.options
        layout = Layout.below(options["root"])
        revisions = Revisions(following=options["consistency"] != "stale")
        pool = Pool(
            request.hosts,
            tls=None if request.tls is None else TlsContext(request.tls),
            token=Token(request),
            dc=options["dc"],
            consistency=options["consistency"],
            on_connect=revisions.history.doubt,
        )
        try:
            _greet(pool, layout, revisions, len(request.hosts), deadline)
            settings = server_settings.ask(pool, timeout=deadline.remaining())
        except BaseException:
            pool.close()
            raise
        return cls(pool, layout, revisions, request, settings)

    @property
    def native(self) -> Any:
        """A ``consul.Consul`` for the same agents with the same token, on this store's connections."""
        with self._native_lock:
            if self._native is None:
                from tenure_consul.native import client  # noqa: PLC0415 - loads python-consul, rarely wanted

                self._native = client(self._pool, self._request)
            return self._native

    @property
    def capabilities(self) -> Capabilities:
        return self._capabilities

    @property
    def history(self) -> str:
        return self._revisions.history.name

    def get(self, key: str, *, timeout: float) -> ReadResult:
        return reads.get(self._pool, self._layout, self._revisions, key, timeout=timeout)

    def list(self, request: ListRequest, *, timeout: float) -> Page:
        if request.revision is not None:
            raise Unsupported(
                "Consul keeps no past states to list (its capabilities declare consistent_pagination=False)"
            )
        return reads.list_page(self._pool, self._layout, self._revisions, self._access, request, timeout=timeout)

    def get_many(self, keys: Sequence[str], *, timeout: float) -> MultiReadResult:
        return reads.get_many(self._pool, self._layout, self._revisions, keys, timeout=timeout)

    def commit(self, transaction: Transaction, *, timeout: float) -> CommitResult:
        return transactions.commit(
            self._pool, self._layout, self._revisions, transaction, most_bytes=self._most_bytes, timeout=timeout
        )

    def delete_prefix(self, prefix: str, *, timeout: float) -> PrefixDeletion:
        return deletions.delete_prefix(
            self._pool,
            self._layout,
            self._revisions,
            self._access,
            prefix,
            most_bytes=self._most_bytes,
            timeout=timeout,
        )

    def grant(self, ttl: float, *, timeout: float) -> LeaseGrant:
        return leases.grant(self._pool, self._layout, ttl, timeout=timeout)

    def refresh(self, lease_ids: Sequence[LeaseId], *, timeout: float) -> dict[LeaseId, float]:
        return leases.refresh(self._pool, lease_ids, timeout=timeout)

    def revoke(self, lease_ids: Sequence[LeaseId], *, timeout: float) -> frozenset[LeaseId]:
        return leases.revoke(self._pool, lease_ids, timeout=timeout)

    def leases(self, lease_id: LeaseId | None, *, timeout: float) -> tuple[LeaseInfo, ...]:
        return leases.describe(self._pool, self._layout, self._access, lease_id, timeout=timeout)

    def watch(self, request: WatchRequest, *, sink: Sink, timeout: float) -> Feed:
        del timeout  # it begins with a snapshot, and connects later
        return self._watches.open(request, sink)

    def server_info(self, *, timeout: float) -> ServerInfo:
        return server_info.describe(
            self._pool,
            self._layout,
            self._revisions,
            encrypted=self._request.tls is not None,
            token=Token(self._request).given,
            consistency=self._request.options["consistency"],
            timeout=timeout,
        )

    def diagnose(self, *, timeout: float) -> tuple[Finding, ...]:
        return diagnosis.examine(self._pool, self._request.hosts, self._request.tls, Deadline(timeout))

    def close(self) -> None:
        if self._pool.close():
            self._watches.close()


def _greet(pool: Pool, layout: Layout, revisions: Revisions, hosts: int, deadline: Deadline) -> None:
    """Read a key from the first agent that answers. One that takes connections and says nothing costs its share."""
    for others in range(hosts - 1, -1, -1):
        try:
            reads.present(pool, layout, revisions, timeout=deadline.remaining() / (others + 1))
        except Unavailable:
            if not others:
                raise
        else:
            return
