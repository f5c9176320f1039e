"""Messages on a socket: eight bytes of length, then a pickle. Values stand in it as they are, so a proxy sees them.

A request is ``(method, arguments)``, an answer ``("answer", value)`` or ``("error", name, arguments, attributes)``.
On a connection that watches come ``("item", item)`` and, so that silence means something, ``("ping",)``.
"""

from __future__ import annotations

import pickle
import socket
import struct
import time
from typing import Any

from tenure import errors
from tenure.errors import TenureError

_LENGTH = struct.Struct("!Q")

PING_EVERY = 0.1
"""Seconds between two messages to a watcher, at most."""


class Ended(OSError):
    """The other side has closed the connection."""


def send(sock: socket.socket, message: tuple[Any, ...], deadline: float) -> None:
    """Send all of it. Raises ``OSError``, ``TimeoutError`` among them."""
    data = pickle.dumps(message)
    sock.settimeout(_left(deadline))
    sock.sendall(_LENGTH.pack(len(data)) + data)


def receive(sock: socket.socket, deadline: float) -> tuple[Any, ...]:
    """The next message, whole. Raises ``OSError``, ``TimeoutError`` and :class:`Ended` among them."""
    (length,) = _LENGTH.unpack(exactly(sock, _LENGTH.size, deadline))
    message: tuple[Any, ...] = pickle.loads(exactly(sock, length, deadline))
    return message


def exactly(sock: socket.socket, size: int, deadline: float) -> bytes:
    """So many bytes, in whatever pieces they come."""
    parts = bytearray()
    while len(parts) < size:
        sock.settimeout(_left(deadline))
        part = sock.recv(size - len(parts))
        if not part:
            raise Ended("the other side closed the connection")
        parts += part
    return bytes(parts)


def packed(error: TenureError) -> tuple[Any, ...]:
    """An error as a message."""
    return ("error", type(error).__name__, error.args, dict(vars(error)))


def unpacked(message: tuple[Any, ...]) -> TenureError:
    """The error that a message carries."""
    _, name, arguments, attributes = message
    kind: type[TenureError] = getattr(errors, name)
    error = kind.__new__(kind, *arguments)
    error.args = arguments
    vars(error).update(attributes)
    return error


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("the time is up")
    return left
