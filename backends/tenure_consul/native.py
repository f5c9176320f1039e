"""python-consul's client for the same agents, on our connections: what ``Backend.native`` offers.

The plugin's own requests don't go through it: its calls take no deadline, it hides the headers that tell the clock and
the time of an answer, and it sends tokens as part of the URL, or not at all. On these connections it sends the token of
the store in a header, fails over between agents, and every call ends by a deadline.
"""

from __future__ import annotations

import os
import types
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, urlencode

import consul
from consul import base

from tenure.spi.plugin import OpenRequest
from tenure_consul.leases import seconds
from tenure_consul.pool import Pool

_LONGEST_POLL = "5m"
"""What Consul takes for a blocking query that doesn't say how long."""

Parameters = dict[str, Any] | list[tuple[str, Any]] | None


class Transport(base.HTTPClient):  # type: ignore[misc]  # python-consul has no types
    """The four verbs that python-consul asks a transport for. Connection trouble is raised as Tenure's errors."""

    def __init__(self, pool: Pool, *, timeout: float) -> None:
        super().__init__()
        self._pool = pool
        self._timeout = timeout

    def get(self, callback: Callable[[Any], Any], path: str, params: Parameters = None) -> Any:
        return self._call("GET", callback, path, params, None)

    def put(self, callback: Callable[[Any], Any], path: str, params: Parameters = None, data: Any = "") -> Any:
        return self._call("PUT", callback, path, params, data)

    def delete(self, callback: Callable[[Any], Any], path: str, params: Parameters = None) -> Any:
        return self._call("DELETE", callback, path, params, None)

    def post(self, callback: Callable[[Any], Any], path: str, params: Parameters = None, data: Any = "") -> Any:
        return self._call("POST", callback, path, params, data)

    def _call(self, method: str, callback: Callable[[Any], Any], path: str, params: Parameters, data: Any) -> Any:
        pairs = list(params.items()) if isinstance(params, dict) else list(params or ())
        named = dict(pairs)
        timeout = self._timeout
        if "index" in named:
            wait = seconds(str(named.get("wait") or _LONGEST_POLL))
            timeout += wait + wait / 16
        target = quote(path, safe="/:") + (f"?{urlencode(pairs)}" if pairs else "")
        body = data.encode() if isinstance(data, str) else data
        answer = self._pool.any_status(
            method, target, body, timeout=timeout, action=f"{method} {path}", write=method != "GET"
        )
        return callback(base.Response(answer.status, answer.headers, answer.body.decode(errors="replace")))


class Client(consul.Consul):  # type: ignore[misc]  # python-consul has no types
    """``consul.Consul`` whose connections are given, and that takes nothing from environment variables."""

    def __init__(self, transport: Transport, request: OpenRequest) -> None:
        self._transport = transport
        _initialise(
            self,
            host=request.hosts[0].name,
            port=request.hosts[0].port,
            scheme="http" if request.tls is None else "https",
            consistency=request.options["consistency"],
            dc=request.options["dc"],
        )

    def connect(self, *_args: Any, **_more: Any) -> Transport:
        """Called by python-consul to make its transport."""
        return self._transport


def client(pool: Pool, request: OpenRequest) -> Client:
    """A client on the pool's connections."""
    return Client(Transport(pool, timeout=request.timeout), request)


def _no_environment() -> types.ModuleType:
    """The module ``os`` as seen by somebody who shall find no environment variables."""
    module = types.ModuleType("os")
    module.__dict__.update(vars(os))
    module.__dict__["getenv"] = lambda _name, default=None: default
    return module


# CONSUL_HTTP_ADDR and its like go before the arguments of python-consul's constructor, and one that it can't parse
# makes it raise; but a store is at its URL. The constructor runs unchanged, with another module under the name of os.
_original = base.Consul.__init__
_initialise = types.FunctionType(
    _original.__code__,
    {**_original.__globals__, "os": _no_environment()},
    argdefs=_original.__defaults__,
    closure=_original.__closure__,
)
