"""Make the awaited twin of a synchronous method: same name, arguments and documentation, written once."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine
from functools import partial, update_wrapper
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

P = ParamSpec("P")
R = TypeVar("R")
F = TypeVar("F", bound=Callable[..., Any])
C = TypeVar("C", bound=type)

_COPIED = ("__name__", "__qualname__", "__doc__", "__annotations__")
_WORDS = (
    ("on a thread for callbacks", "on the event loop"),
    ("on the store's pool of threads", "on the event loop"),
    ("on a thread of its own", "on the event loop"),
    ("another thread does the rest, as soon", "the rest is done in the background, as soon"),
    ("on the same thread as other handlers", "on the event loop"),
    ("callable from any thread and from callbacks", "also while another task reads"),
    ("callable from any thread", "also while another task reads"),
    ("another thread is", "another task is"),
    ("on the caller's thread", "in the caller's task"),
    ("whose thread calls", "whose task calls"),
    ("This returns when", "It is done when"),
    ("In ``with``", "In ``async with``"),
    ("in ``with``", "in ``async with``"),
    ("of ``with``", "of ``async with``"),
    ("An interrupt during the wait", "A cancel during the wait"),
    ("Thread-safe.", "For one event loop."),
    ("All methods are thread-safe.", "All are for one event loop."),
)
"""What the synchronous face says of threads, and what is true here."""


class Wraps(Protocol):
    """An object that has a synchronous twin, and can call it without blocking the loop."""

    @property
    def _sync(self) -> Any: ...

    async def _call(self, function: Callable[[], R], /) -> R: ...


def awaited(method: Callable[Concatenate[Any, P], R]) -> Callable[Concatenate[Any, P], Coroutine[Any, Any, R]]:
    """Return the method that awaits ``method`` of the synchronous twin."""

    async def call(self: Wraps, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return await self._call(partial(method, self._sync, *args, **kwargs))

    return like(method, call)


def passed_on(method: Callable[Concatenate[Any, P], R]) -> Callable[Concatenate[Any, P], R]:
    """Return the method that calls ``method`` of the synchronous twin, which never waits."""

    def call(self: Wraps, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return method(self._sync, *args, **kwargs)

    return like(method, call)


def documented(model: object) -> Callable[[F], F]:
    """Return a decorator that gives a function the documentation of ``model``, a function or a property."""

    def document(function: F) -> F:
        function.__doc__ = reworded(model)
        return function

    return document


def described(model: type) -> Callable[[C], C]:
    """Return a decorator that adds what the class ``model`` says to the class's own words, without its example."""

    def describe(owner: C) -> C:
        owner.__doc__ = f"{inspect.cleandoc(owner.__doc__ or '')}\n\n{reworded(model)}"
        return owner

    return describe


def like(model: Callable[..., Any], function: F) -> F:
    """Give ``function`` the name, arguments and documentation of ``model``."""
    update_wrapper(function, model, assigned=_COPIED)
    function.__doc__ = reworded(model)
    return function


def reworded(model: object) -> str:
    """Return the documentation of ``model`` in the words that are true on an event loop, without its example."""
    paragraphs = inspect.cleandoc(model.__doc__ or "").split("\n\n")
    text = "\n\n".join(text for text in paragraphs if not text.lstrip().startswith(">>> "))
    for before, after in _WORDS:
        text = text.replace(before, after)
    return text
