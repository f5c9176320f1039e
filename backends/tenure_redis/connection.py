"""One connection to one server: a request, its answer, and a deadline for both together.

hiredis packs and parses; what lies between is done here, for three reasons. redis-py's time limit is one for each
piece of an answer, so that a server that trickles is waited for without end. It repeats commands by itself, also
scripts that were applied. And its answers differ in shape by version and protocol, where these are RESP2 as the
server sends them.

A connection that failed in any way but by an error reply is closed at once: an answer to the old request could
be taken for one to the next. Not thread-safe, except :meth:`Connection.interrupt`.
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
from typing import Any

import hiredis

from tenure.plugin_kit import Deadline
from tenure.spi.plugin import Host
from tenure_redis.errors import ServerError

_READ_SIZE = 65_536
_BLOCKED = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
_MORE = object()
_TEXT = frozenset({str, bytes})


class ConnectionBroken(Exception):
    """The connection failed with a request under way.

    ``sent``: the server may have got the whole request; part of one is never carried out. ``late``: the time ran out.
    """

    def __init__(self, reason: str, *, sent: bool = True, late: bool = False) -> None:
        super().__init__(reason)
        self.sent = sent
        self.late = late


class Connection:
    """A connection to ``where``, over a connected socket."""

    def __init__(self, where: Host, connected: socket.socket) -> None:
        self.where = where
        self.server = ""
        """The run id of the server's process; empty where the user may not ask for it."""
        self._socket = connected
        self._reader = hiredis.Reader(replyError=ServerError, protocolError=_Garbage, notEnoughData=_MORE)
        # What waits for the server is poll, which goes on with the time that is left after a signal.
        connected.setblocking(False)
        self._incoming = select.poll()
        self._incoming.register(connected, select.POLLIN)
        self._usable = True
        self._awaited = False
        self.primary_until = 0.0
        """Until when, on the monotonic clock, the server counts as a primary without being asked again."""

    def call(self, *command: Any, deadline: Deadline) -> Any:
        """Send one command and return its answer.

        Raises ``ServerError`` for an error reply (the connection is still good), ``ConnectionBroken`` otherwise.
        """
        self.begin(*command, deadline=deadline)
        return self.finish(deadline=deadline)

    def begin(self, *command: Any, deadline: Deadline) -> None:
        """Send one command. The connection serves nothing else until :meth:`finish` has got the answer."""
        request = pack(command)
        try:
            self._awaited = True
            self._send(request, deadline)
        except BaseException as exc:
            if (broken := self._broken_by(exc, deadline, sent=False)) is None:
                raise
            raise broken from exc

    def finish(self, *, deadline: Deadline) -> Any:
        """The answer to the command that was sent; raises like :meth:`call`."""
        try:
            answer = self._receive(deadline)
            self._awaited = False
        except BaseException as exc:
            if (broken := self._broken_by(exc, deadline, sent=True)) is None:
                raise
            raise broken from exc
        if isinstance(answer, ServerError):
            raise answer
        return answer

    def _broken_by(self, exc: BaseException, deadline: Deadline, *, sent: bool) -> ConnectionBroken | None:
        """Close the connection, and say what the failure means for the request; ``None`` for an interrupt."""
        self.close()  # also after an interrupt: the answer is still to come
        return _understood(exc, deadline, sent=sent)

    def _send(self, request: bytes | memoryview, deadline: Deadline) -> None:
        while True:
            try:
                done = self._socket.send(request)
            except _BLOCKED as exc:
                self._wait(select.POLLIN if isinstance(exc, ssl.SSLWantReadError) else select.POLLOUT, deadline)
                continue
            if done == len(request):
                return
            request = memoryview(request)[done:]

    def _receive(self, deadline: Deadline) -> Any:
        if not self._incoming.poll(deadline.remaining() * 1000):
            raise _Late
        while True:
            try:
                data = self._socket.recv(_READ_SIZE)
            except _BLOCKED as exc:
                self._wait(select.POLLOUT if isinstance(exc, ssl.SSLWantWriteError) else select.POLLIN, deadline)
                continue
            if not data:
                raise ConnectionBroken("it closed the connection")
            deadline.progressed()
            self._reader.feed(data)
            answer = self._reader.gets()
            if answer is not _MORE:
                return answer
            if deadline.expired:
                raise _Late

    def _wait(self, event: int, deadline: Deadline) -> None:
        poll = select.poll()
        poll.register(self._socket, event)
        if not poll.poll(deadline.remaining() * 1000):
            raise _Late

    @property
    def reusable(self) -> bool:
        """Whether another request may be sent: open on both sides, nothing is to come or has come unasked."""
        return self._usable and not self._awaited and not self._reader.has_data() and not self._incoming.poll(0)

    def interrupt(self) -> None:
        """Let a call that another thread has under way fail at once. The socket stays that thread's to close."""
        self._usable = False
        with contextlib.suppress(OSError):
            # The plain socket's: that of a TLS socket would pull the rug from under its reader.
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection. Idempotent; in a fork the parent's connection is left as it is."""
        self._usable = False
        with contextlib.suppress(OSError):
            self._socket.close()

    def __del__(self) -> None:
        # An interrupt between two lines of the pool leaves a connection to nobody.
        with contextlib.suppress(AttributeError):
            self.close()


def _understood(exc: BaseException, deadline: Deadline, *, sent: bool) -> ConnectionBroken | None:
    """What a failure means for the request; ``None`` for an interrupt, which has nothing to do with it."""
    if isinstance(exc, ConnectionBroken):
        return None
    if isinstance(exc, _Late):
        return ConnectionBroken(f"no answer within {deadline.seconds:.3g} s", sent=sent, late=True)
    if isinstance(exc, _Garbage):
        return ConnectionBroken(f"what it answered isn't Redis's protocol ({exc})")
    # The system's errors have a number. One without is a signal handler's, such as its TimeoutError.
    if isinstance(exc, OSError) and exc.errno is not None:
        return ConnectionBroken(f"the connection broke ({exc})", sent=sent)
    return None


class _Garbage(Exception):
    """What came isn't the protocol."""


class _Late(Exception):
    """The time is up."""


def pack(command: tuple[Any, ...]) -> bytes:
    """A command, made of text, bytes and whole numbers, as it goes over the wire.

    Numbers become text here: hiredis crashes the process when a signal handler raises while it does that itself.
    """
    if not _TEXT.issuperset(map(type, command)):
        command = tuple([str(part) if isinstance(part, int) else part for part in command])
    packed: bytes = hiredis.pack_command(command)
    return packed
