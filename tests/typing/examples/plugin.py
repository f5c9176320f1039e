"""A plugin, as its author writes it: leaving out a method or answering the wrong thing is found before it runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import reveal_type

from tenure.errors import Unavailable
from tenure.hookspecs import hookimpl
from tenure.spi import (
    Backend,
    BackendPlugin,
    Capabilities,
    CommitResult,
    Feed,
    LeaseGrant,
    ListRequest,
    OpenRequest,
    Option,
    Page,
    PollingFeed,
    ReadResult,
    ServerInfo,
    Sink,
    Snapshot,
    Transaction,
    UrlForm,
    WatchRequest,
)


class Nowhere(Backend):
    @property
    def capabilities(self) -> Capabilities:
        raise Unavailable("nothing is here")

    def get(self, key: str, *, timeout: float) -> ReadResult:
        return ReadResult(None, 0)

    def list(self, request: ListRequest, *, timeout: float) -> Page:
        return Page((), False, 0)

    def commit(self, transaction: Transaction, *, timeout: float) -> CommitResult:
        for precondition in transaction.preconditions:
            reveal_type(precondition.key)  # reveals: str
        return CommitResult(1)

    def grant(self, ttl: float, *, timeout: float) -> LeaseGrant:
        return LeaseGrant("1", ttl)

    def refresh(self, lease_ids: Sequence[str], *, timeout: float) -> dict[str, float]:
        return {}

    def revoke(self, lease_ids: Sequence[str], *, timeout: float) -> frozenset[str]:
        return frozenset()

    def watch(self, request: WatchRequest, *, sink: Sink, timeout: float) -> Feed:
        return PollingFeed(lambda: Snapshot((), 0), sink, interval=1, name="nowhere")

    def server_info(self, *, timeout: float) -> ServerInfo:
        return ServerInfo("nothing", "0", 0)

    def close(self) -> None: ...


class Forgetful(Nowhere):
    def get(self, key: str, *, timeout: float) -> bytes:  # error: override
        return b""


class Unfinished(Backend):
    def close(self) -> None: ...


def open_nowhere(request: OpenRequest) -> Backend:
    reveal_type(request.hosts[0].port)  # reveals: int
    return Nowhere()


Unfinished()  # error: abstract
option = Option("speed", int, 1, "how fast", minimum=0)


@hookimpl
def tenure_backend() -> BackendPlugin:
    return BackendPlugin(
        scheme="nowhere", summary="", open=open_nowhere, url_form=UrlForm.NAME, spi_version=1, options=(option,)
    )
