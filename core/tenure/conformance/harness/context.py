"""What a rule may use: stores and backends on the URL under test, in namespaces that no other client uses.

When the rule ends, the context closes everything that it opened and empties every namespace that it used.
"""

from __future__ import annotations

import contextlib
import dataclasses
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import ParamSpec, Self, TypeVar, cast
from urllib.parse import quote

from tenure._client.opening import connect
from tenure._client.store import Store
from tenure._plugins import discovery
from tenure._plugins import url as urls
from tenure._runtime.clock import SystemClock
from tenure.conformance.controls.controls import NETWORK, ServerControls, with_network
from tenure.conformance.harness.assertions import Checks, inconclusive
from tenure.conformance.harness.evidence import Evidence
from tenure.conformance.harness.face import Face, SyncFace
from tenure.conformance.harness.profile import QUICK, Profile
from tenure.conformance.harness.rule import Rule
from tenure.conformance.network import Network
from tenure.errors import StoreClosed, TenureError, Unavailable
from tenure.spi import Backend, Capabilities, UrlForm
from tenure.spi.keys import namespace_prefix

P = ParamSpec("P")
T = TypeVar("T")

TIMEOUT = 10.0
"""Seconds for each call of a rule, unless the rule sets another timeout."""

LONG_TTL = 60.0
"""Seconds; no rule takes longer."""

_NETWORKED = frozenset({NETWORK, "cut", "partition", "heal"})
"""Controls that act on connections; the network does it if the author gives none."""

LEAST_TTL = 1.0
"""Seconds; a shorter lease would measure the machine's scheduling instead of the store."""


class SharedRunFailed(AssertionError):
    """A run that several rules inspect failed for an earlier rule; that rule's error is the cause of this one."""


class SharedRunUnfinished(AssertionError):
    """Takes the place of the result of a shared run that did not end."""


@dataclass(slots=True)
class SharedRun:
    """What :meth:`RuleContext.run_once` keeps: the rule that made the run, and the result or error of the run."""

    made_by: str
    result: object = field(default_factory=lambda: SharedRunUnfinished("the run did not end"))


class RuleContext:
    """The stores, controls and evidence of one rule. The rules of one suite share ``memo``, for runs that take long."""

    def __init__(
        self,
        url: str,
        rule: Rule,
        *,
        controls: ServerControls | None = None,
        memo: dict[str, SharedRun] | None = None,
        profile: Profile = QUICK,
        network: Network | None = None,
        face: type[Face] = SyncFace,
    ):
        """Rules about connections reach the store through ``network``; other rules open the URL directly.

        All use it through ``face``.
        """
        self.rule = rule
        self._direct_url = url
        self._network = network if network is not None and _NETWORKED & {*rule.required_controls} else None
        self.url = url if self._network is None else self._network.url
        self.evidence = Evidence()
        """What this rule does and sees."""
        self.check = Checks(rule, self.evidence)
        self.controls = with_network(controls or ServerControls(), network)
        """Controls over the server; the network does what the author gave no control for, if it can."""
        self.profile = profile
        self.namespace = f"conformance-{uuid.uuid4().hex[:12]}"
        self.shared_with: str | None = None
        """Id of the rule that made the shared run which this rule inspects; that rule has the evidence."""
        self._memo = {} if memo is None else memo
        self._used: dict[str, None] = {}
        self._stores: list[Store] = []
        self._backends: list[Backend] = []
        self._networks: list[Network] = []
        self.face = face()
        """The interface through which the rule uses its stores."""
        self.store = self.connect()
        """The store under test, in this rule's namespace."""
        if self._network is not None:
            self._verify_network(self._network)

    # -- opening --

    @property
    def network(self) -> Network:
        """The proxy between the stores opened here and their server."""
        if self._network is None:
            raise LookupError('there is no network: the rule lacks @requires_control("network")')
        return self._network

    def another_network(self) -> Network:
        """Return one more proxy, for faults that only some clients meet. Closed when the rule ends."""
        network = self.network.twin()
        self._networks.append(network)
        return network

    @property
    def networked(self) -> bool:
        """Whether the stores opened here reach their server through :attr:`network`."""
        return self._network is not None

    @property
    def skip_reason(self) -> str | None:
        """Why the rule doesn't apply to this store; ``None`` if it applies."""
        return self.rule.skip_reason(
            self.capabilities, self.controls, network=self._network is not None, face=self.face.name
        )

    @property
    def capabilities(self) -> Capabilities:
        """The capabilities that the store under test declares."""
        return self.store.capabilities

    def connect(
        self,
        namespace: str | None = None,
        *,
        timeout: float = TIMEOUT,
        direct: bool = False,
        through: Network | None = None,
        alone: bool = False,
    ) -> Store:
        """Open one more connection, to this rule's namespace or to one whose name starts with its name.

        A ``direct`` connection bypasses the network and its faults. A connection ``through`` another network
        (:meth:`another_network`) meets the faults of that network only. A function of the application that blocks
        within a call of one that is ``alone`` keeps no other connection from working.
        """
        name = self.namespace if namespace is None else namespace
        if not name.startswith(self.namespace):
            raise ValueError(f"opening {name!r}: the namespace doesn't start with {self.namespace!r}")
        self._used[name] = None
        url = self._direct_url if direct else self.url if through is None else through.url
        observers: list[object] = [self.evidence.observer]
        store = self.face.connect(in_namespace(url, name), timeout=timeout, observers=observers, alone=alone)
        self._stores.append(store)
        return store

    def make(self, kind: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Make a registry or a recipe on a store of this context: ``context.make(Registry, context.store)``."""
        return self.face.make(kind, *args, **kwargs)

    def connect_root(self) -> Store:
        """Open a connection without a namespace, which sees every key of the store. Write through other connections."""
        store = self.face.connect(in_namespace(self.url, ""), timeout=TIMEOUT, observers=[self.evidence.observer])
        self._stores.append(store)
        return store

    def backend(self) -> Backend:
        """Open a backend of the plugin, for rules about the SPI. Its keys have the namespace, see :meth:`physical`."""
        plugin = discovery.find(urls.split(self.url).scheme)
        request = urls.parse(in_namespace(self.url, self.namespace), plugin, timeout=TIMEOUT, clock=SystemClock())
        backend = plugin.open(request)
        self._backends.append(backend)
        return backend

    def physical(self, key: str) -> str:
        """Return the key that the store under test passes to a backend for ``key``."""
        return namespace_prefix(self.namespace) + key

    # -- helping --

    @property
    def url_in_namespace(self) -> str:
        """The URL, secrets included, by which another process reaches this rule's keys."""
        return in_namespace(self.url, self.namespace)

    @property
    def long_ttl(self) -> float:
        """A TTL in seconds that no rule outlasts: a minute, or the store's maximum if that is less."""
        return max(min(LONG_TTL, self.capabilities.max_ttl), self.short_ttl)

    @property
    def short_ttl(self) -> float:
        """The shortest TTL in seconds that the store accepts and that is long enough to measure."""
        return max(self.capabilities.min_ttl, LEAST_TTL)

    def run_once(self, name: str, run: Callable[[RuleContext], T]) -> T:
        """Return the result of a run that several rules inspect; the first of them makes the run."""
        if name not in self._memo:
            shared = self._memo[name] = SharedRun(self.rule.id)
            try:
                shared.result = run(self)
            except Exception as exc:
                shared.result = exc
                raise
        shared = self._memo[name]
        result = shared.result
        if shared.made_by != self.rule.id:
            self.shared_with = shared.made_by
        if isinstance(result, Exception):
            raise SharedRunFailed(f"the run that {self.rule.id} inspects failed: {result}") from result
        return cast("T", result)

    # -- the end --

    def close(self) -> None:
        """Close everything that was opened, and empty the namespaces. What can't be closed keeps nothing else open."""
        with contextlib.ExitStack() as rest:  # the last is closed first
            for network in self._networks:
                rest.callback(network.close)
            for backend in self._backends:
                rest.callback(backend.close)
            for store in self._stores:
                rest.callback(_close_store, store)
            for faulty in (self._network, *self._networks):
                if faulty is not None:
                    rest.callback(faulty.reset)
        told = self.face.close()
        self.empty()
        if told:
            raise self.check.fail(
                "closed the stores", expected="no error beside those that calls raise", seen="; ".join(told[:3])
            )

    def empty(self) -> None:
        """Delete the keys left in the namespaces, if the store can be reached. Raises nothing."""
        for name in self._used:
            # A broken store or a dead server may leave keys; the rule has reported that.
            try:
                with self._cleaner(name) as store:
                    store.delete_prefix("", allow_empty_prefix=True)
            except Unavailable:
                return  # the others would take as long, and could not be reached either
            except TenureError:
                continue

    def _cleaner(self, namespace: str) -> Store:
        return connect(in_namespace(self._direct_url, namespace), timeout=TIMEOUT)

    def _verify_network(self, network: Network) -> None:
        try:
            if network.carries(self.store):
                return
        except BaseException:
            self.close()
            raise
        self.close()
        raise inconclusive(
            self.rule,
            f"the store opened through {', '.join(map(str, network.targets))} reaches its server by other addresses, "
            "which the server gave it, so no fault of the network would reach it. Give the URL of a single server, or "
            "controls of your own (see tenure.conformance.ServerControls)",
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def _close_store(store: Store) -> None:
    with contextlib.suppress(StoreClosed):  # a second close comes when its loop has ended
        store.close()


def in_namespace(url: str, namespace: str) -> str:
    """Return ``url`` with its namespace, if any, replaced by ``namespace`` (``""``: none)."""
    raw = urls.split(url)
    options = [part for part in raw.query.split("&") if part and part.partition("=")[0] != "namespace"]
    if namespace:
        options.append(f"namespace={quote(namespace, safe='')}")
    path = raw.path if discovery.find(raw.scheme).url_form is UrlForm.FILE else ""
    raw = dataclasses.replace(raw, path=path, query="&".join(options))
    return urls.join(raw)
