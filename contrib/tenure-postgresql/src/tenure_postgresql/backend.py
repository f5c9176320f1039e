"""The ten methods of the SPI, each handed to the module that does it, and how a store is opened."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

import psycopg

from tenure.errors import StoreClosed, Unavailable, Unsupported
from tenure.spi import (
    Backend,
    Capabilities,
    CommitResult,
    Feed,
    LeaseGrant,
    LeaseId,
    LeaseInfo,
    OpenRequest,
    Page,
    ReadResult,
    ServerInfo,
    Sink,
    Transaction,
)
from tenure_postgresql import leases, reads, schema, server_settings, transactions
from tenure_postgresql.cluster_identity import Home
from tenure_postgresql.context import Store
from tenure_postgresql.endpoints import Servers
from tenure_postgresql.lease_reaper import Minder
from tenure_postgresql.pool import Pool
from tenure_postgresql.queries import Statements
from tenure_postgresql.watch import Watches

_NATIVE_TIMEOUT = 5  # seconds to connect for the object that applications may have


class PostgresqlBackend(Backend):
    """One store in an opened PostgreSQL."""

    def __init__(self, store: Store, request: OpenRequest, capabilities: Capabilities) -> None:
        self._store = store
        self._capabilities = capabilities
        self._watches = Watches(store, poll=request.options["poll"], silence=request.options["silence"])
        self._minder = Minder(store)
        self._native: psycopg.Connection[Any] | None = None
        self._native_lock = threading.Lock()

    @classmethod
    def open(cls, request: OpenRequest) -> PostgresqlBackend:
        """Connect, make the store if it isn't there, and see that it can be used."""
        until = time.monotonic() + request.timeout
        name = schema.Schema.of(request.options["schema"])
        servers = Servers(request)
        pool = Pool(servers, connections=request.options["connections"])
        store = Store(pool, Statements(name), request.options["history"])
        try:
            schema.prepare(pool, name, until=until)
            pool.missing = Home(pool, name, until=until).missing
            found = server_settings.ask(store, timeout=max(until - time.monotonic(), 0.001))
        except BaseException:
            pool.close()
            raise
        options = request.options
        declared = server_settings.declare(
            found, failover=servers.several, poll=options["poll"], silence=options["silence"]
        )
        return cls(store, request, declared)

    @property
    def native(self) -> psycopg.Connection[Any]:
        """A ``psycopg.Connection`` of its own in autocommit mode, made when first asked for and closed with the store.

        The store's tables are under the schema's name. Its calls have no deadlines but those of psycopg.
        """
        with self._native_lock:
            if self._store.pool.closed:
                raise StoreClosed("this store was closed")
            if self._native is None or self._native.closed:
                try:
                    self._native = psycopg.connect(
                        self._store.pool.servers.conninfo, autocommit=True, connect_timeout=_NATIVE_TIMEOUT
                    )
                except psycopg.Error as exc:
                    raise Unavailable(f"can't connect to PostgreSQL at {self._store.pool.servers.where}") from exc
            return self._native

    @property
    def capabilities(self) -> Capabilities:
        return self._capabilities

    def get(self, key: str, *, timeout: float) -> ReadResult:
        return reads.get(self._store, key, timeout=timeout)

    def list(self, prefix: str, *, after: str | None, limit: int | None, revision: int | None, timeout: float) -> Page:
        if revision is not None:
            raise Unsupported(
                "PostgreSQL keeps no past states to list: its capabilities declare consistent_pagination=False"
            )
        return reads.list_page(self._store, prefix, after=after, limit=limit, timeout=timeout)

    def commit(self, transaction: Transaction, *, timeout: float) -> CommitResult:
        return transactions.commit(self._store, transaction, timeout=timeout)

    def grant(self, ttl: float, *, timeout: float) -> LeaseGrant:
        given = leases.grant(self._store, ttl, timeout=timeout)
        self._minder.granted(given.ttl)
        return given

    def refresh(self, lease_ids: Sequence[LeaseId], *, timeout: float) -> dict[LeaseId, float]:
        return leases.refresh(self._store, lease_ids, timeout=timeout)

    def revoke(self, lease_ids: Sequence[LeaseId], *, timeout: float) -> frozenset[LeaseId]:
        return leases.revoke(self._store, lease_ids, timeout=timeout)

    def leases(self, lease_id: LeaseId | None, *, timeout: float) -> tuple[LeaseInfo, ...]:
        return leases.describe(self._store, lease_id, timeout=timeout)

    def watch(self, prefix: str, *, after: int | None, sink: Sink, timeout: float) -> Feed:
        return self._watches.open(prefix, after=after, sink=sink, timeout=timeout)

    def server_info(self, *, timeout: float) -> ServerInfo:
        return server_settings.describe(self._store, timeout=timeout)

    def close(self) -> None:
        if not self._store.pool.close():
            return
        self._watches.close()
        self._minder.close()
        with self._native_lock:
            if self._native is not None:
                self._native.close()
