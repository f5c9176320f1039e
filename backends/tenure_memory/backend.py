"""The ten methods of the SPI on a :class:`MemoryServer`. Calls don't wait for anything, so timeouts never run out."""

from __future__ import annotations

from collections.abc import Sequence

from tenure.errors import StoreClosed
from tenure.plugin_kit import Deadline
from tenure.spi import (
    Backend,
    Capabilities,
    Clock,
    CommitResult,
    Feed,
    LeaseGrant,
    LeaseId,
    LeaseInfo,
    ListRequest,
    MultiReadResult,
    Page,
    PrefixDeletion,
    ReadResult,
    ServerInfo,
    Sink,
    Transaction,
    WatchRequest,
)
from tenure_memory.capabilities import CAPABILITIES, effective_ttl
from tenure_memory.server import MemoryServer


class MemoryBackend(Backend):
    """One opener of a server. Closing it leaves the server's data to the other and the next openers."""

    def __init__(self, server: MemoryServer, *, clock: Clock, history: int | None) -> None:
        self._server = server
        self._closed = False
        server.attach(self, clock=clock, history=history)

    @property
    def capabilities(self) -> Capabilities:
        return CAPABILITIES

    @property
    def immediate(self) -> bool:
        return True

    def get(self, key: str, *, timeout: float) -> ReadResult:
        return self._open().get(key)

    def list(
        self,
        request: ListRequest,
        *,
        timeout: float,
    ) -> Page:
        return self._open().page(
            request.prefix,
            after=request.after,
            limit=request.limit,
            revision=request.revision,
            deadline=Deadline(timeout),
        )

    def commit(self, transaction: Transaction, *, timeout: float) -> CommitResult:
        return self._open().commit(transaction)

    def get_many(self, keys: Sequence[str], *, timeout: float) -> MultiReadResult:
        return self._open().get_many(keys)

    def delete_prefix(self, prefix: str, *, timeout: float) -> PrefixDeletion:
        return self._open().delete_prefix(prefix)

    def grant(self, ttl: float, *, timeout: float) -> LeaseGrant:
        return self._open().grant(effective_ttl(ttl))

    def refresh(self, lease_ids: Sequence[LeaseId], *, timeout: float) -> dict[LeaseId, float]:
        return self._open().refresh(lease_ids)

    def revoke(self, lease_ids: Sequence[LeaseId], *, timeout: float) -> frozenset[LeaseId]:
        return self._open().revoke(lease_ids)

    def leases(self, lease_id: LeaseId | None, *, timeout: float) -> tuple[LeaseInfo, ...]:
        return self._open().leases(lease_id)

    def watch(self, request: WatchRequest, *, sink: Sink, timeout: float) -> Feed:
        return self._open().watch(self, request, sink=sink)

    def server_info(self, *, timeout: float) -> ServerInfo:
        return self._open().info()

    def close(self) -> None:
        self._closed = True
        self._server.detach(self)

    def _open(self) -> MemoryServer:
        if self._closed:
            raise StoreClosed(f"this connection to memory://{self._server.name} was closed")
        return self._server
