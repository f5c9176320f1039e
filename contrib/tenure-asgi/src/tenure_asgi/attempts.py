"""Which instance gets a request, and whether another one may get it after a failure. No I/O, for both transports."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import httpx

from tenure import NoInstanceAvailable, ServiceNotFound
from tenure.plugin_kit import Deadline
from tenure.registry import Instance, Service, Strategy

_IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"})
_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout)
"""Failures after which no server has seen the request."""
_BROKEN_OFF = (httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError)
"""Failures after which a server may have acted on the request."""
_NOT_THE_SERVERS = (httpx.PoolTimeout, httpx.UnsupportedProtocol, httpx.LocalProtocolError)
"""Failures that say nothing about the instance."""


class Picks(Protocol):
    """What a transport asks of a registry: ``tenure.registry.Registry`` and ``tenure.aio.Registry`` have it."""

    def pick(
        self,
        name: str,
        strategy: Strategy | str = ...,
        *,
        exclude: Collection[Instance | str] = ...,
        zones: Sequence[str] = ...,
        sticky: str | bytes | None = ...,
    ) -> Instance: ...

    def get_service(self, name: str) -> Service: ...

    def report_failure(self, instance: Instance) -> float: ...

    def report_success(self, instance: Instance) -> None: ...


@dataclass(frozen=True, slots=True)
class Options:
    """How a transport chooses. The transports' documentation explains each."""

    domain: str = "tenure"
    strategy: Strategy | str = Strategy.ROUND_ROBIN
    zones: Sequence[str] = ()
    sticky: Callable[[httpx.Request], str | bytes | None] | None = None
    attempts: int = 3

    def service(self, request: httpx.Request) -> str | None:
        """Return the name of the service that the request is for; ``None`` if it is for an ordinary host."""
        host = _without_root(request.url.host)
        name = host.removesuffix(f".{self.domain}")
        return name if name and name != host else None


def _without_root(host: str) -> str:
    """Return the host without the dot of an absolute name, which no name in a certificate and no SNI has."""
    return host.removesuffix(".")


@dataclass(slots=True)
class Attempts:
    """The attempts of one request. Ask :meth:`next`, send that, and report how it ended."""

    registry: Picks
    service: str
    request: httpx.Request
    options: Options
    _instance: Instance | None = None
    _excluded: set[str] = field(default_factory=set)
    _made: int = 0
    _error: httpx.TransportError | None = None
    _deadline: Deadline | None = None

    def __post_init__(self) -> None:
        timeout = self.request.extensions.get("timeout", {})
        limits = [timeout.get("connect"), timeout.get("read")]
        self._deadline = None if None in limits else Deadline(max(limits))

    def next(self) -> httpx.Request:
        """Choose an instance. Returns the request for it. One at an address that no URL can have has failed already.

        Raises:
            httpx.ConnectError: there is no instance, or none that wasn't tried; then it is the last failure.
        """
        while True:
            instance = self._pick()
            try:
                return self._readdressed(instance)
            except httpx.InvalidURL as exc:
                self.failed(self.no_host(exc))

    def no_host(self, error: Exception) -> httpx.ConnectError:
        """Return the failure of an instance whose host can't be one."""
        host = self._instance.host if self._instance is not None else ""
        return httpx.ConnectError(f"an instance of {self.service!r} is at {host!r}: {error}", request=self.request)

    def _pick(self) -> Instance:
        sticky = self.options.sticky
        try:
            self._instance = self.registry.pick(
                self.service,
                self.options.strategy,
                exclude=self._excluded,
                zones=self.options.zones,
                sticky=sticky(self.request) if sticky is not None else None,
            )
        except (NoInstanceAvailable, ServiceNotFound) as exc:
            if self._error is not None:
                raise self._error from exc
            raise httpx.ConnectError(str(exc), request=self.request) from exc
        self._made += 1
        return self._instance

    def failed(self, error: httpx.TransportError) -> None:
        """Report that the last attempt failed. Returns if another one may be made, and raises ``error`` if not."""
        if isinstance(error, _NOT_THE_SERVERS):
            raise error
        for instance in self._same_address():
            self._excluded.add(instance.id)
            self.registry.report_failure(instance)
        late = self._deadline is not None and self._deadline.expired
        if late or self._made >= self.options.attempts or not self._safe_to_repeat(error):
            raise error
        self._error = error

    def succeeded(self) -> None:
        """Report that the last attempt got a response, whatever its status."""
        if self._instance is not None:
            self.registry.report_success(self._instance)

    def _same_address(self) -> list[Instance]:
        """The instance that failed, and the others at its address: workers of one server share a port."""
        failed = self._instance
        assert failed is not None
        try:
            known = self.registry.get_service(self.service).instances
        except ServiceNotFound:
            known = ()
        return [failed, *(each for each in known if each.address == failed.address and each.id != failed.id)]

    def _safe_to_repeat(self, error: httpx.TransportError) -> bool:
        if isinstance(error, _NEVER_SENT):
            return True
        # A body that was made on the fly may be used up.
        return (
            isinstance(error, _BROKEN_OFF)
            and self.request.method in _IDEMPOTENT
            and isinstance(self.request.stream, httpx.ByteStream)
        )

    def _readdressed(self, instance: Instance) -> httpx.Request:
        extensions: dict[str, Any] = dict(self.request.extensions)
        # A certificate is checked against the service's name, which is the same for all instances.
        extensions.setdefault("sni_hostname", _without_root(self.request.url.host))
        if self._deadline is not None:
            extensions["timeout"] = self._cut(extensions["timeout"], self._deadline.remaining())
        return httpx.Request(
            self.request.method,
            self.request.url.copy_with(host=instance.host, port=instance.port),
            headers=self.request.headers,
            stream=self.request.stream,
            extensions=extensions,
        )

    def _cut(self, limits: dict[str, float | None], left: float) -> dict[str, float | None]:
        cut = {name: left if limit is None else min(limit, left) for name, limit in limits.items()}
        # An instance that doesn't even answer must leave time for the others.
        share = left / (self.options.attempts - self._made + 1)
        return {**cut, "connect": min(cut["connect"], share)}
