"""Random faults on one store, one after the other, with pauses between."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from tenure.plugin_kit import monotonic

_HOLDS = (0.2, 1.0, 3.0, 8.0)
"""Seconds that a fault lasts at most: shorter and longer than a call's timeout and a lease's TTL."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What can happen. ``begin`` returns what ends it."""

    name: str
    begin: Callable[[random.Random], Callable[[], object]]
    weight: int = 2


class Prey(Protocol):
    """What the weather acts on."""

    @property
    def faults(self) -> list[Fault]: ...

    def recover(self) -> None:
        """Undo whatever is left, and wait until the store answers."""


class Weather:
    """A thread with random faults; it begins calm."""

    def __init__(self, prey: Prey, seed: str) -> None:
        self.counts: Counter[str] = Counter()
        self.log: list[tuple[float, float, str]] = []
        """When each fault began, when it ended, and which it was."""
        self.problems: list[str] = []
        self._prey = prey
        self._random = random.Random(f"{seed}/weather")
        self._blowing = threading.Event()
        self._still = threading.Event()
        self._still.set()
        self._changed = threading.Event()
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="weather", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while True:
            self._blowing.wait()
            if self._ended:
                return
            self._changed.wait(self._random.uniform(0.3, 2.5))
            if self._blowing.is_set() and not self._ended:
                self._one()
            if not self._blowing.is_set():
                self._still.set()

    def _one(self) -> None:
        faults = self._prey.faults
        fault = self._random.choices(faults, [fault.weight for fault in faults])[0]
        hold = self._random.choice(_HOLDS) * self._random.random()
        began = monotonic()
        try:
            end = fault.begin(self._random)
            self._changed.wait(hold)
            end()
        except Exception as exc:  # noqa: BLE001 - a fault that failed shows nothing, and is reported
            self.problems.append(f"the fault {fault.name!r} failed: {exc!r}")
            self._prey.recover()
        self.counts[fault.name] += 1
        self.log.append((began, monotonic(), fault.name))

    def blow(self) -> None:
        """Begin with faults."""
        self._changed.clear()
        self._still.clear()
        self._blowing.set()

    def calm(self) -> None:
        """End the present fault. The store answers when this returns."""
        if self._blowing.is_set():
            self._blowing.clear()
            self._changed.set()
            self._still.wait()
        self._prey.recover()

    def close(self) -> None:
        """End the thread."""
        self.calm()
        self._ended = True
        self._blowing.set()
        self._thread.join()
