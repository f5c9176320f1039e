"""Wait until a server accepts connections. An application is started before its server listens, so nobody tells it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

_FIRST_PAUSE = 0.02
_LONGEST_PAUSE = 1.0
_CONNECT = 1.0
"""Seconds for one attempt, on an address of this machine."""


async def first_listening(hosts: Sequence[str], port: int) -> str:
    """Try to connect until one of the hosts accepts a connection, and close that at once.

    Args:
        hosts: addresses or names, tried in this order.
        port: the port.

    Returns:
        The host that accepted. It never returns otherwise: the caller sets a limit.
    """
    pause = _FIRST_PAUSE
    while True:
        for host in hosts:
            if await _accepts(host, port):
                return host
        await asyncio.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)


async def _accepts(host: str, port: int) -> bool:
    try:
        async with asyncio.timeout(_CONNECT):
            _, writer = await asyncio.open_connection(host, port)
    except (OSError, TimeoutError, UnicodeError):  # the last for a name that no host can have
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True
