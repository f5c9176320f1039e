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
from collections.abc import Iterable
from typing import Any

import hiredis

from tenure.plugin_kit import Deadline
from tenure.spi.plugin import Host
from tenure_redis.errors import ServerError

_READ_SIZE = 65_536
_AT_ONCE = 16_384
"""Bytes of a request that no system needs long to take: it isn't worth looking at the clock after them."""
_MORE = object()


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
        self._socket = connected
        self._reader = hiredis.Reader(replyError=ServerError, protocolError=_Garbage, notEnoughData=_MORE)
        self._poll = select.poll()
        self._poll.register(connected, select.POLLIN)
        self._usable = True

    def call(self, *command: Any, deadline: Deadline) -> Any:
        """Send one command and return its answer.

        Raises ``ServerError`` for an error reply (the connection is still good), ``ConnectionBroken`` otherwise.
        """
        return self.call_packed(pack(command), deadline)

    def call_packed(self, request: bytes, deadline: Deadline) -> Any:
        """:meth:`call` for a command that :func:`pack` has packed."""
        try:
            answer = self._exchange(request, deadline)
        except BaseException:  # also an interrupt: the answer is still to come
            self.close()
            raise
        if isinstance(answer, ServerError):
            raise answer
        return answer

    def _exchange(self, request: bytes, deadline: Deadline) -> Any:
        sock, reader = self._socket, self._reader
        sent = False
        try:
            sock.settimeout(deadline.remaining())
            sock.sendall(request)
            sent = True
            if len(request) > _AT_ONCE:
                sock.settimeout(deadline.remaining())
            while True:
                data = sock.recv(_READ_SIZE)
                if not data:
                    raise ConnectionBroken("it closed the connection")
                reader.feed(data)
                answer = reader.gets()
                if answer is not _MORE:
                    return answer
                if deadline.expired:
                    raise ConnectionBroken(_late(deadline), late=True)
                sock.settimeout(deadline.remaining())
        except TimeoutError as exc:
            raise ConnectionBroken(_late(deadline), sent=sent, late=True) from exc
        except (OSError, ValueError) as exc:
            raise ConnectionBroken(f"the connection broke ({exc})", sent=sent) from exc
        except _Garbage as exc:
            raise ConnectionBroken(f"what it answered isn't Redis's protocol ({exc})") from exc

    @property
    def reusable(self) -> bool:
        """Whether another request may be sent: open on both sides, and nothing has come that wasn't asked for."""
        return self._usable and not self._reader.has_data() and not self._poll.poll(0)

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


def _late(deadline: Deadline) -> str:
    return f"no answer within {deadline.seconds:.3g} s"


class _Garbage(Exception):
    """What came isn't the protocol."""


def pack(command: Iterable[Any]) -> bytes:
    """A command, made of text, bytes and whole numbers, as it goes over the wire.

    Numbers become text here: hiredis crashes the process when a signal handler raises while it does that itself.
    """
    parts: Any = tuple([str(part) if isinstance(part, int) else part for part in command])
    packed: bytes = hiredis.pack_command(parts)
    return packed
