"""A store over a scripted backend, on real or on manual time; and no thread of core's is left by any test here."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tenure._client.store import Store
from tenure._runtime.clock import ManualClock
from tenure_testkit.waiting import until

from .doubles import ScriptedBackend, forget_earlier_threads, own_threads


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    forget_earlier_threads()
    yield
    until(lambda: not own_threads(), what="an end of the threads that this test started")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def backend() -> ScriptedBackend:
    return ScriptedBackend()


@pytest.fixture
def open_store() -> Iterator[Callable[..., Store]]:
    """``wrap``, with every store closed at the end."""
    opened: list[Store] = []

    def open_store(backend: ScriptedBackend, **arguments: object) -> Store:
        opened.append(Store.from_backend(backend, **{"url": "double://", "timeout": 1.0, **arguments}))  # type: ignore[arg-type]  # by name
        return opened[-1]

    yield open_store
    for store in opened:
        store.close()


@pytest.fixture
def store(backend: ScriptedBackend, open_store: Callable[..., Store]) -> Store:
    """On real time."""
    return open_store(backend)


@pytest.fixture
def held(backend: ScriptedBackend, open_store: Callable[..., Store], clock: ManualClock) -> Store:
    """On manual time."""
    return open_store(backend, clock=clock)
