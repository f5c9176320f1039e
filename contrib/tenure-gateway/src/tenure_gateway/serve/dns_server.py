"""Sockets of the DNS server: UDP and TCP on one port, on the event loop.

A client on TCP may ask several questions on a connection. It has 10 s for each, and there are at most 200 connections:
one more is closed at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Self, cast

_log = logging.getLogger("tenure.gateway.dns")
_IDLE = 10.0
_MOST_CONNECTIONS = 200
Answer = Callable[..., bytes | None]
"""Called with the message and ``tcp=``; returns the answer, or ``None`` for no answer."""


class DnsServer:
    """A DNS server. Use it in ``async with``.

    Args:
        host: the address to listen on.
        port: the port; 0 chooses one.
        answer: answers a message.
    """

    def __init__(self, host: str, port: int, answer: Answer) -> None:
        self._host = host
        self.port = port
        self._answer = answer
        self._connections: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        """Listen. Raises ``OSError``."""
        self._tcp = await asyncio.start_server(self._converse, self._host, self.port)
        self.port = self._tcp.sockets[0].getsockname()[1]
        try:
            self._udp, _ = await asyncio.get_running_loop().create_datagram_endpoint(
                lambda: _Datagrams(self._safely), local_addr=(self._host, self.port)
            )
        except BaseException:
            self._tcp.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        self._udp.close()
        self._tcp.close()
        for task in list(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        try:
            if len(self._connections) >= _MOST_CONNECTIONS:
                return
            self._connections.add(task)
            with contextlib.suppress(asyncio.IncompleteReadError, TimeoutError, OSError, asyncio.CancelledError):
                await self._answer_all(reader, writer)
        finally:
            self._connections.discard(task)
            writer.close()

    async def _answer_all(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            async with asyncio.timeout(_IDLE):
                length = int.from_bytes(await reader.readexactly(2))
                answer = self._safely(await reader.readexactly(length), tcp=True)
                if answer is None:
                    return
                writer.write(len(answer).to_bytes(2) + answer)
                await writer.drain()

    def _safely(self, wire: bytes, *, tcp: bool) -> bytes | None:
        try:
            return self._answer(wire, tcp=tcp)
        except Exception:  # noqa: BLE001
            # A message that nobody foresaw takes nothing from those who ask next.
            _log.exception("no answer to a message of %d bytes", len(wire))
            return None


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)  # it is one by its methods alone

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        answer = self._answer(data, tcp=False)
        if answer is not None:
            self._transport.sendto(answer, addr)
