"""The script of faults: a test writes it, and the faulty layer consults it before each call.

A sandbox has one plan for all its connections. A call meets, in this order: a scripted refusal, an outage, a hang. A
call that passes reaches the store.
"""

from __future__ import annotations

import copy
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from tenure._runtime.clock import Clock
from tenure._runtime.monitor import Monitor
from tenure.errors import Compacted, DeadlineExceeded, InvalidArgument, OutcomeUnknown, TenureError, Unavailable
from tenure.spi.types import CommitResult

OPERATIONS = ("open", "get", "list", "commit", "grant", "refresh", "revoke", "leases", "watch", "server_info")
_WRITES = frozenset(("commit", "grant", "refresh", "revoke"))


class Cuttable(Protocol):
    """A running watch, as the plan uses it."""

    def cut(self, error: TenureError) -> None: ...

    def release(self) -> None: ...


@dataclass(slots=True)
class Refusal:
    """Calls that are scripted to fail, from :meth:`Faults.fail_calls`.

    Attributes:
        error: the error that the calls raise.
        operations: the kinds of calls that fail; empty: any.
        left: the number of calls that will still fail.
        refused: the number of calls that have failed.
    """

    error: TenureError
    operations: frozenset[str]
    left: int
    refused: int = 0

    def __str__(self) -> str:
        kinds = " or ".join(sorted(self.operations)) if self.operations else "any"
        return f"refuse {self.left} calls ({kinds}) with {type(self.error).__name__}"


@dataclass(slots=True)
class LostAnswer:
    """A write whose answer is scripted to be lost, from :meth:`Faults.next_write_unknown`.

    Attributes:
        applied: whether the store applies the write.
        happened: whether the write was made.
    """

    applied: bool
    happened: bool = False
    _late: Callable[[], CommitResult] | None = field(default=None, repr=False)

    def deliver_late(self) -> CommitResult:
        """Let a write that was not applied reach the store now, as a write that was under way for a long time.

        Returns:
            The result of the write.

        Raises:
            InvalidArgument: no write is under way.
            Conflict: a precondition fails by now; or any other error of the store.
        """
        late, self._late = self._late, None
        if late is None:
            raise InvalidArgument(
                "delivering a write late: no write is under way; it wasn't made yet, was applied, or has arrived"
            )
        return late()

    def hold(self, write: Callable[[], CommitResult]) -> None:
        """Keep a write that is under way and hasn't reached the store; the layer that loses the answer calls it.

        Args:
            write: makes the write in the store.
        """
        self._late = write

    def __str__(self) -> str:
        return f"lose the answer of a write that was {'' if self.applied else 'not '}applied"


class Plan:
    """The script, and the running watches. Thread-safe."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.calls: Counter[str] = Counter()
        self._condition = Monitor()
        self._refusals: list[Refusal] = []
        self._lost: deque[LostAnswer] = deque()
        self._watches: set[Cuttable] = set()
        self.down = False
        self.frozen = False
        self.deaf = False

    # -- for the faulty layer --

    def admit(self, operation: str, timeout: float) -> None:
        """Return if this call may reach the store; otherwise raise the error that it meets."""
        with self._condition:
            self.calls[operation] += 1
            for refusal in self._refusals:
                if not refusal.operations or operation in refusal.operations:
                    refusal.left -= 1
                    refusal.refused += 1
                    if not refusal.left:
                        self._refusals.remove(refusal)
                    raise copy.copy(refusal.error)
            if self.down:
                raise Unavailable("the store has an outage, as scripted by the test")
            if self.deaf and operation == "watch":
                raise Unavailable("no watch can be opened now, as scripted by the test")
            if not self.frozen or self._condition.wait_for(lambda: not self.frozen, self.clock.pause(timeout)):
                return
        message = f"the store hangs, as scripted by the test: no answer within {timeout:g} s"
        raise OutcomeUnknown(message) if operation in _WRITES else DeadlineExceeded(message)

    def next_lost(self) -> LostAnswer | None:
        """Return the fault scripted for the answer of this write; called once for each write."""
        with self._condition:
            if not self._lost:
                return None
            lost = self._lost.popleft()
            lost.happened = True
            return lost

    def join(self, watch: Cuttable) -> None:
        with self._condition:
            self._watches.add(watch)

    def leave(self, watch: Cuttable) -> None:
        with self._condition:
            self._watches.discard(watch)

    # -- written by the test --

    def script(self, entry: Refusal | LostAnswer) -> None:
        with self._condition:
            if isinstance(entry, Refusal):
                self._refusals.append(entry)
            else:
                self._lost.append(entry)

    def unused(self) -> tuple[str, ...]:
        """Return the scripted faults that have not happened at all."""
        with self._condition:
            return tuple(str(entry) for entry in (*self._refusals, *self._lost) if not getattr(entry, "refused", 0))

    def clear(self) -> None:
        """Drop all scripted faults, and end the faults that last."""
        with self._condition:
            self._refusals.clear()
            self._lost.clear()
            self.down = self.deaf = False
        self.freeze(False)

    def cut(self, *, gap: bool = False) -> int:
        """End the running watches, and return their number."""
        error: TenureError = Unavailable("the watch was cut, as scripted by the test")
        if gap:
            error = Compacted("the history is gone, as scripted by the test")
        with self._condition:
            watches, self._watches = self._watches, set()
        for watch in watches:
            watch.cut(error)
        return len(watches)

    def freeze(self, frozen: bool) -> None:
        with self._condition:
            self.frozen = frozen
            watches = list(self._watches)
            self._condition.notify_all()
        if not frozen:
            for watch in watches:
                watch.release()
