"""Transports for httpx that send ``http://web.tenure/path`` to an instance of the service ``web``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

import httpx

from tenure import ConfigError
from tenure.registry import Strategy
from tenure_asgi.attempts import Attempts, Options, Picks

__all__ = ["AsyncTenureTransport", "TenureTransport"]


def _options(
    domain: str,
    strategy: Strategy | str,
    zones: Sequence[str],
    sticky: Callable[[httpx.Request], str | bytes | None] | None,
    attempts: int,
) -> Options:
    if attempts < 1:
        raise ConfigError(f"making a transport: attempts is a number of at least 1, not {attempts!r}")
    if strategy not in list(Strategy):
        raise ConfigError(f"making a transport: strategy is one of {', '.join(Strategy)}, not {strategy!r}")
    name = domain.strip(".").lower()
    if not name:
        raise ConfigError(f"making a transport: domain is the last part of hosts, such as 'tenure', not {domain!r}")
    return Options(name, Strategy(strategy), tuple(zones), sticky, attempts)


class TenureTransport(httpx.BaseTransport):
    """Sends requests for ``<service>.tenure`` to an instance of the service, and all others as usual.

    * The service's name is the host without ``.tenure`` or ``.tenure.``, as in an absolute name. Since httpx writes
      hosts in lower case, it finds only services whose names are in lower case.
    * The ``Host`` header stays ``<service>.tenure``, for each instance. With ``https``, the instance's certificate has
      to be valid for that name. Proxies from the environment aren't used.
    * If no connection could be made, another instance gets the request. If the connection broke later, another one
      gets it only if the method is idempotent and its body isn't a stream. Idempotent are GET, HEAD, OPTIONS, PUT,
      DELETE and TRACE. A response is returned whatever its status.
    * The instance that failed rests, see ``Registry.report_failure``, with all instances at its address.
    * No attempt begins after the request's timeout in seconds, the longer one of ``connect`` and ``read``. The time
      limits of a later attempt are cut to what is left of it. An attempt to connect has an even share, so
      that others have time.
    * If there is no instance, ``httpx.ConnectError`` is raised, from the registry's error.

    Args:
        registry: a started registry. The transport doesn't close it.
        transport: what sends the requests; default: ``httpx.HTTPTransport()``. It is closed with this one.
        domain: the last part of the hosts that are services.
        strategy: how to choose, see ``Registry.pick``.
        zones: zones in the order of preference, see ``Registry.pick``.
        sticky: returns the key of a request that chooses its instance, or ``None``.
        attempts: the most instances that one request is sent to.

    Raises:
        ConfigError: ``attempts`` is out of range, ``domain`` is empty, or there is no such strategy.
    """

    def __init__(
        self,
        registry: Picks,
        transport: httpx.BaseTransport | None = None,
        *,
        domain: str = "tenure",
        strategy: Strategy | str = Strategy.ROUND_ROBIN,
        zones: Sequence[str] = (),
        sticky: Callable[[httpx.Request], str | bytes | None] | None = None,
        attempts: int = 3,
    ) -> None:
        self._options = _options(domain, strategy, zones, sticky, attempts)
        self._registry = registry
        self._transport = transport if transport is not None else httpx.HTTPTransport()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request, to another instance if the first one fails and it is safe.

        Args:
            request: the request. No attempt begins after its timeout, in seconds.

        Returns:
            The response of the instance that answered, whatever its status.

        Raises:
            httpx.TransportError: no instance answered: the error of the last attempt. It is ``httpx.ConnectError`` if
                there is no instance.
            StoreClosed: the registry has not started.
        """
        service = self._options.service(request)
        if service is None:
            return self._transport.handle_request(request)
        attempts = Attempts(self._registry, service, request, self._options)
        while True:
            chosen = attempts.next()
            try:
                response = self._transport.handle_request(chosen)
            except httpx.TransportError as error:
                attempts.failed(error)
            except UnicodeError as error:  # by the resolver, for a name with an empty or a long part
                attempts.failed(attempts.no_host(error))
            else:
                attempts.succeeded()
                return response

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def __enter__(self) -> Self:
        self._transport.__enter__()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        self._transport.__exit__(exc_type, exc_value, traceback)


class AsyncTenureTransport(httpx.AsyncBaseTransport):
    """:class:`TenureTransport` for ``httpx.AsyncClient``, with the same rules.

    Args:
        registry: a started registry, of ``tenure.aio`` or a synchronous one. The transport doesn't close it.
        transport: what sends the requests; default: ``httpx.AsyncHTTPTransport()``. It is closed with this one.
        domain: the last part of the hosts that are services.
        strategy: how to choose, see ``Registry.pick``.
        zones: zones in the order of preference, see ``Registry.pick``.
        sticky: returns the key of a request that chooses its instance, or ``None``.
        attempts: the most instances that one request is sent to.

    Raises:
        ConfigError: ``attempts`` is out of range, ``domain`` is empty, or there is no such strategy.
    """

    def __init__(
        self,
        registry: Picks,
        transport: httpx.AsyncBaseTransport | None = None,
        *,
        domain: str = "tenure",
        strategy: Strategy | str = Strategy.ROUND_ROBIN,
        zones: Sequence[str] = (),
        sticky: Callable[[httpx.Request], str | bytes | None] | None = None,
        attempts: int = 3,
    ) -> None:
        self._options = _options(domain, strategy, zones, sticky, attempts)
        self._registry = registry
        self._transport = transport if transport is not None else httpx.AsyncHTTPTransport()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request, to another instance if the first one fails and it is safe.

        Args:
            request: the request. No attempt begins after its timeout, in seconds.

        Returns:
            The response of the instance that answered, whatever its status.

        Raises:
            httpx.TransportError: no instance answered: the error of the last attempt. It is ``httpx.ConnectError`` if
                there is no instance.
            StoreClosed: the registry has not started.
        """
        service = self._options.service(request)
        if service is None:
            return await self._transport.handle_async_request(request)
        attempts = Attempts(self._registry, service, request, self._options)
        while True:
            chosen = attempts.next()
            try:
                response = await self._transport.handle_async_request(chosen)
            except httpx.TransportError as error:
                attempts.failed(error)
            except UnicodeError as error:  # by the resolver, for a name with an empty or a long part
                attempts.failed(attempts.no_host(error))
            else:
                attempts.succeeded()
                return response

    async def aclose(self) -> None:
        """Close the connections."""
        await self._transport.aclose()

    async def __aenter__(self) -> Self:
        await self._transport.__aenter__()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        await self._transport.__aexit__(exc_type, exc_value, traceback)
