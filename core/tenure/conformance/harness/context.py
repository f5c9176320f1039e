"""What a rule may act in: stores and backends on the URL under test, in namespaces that no one else uses.

Everything opened here is closed when the rule ends, and every namespace used is emptied.
"""

from __future__ import annotations

import contextlib
import dataclasses
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self, TypeVar, cast
from urllib.parse import quote

from tenure._client.opening import connect
from tenure._client.store import Store
from tenure._plugins import discovery
from tenure._plugins import url as urls
from tenure._runtime.clock import SystemClock
from tenure.conformance.controls.controls import NETWORK, Driver, with_network
from tenure.conformance.harness.assertions import Checks, RuleInconclusive
from tenure.conformance.harness.evidence import Evidence
from tenure.conformance.harness.profile import QUICK, Profile
from tenure.conformance.harness.rule import Rule
from tenure.conformance.network import Network
from tenure.errors import TenureError
from tenure.spi import Backend, Capabilities, UrlForm
from tenure.spi.keys import namespace_prefix

T = TypeVar("T")

TIMEOUT = 10.0
"""Seconds for each call of a rule unless it says otherwise."""

LONG_TTL = 60.0
"""Seconds; longer than any rule takes."""

_NETWORKED = frozenset({NETWORK, "cut", "partition", "heal"})
"""What a rule needs that is done to connections, unless the author has controls for it."""

LEAST_TTL = 1.0
"""Seconds; shorter leases would measure the machine's scheduling instead of the store."""


class ExperimentFailed(AssertionError):
    """An experiment that several rules look at failed for an earlier one: its error is the cause of this one."""


class ExperimentUnfinished(AssertionError):
    """What stands for the result of an experiment that hasn't come to an end."""


@dataclass(slots=True)
class Experiment:
    """What :meth:`World.once` keeps: which rule made the experiment, and its result, or the error it ended with."""

    made_by: str
    result: object = field(default_factory=lambda: ExperimentUnfinished("it did not come to an end"))


class World:
    """One rule's surroundings. ``memo`` is shared by the rules of one suite, for experiments that take long."""

    def __init__(
        self,
        url: str,
        rule: Rule,
        *,
        driver: Driver | None = None,
        memo: dict[str, Experiment] | None = None,
        profile: Profile = QUICK,
        network: Network | None = None,
    ):
        """``network`` stands before the URL; rules about connections reach the store through it, the others don't."""
        self.rule = rule
        self._direct_url = url
        self._network = network if network is not None and _NETWORKED & {*rule.needs} else None
        self.url = url if self._network is None else self._network.url
        self.evidence = Evidence()
        """What is done and seen here."""
        self.check = Checks(rule, self.evidence)
        self.driver = with_network(driver or Driver(), network)
        """Controls over the server; what the author gave none for is done to the connection where there is one."""
        self.profile = profile
        self.namespace = f"conformance-{uuid.uuid4().hex[:12]}"
        self.shared_with: str | None = None
        """Id of the rule that made the experiment this one looks at; its evidence is there."""
        self._memo = {} if memo is None else memo
        self._used: dict[str, None] = {}
        self._stores: list[Store] = []
        self._backends: list[Backend] = []
        self._networks: list[Network] = []
        self.store = self.connect()
        """The store under test, in this rule's namespace."""
        if self._network is not None:
            self._prove(self._network)

    # -- opening --

    @property
    def network(self) -> Network:
        """What stands between the stores opened here and their server."""
        if self._network is None:
            raise LookupError('nothing stands between client and server: the rule lacks @needs("network")')
        return self._network

    def another_network(self) -> Network:
        """One more way to the server, for faults that not everybody is to meet. Closed at the end."""
        network = self.network.twin()
        self._networks.append(network)
        return network

    @property
    def networked(self) -> bool:
        """Whether the stores opened here reach their server through :attr:`network`."""
        return self._network is not None

    @property
    def why_not(self) -> str | None:
        """Why the rule can't be judged here; ``None`` if it can."""
        return self.rule.why_not(self.capabilities, self.driver, network=self._network is not None)

    @property
    def capabilities(self) -> Capabilities:
        """What the store under test declares."""
        return self.store.capabilities

    def connect(
        self,
        namespace: str | None = None,
        *,
        timeout: float = TIMEOUT,
        direct: bool = False,
        through: Network | None = None,
    ) -> Store:
        """One more connection, to this rule's namespace or another one that begins with its name.

        A ``direct`` one goes around the network, whose faults don't concern it; one ``through`` a network of its
        own (:meth:`another_network`) is concerned by the faults of that one alone.
        """
        name = self.namespace if namespace is None else namespace
        if not name.startswith(self.namespace):
            raise ValueError(f"{name!r} may be someone else's namespace")
        self._used[name] = None
        url = self._direct_url if direct else self.url if through is None else through.url
        store = connect(in_namespace(url, name), timeout=timeout, observers=[self.evidence.observer])
        self._stores.append(store)
        return store

    def connect_root(self) -> Store:
        """A connection without any namespace: it sees every key of the store. Write through others."""
        store = connect(in_namespace(self.url, ""), timeout=TIMEOUT, observers=[self.evidence.observer])
        self._stores.append(store)
        return store

    def backend(self) -> Backend:
        """The plugin's own object, for rules about the SPI. Its keys are complete: see :meth:`physical`."""
        plugin = discovery.find(urls.split(self.url).scheme)
        request = urls.parse(in_namespace(self.url, self.namespace), plugin, timeout=TIMEOUT, clock=SystemClock())
        backend = plugin.open(request)
        self._backends.append(backend)
        return backend

    def physical(self, key: str) -> str:
        """What the store under test calls ``key`` when it talks to a backend."""
        return namespace_prefix(self.namespace) + key

    # -- helping --

    @property
    def url_in_namespace(self) -> str:
        """The URL, secrets included, by which another process gets to this rule's keys as the stores here do."""
        return in_namespace(self.url, self.namespace)

    @property
    def long_ttl(self) -> float:
        """A ttl in seconds that no rule outlasts: a minute, or what the store takes where that is less."""
        return max(min(LONG_TTL, self.capabilities.max_ttl), self.short_ttl)

    @property
    def short_ttl(self) -> float:
        """The shortest ttl in seconds that is both legal and long enough to measure."""
        return max(self.capabilities.min_ttl, LEAST_TTL)

    def once(self, name: str, experiment: Callable[[World], T]) -> T:
        """The result of an experiment that several rules look at: it runs for the first of them."""
        if name not in self._memo:
            shared = self._memo[name] = Experiment(self.rule.id)
            try:
                shared.result = experiment(self)
            except Exception as exc:
                shared.result = exc
                raise
        shared = self._memo[name]
        result = shared.result
        if shared.made_by != self.rule.id:
            self.shared_with = shared.made_by
        if isinstance(result, Exception):
            raise ExperimentFailed(f"what {self.rule.id} looks at could not be observed: {result}") from result
        return cast("T", result)

    # -- the end --

    def close(self) -> None:
        """Close everything and empty the namespaces."""
        for network in (self._network, *self._networks):
            if network is not None:
                network.reset()
        for store in self._stores:
            store.close()
        for backend in self._backends:
            backend.close()
        for network in self._networks:
            network.close()
        self.empty()

    def empty(self) -> None:
        """Delete what is left in the namespaces, as far as the store can be reached. Raises nothing."""
        for name in self._used:
            # What can't be deleted is what a broken store or a dead server left; the rule has said so.
            with contextlib.suppress(TenureError), self._cleaner(name) as store:
                store.delete_prefix("", allow_empty_prefix=True)

    def _cleaner(self, namespace: str) -> Store:
        return connect(in_namespace(self._direct_url, namespace), timeout=TIMEOUT)

    def _prove(self, network: Network) -> None:
        try:
            if network.carries(self.store):
                return
        except BaseException:
            self.close()
            raise
        self.close()
        raise RuleInconclusive(
            f"rule {self.rule.id} could not be judged: the store opened through {', '.join(map(str, network.targets))} "
            "talks to its server by other addresses, which the server gave it, so no fault on the way would reach it. "
            "Give the URL of a single server, or controls of your own (see tenure.conformance.Driver)"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def in_namespace(url: str, namespace: str) -> str:
    """``url`` with the namespace it names, if any, replaced by ``namespace`` (``""``: none)."""
    raw = urls.split(url)
    options = [part for part in raw.query.split("&") if part and part.partition("=")[0] != "namespace"]
    if namespace:
        options.append(f"namespace={quote(namespace, safe='')}")
    path = raw.path if discovery.find(raw.scheme).url_form is UrlForm.FILE else ""
    raw = dataclasses.replace(raw, path=path, query="&".join(options))
    return urls.join(raw)
