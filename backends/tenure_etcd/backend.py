"""The methods of the SPI, each handed to the module that does it, and how a store is opened."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

from tenure.errors import DeadlineExceeded, PermissionDenied, Unsupported
from tenure.plugin_kit import monotonic
from tenure.spi.backend import Backend
from tenure.spi.capabilities import Capabilities
from tenure.spi.diagnosis import Finding
from tenure.spi.feed import Feed, Sink
from tenure.spi.keys import namespace_prefix
from tenure.spi.plugin import OpenRequest, Tls
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
from tenure_etcd import diagnosis, leases, reads, server_info, transactions
from tenure_etcd.capabilities import declare
from tenure_etcd.connection import Connection
from tenure_etcd.relay import Relay
from tenure_etcd.watch import Watches


class EtcdBackend(Backend):
    """One opened etcd cluster."""

    def __init__(
        self, connection: Connection, capabilities: Capabilities, relay: Relay, *, tls: Tls | None, prefix: str
    ) -> None:
        self._connection = connection
        self._capabilities = capabilities
        self._tls, self._prefix = tls, prefix
        self._watches = Watches(connection)
        self._run = relay.run

    @classmethod
    def open(cls, request: OpenRequest) -> EtcdBackend:
        """Connect, log in, and see a linearizable read answered. Raises as ``BackendPlugin.open`` says."""
        relay = Relay("tenure-etcd")
        return relay.run(lambda: cls._open(request, relay), lambda backend: backend.close())

    @classmethod
    def _open(cls, request: OpenRequest, relay: Relay) -> EtcdBackend:
        until = monotonic() + request.timeout
        connection = Connection(request)
        try:
            _greet(connection, until)
        except BaseException:
            connection.shut()
            connection.close()
            raise
        return cls(
            connection,
            declare(request.options),
            relay,
            tls=request.tls,
            prefix=namespace_prefix(request.namespace),
        )

    @property
    def native(self) -> Any:
        """The ``etcd3.Etcd3Client`` of the member in use, logged in; for what Tenure doesn't offer.

        It knows that member alone: ask again after an error. It closes with the store. etcd3 has no deadline unless its
        ``timeout`` is set, and its watches and locks have bugs that Tenure's don't.
        """
        return self._connection.native

    @property
    def capabilities(self) -> Capabilities:
        return self._capabilities

    @property
    def history(self) -> str:
        return self._connection.history.name

    def get(self, key: str, *, timeout: float) -> ReadResult:
        return self._run(lambda: reads.get(self._connection, key, timeout=timeout))

    def list(self, request: ListRequest, *, timeout: float) -> Page:
        return self._run(lambda: reads.list_page(self._connection, request, timeout=timeout))

    def get_many(self, keys: Sequence[str], *, timeout: float) -> MultiReadResult:
        return self._run(lambda: reads.get_many(self._connection, keys, timeout=timeout))

    def commit(self, transaction: Transaction, *, timeout: float) -> CommitResult:
        return self._run(lambda: transactions.commit(self._connection, transaction, timeout=timeout))

    def delete_prefix(self, prefix: str, *, timeout: float) -> PrefixDeletion:
        return self._run(lambda: transactions.delete_prefix(self._connection, prefix, timeout=timeout))

    def grant(self, ttl: float, *, timeout: float) -> LeaseGrant:
        return self._run(lambda: leases.grant(self._connection, ttl, timeout=timeout))

    def refresh(self, lease_ids: Sequence[LeaseId], *, timeout: float) -> dict[LeaseId, float]:
        return self._run(lambda: leases.refresh(self._connection, lease_ids, timeout=timeout))

    def revoke(self, lease_ids: Sequence[LeaseId], *, timeout: float) -> frozenset[LeaseId]:
        return self._run(lambda: leases.revoke(self._connection, lease_ids, timeout=timeout))

    def leases(self, lease_id: LeaseId | None, *, timeout: float) -> tuple[LeaseInfo, ...]:
        return self._run(lambda: leases.describe(self._connection, lease_id, timeout=timeout))

    def watch(self, request: WatchRequest, *, sink: Sink, timeout: float) -> Feed:
        return self._run(lambda: self._watches.open(request, sink=sink, timeout=timeout), lambda feed: feed.close())

    def server_info(self, *, timeout: float) -> ServerInfo:
        return self._run(
            lambda: server_info.describe(self._connection, encrypted=self._tls is not None, timeout=timeout)
        )

    def diagnose(self, *, timeout: float) -> tuple[Finding, ...]:
        def examine() -> tuple[Finding, ...]:
            server = server_info.describe(self._connection, encrypted=self._tls is not None, timeout=timeout)
            return diagnosis.examine(self._connection, server, self._prefix, self._tls, timeout=timeout)

        return self._run(examine)

    def close(self) -> None:
        if not self._connection.forked:
            self._run(self._close)

    def _close(self) -> None:
        if self._connection.shut():
            self._watches.close()
            self._connection.close()


def _greet(connection: Connection, until: float) -> None:
    """First contact: credentials, version, quorum."""
    try:
        if connection.user is not None:
            connection.renew(timeout=_left(until))
        member = connection.connected(_left(until), "connecting")
        index = server_info.introduce(connection, member, timeout=_left(until))
        # A user without rights on this key has logged in all right; which keys it may use shows later.
        with contextlib.suppress(PermissionDenied):
            moment = reads.read_moment(connection, "", timeout=_left(until))
            if index is not None:
                connection.history.learn_surplus(index - moment.revision, moment.generation)
    except DeadlineExceeded as exc:
        raise DeadlineExceeded(
            f"{exc}: check the address and port, the network and firewalls, and whether etcd has a leader there"
        ) from exc
    version = member.version
    if version and not server_info.supported(version):
        raise Unsupported(f"etcd {'.'.join(map(str, version))} is too old: 3.4 or later is needed")


def _left(until: float) -> float:
    return max(until - monotonic(), 0.001)
