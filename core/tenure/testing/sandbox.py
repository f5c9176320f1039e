"""A store for one test: with injected faults, on a clock that the test moves, removed afterwards."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterable
from types import TracebackType
from typing import Self

from tenure._client.opening import connect, open_backend
from tenure._client.store import DEFAULT_TIMEOUT, Store
from tenure._plugins import discovery
from tenure._plugins import url as urls
from tenure._runtime.clock import Clock, SystemClock
from tenure.errors import ConfigError, TenureError, Unsupported
from tenure.spi import Backend, OpenRequest
from tenure.testing import embedded, scheme
from tenure.testing.clock import VirtualClock
from tenure.testing.faults import Faults
from tenure.testing.faulty import FaultyBackend
from tenure.testing.plan import Plan


class UnusedFault(AssertionError):
    """A scripted fault never happened, so the test has tested less than it states."""


class Sandbox:
    """An empty store for one test, with its clock and its faults. Use it in ``with``, or :meth:`close` it.

    Without ``store_url`` the store is inside this process, and its clock stands still until the test moves
    :attr:`clock`. With a URL the test runs on that store, in a namespace of its own that is emptied at the end.

    >>> with Sandbox() as box:
    ...     store = box.connect()
    ...     lease = store.lease(10.0, keep_alive=False)
    ...     _ = store.put("key", b"value", lease=lease)
    ...     box.clock.advance(10.1)
    ...     store.get("key") is None
    True

    Args:
        store_url: URL of a store, without a namespace; default: a store inside this process.
        clock: the clock of leases and waits; default: a :class:`VirtualClock` without ``store_url``, the machine's
            clock with it. A server keeps its own time, whatever is given here.

    Attributes:
        url: the URL of the sandbox, for code that opens its store itself.
        faults: the faults to inject.

    Raises:
        ConfigError: the URL is wrong or names a namespace, or no installed distribution offers a store for tests.
        Unavailable: the store can't be reached.
        UnusedFault: at the end of a ``with`` block without an error, if a scripted fault never happened.
    """

    def __init__(self, store_url: str | None = None, *, clock: Clock | None = None) -> None:
        self._name = uuid.uuid4().hex[:12]
        self._embedded = embedded.find() if store_url is None else None
        self._inner_url = store_url if self._embedded is None else self._embedded.url
        self._clock = clock or (VirtualClock() if store_url is None else SystemClock())
        self._plan = Plan(self._clock)
        self._stores: list[Store] = []
        self._closed = False
        self.url = f"{scheme.SCHEME}://{self._name}" + ("" if store_url is None else f"/sandbox-{self._name}")
        self._backend = self._open_inner(DEFAULT_TIMEOUT)
        self.faults = Faults(self._plan, self._backend, self._embedded)
        scheme.add(self._name, self._open)

    @property
    def clock(self) -> VirtualClock:
        """The clock of the store, of its leases and of every wait.

        Raises:
            Unsupported: it is the machine's clock, or a clock that was given.
        """
        if not isinstance(self._clock, VirtualClock):
            raise Unsupported(
                f"moving the clock: the sandbox can't move a {type(self._clock).__name__}; give no store_url or clock"
            )
        return self._clock

    def connect(
        self, *, timeout: float = DEFAULT_TIMEOUT, require: Iterable[str] = (), observers: Iterable[object] = ()
    ) -> Store:
        """Open one more connection, which is closed with the sandbox. Errors are those of ``tenure.connect``.

        Args:
            timeout: seconds for each call, unless the call has its own timeout.
            require: requirements on the store's capabilities, such as ``["lossless_watch"]``.
            observers: objects with hooks for metrics and tracing.

        Returns:
            An open store.

        Raises:
            Unsupported: the store doesn't meet a requirement.
            Unavailable: the store can't be reached, or has an outage.
        """
        store = connect(self.url, timeout=timeout, require=require, observers=observers)
        self._stores.append(store)
        return store

    def close(self) -> None:
        """Close what :meth:`connect` opened, and the store. Idempotent. It first ends the faults that last."""
        if self._closed:
            return
        self._closed = True
        self._plan.clear()
        for store in self._stores:
            store.close()
        if self._embedded is None:
            with contextlib.suppress(TenureError), connect(self.url) as store:
                store.delete_prefix("", allow_empty_prefix=True)
        scheme.remove(self._name)
        self._backend.close()
        if self._embedded is not None:
            self._embedded.close()

    def check_faults(self) -> None:
        """Check that every scripted fault happened.

        Raises:
            UnusedFault: a scripted fault never happened.
        """
        unused = self.faults.unused
        if unused:
            raise UnusedFault(
                f"checking the faults: scripted and never happened: {'; '.join(unused)}; let the test make such "
                "a call, or leave the fault out (faults.clear() drops what is left)"
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        try:
            if error is None:
                self.check_faults()
        finally:
            self.close()

    def __repr__(self) -> str:
        return f"<Sandbox {self.url}{' (closed)' if self._closed else ''}>"

    # -- opening --

    def _open_inner(self, timeout: float) -> Backend:
        assert self._inner_url is not None
        plugin = discovery.find(urls.split(self._inner_url).scheme)
        request = urls.parse(self._inner_url, plugin, timeout=timeout, clock=self._clock)
        if request.namespace:
            raise ConfigError(
                f"making a sandbox: it uses a namespace of its own in {request.url}; leave {request.namespace!r} out"
            )
        return open_backend(plugin, request)

    def _open(self, request: OpenRequest) -> Backend:
        if request.clock is not self._clock and not isinstance(request.clock, SystemClock):
            raise ConfigError(f"opening {request.url}: it uses the clock of its sandbox; give that clock, or none")
        self._plan.admit("open", request.timeout)
        return FaultyBackend(self._open_inner(request.timeout), self._plan)
