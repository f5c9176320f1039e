"""The connections of one backend: idle ones kept, agents tried in turn, everything ended by close.

One agent is used until it fails; then the next host of the URL, round and round. An agent without a leader counts as
failed, too: another may still have one. Connections beyond the idle ones kept are closed after use; one long poll
holds one of its own.
"""

from __future__ import annotations

import contextlib
import ssl
import threading
import time
from collections.abc import Iterator
from urllib.parse import urlencode

from tenure.errors import DeadlineExceeded, StoreClosed, TenureError, Unavailable
from tenure.spi.plugin import Host
from tenure_consul.connection import Answer, Connection, ConnectionBroken
from tenure_consul.errors import broken, refused

_MOST_IDLE = 16


class Pool:
    """Requests to whichever agent answers. Thread-safe.

    ``headers`` go with every request, as lines that end by CRLF. ``dc`` is added to every query, and ``consistency`` to
    every read that is not declared to be answered by the agent alone.
    """

    def __init__(
        self,
        hosts: tuple[Host, ...],
        *,
        tls: ssl.SSLContext | None,
        headers: str,
        dc: str | None,
        consistency: str,
    ) -> None:
        self._hosts = hosts
        self._tls = tls
        self._headers = headers
        self._everywhere = urlencode({"dc": dc}) if dc else ""
        # The third mode is what Consul does unasked, and has no parameter of its own.
        mode = "" if consistency == "default" else consistency
        self._reads = "&".join(filter(None, (mode, self._everywhere)))
        self._lock = threading.Lock()
        self._current = 0
        self._idle: list[Connection] = []
        self._busy: set[Connection] = set()
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether close was called."""
        return self._closed

    # -- requests --

    def read(self, path: str, query: str = "", *, timeout: float, action: str, allow: tuple[int, ...] = ()) -> Answer:
        """A GET of what the store holds, in the mode of reading that was asked for."""
        target = self.target(path, query, read=True)
        return self.call("GET", target, None, timeout=timeout, action=action, allow=allow)

    def target(self, path: str, query: str = "", *, read: bool = False) -> str:
        """Path and query with what this pool adds to every request."""
        query = "&".join(filter(None, (query, self._reads if read else self._everywhere)))
        return f"{path}?{query}" if query else path

    def call(
        self,
        method: str,
        target: str,
        body: bytes | None,
        *,
        timeout: float,
        action: str,
        write: bool = False,
        allow: tuple[int, ...] = (),
    ) -> Answer:
        """One request. Statuses other than 200 that aren't in ``allow`` raise; see ``errors.refused``."""
        answer = self.any_status(method, target, body, timeout=timeout, action=action, write=write)
        if answer.status != 200 and answer.status not in allow:
            error = refused(answer.status, answer.body, action=action, where=answer.where, write=write)
            if answer.status >= 500:
                self.turn(answer.where)
            raise error
        return answer

    def any_status(
        self, method: str, target: str, body: bytes | None, *, timeout: float, action: str, write: bool
    ) -> Answer:
        """One request, whatever the answer's status. Raises what a broken connection means."""
        until = time.monotonic() + timeout
        with self.connection(until, action) as connection:
            left = until - time.monotonic()
            if left <= 0:
                raise DeadlineExceeded(f"{action}: the time was up before the request was sent")
            try:
                return connection.exchange(method, target, body, timeout=left)
            except ConnectionBroken as exc:
                self.turn(connection.where)
                reason = "this store was closed" if self._closed else str(exc)
                raise broken(
                    reason, action=action, where=connection.where, write=write, sent=exc.sent, late=exc.late
                ) from exc

    # -- connections --

    @contextlib.contextmanager
    def connection(self, until: float, action: str, *, fresh: bool = False) -> Iterator[Connection]:
        """A connection for one user; kept for the next if nothing was raised. ``fresh``: one made just now."""
        connection = self._take(until, action, fresh=fresh)
        good = False
        try:
            yield connection
            good = True
        finally:
            with self._lock:
                self._busy.discard(connection)
                keep = good and not connection.spent and not self._closed and len(self._idle) < _MOST_IDLE
                keep = keep and connection.where == self._hosts[self._current]
                if keep:
                    self._idle.append(connection)
            if not keep:
                connection.close()

    def _take(self, until: float, action: str, *, fresh: bool) -> Connection:
        while True:
            with self._lock:
                self._check_open()
                connection = self._idle.pop() if self._idle and not fresh else None
                if connection is not None:
                    self._busy.add(connection)
            if connection is None:
                return self._connect(until, action)
            if connection.reusable and connection.where == self._hosts[self._current]:
                return connection
            with self._lock:
                self._busy.discard(connection)
            connection.close()

    def _connect(self, until: float, action: str) -> Connection:
        """A connection to the first agent that takes one. Raises what the last one's failure was."""
        last: TenureError = Unavailable(f"{action}: no host")
        for remaining in range(len(self._hosts), 0, -1):
            left = until - time.monotonic()
            if left <= 0:
                raise DeadlineExceeded(f"{action}: the time was up before a connection was made") from last
            where = self._hosts[self._current]
            try:
                connection = Connection(where, self._tls, self._headers, timeout=left / remaining)
            except Unavailable as exc:
                last = exc
                self.turn(where)
                continue
            with self._lock:
                if not self._closed:
                    self._busy.add(connection)
                    return connection
            connection.close()
            raise StoreClosed("this store was closed")
        raise last

    def turn(self, failed: Host) -> None:
        """Go on with the next agent, unless somebody has turned already; idle connections are closed."""
        with self._lock:
            stale, self._idle = self._idle, []
            if self._hosts[self._current] == failed:
                self._current = (self._current + 1) % len(self._hosts)
        for connection in stale:
            connection.close()

    def _check_open(self) -> None:
        if self._closed:
            raise StoreClosed("this store was closed")

    def close(self) -> bool:
        """End all connections, those in use as well; whether this was the first call."""
        with self._lock:
            first, self._closed = not self._closed, True
            idle, self._idle = self._idle, []
            busy = list(self._busy)
        for connection in idle:
            connection.close()
        for connection in busy:
            connection.interrupt()
        return first
