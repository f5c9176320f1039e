"""Addresses of a host, within a deadline, and the last known ones while no name server answers.

The system's resolver can't be interrupted and knows no time limit, so a thread asks it. One look-up per host runs
at a time: callers that come meanwhile wait for the same answer, so a name server that hangs costs one thread, not
one for each call. The thread ends when the resolver gives up.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass

from tenure._runtime.deadline import Deadline, monotonic
from tenure._runtime.monitor import Monitor
from tenure._runtime.thread_start import start_thread
from tenure.errors import DeadlineExceeded, Unavailable
from tenure.spi.plugin import Host

PATIENCE = 1.0
"""Seconds that a look-up may take before the last known addresses are used instead."""

_Found = tuple["Address", ...]


@dataclass(frozen=True, slots=True)
class Address:
    """One socket address of a host.

    Attributes:
        family: ``socket.AF_INET`` or ``socket.AF_INET6``, as ``socket.socket`` takes it.
        sockaddr: the numeric address and the port; for IPv6 also flow information and scope. ``socket.connect``
            takes it as it is.
    """

    family: int
    sockaddr: tuple[str, int] | tuple[str, int, int, int]

    @property
    def text(self) -> str:
        """The numeric address without the port."""
        return self.sockaddr[0]


class Resolver:
    """Resolves hosts for one backend, and remembers what it found. Thread-safe; works in a forked child.

    Making a resolver looks up nothing.

    >>> resolver = Resolver()
    >>> [address] = resolver.addresses(Host("192.0.2.7", 7000), Deadline(1))
    >>> address.sockaddr
    ('192.0.2.7', 7000)
    >>> [address] = resolver.addresses(Host("::1", 7000), Deadline(1))
    >>> address.text
    '::1'

    Args:
        look_up: asks the system for a host's addresses, and raises ``OSError`` if there are none; ``None`` for
            ``socket.getaddrinfo``. Tests pass their own.
        patience: seconds that a look-up may take before the addresses that were found last time are used.
    """

    def __init__(self, look_up: Callable[[Host], _Found] | None = None, *, patience: float = PATIENCE) -> None:
        self._look_up = look_up or _ask_system
        self._patience = patience
        self._lock = Monitor()
        self._pid = os.getpid()
        self._running: dict[Host, _LookUp] = {}
        self._known: dict[Host, _Found] = {}

    def addresses(self, host: Host, deadline: Deadline) -> tuple[Address, ...]:
        """Find the addresses of ``host``.

        Literal addresses need no look-up. If a look-up fails, or takes longer than the resolver's patience, the
        addresses that were found last time are returned. Both errors below happen only if there are none.

        Args:
            host: a name or a literal address, with its port.
            deadline: the deadline of the call that needs the addresses.

        Returns:
            At least one address, in the order in which they should be tried.

        Raises:
            Unavailable: there is no host of that name, or no name server answers. Nothing was sent to the host.
            DeadlineExceeded: no answer came before the deadline. Nothing was sent to the host.
        """
        literal = _literal(host)
        if literal is not None:
            return (literal,)
        running = self._start(host)
        known = self._known.get(host, ())
        limit = deadline.within(self._patience - running.age) if known else deadline.remaining()
        if not running.done.wait(limit):
            if known:
                return known
            raise DeadlineExceeded(
                f"looking up {host.name!r}: no name server answered within {limit:.3g} s; check the network's name "
                "servers, or write the address itself"
            )
        if running.error is not None:
            if known:
                return known
            raise Unavailable(
                f"looking up {host.name!r}: there is no host of that name, or no name server answers "
                f"({running.error.strerror or running.error})"
            ) from running.error
        return running.found

    def _start(self, host: Host) -> _LookUp:
        with self._lock:
            if self._pid != os.getpid():  # the parent's threads don't run here
                self._pid, self._running = os.getpid(), {}
            running = self._running.get(host)
            if running is not None:
                return running
            running = self._running[host] = _LookUp()
        thread = threading.Thread(target=self._run, args=(host, running), name="tenure-resolve", daemon=True)
        try:
            start_thread(thread)
        except RuntimeError as exc:  # no thread can be started now
            running.error = OSError(f"no thread could be started ({exc})")
            self._finish(host, running)
        return running

    def _run(self, host: Host, running: _LookUp) -> None:
        try:
            running.found = self._look_up(host)
            if not running.found:
                running.error = OSError("it has no address")
        except OSError as exc:
            running.error = exc
        except UnicodeError as exc:  # a name that no name server could hold
            running.error = OSError(str(exc))
        finally:
            self._finish(host, running)

    def _finish(self, host: Host, running: _LookUp) -> None:
        with self._lock:
            if running.found:
                self._known[host] = running.found
            if self._running.get(host) is running:
                del self._running[host]
        running.done.set()


class _LookUp:
    """One look-up under way, for all who wait for it."""

    __slots__ = ("_started", "done", "error", "found")

    def __init__(self) -> None:
        self._started = monotonic()
        self.done = threading.Event()
        self.found: _Found = ()
        self.error: OSError | None = None

    @property
    def age(self) -> float:
        """Seconds since it began: a name server that hangs costs the patience once, not once for each call."""
        return monotonic() - self._started


def _ask_system(host: Host) -> _Found:
    found = socket.getaddrinfo(host.name, host.port, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(Address(family, sockaddr) for family, _, _, _, sockaddr in found))  # type: ignore[arg-type]  # TCP has these forms alone


def _literal(host: Host) -> Address | None:
    name, _, zone = host.name.partition("%")
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return None
    if address.version == 4:
        return Address(socket.AF_INET, (host.name, host.port))
    scope = 0
    if zone:
        try:
            scope = int(zone) if zone.isdigit() else socket.if_nametoindex(zone)
        except OSError:
            return None  # the system's resolver says what is wrong with it
    return Address(socket.AF_INET6, (name, host.port, 0, scope))
