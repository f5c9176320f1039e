"""What was really done and seen while a rule ran: the part of a report that makes its verdict worth something.

Operations are counted and timed by an observer on every store that the rule opens, without the rule's help. What a
rule adds is the harm that was done (:meth:`Evidence.fault`) and the histories it judged (:meth:`Evidence.judge`),
which are kept, so that anyone can judge them again later.

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
"""Operations kept one by one for each rule; later ones are counted only."""


@dataclass(frozen=True, slots=True)
class OperationSeen:
    """One call of a store's method that ended."""

    operation: str
    """``get``, ``list``, ``commit``, ``grant``, ..."""
    ended: float
    seconds: float
    error: str | None
    """Name of the error's class; ``None`` if it was answered."""


@dataclass(frozen=True, slots=True)
class BatchSeen:
    """One batch that a watch delivered to a rule that follows one."""

    at: float
    kind: str
    """``snapshot``, ``sync``, ``changes``, ``resync``."""
    events: int


@dataclass(slots=True)
class FaultWindow:
    """One fault: when it was there, and what it did. ``effects`` is 0 for a fault that did nothing."""

    fault: str
    began: float
    ended: float | None = None
    effects: int = 0
    """Connections cut, bytes held back, answers lost, calls that failed: whatever shows that it was real."""
    what: str = ""
    """What the effects are, in words."""


@dataclass(frozen=True, slots=True)
class JudgedHistory:
    """A history as it was recorded, in JSON's types, the judge that looked at it, and the problems it found."""

    judge: str
    data: Mapping[str, Any]
    problems: tuple[str, ...]


@dataclass(slots=True)
class Evidence:
    """Collected by the world of one rule; thread-safe."""

    began: float = field(default_factory=time.monotonic)
    counts: Counter[str] = field(default_factory=Counter)
    """Operations that were answered by name, ``name!Error`` those that raised, and what rules count themselves."""
    operations: list[OperationSeen] = field(default_factory=list)
    batches: list[BatchSeen] = field(default_factory=list)
    windows: list[FaultWindow] = field(default_factory=list)
    histories: list[JudgedHistory] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def now(self) -> float:
        """Seconds since the rule began."""
        return time.monotonic() - self.began

    def count(self, what: str, number: int = 1) -> None:
        """Something happened, such as ``"event"``, so often."""
        with self._lock:
            self.counts[what] += number

    def told(self, kind: str, events: int) -> None:
        """A watch delivered a batch of so many events."""
        with self._lock:
            self.counts["watch event"] += events
            self.counts[f"watch batch {kind}"] += 1
            if len(self.batches) < MAX_OPERATIONS:
                self.batches.append(BatchSeen(self.now, kind, events))

    @contextlib.contextmanager
    def fault(self, name: str) -> Iterator[FaultWindow]:
        """A fault is there while the block runs; the block sets ``effects`` and ``what`` on the window."""
        window = FaultWindow(name, self.now)
        with self._lock:
            self.windows.append(window)
        try:
            yield window
        finally:
            window.ended = self.now

    def judge(self, judge: str, data: Mapping[str, Any]) -> list[str]:
        """Judge ``data``, which has JSON's types only, and keep it; answers the problems found, none if all is well."""
        problems = by_name.judge(judge, data)
        with self._lock:
            self.histories.append(JudgedHistory(judge, data, tuple(problems)))
        return problems

    @property
    def observer(self) -> object:
        """For ``connect(observers=[...])``."""
        return _Observer(self)

    def operation_finished(self, operation: str, seconds: float, error: TenureError | None) -> None:
        """Called by the observer."""
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
