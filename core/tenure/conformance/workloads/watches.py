"""One run of writers beside watchers, which the rules W1 to W5 look at: what was told, what was true."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass

from tenure.conformance.checkers.write_history import Timeline
from tenure.conformance.harness.assertions import EVENT_TIMEOUT, RuleViolated
from tenure.conformance.harness.context import RuleContext
from tenure.conformance.workloads.recording_watcher import Follower
from tenure.conformance.workloads.writers import LAST_KEY, Workload
from tenure.spi import KeyValue
from tenure.watch import Batch


@dataclass(frozen=True, slots=True)
class Observed:
    """A run of writers beside watchers: what was told, what was true."""

    early: Sequence[Batch]
    """Told to a watch opened before the first write."""
    amid: Sequence[Sequence[Batch]]
    """Told to watches opened while writers wrote."""
    timeline: Timeline
    """What happened under ``w/``."""
    listed: tuple[KeyValue, ...]
    exact: bool

    @property
    def all(self) -> list[Sequence[Batch]]:
        """What each watch was told."""
        return [self.early, *self.amid]


def observe(context: RuleContext) -> Observed:
    """Three writers on eight keys; one watch from before, twelve opened in the middle of it."""
    check = context.check
    stores = [context.store, context.connect()]
    with ExitStack() as stack:
        early = stack.enter_context(Follower(check, stores[1].watch("w/", previous=True)))
        early.wait_in_sync()
        workload = Workload(check, stores, turns=0)
        amid = []
        for number in range(12):
            workload.more(24)
            amid.append(stack.enter_context(Follower(check, stores[number % 2].watch("w/", previous=True))))
            workload.wait(24 * number)
        last = workload.finish()
        _let_them_hear(last, (early, *amid))
        timeline = workload.history.timeline().under("w/")
        check.enough(len(timeline.steps), 100, "a change under the watched prefix")
        spread = {follower.wait_in_sync() for follower in amid}
        check.enough(len(spread), 4, "a watch opened at another moment of the writing")
        return Observed(
            tuple(early.batches),
            [tuple(follower.batches) for follower in amid],
            timeline,
            context.store.list("w/").items,
            context.capabilities.lossless_watch,
        )


def _let_them_hear(last: int, followers: Sequence[Follower]) -> None:
    """Wait until all have been told the last key. One that never is stays as it is: what it misses is for the rules."""
    deadline = time.monotonic() + EVENT_TIMEOUT
    for follower in followers:
        with suppress(RuleViolated):
            left = max(0.0, deadline - time.monotonic())
            follower.wait_for(LAST_KEY, last, "wrote a last key after all others", within=left)
        if follower.error is not None:
            raise follower.error
