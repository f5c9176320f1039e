"""The network between client and server: a proxy in front of each host of a URL.

The store's author has nothing to do: ports on loopback replace the URL's hosts, and the rest of the URL stays. A server
that sends its clients to other addresses (a cluster that redirects, a service that names the present primary) bypasses
the proxies. :meth:`Network.carries` detects that, so no rule relies on a fault without effect. With TLS the names in
the server's certificate have to fit 127.0.0.1, or the URL has to name the expected host, if the store has an option.
"""

from __future__ import annotations

import dataclasses
import threading
import uuid
from types import TracebackType
from typing import Self

from tenure._client.store import Store
from tenure._plugins import discovery
from tenure._plugins import url as urls
from tenure._runtime.clock import SystemClock
from tenure.conformance.network.applied import Together
from tenure.conformance.network.connection import Traffic
from tenure.conformance.network.loop import LoopThread
from tenure.conformance.network.proxy import Proxy
from tenure.conformance.network.toxics import BlackHole, Direction, Down, Toxic
from tenure.spi import Host, UrlForm

BOTH = tuple(Direction)

_PROBES = 4
_PROBE_BYTES = 900


class Network:
    """Proxies before all ``hosts`` of ``original``. They start when :attr:`url` is first asked for; close it."""

    def __init__(self, original: str, hosts: tuple[Host, ...], *, enabled: bool = True) -> None:
        self.original = original
        """The URL that goes around the proxies."""
        self.enabled = enabled
        self._hosts = hosts
        self._lock = threading.Lock()
        self._loop: LoopThread | None = None
        self._proxies: tuple[Proxy, ...] = ()
        self._partition: Together | None = None

    @classmethod
    def in_front_of(cls, url: str, *, enabled: bool = True) -> Self | None:
        """Return the network in front of the store at ``url``; ``None`` if the URL names no host and port.

        With ``enabled=False`` the proxies pass everything on and no fault has an effect, to test that rules notice.
        Raises ``ConfigError`` as ``connect`` would.
        """
        plugin = discovery.find(urls.split(url).scheme)
        if plugin.url_form is not UrlForm.HOSTS:
            return None
        return cls(url, urls.parse(url, plugin, timeout=1.0, clock=SystemClock()).hosts, enabled=enabled)

    def twin(self) -> Network:
        """Return another network in front of the same hosts, without faults yet."""
        return Network(self.original, self._hosts, enabled=self.enabled)

    @property
    def url(self) -> str:
        """The same store, reached through the proxies."""
        raw = urls.split(self.original)
        authority = ",".join(f"127.0.0.1:{proxy.port}" for proxy in self.proxies)
        return urls.join(dataclasses.replace(raw, authority=authority))

    @property
    def proxies(self) -> tuple[Proxy, ...]:
        """The proxies, one for each host, in the order of the URL."""
        with self._lock:
            if not self._proxies:
                self._loop = LoopThread("conformance-network")
                loop = self._loop
                self._proxies = tuple(Proxy(host, loop, enabled=self.enabled) for host in self._hosts)
            return self._proxies

    @property
    def targets(self) -> tuple[Host, ...]:
        """The hosts behind the proxies."""
        return self._hosts

    # -- faults --

    def add(self, toxic: Toxic, *directions: Direction) -> Together:
        """From now on ``toxic`` acts on every connection, in these directions (none given: ``DOWN``)."""
        wanted = directions or (Direction.DOWN,)
        return Together([proxy.add(toxic, direction) for proxy in self.proxies for direction in wanted])

    def black_hole(self, *directions: Direction, passes: int = 0) -> Together:
        """Hold back all bytes in these directions (none given: both) but the first pieces, until it is removed."""
        return self.add(BlackHole(passes=passes), *(directions or BOTH))

    def down(self) -> Together:
        """Refuse connections until it is removed."""
        return self.add(Down())

    def cut(self) -> int:
        """Break every connection now, and return the number. Clients can make new ones at once."""
        return sum(proxy.cut() for proxy in self.proxies)

    def partition(self) -> None:
        """Hold back all bytes, without closing a connection, until :meth:`heal`."""
        if self._partition is None:
            self._partition = self.black_hole()

    def heal(self) -> int:
        """Undo :meth:`partition`, and return the number of bytes that it held back."""
        held, self._partition = self._partition, None
        if held is None:
            return 0
        held.remove()
        return held.effects

    def reset(self) -> None:
        """Take every fault away."""
        self.heal()
        for proxy in self._proxies:
            proxy.reset()

    # -- looking --

    @property
    def traffic(self) -> Traffic:
        """The traffic of all proxies so far."""
        parts = [proxy.traffic for proxy in self._proxies]
        return Traffic(*(sum(getattr(part, field.name) for part in parts) for field in dataclasses.fields(Traffic)))

    @property
    def open_connections(self) -> int:
        """Connections there are right now."""
        return sum(proxy.open_connections for proxy in self._proxies)

    def carries(self, store: Store) -> bool:
        """Whether calls of ``store``, opened by :attr:`url`, really go through the proxies: reads some keys."""
        before = self.traffic.up
        for number in range(_PROBES):
            store.get(f"{uuid.uuid4().hex}{number}".ljust(_PROBE_BYTES, "-"))
        return self.traffic.up - before >= _PROBES * _PROBE_BYTES // 2

    # -- the end --

    def close(self) -> None:
        """Break the remaining connections, and end the proxies and their thread. Idempotent."""
        with self._lock:
            proxies, self._proxies = self._proxies, ()
            loop, self._loop = self._loop, None
        for proxy in proxies:
            proxy.close()
        if loop is not None:
            loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()
