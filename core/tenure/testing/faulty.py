"""The layer that injects faults: a backend around a backend, which consults the plan before each call.

Without a planned fault it changes nothing: the conformance suite checks it against the guarantees of the inner store.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from contextlib import suppress

from tenure._runtime.clock import Clock
from tenure._runtime.monitor import Monitor
from tenure.errors import OutcomeUnknown, StoreClosed, TenureError
from tenure.spi import (
    Backend,
    Capabilities,
    CommitResult,
    Feed,
    FeedItem,
    Finding,
    LeaseGrant,
    LeaseId,
    LeaseInfo,
    ListRequest,
    MultiReadResult,
    Page,
    ReadResult,
    ServerInfo,
    Sink,
    Transaction,
    WatchRequest,
)
from tenure.testing.plan import Plan


class FaultyBackend(Backend):
    """Passes calls to ``inner`` if ``plan`` lets them. Closing it closes ``inner``."""

    def __init__(self, inner: Backend, plan: Plan) -> None:
        self._inner = inner
        self._plan = plan
        self._closed = False
        self._feeds: set[FaultyFeed] = set()

    @property
    def capabilities(self) -> Capabilities:
        # Every write is a commit here, so that a test can lose the answer of any of them.
        return dataclasses.replace(self._inner.capabilities, prefix_delete=False)

    @property
    def native(self) -> object:
        return self._inner.native

    @property
    def clock(self) -> Clock:
        return self._plan.clock

    @property
    def history(self) -> str:
        return self._inner.history

    def get(self, key: str, *, timeout: float) -> ReadResult:
        self._admit("get", timeout)
        return self._inner.get(key, timeout=timeout)

    def list(self, request: ListRequest, *, timeout: float) -> Page:
        self._admit("list", timeout)
        return self._inner.list(request, timeout=timeout)

    def get_many(self, keys: Sequence[str], *, timeout: float) -> MultiReadResult:
        self._admit("get", timeout)
        return self._inner.get_many(keys, timeout=timeout)

    def commit(self, transaction: Transaction, *, timeout: float) -> CommitResult:
        self._admit("commit", timeout)
        lost = self._plan.next_lost()
        if lost is None:
            return self._inner.commit(transaction, timeout=timeout)
        if lost.applied:
            with suppress(TenureError):  # an error gets lost on the way just as an answer does
                self._inner.commit(transaction, timeout=timeout)
        else:
            lost.hold(lambda: self._inner.commit(transaction, timeout=timeout))
        raise OutcomeUnknown("the answer to this write was lost, as scripted by the test")

    def grant(self, ttl: float, *, timeout: float) -> LeaseGrant:
        self._admit("grant", timeout)
        return self._inner.grant(ttl, timeout=timeout)

    def refresh(self, lease_ids: Sequence[LeaseId], *, timeout: float) -> dict[LeaseId, float]:
        self._admit("refresh", timeout)
        return self._inner.refresh(lease_ids, timeout=timeout)

    def revoke(self, lease_ids: Sequence[LeaseId], *, timeout: float) -> frozenset[LeaseId]:
        self._admit("revoke", timeout)
        return self._inner.revoke(lease_ids, timeout=timeout)

    def leases(self, lease_id: LeaseId | None, *, timeout: float) -> tuple[LeaseInfo, ...]:
        self._admit("leases", timeout)
        return self._inner.leases(lease_id, timeout=timeout)

    def watch(self, request: WatchRequest, *, sink: Sink, timeout: float) -> Feed:
        self._admit("watch", timeout)
        feed = FaultyFeed(self, self._plan, sink)
        self._feeds.add(feed)
        self._plan.join(feed)
        try:
            feed.begin(self._inner.watch(request, sink=feed, timeout=timeout))
        except BaseException:
            feed.close()
            raise
        return feed

    def server_info(self, *, timeout: float) -> ServerInfo:
        self._admit("server_info", timeout)
        return self._inner.server_info(timeout=timeout)

    def diagnose(self, *, timeout: float) -> tuple[Finding, ...]:
        self._admit("diagnose", timeout)
        return self._inner.diagnose(timeout=timeout)

    def close(self) -> None:
        self._closed = True
        for feed in list(self._feeds):
            feed.close()
        self._inner.close()

    def forget(self, feed: FaultyFeed) -> None:
        """Drop a feed that has ended."""
        self._feeds.discard(feed)
        self._plan.leave(feed)

    def _admit(self, operation: str, timeout: float) -> None:
        if self._closed:
            raise StoreClosed("using the sandbox: this connection is closed; open another one")
        self._plan.admit(operation, timeout)


class FaultyFeed(Feed):
    """Stands between the inner feed, as its sink, and core's sink. Holds back items while the store hangs."""

    def __init__(self, backend: FaultyBackend, plan: Plan, sink: Sink) -> None:
        self._backend = backend
        self._plan = plan
        self._sink = sink
        # Held during calls of core's sink, which never block; never during calls of the inner store.
        self._lock = Monitor()
        self._held: list[FeedItem | TenureError] = []
        self._inner: Feed | None = None
        self._ended = False

    # -- as the inner feed's sink --

    def deliver(self, item: FeedItem, /) -> None:
        self._pass(item)

    def fail(self, error: TenureError, /) -> None:
        self._pass(error)

    def _pass(self, item: FeedItem | TenureError) -> None:
        with self._lock:
            if self._plan.frozen or self._held:
                self._held.append(item)
            else:
                self._hand_on(item)

    def _hand_on(self, item: FeedItem | TenureError) -> None:
        if self._ended:
            return
        if isinstance(item, TenureError):
            self._ended = True
            self._sink.fail(item)
        else:
            self._sink.deliver(item)

    # -- for the plan --

    def release(self) -> None:
        """Hand on the items that were held back, when the store answers again."""
        with self._lock:
            held, self._held = self._held, []
            for item in held:
                self._hand_on(item)

    def cut(self, error: TenureError) -> None:
        """End the feed by ``error``; the items held back are lost with the connection."""
        with self._lock:
            self._held.clear()
            self._hand_on(error)
        self._end()

    # -- as a feed --

    def begin(self, inner: Feed) -> None:
        """Record the inner feed, which may have delivered items already."""
        with self._lock:
            self._inner = inner
            ended = self._ended
        if ended:
            self._end()

    def close(self) -> None:
        with self._lock:
            self._ended = True
        self._end()

    def _end(self) -> None:
        self._backend.forget(self)
        inner = self._inner
        if inner is not None:
            inner.close()
