"""Writers and watchers that run while a fault is injected, and the check of what they saw.

The check compares it with the acknowledged writes. Each watcher receives true events, in order, and ends with the
state that a list shows. The store has what it acknowledged and nothing that it refused, and applied each write of
unknown outcome at most once.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from types import TracebackType
from typing import Self

from tenure.conformance.checkers import watches, write_history
from tenure.conformance.checkers.write_history import Timeline
from tenure.conformance.fault_injection.faults import RECOVERY, in_flight, retry_until_answered
from tenure.conformance.harness.assertions import EVENT_TIMEOUT
from tenure.conformance.harness.context import RuleContext
from tenure.conformance.harness.evidence import FaultWindow
from tenure.conformance.workloads.recording_watcher import Follower
from tenure.conformance.workloads.writers import LAST_KEY, Workload
from tenure.spi import Delete, KeyValue
from tenure.watch import Batch, BatchType

_AROUND = 20
"""Acknowledged transactions needed before and after a fault."""

_TRY = 1.0
"""Seconds for each write."""

_LATE = 3.0
"""Seconds in which watchers and a list have to agree, although a late write may come between them."""
_AGAIN = 0.02


class FaultWorkload:
    """Three writers and two watchers. Use it in ``with``, and call :meth:`check` at the end."""

    def __init__(self, context: RuleContext, *, every_acknowledged: bool) -> None:
        self._context = context
        self._every_acknowledged = every_acknowledged
        self._followers: list[Follower] = []
        self._settled = True
        for _ in range(2):
            self._followers.append(Follower(context.check, context.connect().watch("w/", previous=True)))
        for follower in self._followers:
            follower.wait_in_sync()
        stores = [context.connect(timeout=_TRY) for _ in range(2)]
        self.writers = Workload(context.check, stores, turns=0, faults=True)

    def wait_for_failures(self, failures: int = 2) -> None:
        """Let the writers try until this many writes have failed, if they do. Call it during the fault."""
        self._settled = False
        self.writers.wait_failed(failures, EVENT_TIMEOUT)

    def wait_for_progress(self, acknowledged: int) -> None:
        """Wait until this many more transactions are acknowledged, in bounded time."""
        if not self.writers.wait_acknowledged(acknowledged, RECOVERY):
            raise self._context.check.fail(
                "let the writers continue",
                expected=f"{acknowledged} acknowledged transactions more within {RECOVERY:g} s",
                seen=f"fewer; {self.writers.failed_writes} writes have failed so far",
            )

    def catch_up(self, number: int) -> None:
        """Wait until both watchers have received a change that is made now."""
        key = f"w/~{number}"
        revision = self.writers.mark(key, retry=retry_until_answered)
        for follower in self._followers:
            follower.wait_for(key, revision, f"put a key after fault number {number + 1}", within=RECOVERY)

    def settle(self) -> None:
        """Wait until enough transactions are acknowledged, before a fault and again after it."""
        if self._settled:
            done = self.writers.wait_acknowledged(_AROUND, RECOVERY)
            self._context.check.enough(_AROUND if done else 0, _AROUND, "an acknowledged write before the fault")
        else:
            self.wait_for_progress(_AROUND)
            self._settled = True

    def enough_in_flight(self, windows: Iterable[FaultWindow]) -> None:
        """Require that calls were under way during each fault."""
        for window in windows:
            self._context.check.enough(in_flight(self._context, window), 1, f"a call under way during {window.fault!r}")

    def check(self) -> None:
        """Let everything settle; compare what watchers received and a list shows with the acknowledged writes."""
        context = self._context
        self.settle()
        self.enough_in_flight(context.evidence.windows)
        last = self.writers.finish(retry=retry_until_answered)
        timeline = self.writers.history.timeline().under("w/")
        context.check.enough(len(timeline.steps), _AROUND, "an acknowledged change")
        if not self._every_acknowledged:
            # Watchers receive what such a store has lost as a delete, which no client made.
            lost = tuple(Delete(key) for key in dict.fromkeys(key for key, _ in timeline.items))
            timeline = Timeline(timeline.steps, timeline.deletes, timeline.doubtful + lost)
        for follower in self._followers:
            follower.wait_for(LAST_KEY, last, "wrote a last key after the faults", within=RECOVERY)
        listed, received = self._list_and_batches(late=bool(timeline.doubtful))
        exact = context.capabilities.lossless_watch
        checks = [watches.ORDER, watches.TRUTH, watches.CONVERGENCE, watches.SHAPE, watches.KINDS]
        checks.append(watches.ONCE)
        if self._every_acknowledged:
            checks.append(watches.ACKNOWLEDGED)
        if exact and not any(batch.type is BatchType.RESYNC for batches in received for batch in batches):
            checks.append(watches.TRANSACTIONS)
        data = watches.record(
            checks,
            received,
            timeline=timeline,
            listed=listed,
            exact=exact,
            previous=True,
            after=[batches[1].revision for batches in received],
        )
        context.check.no_problems(
            context.evidence.check("watch", data),
            "compared a list, and what watchers received, with the acknowledged writes",
            expected="no contradiction",
        )

    def _list_and_batches(self, *, late: bool) -> tuple[tuple[KeyValue, ...], list[list[Batch]]]:
        """Return a list of the keys, and the batches that each watcher received.

        A write of unknown outcome may still be under way (``late``). It may be applied after the list and before the
        batches are read; then both are read again, for a few seconds.
        """
        deadline = time.monotonic() + _LATE
        while True:
            listing = self._context.store.list("w/", timeout=RECOVERY)
            received = [list(follower.batches) for follower in self._followers]
            differ = any(write_history.check_convergence(batches, listing) for batches in received)
            if not differ or not late or time.monotonic() > deadline:
                return listing.items, received
            time.sleep(_AGAIN)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.writers.stop()
        for follower in self._followers:
            follower.watch.close()
