"""Writers and watchers that go on while something bad happens to their server, and the judging of what they saw.

Held against the acknowledged writes: each watcher is told the truth, in order, and ends with what a list shows; what
was acknowledged is there; what was refused is not; what is unknown was applied at most once.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from types import TracebackType
from typing import Self

from tenure.conformance.checkers import watches, write_history
from tenure.conformance.checkers.write_history import Timeline
from tenure.conformance.fault_injection.faults import RECOVERY, in_flight, insist
from tenure.conformance.harness.assertions import PATIENCE
from tenure.conformance.harness.context import World
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


class Ride:
    """Three writers and two watchers; use it in ``with``, and :meth:`judge` at the end."""

    def __init__(self, world: World, *, every_acknowledged: bool) -> None:
        self._world = world
        self._every_acknowledged = every_acknowledged
        self._followers: list[Follower] = []
        self._settled = True
        for _ in range(2):
            self._followers.append(Follower(world.check, world.connect().watch("w/", previous=True)))
        for follower in self._followers:
            follower.wait_in_sync()
        stores = [world.connect(timeout=_TRY) for _ in range(2)]
        self.workload = Workload(world.check, stores, turns=0, faults=True)

    def suffer(self, failures: int = 2) -> None:
        """Let writers try until so many have failed, if they do; called while the fault is there."""
        self._settled = False
        self.workload.wait_failed(failures, PATIENCE)

    def go_on(self, acknowledged: int) -> None:
        """So many transactions more are acknowledged, in bounded time."""
        if not self.workload.wait_acknowledged(acknowledged, RECOVERY):
            raise self._world.check.fail(
                "let writers go on",
                expected=f"{acknowledged} acknowledged transactions more within {RECOVERY:g} s",
                seen=f"not so many, {self.workload.failed_writes} have failed so far",
            )

    def catch_up(self, number: int) -> None:
        """Both watchers are told of a change that is made now."""
        key = f"w/~{number}"
        revision = self.workload.mark(key, retry=insist)
        for follower in self._followers:
            follower.wait_for(key, revision, f"put a key after fault number {number + 1}", within=RECOVERY)

    def settle(self) -> None:
        """Enough transactions are acknowledged before a fault, and again after it."""
        if self._settled:
            done = self.workload.wait_acknowledged(_AROUND, RECOVERY)
            self._world.check.enough(_AROUND if done else 0, _AROUND, "an acknowledged write before the fault")
        else:
            self.go_on(_AROUND)
            self._settled = True

    def enough_in_flight(self, windows: Iterable[FaultWindow]) -> None:
        """Each fault met calls that were under way."""
        for window in windows:
            self._world.check.enough(in_flight(self._world, window), 1, f"a call under way during {window.fault!r}")

    def judge(self) -> None:
        """Let everything come to rest, and hold what was told and what is there against what was acknowledged."""
        world = self._world
        self.settle()
        self.enough_in_flight(world.evidence.windows)
        last = self.workload.finish(retry=insist)
        timeline = self.workload.history.timeline().under("w/")
        world.check.enough(len(timeline.steps), _AROUND, "an acknowledged change")
        if not self._every_acknowledged:
            # What such a store has lost was deleted, as watchers are told it, and nobody has made that delete.
            lost = tuple(Delete(key) for key in dict.fromkeys(key for key, _ in timeline.items))
            timeline = Timeline(timeline.steps, timeline.deletes, timeline.doubtful + lost)
        for follower in self._followers:
            follower.wait_for(LAST_KEY, last, "wrote a last key when all was well again", within=RECOVERY)
        listed, told = self._at_one_moment(late=bool(timeline.doubtful))
        exact = world.capabilities.lossless_watch
        checks = [watches.ORDER, watches.TRUTH, watches.CONVERGENCE, watches.SHAPE, watches.KINDS]
        checks.append(watches.ONCE)
        if self._every_acknowledged:
            checks.append(watches.ACKNOWLEDGED)
        if exact and not any(batch.type is BatchType.RESYNC for batches in told for batch in batches):
            checks.append(watches.TRANSACTIONS)
        data = watches.record(
            checks,
            told,
            timeline=timeline,
            listed=listed,
            exact=exact,
            previous=True,
            after=[batches[1].revision for batches in told],
        )
        world.check.no_problems(
            world.evidence.judge("watch", data),
            "held what is there, and what watchers were told, against the acknowledged writes",
            expected="the truth",
        )

    def _at_one_moment(self, *, late: bool) -> tuple[tuple[KeyValue, ...], list[list[Batch]]]:
        """What is there, and what each watcher was told.

        A write whose outcome is unknown may still be on its way, and be applied between the one look and the other
        (``late``): then they are looked at again, a few times.
        """
        deadline = time.monotonic() + _LATE
        while True:
            listing = self._world.store.list("w/", timeout=RECOVERY)
            told = [list(follower.batches) for follower in self._followers]
            differ = any(write_history.check_convergence(batches, listing) for batches in told)
            if not differ or not late or time.monotonic() > deadline:
                return listing.items, told
            time.sleep(_AGAIN)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.workload.stop()
        for follower in self._followers:
            follower.watch.close()
