"""The instances as other programs should see them: sorted, without impossible addresses, and steady over an outage.

Rules:

* While the store is away, the last state that was read stays.
* When the store is back, leases may have ended in the outage although their holders live. So for ``grace`` seconds an
  instance that is gone stays in the directory, unless it was draining or another one has its address. It comes back
  when its process registers again. After ``grace`` seconds it is left out.
* The doubt begins before the cache can show a state after the outage: the watch calls the observer, in its own thread,
  before it delivers such a batch. ``look`` reads the cache first and the doubt second, so it never misses it.
* An instance whose host is neither an address nor a host name is left out, since its host would end up in
  configuration files. ``left_out`` names it.
"""

from __future__ import annotations

import ipaddress
import math
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from tenure.errors import StoreClosed, TenureError
from tenure.hookspecs import hookimpl
from tenure.plugin_kit import monotonic
from tenure.registry import Instance, Registry, Service
from tenure_gateway.options import DEFAULT_GRACE

_HOST_NAME = re.compile(r"(?=.{1,253}\.?\Z)(?!-)[A-Za-z0-9_-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9_-]{1,63}(?<!-))*\.?\Z")
_MOST_NAMED = 1_000


@dataclass(frozen=True, slots=True)
class Sight:
    """The directory at one moment. Immutable.

    Attributes:
        services: names of services, sorted, each with its instances, sorted by id, host and port.
        kept: identities of instances that are gone from the registry and stay for the rest of the grace period.
        left_out: identities of instances that have no usable host, at most 1,000, each with the reason.
        age: seconds since the state was known to be up to date; 0.0 while the store is connected.
        serial: a number that grows when ``services`` changes.
    """

    services: Mapping[str, tuple[Instance, ...]]
    kept: frozenset[str] = frozenset()
    left_out: Mapping[str, str] = field(default_factory=dict)
    age: float = 0.0
    serial: int = 0


class Directory:
    """Reads a registry by the rules above. Thread-safe. Give it to the store as an observer before it is opened.

    Args:
        prefix: the prefix of the registry's keys, :attr:`RegistryConfig.key_prefix`.
        grace: seconds for which instances that are gone after an outage stay.
        clock: returns seconds; for tests.
    """

    def __init__(self, prefix: str, grace: float = DEFAULT_GRACE, clock: Callable[[], float] = monotonic) -> None:
        self._prefix = prefix
        self._grace = grace
        self._clock = clock
        self._lock = threading.Lock()
        self._registry: Registry | None = None
        self._away_since: float | None = None
        self._doubts: dict[str, float] = {}
        self._source: Mapping[str, Service] = {}
        self._sorted: dict[str, tuple[Service, tuple[Instance, ...]]] = {}
        self._bad: dict[str, Mapping[str, str]] = {}
        self._kept: dict[str, Instance] = {}
        self._sight = Sight(MappingProxyType({}))

    def follow(self, registry: Registry, changed: Callable[[], object]) -> None:
        """Read this registry from now on.

        Args:
            registry: a registry that was started.
            changed: called after each change, on a thread for handlers; it returns quickly.
        """
        self._registry = registry
        registry.add_handler(lambda _event: changed())
        registry.add_status_handler(lambda _change: changed())

    @property
    def ready(self) -> bool:
        """Whether a state was read from the store."""
        return self._registry is not None

    @property
    def error(self) -> TenureError | None:
        """What keeps the registry from the store, if anything."""
        return None if self._registry is None else self._registry.error

    def check(self) -> None:
        """Raise the registry's error if it has stopped following the store for good."""
        registry = self._registry
        if registry is not None and registry.closed:
            raise registry.error or StoreClosed("following the registry: it was closed; start again")

    # -- the watch's own thread, before it delivers what follows ---------------------------------------

    @hookimpl
    def tenure_watch_disconnected(self, prefix: str) -> None:
        """Doubt whatever is gone from now on."""
        self._doubts[prefix] = math.inf
        if prefix == self._prefix and self._away_since is None:
            self._away_since = self._clock()

    @hookimpl
    def tenure_watch_reconnected(self, prefix: str) -> None:
        """Doubt whatever is gone for the grace period."""
        self._doubts[prefix] = self._clock() + self._grace
        if prefix == self._prefix:
            self._away_since = None

    @hookimpl
    def tenure_watch_resynced(self, prefix: str) -> None:
        """Doubt what the difference says to be gone: the store may have lost its data."""
        self._doubts[prefix] = max(self._doubts.get(prefix, 0.0), self._clock() + self._grace)

    # -- any thread --------------------------------------------------------------------------------------

    def doubtful(self, prefix: str) -> bool:
        """Return whether what is gone may still be there: its watch has no store, or has just found it again.

        Args:
            prefix: what the watch was opened with, a key or a prefix. Read what the watch says before you ask.
        """
        return self._clock() < self._doubts.get(prefix, -math.inf)

    def look(self) -> Sight:
        """Return what is known now. Costs little if nothing has changed."""
        registry = self._registry
        if registry is None:
            return self._sight
        with self._lock:
            source = registry.get_services()  # first this, then the doubt: see above
            doubt = self.doubtful(self._prefix)
            age = self._age(registry)
            before = self._sight
            if dict(source) != dict(self._source) or (self._kept and not doubt):
                self._take(source, doubt=doubt)
            if age != self._sight.age:
                now = self._sight
                self._sight = Sight(now.services, now.kept, now.left_out, age, now.serial)
            return self._sight if self._sight != before else before

    def _age(self, registry: Registry) -> float:
        since = self._away_since
        return max(registry.staleness, 0.0 if since is None else self._clock() - since + 0.001)

    def _take(self, source: Mapping[str, Service], *, doubt: bool) -> None:
        known = self._source
        self._source = source
        for name in {*source, *self._sorted}:
            self._sort(name, source.get(name))
        self._update_kept(known, source, doubt=doubt)
        merged = {name: list(instances) for name, (_, instances) in self._sorted.items() if instances}
        for instance in self._kept.values():
            merged.setdefault(instance.service_name, []).append(instance)
        services = {name: tuple(sorted(merged[name], key=_order)) for name in sorted(merged)}
        left_out = {who: why for bad in self._bad.values() for who, why in bad.items()}
        now = self._sight
        self._sight = Sight(
            MappingProxyType(services),
            frozenset(self._kept),
            MappingProxyType(dict(list(left_out.items())[:_MOST_NAMED])),
            now.age,
            now.serial + (services != dict(now.services)),
        )

    def _sort(self, name: str, service: Service | None) -> None:
        earlier = self._sorted.get(name)
        if service is None:
            self._sorted.pop(name, None)
            self._bad.pop(name, None)
        elif earlier is None or earlier[0] is not service:
            good = [instance for instance in service if usable_host(instance.host)]
            self._sorted[name] = (service, tuple(sorted(good, key=_order)))
            self._bad[name] = {
                each.identity(): "its host is neither an address nor a host name"
                for each in service
                if not usable_host(each.host)
            }

    def _update_kept(self, known: Mapping[str, Service], source: Mapping[str, Service], *, doubt: bool) -> None:
        if not doubt:
            self._kept.clear()
            return
        for name, service in known.items():
            if source.get(name) is not service:
                self._kept.update({each.identity(): each for each in service if each.ready and usable_host(each.host)})
        for identity, instance in list(self._kept.items()):
            there = source.get(instance.service_name, ())
            if any(each.identity() == identity or each.address == instance.address for each in there):
                del self._kept[identity]


def usable_host(host: str) -> bool:
    """Return whether ``host`` is an IP address or a host name."""
    return address_of(host) is not None or _HOST_NAME.match(host) is not None


def address_of(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return the IP address that ``host`` is, without a zone index; ``None`` for a name."""
    try:
        found = ipaddress.ip_address(host)
    except ValueError:
        return None
    return None if getattr(found, "scope_id", None) else found


def _order(instance: Instance) -> tuple[str, str, int]:
    return (instance.id, instance.host, instance.port)
