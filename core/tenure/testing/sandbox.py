"""A store for one test: opened with faults in between, on time that the test moves, gone afterwards."""

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
    """A fault was scripted and never happened: the test has shown less than it says."""


class Sandbox:
    """A store of its own, empty, with its clock and its faults. Use it in ``with``, or :meth:`close` it.

    Without ``store_url`` it is a store inside this process, and its time stands still until the test moves
    :attr:`clock`. With one the test runs on that store, in a namespace of its own that is emptied at the end, on the
    machine's time unless a ``clock`` is given (a server lives by its own time, whatever is given here).

    Raises what ``connect`` raises. At the end of a ``with`` that went well, :class:`UnusedFault` if there was a
    scripted fault that didn't happen.
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
        """For code that opens its store by itself."""
        self._backend = self._open_inner(DEFAULT_TIMEOUT)
        self.faults = Faults(self._plan, self._backend, self._embedded)
        """What can go wrong."""
        scheme.add(self._name, self._open)

    @property
    def clock(self) -> VirtualClock:
        """The time of the store, of its leases and of everything that waits on it.

        Raises ``Unsupported`` where it is the machine's, or a clock that was given.
        """
        if not isinstance(self._clock, VirtualClock):
            raise Unsupported(f"this sandbox lives by a {type(self._clock).__name__}, which can't be moved from here")
        return self._clock

    def connect(
        self, *, timeout: float = DEFAULT_TIMEOUT, require: Iterable[str] = (), observers: Iterable[object] = ()
    ) -> Store:
        """One more connection, closed with the sandbox. Arguments and errors are those of ``tenure.connect``."""
        store = connect(self.url, timeout=timeout, require=require, observers=observers)
        self._stores.append(store)
        return store

    def close(self) -> None:
        """Close what :meth:`connect` opened and give up the store. Idempotent; faults that go on are ended first."""
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
        """Raise :class:`UnusedFault` if a scripted fault hasn't happened."""
        unused = self.faults.unused
        if unused:
            raise UnusedFault(
                f"scripted and never happened: {'; '.join(unused)}. Nothing made such a call: let the test make it, or "
                "leave the fault out (faults.clear() forgets what is left)"
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
            raise ConfigError(f"a sandbox makes its own namespace in {request.url}: leave {request.namespace!r} out")
        return open_backend(plugin, request)

    def _open(self, request: OpenRequest) -> Backend:
        if request.clock is not self._clock and not isinstance(request.clock, SystemClock):
            raise ConfigError(f"{request.url} lives by the clock of its sandbox: give it that one, or none")
        self._plan.admit("open", request.timeout)
        return FaultyBackend(self._open_inner(request.timeout), self._plan)
