"""The store of a registry that has started from its file, until the real one can be reached: every call is refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

from tenure._client.opening import Opening
from tenure._client.store import Store
from tenure.errors import TenureError, Unavailable
from tenure.spi.backend import Backend
from tenure.spi.capabilities import Capabilities
from tenure.spi.feed import Feed, Sink
from tenure.spi.types import (
    CommitResult,
    LeaseGrant,
    LeaseId,
    ListRequest,
    Page,
    ReadResult,
    ServerInfo,
    Transaction,
    WatchRequest,
)

_NONE = Capabilities(
    max_value_bytes=1 << 20,
    max_transaction_operations=1,
    max_transaction_leases=1,
    max_transaction_bytes=1 << 20,
    min_ttl=1.0,
    max_ttl=3600.0,
    ttl_granularity=1.0,
    expiry_factor=1.0,
    expiry_slack=0.0,
    max_watch_latency=1.0,
    max_watch_failure_detection=1.0,
)
"""Nothing is promised, and no limit is ever met: no call gets that far."""


def unreached(opening: Opening) -> Store:
    """Return a store that stands for the one that ``opening`` will open."""
    request = opening.request
    return Store.from_backend(_Unreached(request.url), url=request.url, timeout=request.timeout, clock=request.clock)


class _Unreached(Backend):
    def __init__(self, url: str) -> None:
        self._url = url

    @property
    def capabilities(self) -> Capabilities:
        return _NONE

    @property
    def native(self) -> Any:
        self._refuse("using the client library")

    def get(self, key: str, *, timeout: float) -> ReadResult:
        self._refuse("reading a key")

    def list(self, request: ListRequest, *, timeout: float) -> Page:
        self._refuse("listing keys")

    def commit(self, transaction: Transaction, *, timeout: float) -> CommitResult:
        self._refuse("committing")

    def grant(self, ttl: float, *, timeout: float) -> LeaseGrant:
        self._refuse("granting a lease")

    def refresh(self, lease_ids: Sequence[LeaseId], *, timeout: float) -> dict[LeaseId, float]:
        self._refuse("refreshing leases")

    def revoke(self, lease_ids: Sequence[LeaseId], *, timeout: float) -> frozenset[LeaseId]:
        self._refuse("revoking leases")

    def watch(self, request: WatchRequest, *, sink: Sink, timeout: float) -> Feed:
        self._refuse("watching")

    def server_info(self, *, timeout: float) -> ServerInfo:
        self._refuse("asking the server")

    def close(self) -> None:
        """Nothing is open."""

    def _refuse(self, action: str) -> NoReturn:
        error: TenureError = Unavailable(
            f"{action}: {self._url} has not been reached since the start; the registry keeps trying and serves what it "
            "knew, try again later"
        )
        raise error
