"""kazoo's client with what it lacks: any operation of the protocol, the zxid of each answer, whether a request was
really sent, and every watch event in the thread that reads it.

kazoo has no public way to any of this, so its connection handler is extended. The names used are those of the
versions that the extra allows; a version without them is refused with a clear error instead of misbehaving.
"""

from __future__ import annotations

import contextlib
import inspect
import itertools
import logging
import socket
import threading
from collections.abc import Callable
from typing import Any

import kazoo
import kazoo.handlers.utils
import kazoo.protocol.connection
import kazoo.retry
from kazoo.client import KazooClient
from kazoo.exceptions import AuthFailedError
from kazoo.handlers.threading import SequentialThreadingHandler
from kazoo.protocol.connection import ConnectionDropped, ConnectionHandler
from kazoo.protocol.serialization import SASL, Connect
from kazoo.protocol.states import KazooState, KeeperState
from kazoo.retry import KazooRetry

from tenure.errors import AuthenticationFailed, PluginError, TenureError
from tenure.plugin_kit import Deadline, Monitor, RealTime, monotonic, start_thread
from tenure.spi.plugin import Host
from tenure_zookeeper import encoding, history_evidence, sasl
from tenure_zookeeper.auth import Logins
from tenure_zookeeper.endpoints import Servers

_NEW, _SENT, _CANCELLED = range(3)
_PATIENT_ROUNDS = 3
"""How often all servers have to refuse a client before they are asked whether they lost their data."""
_ENDED = (KeeperState.AUTH_FAILED, KeeperState.CLOSED, KeeperState.EXPIRED_SESSION)
_POLITE_STOP = 1.0
"""Seconds in which a server has to say goodbye before its connection is cut."""

_log = logging.getLogger("tenure.zookeeper.kazoo")

# Where a test freezes time, kazoo would send no ping, and try nothing again.
for _module in (kazoo.handlers.utils, kazoo.protocol.connection, kazoo.retry):
    _module.time = RealTime  # type: ignore[attr-defined,unused-ignore]


class Call:
    """One request on its way through kazoo's queue: its request object and its result object in one.

    kazoo looks at ``type`` before it sends anything, which is the moment when the request can no longer be taken back.
    """

    def __init__(self, request: encoding.Request) -> None:
        self._request = request
        self._lock = Monitor()
        self._state = _NEW
        # An event's own lock is taken in Python: an interrupt could leave kazoo's thread waiting for it.
        self._waiting = threading.Lock()
        self._waiting.acquire()
        self._ended = False
        self.reply: encoding.Reply | None = None
        self.lost: Exception | None = None

    # -- for kazoo's thread --

    @property
    def type(self) -> int:
        with self._lock:
            if self._state == _NEW:
                self._state = _SENT
            return self._request.op if self._state == _SENT else encoding.Op.EXISTS

    def serialize(self) -> bytes:
        # One that was taken back still has its place in the queue: something harmless goes out instead.
        return self._request.body if self._state == _SENT else encoding.exists("/").body

    def set_exception(self, error: Exception) -> None:
        self.lost = error
        self._end()

    def answer(self, reply: encoding.Reply) -> None:
        self.reply = reply
        self._end()

    def _end(self) -> None:
        if not self._ended:
            self._ended = True
            self._waiting.release()

    # -- for the caller --

    def wait(self, seconds: float) -> bool:
        """Whether an answer, or the news that there will be none, came within this time."""
        return self._ended or self._waiting.acquire(timeout=max(seconds, 0.0))

    def take_back(self) -> bool:
        """Don't send it any more; whether that was in time."""
        with self._lock:
            if self._state == _NEW:
                self._state = _CANCELLED
            return self._state == _CANCELLED

    def __repr__(self) -> str:
        return f"Call(op={self._request.op})"


class _Reader(ConnectionHandler):  # type: ignore[misc]  # kazoo has no types
    """Hands answers to :class:`Call` objects and events to the client's listener, before kazoo's own treatment.

    Logs in by SASL itself (:mod:`tenure_zookeeper.sasl` says why).
    """

    def __init__(self, client: Client, endpoints: Servers, logins: Logins) -> None:
        # kazoo only asks whether there are options.
        options = {"mechanism": "DIGEST-MD5"} if logins.sasl else None
        super().__init__(client, client._conn_retry.copy(), logger=_log, sasl_options=options)
        self._endpoints = endpoints
        self._logins = logins
        self._accepted = False
        self._rounds = 0
        self._behind = 0
        self._expected = 0

    def _expand_client_hosts(self) -> list[tuple[str, str, int]]:
        # Each round of attempts begins here.
        self._rounds += 1
        if self._rounds > _PATIENT_ROUNDS and self.client.last_zxid:
            self._look_for_lost_data()
        # Names are resolved by the kit when a socket is made: kazoo would do it without a deadline.
        return [(host.name, host.name, host.port) for host in self._endpoints.in_order()]

    def _look_for_lost_data(self) -> None:
        """Servers refuse a client that has seen more than they have. If they say twice that they lost it, it is new."""
        self._behind = self._behind + 1 if history_evidence.lost(self._endpoints, self.client.last_zxid) else 0
        if self._behind > 1:
            self._behind = 0
            self.client.last_zxid = 0
            self.client.on_replaced()

    def _read_header(self, timeout: float) -> Any:
        header = super()._read_header(timeout)
        self.client.heard_at = monotonic()
        return header

    def _invoke(self, timeout: float, request: Any, xid: int | None = None) -> Any:
        if not isinstance(request, Connect):
            return super()._invoke(timeout, request, xid)
        if self.client.alone:
            # kazoo forgets it when the session has ended.
            self._expected = max(self._expected, request.last_zxid_seen)
            # A server is refused that is behind what was seen. Where there is no other, it has lost its data, and
            # nobody would ever be let in again.
            request = request._replace(last_zxid_seen=0)
        answer = super()._invoke(min(timeout, self._endpoints.attempt), request, xid)
        self._rounds = self._behind = 0
        return answer

    def _authenticate_with_sasl(self, host: str, timeout: float) -> None:
        xids = itertools.count(1)

        def ask(token: bytes) -> encoding.Reply:
            xid = next(xids)
            self._submit(SASL(token), timeout, xid)
            header, buffer, offset = self._read_header(timeout)
            if header.xid != xid:
                raise ConnectionDropped("the server answered something else than the login")
            return encoding.Reply(header.zxid, header.err, buffer, offset)

        login = self._logins.current()
        try:
            sasl.log_in(login, ask)
        except AuthenticationFailed as exc:
            self.client.refusal = exc
            # Not kazoo's error for this, once there was a login: it would never connect again.
            if self._logins.refused(login) or self._accepted:
                raise ConnectionDropped(str(exc)) from exc
            raise AuthFailedError(str(exc)) from exc
        except (TenureError, ConnectionDropped) as exc:
            self._logins.refused(login)  # old servers say no by closing the connection
            raise ConnectionDropped(str(exc)) from exc
        self.client.refusal, self._accepted = None, True

    def _read_response(self, header: Any, buffer: bytes, offset: int) -> Any:
        if header.zxid > 0:
            if header.zxid < self._expected:
                self.client.on_replaced()
            self._expected = 0
        pending = self.client._pending
        if not pending or not isinstance(pending[0][0], Call):
            return super()._read_response(header, buffer, offset)
        call, _, xid = pending.popleft()
        if header.xid != xid:
            call.set_exception(RuntimeError("answers came in another order than requests"))
            raise RuntimeError(f"request {xid} got the answer of {header.xid}")
        if header.zxid > 0:
            self.client.last_zxid = header.zxid
        call.answer(encoding.Reply(header.zxid, header.err, buffer, offset))
        return None

    def _send_request(self, read_timeout: float, connect_timeout: float) -> None:
        super()._send_request(read_timeout, connect_timeout)
        self.client.announce_rest()

    def _read_watch_event(self, buffer: bytes, offset: int) -> None:
        self.client.on_event(encoding.read_event(buffer, offset))
        super()._read_watch_event(buffer, offset)


class _Handler(SequentialThreadingHandler):  # type: ignore[misc]  # kazoo has no types
    """kazoo's threads, with connections made our way: its own are made with options that Python has deprecated."""

    def __init__(self, endpoints: Servers) -> None:
        super().__init__()
        self._endpoints = endpoints

    def create_connection(
        self, address: tuple[str, int], hostname: str | None = None, timeout: float = 10.0, **_: object
    ) -> socket.socket:
        host = Host(hostname or address[0], address[1])
        try:
            return self._endpoints.dial(host, Deadline(min(timeout, self._endpoints.attempt)))
        except TenureError as exc:
            raise OSError(str(exc)) from exc


class Client(KazooClient):  # type: ignore[misc]  # kazoo has no types
    """A started kazoo client. ``on_event`` gets the path of each watch event, ``on_lost`` is called when the
    connection breaks, ``on_replaced`` when the servers have lost what they told before. All are called in kazoo's
    reading thread, so they mustn't block."""

    def __init__(
        self,
        endpoints: Servers,
        *,
        session_timeout: float,
        logins: Logins,
        on_event: Callable[[str], None],
        on_lost: Callable[[], None],
        on_replaced: Callable[[], None],
    ) -> None:
        _check_kazoo()
        # kazoo writes the credentials it sends into its debug messages.
        _log.setLevel(max(_log.level, logging.INFO))
        super().__init__(
            hosts=str(endpoints),
            timeout=session_timeout,
            handler=_Handler(endpoints),
            auth_data=logins.first.packets,
            connection_retry=KazooRetry(max_tries=-1, delay=0.1, backoff=1.5, max_delay=1.0),
            command_retry=KazooRetry(max_tries=0),
            logger=_log,
        )
        self._unannounced = False
        self.heard_at = monotonic()
        """When the server last said anything. kazoo asks it a few times in each session timeout."""
        self._silence = session_timeout / 2
        self.refusal: AuthenticationFailed | None = None
        """Why the last login was refused; ``None`` after one that was accepted."""
        self.alone = False
        """Whether it is known that there is one server only."""
        self.on_event = on_event
        self.on_replaced = on_replaced
        self._connection = _Reader(self, endpoints, logins)
        self._on_lost = on_lost
        self.add_listener(self._state_changed)

    @property
    def silent(self) -> bool:
        """Whether the server has said nothing for so long that a break now was noticed by the silence."""
        return monotonic() - self.heard_at > self._silence

    def submit(self, requests: list[encoding.Request]) -> list[Call]:
        """Queue requests, to be sent in this order."""
        calls = [Call(request) for request in requests]
        # Not by kazoo's own method: it swallows what a signal handler raises, and an interrupt there leaves a request
        # without the byte that makes kazoo send it, so that every later one is late by one answer.
        try:
            for call in calls:
                self._queue.append((call, call))
            self._announce(calls)
        except BaseException:
            self._announce(calls)  # kazoo ignores a byte too many
            raise
        return calls

    def announce_rest(self) -> None:
        """Announce, in kazoo's thread, the requests whose bytes found no room."""
        if self._unannounced:
            self._unannounced = False
            self._announce([])

    def _wake(self, announcing: socket.socket, count: int) -> None:
        """Write a byte for each request, as far as there is room. Never blocks.

        The caller may hold a lock that kazoo's thread needs before it reads the bytes. What had no room is announced by
        that thread itself, which finds at least one byte after it was noted.
        """
        with contextlib.suppress(BlockingIOError):
            if announcing.send(b"\0" * count, socket.MSG_DONTWAIT) == count:
                return
        self._unannounced = True
        with contextlib.suppress(BlockingIOError):
            announcing.send(b"\0", socket.MSG_DONTWAIT)

    def _announce(self, calls: list[Call]) -> None:
        """Make kazoo send these; say so to the calls if it doesn't send any more."""
        announcing = self._connection._write_sock
        if announcing is not None:
            try:
                waiting = max(len(calls), len(self._queue))  # also one whose announcing was interrupted
                self._wake(announcing, waiting)
            except OSError as exc:
                if exc.errno is None:  # a signal handler's
                    raise
                announcing = None
        if announcing is None or self._state in _ENDED:
            for call in calls:
                call.set_exception(ConnectionDropped("the connection has been closed"))

    def finish(self) -> None:
        """Stop and release everything, also when the server is frozen."""
        impatient = threading.Timer(_POLITE_STOP, self._cut)
        impatient.daemon = True
        start_thread(impatient)
        try:
            # kazoo may complain that its writer didn't end; there is nobody to tell.
            with contextlib.suppress(Exception):
                self.stop()
            with contextlib.suppress(Exception):
                self.close()
        finally:
            impatient.cancel()
            impatient.join()

    def _cut(self) -> None:
        connection = self._connection._socket
        if connection is not None:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _state_changed(self, state: str) -> None:
        if state != KazooState.CONNECTED:
            self._on_lost()


def _check_kazoo() -> None:
    """Raise ``PluginError`` unless kazoo has inside what is extended here."""
    expected = {
        "_read_response": ["self", "header", "buffer", "offset"],
        "_read_watch_event": ["self", "buffer", "offset"],
        "_invoke": ["self", "timeout", "request", "xid"],
        "_authenticate_with_sasl": ["self", "host", "timeout"],
        "_submit": ["self", "request", "timeout", "xid"],
        "_expand_client_hosts": ["self"],
        "_read_header": ["self", "timeout"],
    }
    for name, parameters in expected.items():
        method = getattr(ConnectionHandler, name, None)
        if method is None or list(inspect.signature(method).parameters) != parameters:
            raise _unfit(f"ConnectionHandler.{name}")
    for name in ("_session_callback", "_notify_pending"):
        if not hasattr(KazooClient, name):
            raise _unfit(f"KazooClient.{name}")


def _unfit(what: str) -> PluginError:
    return PluginError(
        f"kazoo {kazoo.__version__} is not one that the zookeeper plugin works with: {what} has changed inside; "
        "install the version that pip install 'tenure[zookeeper]' chooses"
    )
