"""From a URL to an opened store: find the plugin, parse the URL, open the backend, check the requirements."""

from __future__ import annotations

import _thread
import dataclasses
import logging
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tenure._client.observers import Observers
from tenure._client.store import DEFAULT_TIMEOUT, Store
from tenure._observed import ObservedStore
from tenure._plugins import discovery, url
from tenure._runtime.clock import Clock, SystemClock
from tenure._runtime.deadline import Deadline
from tenure._runtime.exits import no_threads
from tenure._runtime.interruption import interruption
from tenure._runtime.retry import Backoff, check_timeout
from tenure._text import shown
from tenure.errors import (
    CallInterrupted,
    ConfigError,
    ErrorOrigin,
    InvalidArgument,
    OutcomeUnknown,
    PluginError,
    TenureError,
    Unavailable,
    Unsupported,
)
from tenure.spi.backend import Backend
from tenure.spi.keys import namespace_prefix
from tenure.spi.plugin import BackendPlugin, OpenRequest

_GREEN = ("gevent", "eventlet")
"""Libraries that replace threads by functions that take turns."""
_log = logging.getLogger("tenure._client.opening")
_OUTSIDE = frozenset({ErrorOrigin.CALLER, ErrorOrigin.CONFIGURATION, ErrorOrigin.NETWORK})
"""Origins of errors that neither a plugin nor the store's data explain better than the message does."""
_FIRST_PAUSE = 0.2
_LONGEST_PAUSE = 5.0
"""Seconds between attempts, at first and at most: many programs may wait for the same store."""


@dataclass(frozen=True, slots=True)
class Opening:
    """A store to open: everything that can be wrong without asking the server is checked.

    ``wait`` is how many seconds to keep trying while the store can't be reached.
    """

    plugin: BackendPlugin
    request: OpenRequest
    prefix: str
    require: tuple[str, ...]
    observers: Observers
    wait: float

    def once(self, timeout: float | None = None) -> Store:
        """Try once, within the request's timeout, or ``timeout`` seconds if that is less."""
        request = self.request
        if timeout is not None and timeout < request.timeout:
            request = dataclasses.replace(request, timeout=timeout)
        backend = open_backend(self.plugin, request)
        try:
            backend.capabilities.require(self.require, store=self.request.url)
            return Store(
                backend,
                url=self.request.url,
                namespace_prefix=self.prefix,
                timeout=self.request.timeout,
                clock=backend.clock or self.request.clock,
                observers=self.observers,
            )
        except BaseException as exc:  # also what a signal handler raised
            backend.close()
            if isinstance(exc, Exception) and not isinstance(exc, TenureError) and interruption(exc) is None:
                raise PluginError(
                    f"opening {request.url}: the plugin for {self.plugin.scheme}:// is broken: its backend describes "
                    f"itself by an untranslated {type(exc).__name__}: {exc}; report the traceback to its author"
                ) from exc
            raise

    def patiently(self) -> Store:
        """Try until the store can be reached, for :attr:`wait` seconds. Any other error ends it at once."""
        if not self.wait:
            return self.once()
        deadline = Deadline(self.wait)
        backoff = Backoff(first=_FIRST_PAUSE, longest=_LONGEST_PAUSE)
        while True:
            try:
                return self.once(deadline.remaining())
            except (Unavailable, OutcomeUnknown) as exc:
                pause = backoff.delay()
                if isinstance(exc, CallInterrupted) or interruption(exc) is not None or deadline.remaining() <= pause:
                    raise
                _log.info("%s can't be reached yet, trying again in %.1f s: %s", self.request.url, pause, exc)
                time.sleep(self.request.clock.pause(pause))


def prepare(
    store_url: str,
    *,
    require: Iterable[str] = (),
    timeout: float = DEFAULT_TIMEOUT,
    wait_for_store: float = 0.0,
    clock: Clock | None = None,
    observers: Iterable[object] = (),
    credentials: Callable[[], tuple[str | None, str | None]] | None = None,
) -> Opening:
    """Check everything that :func:`connect` is given, without asking the server. Raises like it."""
    raw = url.split(store_url)
    plugin = discovery.find(raw.scheme)
    if not isinstance(wait_for_store, int | float) or not 0 <= wait_for_store <= sys.float_info.max:
        raise InvalidArgument(
            f"wait_for_store={shown(wait_for_store)}: it is a finite number of seconds, 0 or more; leave it out to "
            "try once"
        )
    request, wait = url.parse_with_wait(
        store_url, plugin, timeout=check_timeout(timeout), clock=clock or SystemClock(), credentials=credentials
    )
    prefix = namespace_prefix(request.namespace)
    registered = Observers(observers, request.url, _observed(plugin, request))
    if isinstance(require, str):
        raise ConfigError(
            f"require={require!r}: require is a list of requirements, not one string; write require=[{require!r}]"
        )
    return Opening(plugin, request, prefix, tuple(require), registered, wait_for_store if wait is None else wait)


def _observed(plugin: BackendPlugin, request: OpenRequest) -> ObservedStore:
    host = request.hosts[0] if len(request.hosts) == 1 else None
    return ObservedStore(
        request.url,
        plugin.scheme,
        request.namespace,
        None if host is None else host.name,
        None if host is None else host.port,
    )


def check_shared(store_url: str) -> None:
    """Raise ``ConfigError`` if each opener of ``store_url`` gets a store of its own. Asks no server."""
    opening = prepare(store_url)
    if opening.plugin.private(opening.request):
        raise ConfigError(
            f"using {opening.request.url} from several clients: each of them gets a store of its own; give the store a "
            f"name, as in {opening.plugin.scheme}://NAME"
        )


def connect(
    store_url: str,
    *,
    require: Iterable[str] = (),
    timeout: float = DEFAULT_TIMEOUT,
    wait_for_store: float = 0.0,
    clock: Clock | None = None,
    observers: Iterable[object] = (),
    credentials: Callable[[], tuple[str | None, str | None]] | None = None,
) -> Store:
    """Open the store that ``store_url`` names. When this returns, the server has answered and accepted the credentials.

    >>> import tenure
    >>> with tenure.connect("memory://", require=["linearizable"], timeout=2.0) as store:
    ...     store.put("greeting", b"hello").deleted
    ...     store.timeout
    0
    2.0

    Args:
        store_url: ``scheme[+variant]://[user[:password]@]host[:port][,host...][/namespace][?option=value]``.
        require: what the store has to guarantee, such as ``["durable", "min_ttl<=5"]``. The names are the fields
            of :class:`tenure.Capabilities`.
        timeout: default timeout per call, in seconds, also for each attempt to open. The URL's option ``timeout`` takes
            precedence.
        wait_for_store: seconds to keep trying while the store can't be reached, for a program that may start before its
            store does; by default one attempt. The URL's option ``wait_for_store`` takes precedence. A wrong URL,
            refused credentials, a missing right and a requirement that isn't met are errors at once.
        clock: the clock of leases and waits, for tests on embedded stores; by default the system's.
        observers: objects with observer hooks (``tenure.hookspecs``).
        credentials: returns the user name and the password (or token) as they are now, instead of those in the URL.
            Called at the first connection, and again when the store has refused them. It must not block for long.

    Returns:
        The opened store. Close it when done, or use it in ``with``.

    Raises:
        ConfigError: the URL, an option or an observer is wrong, or a client library is missing. For a scheme that no
            installed plugin serves, the subclass ``UnknownScheme``.
        InvalidArgument: ``timeout`` isn't a positive number, or ``wait_for_store`` isn't a number of 0 or more.
        PluginError: the plugin is broken, or two plugins claim the scheme.
        Unsupported: a requirement isn't met.
        Unavailable: the server can't be reached; ``DeadlineExceeded`` if the time ran out.
        AuthenticationFailed: the server refused the credentials.
        PermissionDenied: the server forbids a call that opening needs.
        StoreCorrupted: what the URL names is not a store of Tenure.
    """
    _check_threads()
    try:
        return prepare(
            store_url,
            require=require,
            timeout=timeout,
            wait_for_store=wait_for_store,
            clock=clock,
            observers=observers,
            credentials=credentials,
        ).patiently()
    except TenureError as exc:
        _log.debug("connecting failed: %s", exc, exc_info=True)
        shorten_traceback(exc)
        raise


def shorten_traceback(error: TenureError) -> None:
    """Leave calls inside Tenure, and the driver's error, out of the traceback of an error whose message says it all.

    The driver's error remains as ``__context__``.
    """
    if error.origin in _OUTSIDE and interruption(error) is None:
        error.__traceback__, error.__cause__ = None, None
        error.__suppress_context__ = True


def _check_threads() -> None:
    """Refuse green threads: a lease must be refreshed, and a deadline pass, while the application's code runs."""
    library = str(_thread.start_new_thread.__module__).partition(".")[0]
    if library in _GREEN:
        raise Unsupported(
            f"connecting: {library} has replaced Python's threads, and leases and deadlines need real ones; leave "
            "threads out of the patching (monkey.patch_all(thread=False), monkey_patch(thread=False)), or use another "
            "process"
        )


def open_backend(plugin: BackendPlugin, request: OpenRequest) -> Backend:
    """Open the backend of ``plugin`` for ``request``, without core on top. Raises like :func:`connect`."""
    _check_modules(plugin)
    try:
        backend = plugin.open(request)
    except Exception as exc:
        if (raised := interruption(exc)) is not None:
            raise raised  # noqa: B904 - what a signal handler raised is no failure of the plugin
        if isinstance(exc, TenureError):
            raise
        if (late := no_threads(f"connecting to {request.url}", exc)) is not None:  # a library, loaded only now
            raise late from exc
        # A driver's exception that the plugin did not translate never reaches the caller. Its text may contain a
        # password, unless the exception is about an import.
        why = f"{type(exc).__name__}: {exc}" if isinstance(exc, ImportError) else type(exc).__name__
        raise PluginError(
            f"the plugin for {plugin.scheme}:// failed to open {request.url}: {why}; report the traceback to its author"
        ) from exc
    if not isinstance(backend, Backend):
        raise PluginError(
            f"opening {request.url}: the plugin for {plugin.scheme}:// is broken: its open returned "
            f"{type(backend).__name__}, not a Backend; update or uninstall the plugin"
        )
    return backend


def _check_modules(plugin: BackendPlugin) -> None:
    missing = discovery.missing_modules(plugin)
    if missing:
        are = "which isn't" if len(missing) == 1 else "which aren't"
        raise ConfigError(
            f"opening {plugin.scheme}://: the plugin needs {', '.join(missing)}, {are} installed; "
            f"{discovery.install_hint(plugin)}"
        )
