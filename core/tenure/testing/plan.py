"""What is to go wrong: the script that a test writes, and that the faulty layer asks before each call.

One plan for a sandbox, however many connections it has. Order of what can happen to a call: a refusal that was
scripted for it, then an outage, then a freeze; what passes reaches the store.
"""

from __future__ import annotations

import copy
import threading
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from tenure._runtime.clock import Clock
from tenure.errors import Compacted, DeadlineExceeded, InvalidArgument, OutcomeUnknown, TenureError, Unavailable
from tenure.spi.types import CommitResult

OPERATIONS = ("open", "get", "list", "commit", "grant", "refresh", "revoke", "leases", "watch", "server_info")
_WRITES = frozenset(("commit", "grant", "refresh", "revoke"))


class Cuttable(Protocol):
    """A running watch, as the plan sees it."""

    def cut(self, error: TenureError) -> None: ...

    def release(self) -> None: ...


@dataclass(slots=True)
class Refusal:
    """Calls that are to be refused. ``refused`` counts those that were."""

    error: TenureError
    operations: frozenset[str]
    left: int
    refused: int = 0

    def __str__(self) -> str:
        kinds = " or ".join(sorted(self.operations)) if self.operations else "any"
        return f"refuse {self.left} calls ({kinds}) with {type(self.error).__name__}"


@dataclass(slots=True)
class LostAnswer:
    """A write whose answer is to be lost. ``happened`` tells whether there has been one."""

    applied: bool
    happened: bool = False
    _late: Callable[[], CommitResult] | None = field(default=None, repr=False)

    def deliver_late(self) -> CommitResult:
        """Let the write of ``applied=False`` reach the store now, as one that was under way for long.

        Raises ``InvalidArgument`` if there is none that could, and what the store answers.
        """
        late, self._late = self._late, None
        if late is None:
            raise InvalidArgument("no write is under way: it hasn't been made yet, was applied, or has arrived already")
        return late()

    def hold(self, write: Callable[[], CommitResult]) -> None:
        """``write`` is under way and hasn't reached the store; for the layer that loses the answer."""
        self._late = write

    def __str__(self) -> str:
        return f"lose the answer of a write that was {'' if self.applied else 'not '}applied"


class Plan:
    """The script, and the watches that run. Thread-safe."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.calls: Counter[str] = Counter()
        self._condition = threading.Condition()
        self._refusals: list[Refusal] = []
        self._lost: deque[LostAnswer] = deque()
        self._watches: set[Cuttable] = set()
        self.down = False
        self.frozen = False
        self.deaf = False

    # -- asked by the faulty layer --

    def admit(self, operation: str, timeout: float) -> None:
        """Return if this call may reach the store, else raise what happens to it."""
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
                raise Unavailable("the store has an outage, as the test wants it")
            if self.deaf and operation == "watch":
                raise Unavailable("no watch can be opened now, as the test wants it")
            if not self.frozen or self._condition.wait_for(lambda: not self.frozen, self.clock.pause(timeout)):
                return
        said = f"the store is frozen, as the test wants it: no answer within {timeout:g} s"
        raise OutcomeUnknown(said) if operation in _WRITES else DeadlineExceeded(said)

    def next_lost(self) -> LostAnswer | None:
        """What is to happen to the answer of this write; asked once for each."""
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
        """What was scripted and has not happened at all."""
        with self._condition:
            return tuple(str(entry) for entry in (*self._refusals, *self._lost) if not getattr(entry, "refused", 0))

    def clear(self) -> None:
        """Nothing is scripted any more, and nothing goes on."""
        with self._condition:
            self._refusals.clear()
            self._lost.clear()
            self.down = self.deaf = False
        self.freeze(False)

    def cut(self, *, gap: bool = False) -> int:
        """End the watches that run; answers how many there were."""
        error: TenureError = Unavailable("the watch was cut, as the test wants it")
        if gap:
            error = Compacted("the history is gone, as the test wants it")
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
