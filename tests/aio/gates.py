"""A store in memory whose calls wait at a gate, as calls of a server do."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from tenure import Store, SystemClock
from tenure_memory.backend import MemoryBackend
from tenure_memory.server import MemoryServer
from tenure_testkit.waiting import PATIENCE

GATED = ("get", "commit", "grant", "list")


class GatedBackend(MemoryBackend):
    """Each call of `GATED` waits until its gate is open. It counts those that have begun, and fails as it is told."""

    immediate = False

    def __init__(self) -> None:
        super().__init__(MemoryServer("gated"), clock=SystemClock(), history=None)
        self.gate = threading.Event()
        self.gate.set()
        self.begun: list[str] = []

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        return _gated(self, name, found) if name in GATED else found


def _gated(backend: GatedBackend, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
    def made(*args: Any, **kwargs: Any) -> Any:
        backend.begun.append(name)
        assert backend.gate.wait(PATIENCE)
        return call(*args, **kwargs)

    return made


def gated() -> tuple[Store, GatedBackend]:
    """A store and its gates, which are open."""
    backend = GatedBackend()
    return Store.from_backend(backend, url="memory://gated", timeout=PATIENCE), backend
