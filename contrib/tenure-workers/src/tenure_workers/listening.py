"""Wait until a server accepts connections: an application is ready before its server listens, and nobody tells it."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence

_FIRST_PAUSE = 0.02
_LONGEST_PAUSE = 1.0
_CONNECT = 1.0
"""Seconds for one attempt, on an address of this machine."""


def first_listening(hosts: Sequence[str], port: int, pause: Callable[[float], bool]) -> str | None:
    """Try to connect until one of the hosts accepts a connection, and close that at once.

    Args:
        hosts: addresses or names, tried in this order.
        port: the port.
        pause: waits N seconds, and returns whether to give up.

    Returns:
        The host that accepted; ``None`` if ``pause`` said so.
    """
    seconds = _FIRST_PAUSE
    while True:
        for host in hosts:
            if _accepts(host, port):
                return host
        if pause(seconds):
            return None
        seconds = min(2 * seconds, _LONGEST_PAUSE)


def _accepts(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=_CONNECT).close()
    except (OSError, UnicodeError):  # the last for a name that no host can have
        return False
    return True
