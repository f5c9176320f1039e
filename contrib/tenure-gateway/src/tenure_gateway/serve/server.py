"""All sockets of ``tenure serve`` on one event loop, and a thread that opens the store and looks."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator

import uvicorn

from tenure._outages import OutageTracker
from tenure.cli.options import Settings
from tenure.cli.ui.outages import show_outage
from tenure.errors import ConfigError
from tenure.registry import RegistryConfig
from tenure_gateway.directory import Directory, Sight
from tenure_gateway.events import Teller
from tenure_gateway.opening import Remarks, followed
from tenure_gateway.serve.address import Address
from tenure_gateway.serve.dns_server import DnsServer
from tenure_gateway.serve.http import HttpInterface
from tenure_gateway.serve.zone import Zone

_LOOK = 0.5
_MOST_REQUESTS = 200


def run(options: Settings, zone: Zone, *, http: Address | None, dns: Address | None, grace: float) -> None:
    """Serve until SIGTERM or SIGINT. Call it in the main thread.

    Args:
        options: the command's options.
        zone: answers for DNS.
        http: where to serve HTTP, if at all.
        dns: where to serve DNS, if at all.
        grace: seconds, see :class:`Directory`.

    Raises:
        ConfigError: an address can't be had.
        TenureError: the store refuses the connection, or has ended it for good.
    """
    directory = Directory(RegistryConfig(options.name).key_prefix, grace)
    asyncio.run(_Server(options, Teller(options.output), directory).run(http, dns, zone))


class _Server:
    """All sockets, and a thread that opens the store and looks."""

    def __init__(self, options: Settings, teller: Teller, directory: Directory) -> None:
        self._options = options
        self._teller = teller
        self._directory = directory
        self._stopping = threading.Event()
        self._failure: Exception | None = None

    def look(self) -> Sight | None:
        """Return what the directory shows, if it has a state."""
        return self._directory.look() if self._directory.ready else None

    async def run(self, http: Address | None, dns: Address | None, zone: Zone) -> None:
        """Serve until a signal comes. Raises ``ConfigError`` if an address can't be had."""
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(number, ended.set)
        async with contextlib.AsyncExitStack() as stack:
            if dns is not None:
                port = await _listening("--dns", dns, stack.enter_async_context(self._dns(dns, zone)))
                self._teller.tell("listening", f"DNS at {Address(dns.host, port)}", dns=str(Address(dns.host, port)))
            if http is not None:
                listener = _bind(http)
                stack.callback(listener.close)
                server = _Http(self.look)
                task = asyncio.create_task(server.serve([listener]))
                stack.push_async_callback(server.end, task)
                at = str(Address(http.host, listener.getsockname()[1]))
                self._teller.tell("listening", f"HTTP at {at}", http=at)
            follower = threading.Thread(target=self._follow, args=(loop, ended), name="tenure-serve")
            follower.start()
            try:
                await ended.wait()
            finally:
                self._stopping.set()
                await asyncio.to_thread(follower.join)
        if self._failure is not None:
            raise self._failure
        self._teller.tell("ended", "ended")

    def _dns(self, address: Address, zone: Zone) -> DnsServer:
        return DnsServer(address.host, address.port, lambda wire, tcp: zone.answer(wire, self.look(), tcp=tcp))

    # -- the thread that looks ---------------------------------------------------------------------------

    def _follow(self, loop: asyncio.AbstractEventLoop, ended: asyncio.Event) -> None:
        try:
            with followed(
                self._options,
                self._directory,
                self._teller,
                changed=lambda: None,
                pause=lambda seconds: not self._stopping.wait(seconds),
            ) as store:
                if store is not None:
                    self._teller.tell("started", f"serving from {store.url}; SIGTERM ends")
                    self._watch()
        except Exception as exc:  # noqa: BLE001 - whatever it is, the main thread has to end and raise it
            self._failure = exc
            loop.call_soon_threadsafe(ended.set)

    def _watch(self) -> None:
        remarks, tracker = Remarks(self._teller), OutageTracker()
        while not self._stopping.wait(_LOOK):
            self._directory.check()
            sight = self._directory.look()
            remarks.tell(sight)
            outage = tracker.look(sight.age, self._directory.error)
            if outage is not None:
                show_outage(self._teller.output, outage, meanwhile="the last state is served")


class _Http(uvicorn.Server):
    """uvicorn, which leaves signals to this command."""

    def __init__(self, look: Callable[[], Sight | None]) -> None:
        super().__init__(
            uvicorn.Config(
                HttpInterface(look),
                lifespan="off",
                access_log=False,
                log_level="warning",
                limit_concurrency=_MOST_REQUESTS,
                timeout_graceful_shutdown=3,
                timeout_keep_alive=75,
                server_header=False,
                ws="none",
            )
        )

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the handlers as they are."""
        yield

    async def end(self, task: asyncio.Task[None]) -> None:
        """Finish the requests that are under way, for three seconds at most."""
        self.should_exit = True
        await task


async def _listening(option: str, address: Address, entering: Awaitable[DnsServer]) -> int:
    try:
        server = await entering
    except OSError as exc:
        raise _cannot_listen(option, address, exc) from exc
    return server.port


def _bind(address: Address) -> socket.socket:
    try:
        family = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((address.host, address.port), family=family, backlog=2048)
    except OSError as exc:
        raise _cannot_listen("--http", address, exc) from exc


def _cannot_listen(option: str, address: Address, exc: OSError) -> ConfigError:
    return ConfigError(f"serving: {option} {address} can't be had: {exc}; choose another address or port")
