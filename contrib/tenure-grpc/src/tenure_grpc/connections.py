"""One gRPC channel for each address, as long as an instance is there or a call is under way."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from tenure import NoInstanceAvailable, ServiceNotFound, StoreClosed, UsedAfterFork
from tenure.registry import Instance, Service
from tenure_grpc.attempts import Picks

C = TypeVar("C")


class Connection(Generic[C]):
    """A channel to one address, and how many calls use it."""

    __slots__ = ("address", "callables", "calls", "channel", "retired")

    def __init__(self, address: str, channel: C) -> None:
        self.address = address
        self.channel = channel
        self.callables: dict[object, object] = {}
        """What the channel made for each method, by the caller's key."""
        self.calls = 0
        self.retired = False


class Connections(Generic[C]):
    """The connections of one channel. Thread-safe.

    A connection is retired when no instance at its address is ready. No new call gets it, and it is closed once the
    last call on it has ended. That is noticed by the next call, of whatever instance.

    Args:
        registry: the registry.
        service: the service.
        make: makes a channel to an address.
        close: closes it. Called without the lock.
    """

    def __init__(self, registry: Picks, service: str, make: Callable[[str], C], close: Callable[[C], object]) -> None:
        self._registry = registry
        self._service = service
        self._make = make
        self._close = close
        self._lock = threading.Lock()
        self._by_address: dict[str, Connection[C]] = {}
        self._retired: set[Connection[C]] = set()
        self._seen: Service | None = None
        self._closed = False
        self._pid = os.getpid()

    def __len__(self) -> int:
        return len(self._by_address) + len(self._retired)

    def check(self) -> None:
        """Raise if the channel can't be used here."""
        if self._closed:
            raise StoreClosed("calling: the channel was closed; make a new one")
        if self._pid != os.getpid():
            raise UsedAfterFork("calling: the channel was made before this process forked; make one after the fork")

    def take(self, instance: Instance) -> Connection[C]:
        """Return the connection for an instance, for one call. Give it back with :meth:`give_back`."""
        with self._lock:
            self.check()
            unused = self._retire()
            connection = self._by_address.get(instance.address)
            if connection is None:
                connection = Connection(instance.address, self._make(instance.address))
                self._by_address[instance.address] = connection
                self._seen = None  # the instance may have gone since it was picked: look again with the next call
            connection.calls += 1
        for channel in unused:
            self._close(channel)
        return connection

    def give_back(self, connection: Connection[C]) -> None:
        """Report that a call has ended."""
        with self._lock:
            connection.calls -= 1
            last = connection.retired and connection.calls == 0
            if last:
                self._retired.discard(connection)
        if last:
            self._close(connection.channel)

    def _retire(self) -> list[C]:
        try:
            service = self._registry.get_service(self._service)
        except (ServiceNotFound, NoInstanceAvailable):
            return []  # perhaps for a moment only
        if service is self._seen:
            return []
        self._seen = service
        present = {each.address for each in service.ready}
        unused = []
        for address in [each for each in self._by_address if each not in present]:
            connection = self._by_address.pop(address)
            connection.retired = True
            if connection.calls:
                self._retired.add(connection)
            else:
                unused.append(connection.channel)
        return unused

    def close(self) -> list[C]:
        """Let nothing begin any more. Returns all channels, for the caller to close."""
        with self._lock:
            self._closed = True
            found = [each.channel for each in (*self._by_address.values(), *self._retired)]
            self._by_address.clear()
            self._retired.clear()
        return found
