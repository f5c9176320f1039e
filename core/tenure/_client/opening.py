"""From a URL to an opened store: find the plugin, parse the URL, open, check what is required of it."""

from __future__ import annotations

from collections.abc import Iterable

from tenure._client.observers import Observers
from tenure._client.store import DEFAULT_TIMEOUT, Store
from tenure._plugins import discovery, url
from tenure._runtime.clock import Clock, SystemClock
from tenure._runtime.retry import check_timeout
from tenure.errors import ConfigError, PluginError, TenureError
from tenure.spi.backend import Backend
from tenure.spi.keys import namespace_prefix
from tenure.spi.plugin import BackendPlugin, OpenRequest


def connect(
    store_url: str,
    *,
    require: Iterable[str] = (),
    timeout: float = DEFAULT_TIMEOUT,
    clock: Clock | None = None,
    observers: Iterable[object] = (),
) -> Store:
    """Open the store that ``store_url`` names; the connection has been tried when this returns.

    ``require`` lists what the store has to promise, such as ``["durable", "min_ttl<=5"]`` (names are the fields
    of :class:`tenure.Capabilities`). ``timeout`` is the default of every call, in seconds; the URL's
    ``timeout`` option goes before it. ``clock`` replaces time, for tests on embedded stores. ``observers`` are
    objects with observer hooks (``tenure.hookspecs``).

    Raises ``ConfigError`` (``UnknownScheme`` among them), ``PluginError``, ``Unsupported`` for a requirement that
    isn't met, ``Unavailable``, ``AuthenticationFailed``, ``PermissionDenied``.
    """
    raw = url.split(store_url)
    plugin = discovery.find(raw.scheme)
    request = url.parse(store_url, plugin, timeout=check_timeout(timeout), clock=clock or SystemClock())
    prefix = namespace_prefix(request.namespace)
    heard = Observers(observers, request.url)
    if isinstance(require, str):
        raise ConfigError(f"require is a list of requirements, as in require=[{require!r}], not one string")
    backend = open_backend(plugin, request)
    try:
        backend.capabilities.require(require, store=request.url)
    except TenureError:
        backend.close()
        raise
    return Store(
        backend,
        url=request.url,
        namespace_prefix=prefix,
        timeout=request.timeout,
        clock=backend.clock or request.clock,
        observers=heard,
    )


def open_backend(plugin: BackendPlugin, request: OpenRequest) -> Backend:
    """What ``plugin`` opens for ``request``, without core on top. Raises like :func:`connect`."""
    _check_modules(plugin)
    try:
        backend = plugin.open(request)
    except TenureError:
        raise
    except Exception as exc:
        # A driver's exception that the plugin forgot to translate: never let it through as if it were ours. Its text
        # may have a password in it, unless it is about an import.
        why = f"{type(exc).__name__}: {exc}" if isinstance(exc, ImportError) else type(exc).__name__
        raise PluginError(f"the plugin for {plugin.scheme}:// failed to open {request.url}: {why}") from exc
    if not isinstance(backend, Backend):
        raise PluginError(
            f"the plugin for {plugin.scheme}:// is broken: its open returned {type(backend).__name__}, not a Backend"
        )
    return backend


def _check_modules(plugin: BackendPlugin) -> None:
    missing = discovery.missing_modules(plugin)
    if missing:
        raise ConfigError(
            f"{plugin.scheme}:// needs {', '.join(missing)}, which isn't installed: {discovery.install_hint(plugin)}"
        )
