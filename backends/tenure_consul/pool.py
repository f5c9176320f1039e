"""Requests to whichever agent answers: what each request carries, and what an agent's failure means for the others.

One agent is used until it fails; then the next host of the URL, round and round. An agent without a leader counts as
failed, too: another may still have one. Connections are the kit's pool's; one long poll holds one of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import urlencode

from tenure.plugin_kit import ConnectionPool, Deadline, Endpoints, Resolver, TlsContext, dial
from tenure.spi.credentials import Login
from tenure.spi.plugin import Host
from tenure_consul.auth import Token
from tenure_consul.connection import Answer, Connection, ConnectionBroken
from tenure_consul.errors import ERRORS, cannot_connect, is_unknown_token, refused


class Pool:
    """Requests to whichever agent answers. Thread-safe.

    ``token`` makes the headers of every request, as lines that end by CRLF, and is read again when it is refused.
    ``dc`` is added to every query, and ``consistency`` to every read that is not declared to be answered by the agent
    alone. ``on_connect`` is called for each new connection.
    """

    def __init__(
        self,
        hosts: tuple[Host, ...],
        *,
        tls: TlsContext | None,
        token: Token,
        dc: str | None,
        consistency: str,
        on_connect: Callable[[], None],
    ) -> None:
        self._endpoints = Endpoints(hosts)
        self._resolver = Resolver()
        self._tls = tls
        self._token = token
        self._on_connect = on_connect
        self._everywhere = urlencode({"dc": dc}) if dc else ""
        # The third mode is what Consul does unasked, and has no parameter of its own.
        mode = "" if consistency == "default" else consistency
        self._reads = "&".join(filter(None, (mode, self._everywhere)))
        self._connections = ConnectionPool(self._connect)

    @property
    def closed(self) -> bool:
        """Whether close was called."""
        return self._connections.closed

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
        guard: Callable[[], None] | None = None,
    ) -> Answer:
        """One request. Statuses other than 200 that aren't in ``allow`` raise; see ``errors.refused``.

        ``guard`` is called once there is a connection, and may raise to have nothing sent.
        """
        answer = self.any_status(method, target, body, timeout=timeout, action=action, write=write, guard=guard)
        if answer.status != 200 and answer.status not in allow:
            error = refused(answer.status, answer.body, action=action, where=answer.where, write=write)
            if answer.status >= 500:
                self.turn(answer.where)
            raise error
        return answer

    def any_status(
        self,
        method: str,
        target: str,
        body: bytes | None,
        *,
        timeout: float,
        action: str,
        write: bool,
        guard: Callable[[], None] | None = None,
    ) -> Answer:
        """One request, whatever the answer's status. Raises what a broken connection means."""
        deadline = Deadline(timeout)
        answer, login = self._exchange(method, target, body, deadline, action=action, write=write, guard=guard)
        if self.token_renewed(answer, login):  # it was refused, so nothing was applied
            answer, _ = self._exchange(method, target, body, deadline, action=action, write=write, guard=guard)
        return answer

    def _exchange(
        self,
        method: str,
        target: str,
        body: bytes | None,
        deadline: Deadline,
        *,
        action: str,
        write: bool,
        guard: Callable[[], None] | None,
    ) -> tuple[Answer, Login]:
        with self.connection(deadline, action) as connection:
            deadline.check(action)
            if guard is not None:
                guard()
            try:
                return connection.exchange(method, target, body, deadline), connection.login
            except ConnectionBroken as exc:
                self.turn(connection.where)
                reason = "this store was closed" if self.closed else str(exc)
                raise ERRORS.unanswered(
                    reason, action=action, where=connection.where, write=write, sent=exc.sent, late=exc.late
                ) from exc

    def token_renewed(self, answer: Answer, login: Login) -> bool:
        """Whether a request was refused for its token, and there is another one. New connections have that."""
        if answer.status != 403 or not is_unknown_token(answer.body) or not self._token.renewed(login):
            return False
        self._connections.drop_idle()  # connections keep the headers that they were made with
        return True

    # -- connections --

    @contextmanager
    def connection(self, deadline: Deadline, action: str, *, fresh: bool = False) -> Iterator[Connection]:
        """A connection for one user; kept for the next if nothing was raised. ``fresh``: one made just now."""
        pooled = self._connections.take(deadline, action=action, fresh=fresh)
        try:
            yield pooled.connection
        except BaseException:
            pooled.drop()
            raise
        if pooled.connection.spent or pooled.connection.where != self._endpoints.best:
            pooled.drop()
        else:
            pooled.give_back()

    def _connect(self, deadline: Deadline) -> Connection:
        return self._endpoints.connect(deadline, self._connect_to, action="connecting to Consul")

    def _connect_to(self, host: Host, deadline: Deadline) -> Connection:
        try:
            connected = dial(host, deadline, resolver=self._resolver, tls=self._tls)
        except OSError as exc:
            raise cannot_connect(exc, host, encrypted=self._tls is not None) from exc
        self._on_connect()
        login = self._token.current()
        return Connection(host, connected, self._token.headers(login), login)

    def turn(self, failed: Host) -> None:
        """Go on with the next agent, unless that was decided already; idle connections are closed."""
        self._endpoints.report_failure(failed)
        self._connections.drop_idle()

    def close(self) -> bool:
        """End all connections, those in use as well; whether this was the first call."""
        return self._connections.close()
