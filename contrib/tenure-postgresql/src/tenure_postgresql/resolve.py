"""Addresses of a host, with a deadline: libpq would ask for them without one, as the system's resolver does.

The resolver can't be interrupted, so it is asked in a thread, which is left behind if it takes too long; it ends by
itself when the resolver gives up. Literal addresses and paths of sockets need none of that.
"""

from __future__ import annotations

import ipaddress
import socket
import threading
import time
from collections.abc import Callable

from tenure_postgresql.connection import NoLink

_SLICE = 0.1  # seconds between two looks whether somebody has given up


def addresses(name: str, *, until: float, given_up: Callable[[], bool]) -> tuple[str, ...]:
    """Numeric addresses of ``name``; none if it doesn't have to be looked up. Raises ``NoLink``."""
    if name.startswith("/") or _is_literal(name):
        return ()
    answer: list[tuple[str, ...] | OSError | UnicodeError] = []

    def look_up() -> None:
        try:
            found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as exc:
            answer.append(exc)
        else:
            answer.append(tuple(dict.fromkeys(str(one[4][0]) for one in found)))

    thread = threading.Thread(target=look_up, name="tenure-postgresql-resolve", daemon=True)
    thread.start()
    while not answer:
        thread.join(max(0.0, min(_SLICE, until - time.monotonic())))
        if given_up():
            raise NoLink("the store was closed meanwhile")
        if not answer and time.monotonic() >= until:
            raise NoLink(f"looking up the address of {name!r}: no answer in time", late=True)
    if isinstance(answer[0], OSError | UnicodeError):
        raise NoLink(f"could not translate host name {name!r}: {answer[0]}") from answer[0]
    return answer[0]


def _is_literal(name: str) -> bool:
    try:
        ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    return True
