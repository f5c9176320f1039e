"""Backends without the Store above them: opened as core does, written to, and closed at the end of the test."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

from tenure._plugins import url as urls
from tenure.spi import Backend, BackendPlugin, Put, SystemClock, Transaction
from tenure_testkit.probes.relay import RELAY_THREADS

P = ParamSpec("P")
B = TypeVar("B", bound=Backend)


def open_url(plugin: BackendPlugin, url: str, *, timeout: float = 5.0) -> Backend:
    """The plugin's backend for this URL, on real time."""
    return plugin.open(urls.parse(url, plugin, timeout=timeout, clock=SystemClock()))


@contextmanager
def closing_all(open_one: Callable[P, B], *, threads: str | None) -> Iterator[Callable[P, B]]:
    """`open_one` for one test: what it opened is closed at the end, and no thread of the plugin may be left then.

    `threads`: how the names of the plugin's threads begin; None where they have no common name, and no new thread at
    all may be left, but those of a relay, which the test closes later.
    """
    before = set(threading.enumerate())
    opened: list[B] = []

    def open_and_keep(*args: P.args, **kwargs: P.kwargs) -> B:
        backend = open_one(*args, **kwargs)
        opened.append(backend)
        return backend

    yield open_and_keep
    for backend in opened:
        backend.close()
    left = [one.name for one in threading.enumerate() if _counts(one, before, threads)]
    assert not left, f"threads left behind: {left}"


def _counts(thread: threading.Thread, before: set[threading.Thread], threads: str | None) -> bool:
    if threads is not None:
        return thread.name.startswith(threads)
    return thread not in before and not thread.name.startswith(RELAY_THREADS)


def put(backend: Backend, key: str, value: bytes = b"x", lease_id: str | None = None) -> int:
    """Put one key; answers the revision."""
    return backend.commit(Transaction((), (Put(key, value, lease_id),)), timeout=5).revision
