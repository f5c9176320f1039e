"""What a rule did and saw: the part of a report that its verdict rests on.

An observer on every store that the rule opens counts and times the operations. The rule itself adds the faults that
it injected (:meth:`Evidence.fault`) and the histories that it checked (:meth:`Evidence.check`). The report keeps
these histories, so anyone can check them again later.

Times are seconds since the rule began, by ``time.monotonic``.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tenure.conformance.checkers import by_name
from tenure.errors import TenureError
from tenure.hookspecs import hookimpl

MAX_OPERATIONS = 20_000
"""Operations kept one by one for each rule; later ones are only counted."""


@dataclass(frozen=True, slots=True)
class OperationSeen:
    """One call of a store's method that ended."""

    operation: str
    """``get``, ``list``, ``commit``, ``grant``, ..."""
    ended: float
    seconds: float
    error: str | None
    """Name of the error's class; ``None`` if the call returned."""


@dataclass(frozen=True, slots=True)
class BatchSeen:
    """One batch that a watch delivered to a rule."""

    at: float
    kind: str
    """``snapshot``, ``synced``, ``changes``, ``resync``."""
    events: int


@dataclass(slots=True)
class FaultWindow:
    """One fault: when it lasted, and what it did. ``effects`` is 0 if it had no effect."""

    fault: str
    began: float
    ended: float | None = None
    effects: int = 0
    """Connections cut, bytes held back, answers lost, calls that failed: whatever shows that the fault was real."""
    what: str = ""
    """What the effects are, in words."""


@dataclass(frozen=True, slots=True)
class CheckedHistory:
    """A history as it was recorded, in JSON's types, the checker that read it, and the problems that it found."""

    checker: str
    data: Mapping[str, Any]
    problems: tuple[str, ...]


@dataclass(slots=True)
class Evidence:
    """Collected by the context of one rule. Thread-safe."""

    began: float = field(default_factory=time.monotonic)
    counts: Counter[str] = field(default_factory=Counter)
    """Calls that returned, by name; ``name!Error`` for those that raised; and what rules count themselves."""
    operations: list[OperationSeen] = field(default_factory=list)
    batches: list[BatchSeen] = field(default_factory=list)
    windows: list[FaultWindow] = field(default_factory=list)
    histories: list[CheckedHistory] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def now(self) -> float:
        """Seconds since the rule began."""
        return time.monotonic() - self.began

    def count(self, what: str, number: int = 1) -> None:
        """Count that ``what`` happened ``number`` times."""
        with self._lock:
            self.counts[what] += number

    def delivered(self, kind: str, events: int) -> None:
        """Record that a watch delivered a batch of this many events."""
        with self._lock:
            self.counts["watch event"] += events
            self.counts[f"watch batch {kind}"] += 1
            if len(self.batches) < MAX_OPERATIONS:
                self.batches.append(BatchSeen(self.now, kind, events))

    @contextlib.contextmanager
    def fault(self, name: str) -> Iterator[FaultWindow]:
        """Record a fault that lasts while the block runs; the block sets ``effects`` and ``what`` on the window."""
        window = FaultWindow(name, self.now)
        with self._lock:
            self.windows.append(window)
        try:
            yield window
        finally:
            window.ended = self.now

    def check(self, checker: str, data: Mapping[str, Any]) -> list[str]:
        """Check ``data``, of JSON's types only, keep it, and return the problems found (none if all is well)."""
        problems = by_name.check(checker, data)
        with self._lock:
            self.histories.append(CheckedHistory(checker, data, tuple(problems)))
        return problems

    @property
    def observer(self) -> object:
        """The observer to give to ``connect(observers=[...])``."""
        return _Observer(self)

    def operation_finished(self, operation: str, seconds: float, error: TenureError | None) -> None:
        """Count and time one call; the observer calls it."""
        name = None if error is None else type(error).__name__
        with self._lock:
            self.counts[operation if name is None else f"{operation}!{name}"] += 1
            if len(self.operations) < MAX_OPERATIONS:
                self.operations.append(OperationSeen(operation, self.now, seconds, name))


class _Observer:
    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence

    @hookimpl
    def tenure_operation_finished(
        self,
        url: str,
        operation: str,
        seconds: float,
        error: TenureError | None,
    ) -> None:
        self._evidence.operation_finished(operation, seconds, error)

    @hookimpl
    def tenure_watch_resynced(self, url: str, prefix: str, reason: str) -> None:
        self._evidence.count("watch resynced")

    @hookimpl
    def tenure_lease_lost(self, url: str, lease_id: str, reason: str) -> None:
        self._evidence.count("lease lost")
