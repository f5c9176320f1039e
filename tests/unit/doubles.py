"""A backend that answers what a test tells it to, and feeds that a test drives by hand."""

from __future__ import annotations

import dataclasses
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tenure.errors import TenureError
from tenure.spi import (
    Backend,
    Capabilities,
    CommitResult,
    Feed,
    FeedItem,
    KeyValue,
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
from tenure_testkit.waiting import PATIENCE

CAPABILITIES = Capabilities(
    durable=False,
    linearizable=True,
    multi_process=False,
    consistent_list=True,
    consistent_pagination=True,
    lossless_watch=True,
    list_leases=True,
    max_value_bytes=1000,
    max_transaction_operations=10,
    max_transaction_leases=10,
    max_transaction_bytes=2000,
    min_ttl=0.05,
    max_ttl=1000.0,
    ttl_granularity=0.0,
    expiry_factor=1.0,
    expiry_slack=0.5,
    max_watch_latency=0.1,
    max_watch_failure_detection=0.1,
)


def item(key: str, revision: int, value: bytes = b"", created: int | None = None) -> KeyValue:
    """A key as a store would answer it."""
    return KeyValue(key, value, revision if created is None else created, revision)


@dataclass
class Call:
    """One call that reached the backend."""

    method: str
    arguments: dict[str, Any]
    timeout: float


@dataclass(eq=False)
class DrivenFeed(Feed):
    """A feed whose items the test delivers."""

    request: WatchRequest
    sink: Sink
    closed: threading.Event = field(default_factory=threading.Event)

    @property
    def prefix(self) -> str:
        return self.request.prefix

    @property
    def after(self) -> int | None:
        return self.request.after

    def deliver(self, *items: FeedItem) -> None:
        for each in items:
            self.sink.deliver(each)

    def fail(self, error: TenureError) -> None:
        self.sink.fail(error)

    def close(self) -> None:
        self.closed.set()


class ScriptedBackend(Backend):
    """Each method takes the next answer that :meth:`script` queued for it, else a harmless one.

    An answer is a value, an exception to raise, or a function of the keyword arguments (``timeout`` among them).
    Every call is recorded before it is answered.
    """

    def __init__(self, **capabilities: Any) -> None:
        self._capabilities = dataclasses.replace(CAPABILITIES, **capabilities)
        self._answers: dict[str, deque[Any]] = defaultdict(deque)
        self._always: dict[str, Any] = {}
        self._changed = threading.Condition()
        self._ttls: dict[LeaseId, float] = {}
        self.calls: list[Call] = []
        self.feeds: list[DrivenFeed] = []
        self.closed = False
        self.present_history = ""

    # -- for tests --

    def script(self, method: str, *answers: Any) -> None:
        """Queue answers, one per call."""
        self._answers[method].extend(answers)

    def always(self, method: str, answer: Any) -> None:
        """The answer to every call for which none is queued."""
        self._always[method] = answer

    def count(self, method: str) -> int:
        return len(self.called(method))

    def called(self, method: str) -> list[Call]:
        with self._changed:
            return [call for call in self.calls if call.method == method]

    def wait_for_calls(self, method: str, number: int, timeout: float = PATIENCE) -> None:
        with self._changed:
            seen = self._changed.wait_for(lambda: sum(c.method == method for c in self.calls) >= number, timeout)
        assert seen, f"{method} was called {self.count(method)} times, not {number}"

    def feed(self, number: int, timeout: float = PATIENCE) -> DrivenFeed:
        """The feed opened as the ``number``-th (from 0), once it is there."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.feeds) > number, timeout), f"only {len(self.feeds)} feeds"
            return self.feeds[number]

    def kept(self, lease_ids: Sequence[LeaseId]) -> dict[LeaseId, float]:
        """The answer of a refresh that found them all alive."""
        return {lease_id: self._ttls[lease_id] for lease_id in lease_ids}

    def _answer(self, method: str, default: Callable[[], Any], *, timeout: float, **arguments: Any) -> Any:
        with self._changed:
            self.calls.append(Call(method, arguments, timeout))
            queue = self._answers[method]
            answer = queue.popleft() if queue else self._always.get(method, default)
            self._changed.notify_all()
        if answer is default:
            return default()
        if isinstance(answer, BaseException):
            raise answer
        return answer(timeout=timeout, **arguments) if callable(answer) else answer

    # -- the SPI --

    @property
    def capabilities(self) -> Capabilities:
        return self._capabilities

    @property
    def history(self) -> str:
        return self.present_history

    def get(self, key: str, *, timeout: float) -> ReadResult:
        return self._answer("get", lambda: ReadResult(None, 1), key=key, timeout=timeout)

    def list(self, request: ListRequest, *, timeout: float) -> Page:
        return self._answer(
            "list",
            lambda: Page((), False, 1),
            prefix=request.prefix,
            after=request.after,
            limit=request.limit,
            revision=request.revision,
            keys_only=request.keys_only,
            timeout=timeout,
        )

    def get_many(self, keys: Sequence[str], *, timeout: float) -> MultiReadResult:
        return self._answer(
            "get_many", lambda: MultiReadResult((None,) * len(keys), 1), keys=tuple(keys), timeout=timeout
        )

    def delete_prefix(self, prefix: str, *, timeout: float) -> PrefixDeletion:
        return self._answer(
            "delete_prefix", lambda: PrefixDeletion(deleted=0, revision=1), prefix=prefix, timeout=timeout
        )

    def commit(self, transaction: Transaction, *, timeout: float) -> CommitResult:
        return self._answer("commit", lambda: CommitResult(1), transaction=transaction, timeout=timeout)

    def grant(self, ttl: float, *, timeout: float) -> LeaseGrant:
        def grant() -> LeaseGrant:
            lease_id = f"L{len(self._ttls) + 1}"
            self._ttls[lease_id] = ttl
            return LeaseGrant(lease_id, ttl)

        return self._answer("grant", grant, ttl=ttl, timeout=timeout)

    def refresh(self, lease_ids: Sequence[LeaseId], *, timeout: float) -> dict[LeaseId, float]:
        return self._answer("refresh", lambda: self.kept(lease_ids), lease_ids=lease_ids, timeout=timeout)

    def revoke(self, lease_ids: Sequence[LeaseId], *, timeout: float) -> frozenset[LeaseId]:
        return self._answer("revoke", lambda: frozenset(lease_ids), lease_ids=lease_ids, timeout=timeout)

    def leases(self, lease_id: LeaseId | None, *, timeout: float) -> tuple[LeaseInfo, ...]:
        return self._answer("leases", lambda: (), lease_id=lease_id, timeout=timeout)

    def watch(self, request: WatchRequest, *, sink: Sink, timeout: float) -> Feed:
        def open_feed() -> Feed:
            feed = DrivenFeed(request, sink)
            with self._changed:
                self.feeds.append(feed)
                self._changed.notify_all()
            return feed

        return self._answer("watch", open_feed, prefix=request.prefix, after=request.after, sink=sink, timeout=timeout)

    def server_info(self, *, timeout: float) -> ServerInfo:
        return self._answer("server_info", lambda: ServerInfo("double", "1", 1), timeout=timeout)

    def close(self) -> None:
        self.closed = True


_earlier: set[threading.Thread] = set()


def forget_earlier_threads() -> None:
    """Leave the threads that live now out of `own_threads`: an earlier test of another folder failed and left them."""
    _earlier.clear()
    _earlier.update(threading.enumerate())


def own_threads() -> list[str]:
    """Names of living threads that core has started during this test."""
    started = [thread for thread in threading.enumerate() if thread not in _earlier]
    return [thread.name for thread in started if thread.name.startswith("tenure")]
