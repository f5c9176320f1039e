"""Objects of the asyncio interface for a thread: each call is awaited on the loop, and so is each step of ``for``.

A property, which reads the local clock or a cache, is read on the caller's thread: it needs no loop. A callback is
called on the loop, with proxies.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any

from tenure._client.transaction import TransactionDraft
from tenure.aio._opening import Opening
from tenure.conformance.harness.face_loop import LoopThread

_HOME = "tenure.aio"
_END = object()


class Proxies:
    """Makes proxies. Those of one object are equal."""

    def __init__(self, loop: LoopThread) -> None:
        self.loop = loop
        self._callbacks: dict[Callable[..., Any], Callable[..., Any]] = {}

    def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call ``function`` on the loop, await or open what it returns, and return a proxy of that."""
        args = tuple(self.taken(one) for one in args)
        kwargs = {name: self.taken(one) for name, one in kwargs.items()}

        async def call() -> Any:
            returned = function(*args, **kwargs)
            return await returned if isinstance(returned, Opening) or inspect.isawaitable(returned) else returned

        return self.shown(self.loop.run(call()))

    def iterate(self, source: Any) -> Iterator[Any]:
        """Iterate over what is iterated by ``async for``."""
        steps = aiter(source)

        async def step() -> Any:
            return await anext(steps, _END)

        while (found := self.loop.run(step())) is not _END:
            yield self.shown(found)

    def shown(self, found: Any) -> Any:
        """Return what a rule gets for ``found``."""
        if inspect.isasyncgen(found):
            return self.iterate(found)
        if isinstance(found, Mapping) and type(found) is dict:
            return {name: self.shown(one) for name, one in found.items()}
        if not any(one.__module__.startswith(_HOME) for one in type(found).__mro__):
            return found
        return Proxy(self, found)

    def taken(self, given: Any) -> Any:
        """Return what the asyncio interface gets for ``given``."""
        if isinstance(given, Proxy):
            return given._inner
        if isinstance(given, Body):
            return partial(self._await_body, given)
        if not inspect.isroutine(given) and not isinstance(given, partial):
            return given
        return self._callbacks.setdefault(given, partial(self._call_back, given))

    async def _await_body(self, body: Body, *args: Any) -> Any:
        return await asyncio.to_thread(self._call_back, body.function, *args)

    def _call_back(self, function: Callable[..., Any], *args: Any) -> Any:
        return function(*(self.shown(one) for one in args))


@dataclass(frozen=True, slots=True)
class Body:
    """A function of a rule that calls proxies. The loop awaits it, and goes on meanwhile."""

    function: Callable[..., Any]


class Proxy:
    """One object."""

    def __init__(self, proxies: Proxies, inner: Any) -> None:
        self._proxies = proxies
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if not inspect.ismethod(found):
            return self._proxies.shown(found)
        if isinstance(self._inner, TransactionDraft) and name != "commit":
            return partial(self._build, found)
        return partial(self._proxies.call, found)

    def _build(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Add to a transaction, which needs no loop."""
        args = tuple(self._proxies.taken(one) for one in args)
        return self._proxies.shown(function(*args, **{name: self._proxies.taken(one) for name, one in kwargs.items()}))

    def __enter__(self) -> Any:
        return self._proxies.call(self._inner.__aenter__)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> Any:
        return self._proxies.call(self._inner.__aexit__, kind, error, tb)

    def __iter__(self) -> Iterator[Any]:
        return self._proxies.iterate(self._inner) if hasattr(self._inner, "__aiter__") else iter(self._inner)

    def __len__(self) -> int:
        return len(self._inner)

    def __bool__(self) -> bool:
        return True

    def __getitem__(self, key: Any) -> Any:
        return self._proxies.shown(self._inner[key])

    def __contains__(self, key: Any) -> bool:
        return key in self._inner

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Proxy) and other._inner is self._inner

    def __hash__(self) -> int:
        return id(self._inner)

    def __repr__(self) -> str:
        return repr(self._inner)


def proxies_of(shown: object) -> Proxies:
    """Return what has made a proxy."""
    assert isinstance(shown, Proxy)
    return shown._proxies
