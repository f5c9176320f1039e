"""One connection to one server: a statement, its answer, and a deadline for both together.

This is libpq through :mod:`psycopg.pq`, always in its non-blocking mode, waited for with ``poll``. psycopg's own
``Connection`` has no time limit for a call: on a server that is frozen, or gone without a word, ``execute`` waits for
as long as the kernel keeps the connection, and a ``statement_timeout`` is the frozen server's to keep.

When is a write done? Not when its row arrives. PostgreSQL sends the result first and commits when it comes to the
protocol's Sync, so an error, or the end of the connection, may still follow a complete result. Only ReadyForQuery,
after which libpq answers ``None``, says that it is done: :meth:`Connection.ask` returns after that and not before.

And when was it surely not done? An ERROR says so: the transaction was taken back. FATAL and PANIC don't, they may
come after the commit: they count as a connection that broke with the request under way.

A connection that failed in any way but by an ERROR is broken for good. Not thread-safe, but for
:meth:`Connection.interrupt`.
"""

from __future__ import annotations

import contextlib
import math
import os
import select
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg
from psycopg import pq

from tenure.plugin_kit import Deadline

if TYPE_CHECKING:
    from psycopg.pq.abc import PGconn, PGresult

Row = tuple[bytes | None, ...]

_SLICE = 0.1  # seconds between two looks whether somebody has given up on connecting
_READ = select.POLLIN
_BOTH = select.POLLIN | select.POLLOUT
_LONGEST = 3600.0  # seconds
_LIMIT = b"SELECT set_config('statement_timeout', $1, false)"


@dataclass(frozen=True, slots=True)
class Statement:
    """SQL that is prepared once on each connection, under ``name``. Parameters are in binary, see ``encoding``."""

    name: str
    sql: str

    @property
    def key(self) -> bytes:
        return self.name.encode()


class ServerError(Exception):
    """An ERROR of the server: the statement was taken back, the connection is still good."""

    def __init__(self, state: str, said: str) -> None:
        super().__init__(f"{state}: {said}")
        self.state = state
        self.said = said


class ConnectionBroken(Exception):
    """The connection failed. ``sent``: perhaps with the request under way; ``late``: the time ran out."""

    def __init__(self, reason: str, *, sent: bool = False, late: bool = False, state: str = "") -> None:
        super().__init__(reason)
        self.sent = sent
        self.late = late
        self.state = state


class CannotConnect(Exception):
    """A connection could not be made. ``late``: the time ran out; ``password``: the server asked for one and got
    it, ``None``: it asked and got none."""

    def __init__(self, reason: str, *, late: bool = False, password: bool | None = False) -> None:
        super().__init__(reason)
        self.late = late
        self.password = password


class Connection:
    """A connection that is ready for statements. ``where`` is for messages."""

    def __init__(self, conn: PGconn, where: str) -> None:
        self.where = where
        self._conn = conn
        self._pid = os.getpid()
        self._prepared: set[str] = set()
        self._limit = 0.0
        conn.nonblocking = 1
        self._poll = select.poll()
        self._poll.register(conn.socket, _READ)

    @classmethod
    def connect(cls, conninfo: bytes, where: str, *, deadline: Deadline, given_up: Callable[[], bool]) -> Connection:
        """Connect and log in within ``deadline``. Raises ``CannotConnect``."""
        try:
            conn = pq.PGconn.connect_start(conninfo)
        except psycopg.Error as exc:
            raise CannotConnect(str(exc)) from exc
        try:
            _finish_connecting(conn, deadline, given_up)
            return cls(conn, where)
        except BaseException:
            conn.finish()
            raise

    # -- statements --

    def ask(
        self, statement: Statement, args: Sequence[bytes | None] = (), *, deadline: Deadline, renew: float | None = None
    ) -> list[Row]:
        """Run a statement, return its rows as they came. Raises ``ServerError`` or ``ConnectionBroken``.

        ``renew``: seconds for which each piece of the answer moves the deadline on.
        """
        if statement.name not in self._prepared:
            self._exchange(
                lambda: self._conn.send_prepare(statement.key, statement.sql.encode()), deadline, renew, risky=False
            )
            self._prepared.add(statement.name)
        formats = [pq.Format.BINARY] * len(args)
        result = self._exchange(
            lambda: self._conn.send_query_prepared(
                statement.key, list(args), param_formats=formats, result_format=pq.Format.BINARY
            ),
            deadline,
            renew,
        )
        columns = range(result.nfields)
        value = result.get_value
        return [tuple(value(row, column) for column in columns) for row in range(result.ntuples)]

    def run(self, sql: str, *, deadline: Deadline) -> None:
        """Run SQL without parameters, several statements as one transaction."""
        self._exchange(lambda: self._conn.send_query(sql.encode()), deadline, None)

    def limit(self, timeout: float, *, deadline: Deadline) -> None:
        """Have the server give up on its own what a call of ``timeout`` seconds has given up.

        Else statements that wait for a lock would pile up there, each with a connection. Seldom costs a round trip:
        only where a call's time differs much from those before.
        """
        if not timeout <= self._limit <= 8 * timeout:
            seconds = 2.0 ** math.ceil(math.log2(min(max(timeout, 1.0), _LONGEST)))
            if seconds != self._limit:
                milliseconds = str(int(seconds * 1000)).encode()
                self._exchange(
                    lambda: self._conn.send_query_params(_LIMIT, [milliseconds]), deadline, None, risky=False
                )
                self._limit = seconds

    def _exchange(
        self, send: Callable[[], None], deadline: Deadline, renew: float | None, *, risky: bool = True
    ) -> PGresult:
        conn = self._conn
        sent = False
        try:
            if deadline.expired:
                raise ConnectionBroken("the time was up before it was asked", late=True)
            # libpq may send as soon as it is given the statement, and fail after that.
            sent = risky
            send()
            while conn.flush():
                if self._wait(_BOTH, deadline, sent) & select.POLLIN:
                    conn.consume_input()
            result: PGresult | None = None
            error: PGresult | None = None
            while True:
                while conn.is_busy():
                    self._wait(_READ, deadline, sent)
                    conn.consume_input()
                    if renew is not None:
                        deadline = Deadline(max(renew, deadline.remaining()))
                found = conn.get_result()
                if found is None:
                    break
                if found.status == pq.ExecStatus.FATAL_ERROR:
                    error = error or found
                else:
                    result = found
        except psycopg.Error as exc:
            raise ConnectionBroken(_one_line(str(exc)), sent=sent) from exc
        if error is not None:
            raise self._failure(error, sent)
        if conn.status != pq.ConnStatus.OK or result is None:
            raise ConnectionBroken("the connection ended with the answer", sent=sent)
        return result

    def _failure(self, error: PGresult, sent: bool) -> ServerError | ConnectionBroken:
        field = error.error_field
        state = (field(pq.DiagnosticField.SQLSTATE) or b"").decode()
        said = (field(pq.DiagnosticField.MESSAGE_PRIMARY) or error.error_message).decode(errors="replace")
        severity = field(pq.DiagnosticField.SEVERITY_NONLOCALIZED)
        if severity == b"ERROR" and state and self._conn.status == pq.ConnStatus.OK:
            return ServerError(state, _one_line(said))
        return ConnectionBroken(_one_line(said), sent=sent, state=state)

    def _wait(self, events: int, deadline: Deadline, sent: bool) -> int:
        if not deadline.expired:
            if events != _READ:
                self._poll.modify(self._conn.socket, events)
            try:
                found = self._poll.poll(math.ceil(deadline.remaining() * 1000))
            finally:
                if events != _READ:
                    self._poll.modify(self._conn.socket, _READ)
            if found:
                return found[0][1]
        raise ConnectionBroken("no answer in time", sent=sent, late=True)

    # -- between statements --

    @property
    def reusable(self) -> bool:
        """Whether the server has said nothing since its last answer; a look at the socket, without waiting.

        What it says unasked is most often that it ends the connection. Only when something is sent, which is too late,
        does libpq distinguish that from a notice.
        """
        try:
            return not self._poll.poll(0) and self._conn.status == pq.ConnStatus.OK
        except psycopg.Error:
            return False

    def wait_for_notification(self, seconds: float, wake: int) -> None:
        """Wait until the server notifies, another thread writes to the file descriptor ``wake``, or time is up.

        A notification may have come beside the answer to the last statement: then there is nothing to wait for.
        Raises ``ConnectionBroken`` when the connection has ended.
        """
        try:
            if not self._notified():
                poll = select.poll()
                poll.register(wake, _READ)
                poll.register(self._conn.socket, _READ)
                if self._conn.socket in dict(poll.poll(max(0, math.ceil(seconds * 1000)))):
                    self._conn.consume_input()
                    self._notified()
        except psycopg.Error as exc:
            raise ConnectionBroken(_one_line(str(exc))) from exc

    def _notified(self) -> bool:
        """Forget the notifications that have come; whether there were any."""
        found = False
        while self._conn.notifies() is not None:
            found = True
        return found

    def parameter(self, name: str) -> str:
        """What the server said of itself when it was connected to."""
        return (self._conn.parameter_status(name.encode()) or b"").decode()

    @property
    def announced_process(self) -> int:
        """The number of the server's process, as it was at the log-in."""
        return int(self._conn.backend_pid)

    @property
    def encrypted(self) -> bool:
        return bool(self._conn.ssl_in_use)

    @property
    def gave_password(self) -> bool:
        """Whether the server, or the pooler before it, asked for the password."""
        return bool(self._conn.used_password)

    def interrupt(self) -> None:
        """Let a call that another thread has under way fail at once. In a fork the parent's are left as they are."""
        if os.getpid() != self._pid:
            return
        with contextlib.suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(self._conn.socket)) as sock:
            sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close it. Idempotent; in a fork the parent's connection is left as it is."""
        if os.getpid() == self._pid:
            self._conn.finish()


def _finish_connecting(conn: PGconn, deadline: Deadline, given_up: Callable[[], bool]) -> None:
    state = pq.PollingStatus.WRITING
    while conn.status != pq.ConnStatus.BAD and state != pq.PollingStatus.FAILED:
        if state == pq.PollingStatus.OK:
            return
        poll = select.poll()
        poll.register(conn.socket, select.POLLOUT if state == pq.PollingStatus.WRITING else select.POLLIN)
        while not poll.poll(math.ceil(deadline.within(_SLICE) * 1000)):
            if given_up():
                raise CannotConnect("the store was closed meanwhile")
            if deadline.expired:
                raise CannotConnect("no answer in time", late=True)
        state = pq.PollingStatus(conn.connect_poll())
    said = conn.error_message.decode(errors="replace")
    raise CannotConnect(_one_line(said), password=None if conn.needs_password else bool(conn.used_password))


def _one_line(said: str) -> str:
    return " ".join(said.split())[:400]
