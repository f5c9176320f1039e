"""The plugin's side: a pool of connections for calls, one connection for each watch.

A call that gets no answer closes its connection. What was only to be read is then ``Unavailable``, what was to be
written is ``OutcomeUnknown``: the request may have arrived. Only a connection that can't be made says for sure that
nothing was applied.
"""

from __future__ import annotations

import contextlib
import dataclasses
import select
import socket
import threading
import time
from collections.abc import Sequence
from typing import Any

from tenure.errors import OutcomeUnknown, StoreClosed, TenureError, Unavailable
from tenure.spi import (
    Backend,
    Capabilities,
    CommitResult,
    Feed,
    Host,
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
from tenure_memory.capabilities import CAPABILITIES
from tenure_testkit.tcp import wire

DETECTION = 1.0


def capabilities() -> Capabilities:
    """Those of the memory store, which here outlives a kill and is seen by others."""
    return dataclasses.replace(
        CAPABILITIES,
        durable=True,
        multi_process=True,
        max_value_bytes=1024 * 1024,
        max_watch_latency=0.2,
        max_watch_failure_detection=DETECTION,
    )


class TcpBackend(Backend):
    """One opener of the server at ``host``."""

    silence = DETECTION / 2
    """Seconds without a message after which a watch counts as broken."""

    def __init__(self, host: Host, *, timeout: float) -> None:
        self._address = (host.name, host.port)
        self._lock = threading.Lock()
        self._idle: list[socket.socket] = []
        self._used: set[socket.socket] = set()
        self._feeds: set[TcpFeed] = set()
        self._closed = False
        try:
            self.server_info(timeout=timeout)
        except BaseException:
            self.close()
            raise

    # -- calls --

    def call(self, method: str, *, timeout: float, writes: bool = False, **arguments: Any) -> Any:
        """One request and its answer."""
        deadline = time.monotonic() + timeout
        sock = self.take(deadline)
        try:
            wire.send(sock, (method, {**arguments, "timeout": timeout}), deadline)
            answer = self.answer(sock, deadline)
        except OSError as exc:
            self._drop(sock)
            kind = OutcomeUnknown if writes else Unavailable
            raise self.failed(kind, f"{method} was sent and not answered: {exc}") from exc
        except BaseException:
            self._drop(sock)
            raise
        self._give_back(sock)
        if answer[0] == "error":
            raise wire.unpacked(answer)
        return answer[1]

    def answer(self, sock: socket.socket, deadline: float) -> tuple[Any, ...]:
        """What comes back."""
        return wire.receive(sock, deadline)

    def failed(self, kind: type[TenureError], message: str) -> TenureError:
        """What a call that got no answer raises."""
        return (
            StoreClosed("the connection was closed meanwhile")
            if self._closed and kind is Unavailable
            else kind(message)
        )

    def take(self, deadline: float) -> socket.socket:
        """A connection that stands as far as anyone can tell."""
        while True:
            with self._lock:
                self._check()
                sock = self._idle.pop() if self._idle else None
                if sock is not None:
                    self._used.add(sock)
            if sock is None:
                return self.connect(deadline)
            if not select.select([sock], [], [], 0)[0]:
                return sock
            self._drop(sock)  # there is nothing to be read but its end

    def connect(self, deadline: float) -> socket.socket:
        """A new connection. Raises ``Unavailable``."""
        try:
            sock = socket.create_connection(self._address, timeout=max(0.001, deadline - time.monotonic()))
        except OSError as exc:
            raise Unavailable(f"no connection to {self._address[0]}:{self._address[1]}: {exc}") from exc
        with self._lock:
            if not self._closed:
                self._used.add(sock)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                return sock
        sock.close()
        raise StoreClosed("this connection was closed")

    def _give_back(self, sock: socket.socket) -> None:
        with self._lock:
            self._used.discard(sock)
            if not self._closed:
                self._idle.append(sock)
                return
        sock.close()

    def _drop(self, sock: socket.socket) -> None:
        with self._lock:
            self._used.discard(sock)
        sock.close()

    def _check(self) -> None:
        if self._closed:
            raise StoreClosed("this connection was closed")

    # -- the SPI --

    @property
    def capabilities(self) -> Capabilities:
        return capabilities()

    def get(self, key: str, *, timeout: float) -> ReadResult:
        found: ReadResult = self.call("get", key=key, timeout=timeout)
        return found

    def list(self, request: ListRequest, *, timeout: float) -> Page:
        page: Page = self.call("list", request=request, timeout=timeout)
        return page

    def get_many(self, keys: Sequence[str], *, timeout: float) -> MultiReadResult:
        found: MultiReadResult = self.call("get_many", keys=tuple(keys), timeout=timeout)
        return found

    def commit(self, transaction: Transaction, *, timeout: float) -> CommitResult:
        committed: CommitResult = self.call("commit", transaction=transaction, timeout=timeout, writes=True)
        return committed

    def delete_prefix(self, prefix: str, *, timeout: float) -> PrefixDeletion:
        deleted: PrefixDeletion = self.call("delete_prefix", prefix=prefix, timeout=timeout, writes=True)
        return deleted

    def grant(self, ttl: float, *, timeout: float) -> LeaseGrant:
        grant: LeaseGrant = self.call("grant", ttl=ttl, timeout=timeout, writes=True)
        return grant

    def refresh(self, lease_ids: Sequence[LeaseId], *, timeout: float) -> dict[LeaseId, float]:
        ttls: dict[LeaseId, float] = self.call("refresh", lease_ids=tuple(lease_ids), timeout=timeout, writes=True)
        return ttls

    def revoke(self, lease_ids: Sequence[LeaseId], *, timeout: float) -> frozenset[LeaseId]:
        gone: frozenset[LeaseId] = self.call("revoke", lease_ids=tuple(lease_ids), timeout=timeout, writes=True)
        return gone

    def leases(self, lease_id: LeaseId | None, *, timeout: float) -> tuple[LeaseInfo, ...]:
        found: tuple[LeaseInfo, ...] = self.call("leases", lease_id=lease_id, timeout=timeout)
        return found

    def server_info(self, *, timeout: float) -> ServerInfo:
        info: ServerInfo = self.call("server_info", timeout=timeout)
        return dataclasses.replace(info, product="tenure toy store", version="over TCP")

    def watch(self, request: WatchRequest, *, sink: Sink, timeout: float) -> Feed:
        deadline = time.monotonic() + timeout
        sock = self.connect(deadline)
        try:
            wire.send(sock, ("watch", {"request": request, "timeout": timeout}), deadline)
            first = wire.receive(sock, deadline)
        except OSError as exc:
            self._drop(sock)
            raise self.failed(Unavailable, f"the watch was not answered: {exc}") from exc
        except BaseException:
            self._drop(sock)
            raise
        if first[0] == "error":
            self._drop(sock)
            raise wire.unpacked(first)
        feed = TcpFeed(self, sock, sink, first)
        with self._lock:
            self._feeds.add(feed)
        feed.start()
        if self._closed:
            feed.close()
        return feed

    def close(self) -> None:
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
            feeds, used = list(self._feeds), list(self._used)
        for sock in idle:
            sock.close()
        for feed in feeds:
            feed.close()
        for sock in used:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)


class TcpFeed(Feed):
    """Reads one connection on a thread of its own."""

    def __init__(self, backend: TcpBackend, sock: socket.socket, sink: Sink, first: tuple[Any, ...]) -> None:
        self._backend = backend
        self._sock = sock
        self._sink = sink
        self._first = first
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="tcp-feed", daemon=True)

    def start(self) -> None:
        """Begin; to be called once."""
        self._thread.start()

    def _run(self) -> None:
        message = self._first
        try:
            while not self._ended:
                if message[0] == "item":
                    self._sink.deliver(message[1])
                elif message[0] == "error":
                    self._sink.fail(wire.unpacked(message))
                    return
                deadline = time.monotonic() + self._backend.silence
                message = wire.receive(self._sock, deadline)
                if message[0] == "ping":
                    wire.send(
                        self._sock, ("pong",), deadline
                    )  # so that there is something on the way in both directions
        except OSError as exc:
            if not self._ended:
                self._sink.fail(Unavailable(f"the connection of a watch broke: {exc}"))
        finally:
            self._backend._feeds.discard(self)
            self._backend._drop(self._sock)

    def close(self) -> None:
        self._ended = True
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        if self._thread is not threading.current_thread() and self._thread.ident is not None:
            self._thread.join()
