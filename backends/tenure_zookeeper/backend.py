"""The ten methods of the SPI, each handed to the module that does it, and how a store is opened."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tenure.errors import Unsupported
from tenure.plugin_kit import Deadline, ProgressDeadline
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
    ReadResult,
    ServerInfo,
    Transaction,
    WatchRequest,
)
from tenure_zookeeper import diagnosis, reads, server_info, transactions
from tenure_zookeeper.capabilities import declare
from tenure_zookeeper.connection import Connection
from tenure_zookeeper.feed import POLL_INTERVAL
from tenure_zookeeper.leases import Leases
from tenure_zookeeper.session import Session, ask
from tenure_zookeeper.watch import Watches

_SHORTEST, _LONGEST = 0.001, 2_000_000.0
"""Session timeouts in seconds, beyond what any server allows: it answers what it does allow."""


class ZooKeeperBackend(Backend):
    """One opened ZooKeeper."""

    def __init__(self, connection: Connection, capabilities: Capabilities) -> None:
        self._connection = connection
        self._capabilities = capabilities
        self._watches = Watches(connection)
        self._leases = Leases(connection)

    @classmethod
    def open(cls, request: OpenRequest) -> ZooKeeperBackend:
        """Connect, learn what the servers can and allow, and see a read answered."""
        deadline = Deadline(request.timeout)
        connection = Connection(request)
        try:
            shortest = _allowed(connection, _SHORTEST, deadline)
            longest = _allowed(connection, _LONGEST, deadline)
            wanted = min(max(request.options["session_timeout"], shortest), longest)
            connection.start(session_timeout=wanted, timeout=deadline.remaining())
            said = ask(connection.endpoints, "srvr", deadline)
            version = server_info.parse_version(said)
            connection.modern = not version or version >= server_info.MODERN
            connection.ensemble = server_info.is_ensemble(connection, said, deadline=deadline)
            connection.native.alone = not connection.ensemble
            reads.get(connection, "tenure", deadline=deadline)
        except BaseException:
            connection.close()
            raise
        capabilities = declare(
            may_lag=connection.may_lag,
            max_packet_bytes=connection.max_packet,
            min_ttl=shortest,
            max_ttl=longest,
            session_timeout=wanted,
            polling=None if connection.modern else POLL_INTERVAL,
        )
        return cls(connection, capabilities)

    @property
    def capabilities(self) -> Capabilities:
        return self._capabilities

    @property
    def native(self) -> Any:
        """The started ``kazoo.client.KazooClient`` of this store; it closes with the store. kazoo has no deadlines."""
        return self._connection.native

    @property
    def history(self) -> str:
        return self._connection.history.name

    def get(self, key: str, *, timeout: float) -> ReadResult:
        return reads.get(self._connection, key, deadline=Deadline(timeout))

    def list(self, request: ListRequest, *, timeout: float) -> Page:
        if request.revision is not None:
            raise Unsupported(
                "ZooKeeper keeps no past states to list (its capabilities declare consistent_pagination=False)"
            )
        deadline = ProgressDeadline.of_request(timeout, request.patience)
        return reads.list_page(self._connection, request, deadline=deadline)

    def get_many(self, keys: Sequence[str], *, timeout: float) -> MultiReadResult:
        if not self._capabilities.multi_get:
            return super().get_many(keys, timeout=timeout)
        return reads.get_many(self._connection, keys, deadline=Deadline(timeout))

    def commit(self, transaction: Transaction, *, timeout: float) -> CommitResult:
        deadline = Deadline(timeout)
        return transactions.commit(
            self._connection, lambda lease_id: self._leases.sender(lease_id, deadline), transaction, deadline=deadline
        )

    def grant(self, ttl: float, *, timeout: float) -> LeaseGrant:
        return self._leases.grant(ttl, deadline=Deadline(timeout))

    def refresh(self, lease_ids: Sequence[LeaseId], *, timeout: float) -> dict[LeaseId, float]:
        return self._leases.refresh(lease_ids, deadline=Deadline(timeout))

    def revoke(self, lease_ids: Sequence[LeaseId], *, timeout: float) -> frozenset[LeaseId]:
        return self._leases.revoke(lease_ids, deadline=Deadline(timeout))

    def leases(self, lease_id: LeaseId | None, *, timeout: float) -> tuple[LeaseInfo, ...]:
        return self._leases.describe(lease_id, deadline=Deadline(timeout))

    def watch(self, request: WatchRequest, *, sink: Sink, timeout: float) -> Feed:
        deadline = ProgressDeadline.of_request(timeout, request.patience)
        return self._watches.open(request, sink=sink, deadline=deadline)

    def server_info(self, *, timeout: float) -> ServerInfo:
        return server_info.describe(self._connection, deadline=Deadline(timeout))

    def diagnose(self, *, timeout: float) -> tuple[Finding, ...]:
        endpoints, deadline = self._connection.endpoints, Deadline(timeout)
        server = server_info.describe(self._connection, deadline=deadline)
        return diagnosis.examine(self._connection, server, endpoints.hosts, endpoints.tls, deadline)

    def close(self) -> None:
        self._watches.end()
        self._connection.close()
        self._watches.close()
        self._leases.close()


def _allowed(connection: Connection, timeout: float, deadline: Deadline) -> float:
    """The session timeout that the server makes of this one."""
    session = Session(connection.endpoints, connection.logins)
    session.attach(timeout, deadline)
    session.close(deadline)
    return session.timeout
