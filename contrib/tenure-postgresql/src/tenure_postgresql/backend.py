"""The methods of the SPI, each handed to the module that does it, and how a store is opened."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import psycopg

from tenure.errors import StoreClosed, Unavailable, Unsupported
from tenure.plugin_kit import Deadline, Monitor
from tenure.spi import (
    Backend,
    Capabilities,
    CommitResult,
    Feed,
    Finding,
    LeaseGrant,
    LeaseId,
    LeaseInfo,
    ListRequest,
    MultiReadResult,
    OpenRequest,
    Page,
    PrefixDeletion,
    ReadResult,
    ServerInfo,
    Sink,
    Transaction,
    WatchRequest,
)
from tenure_postgresql import diagnosis, leases, reads, schema, server_info, server_settings, session, transactions
from tenure_postgresql.capabilities import declare
from tenure_postgresql.cluster_identity import ClusterIdentity
from tenure_postgresql.context import BackendContext
from tenure_postgresql.endpoints import PrimaryFinder
from tenure_postgresql.lease_reaper import LeaseReaper
from tenure_postgresql.pool import Pool
from tenure_postgresql.queries import Statements
from tenure_postgresql.watch import Watches

_NATIVE_TIMEOUT = 5  # seconds to connect for the object that applications may have


class PostgresqlBackend(Backend):
    """One store in an opened PostgreSQL."""

    def __init__(self, context: BackendContext, request: OpenRequest, capabilities: Capabilities) -> None:
        self._context = context
        self._capabilities = capabilities
        self._hosts = request.hosts
        self._tls = request.tls
        self._watches = Watches(context, poll=request.options["poll"], silence=request.options["silence"])
        self._lease_reaper = LeaseReaper(context)
        self._native: psycopg.Connection[Any] | None = None
        self._native_lock = Monitor()

    @classmethod
    def open(cls, request: OpenRequest) -> PostgresqlBackend:
        """Connect, make the store if it isn't there, and see that it can be used."""
        deadline = Deadline(request.timeout)
        name = schema.Schema.of(request.options["schema"])
        endpoints = PrimaryFinder(request)
        pool = Pool(endpoints, connections=request.options["connections"])
        context = BackendContext(pool, Statements(name), request.options["history"])
        try:
            with pool.asking(deadline, "connecting") as connection:
                session.require_own(
                    connection, lambda: endpoints.connect(deadline, given_up=lambda: pool.closed), deadline
                )
            schema.prepare(pool, name, deadline=deadline)
            pool.missing = ClusterIdentity(pool, name, deadline=deadline).missing
            settings = server_settings.ask(context, timeout=deadline.remaining())
        except BaseException:
            pool.close()
            raise
        options = request.options
        declared = declare(settings, failover=endpoints.several, poll=options["poll"], silence=options["silence"])
        return cls(context, request, declared)

    @property
    def native(self) -> psycopg.Connection[Any]:
        """A ``psycopg.Connection`` of its own in autocommit mode, made when first asked for and closed with the store.

        The store's tables are under the schema's name. Its calls have no deadlines but those of psycopg.
        """
        with self._native_lock:
            if self._context.pool.closed:
                raise StoreClosed("this store was closed")
            if self._native is None or self._native.closed:
                try:
                    self._native = psycopg.connect(
                        self._context.pool.endpoints.conninfo, autocommit=True, connect_timeout=_NATIVE_TIMEOUT
                    )
                except psycopg.Error as exc:
                    raise Unavailable(f"can't connect to PostgreSQL at {self._context.pool.endpoints.where}") from exc
            return self._native

    @property
    def capabilities(self) -> Capabilities:
        return self._capabilities

    def get(self, key: str, *, timeout: float) -> ReadResult:
        return reads.get(self._context, key, timeout=timeout)

    def list(self, request: ListRequest, *, timeout: float) -> Page:
        if request.revision is not None:
            raise Unsupported(
                "PostgreSQL keeps no past states to list: its capabilities declare consistent_pagination=False"
            )
        return reads.list_page(self._context, request, timeout=timeout)

    def get_many(self, keys: Sequence[str], *, timeout: float) -> MultiReadResult:
        return reads.get_many(self._context, keys, timeout=timeout)

    def commit(self, transaction: Transaction, *, timeout: float) -> CommitResult:
        return transactions.commit(self._context, transaction, timeout=timeout)

    def delete_prefix(self, prefix: str, *, timeout: float) -> PrefixDeletion:
        return transactions.delete_prefix(self._context, prefix, timeout=timeout)

    def grant(self, ttl: float, *, timeout: float) -> LeaseGrant:
        given = leases.grant(self._context, ttl, timeout=timeout)
        self._lease_reaper.granted(given.ttl)
        return given

    def refresh(self, lease_ids: Sequence[LeaseId], *, timeout: float) -> dict[LeaseId, float]:
        return leases.refresh(self._context, lease_ids, timeout=timeout)

    def revoke(self, lease_ids: Sequence[LeaseId], *, timeout: float) -> frozenset[LeaseId]:
        return leases.revoke(self._context, lease_ids, timeout=timeout)

    def leases(self, lease_id: LeaseId | None, *, timeout: float) -> tuple[LeaseInfo, ...]:
        return leases.describe(self._context, lease_id, timeout=timeout)

    def watch(self, request: WatchRequest, *, sink: Sink, timeout: float) -> Feed:
        return self._watches.open(request, sink=sink, timeout=timeout)

    def server_info(self, *, timeout: float) -> ServerInfo:
        return server_info.describe(self._context, timeout=timeout)

    def diagnose(self, *, timeout: float) -> tuple[Finding, ...]:
        warnings = server_info.describe(self._context, timeout=timeout).warnings
        return diagnosis.examine(self._context, self._hosts, self._tls, warnings, timeout=timeout)

    def close(self) -> None:
        if not self._context.pool.close():
            return
        self._watches.close()
        self._lease_reaper.close()
        with self._native_lock:
            if self._native is not None:
                self._native.close()
