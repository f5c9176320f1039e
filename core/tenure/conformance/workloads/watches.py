"""One run of writers beside watchers, which the rules about the contract of events inspect."""

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
    """A run of writers beside watchers: the batches delivered, and the writes made."""

    early: Sequence[Batch]
    """Delivered to a watch opened before the first write."""
    amid: Sequence[Sequence[Batch]]
    """Delivered to watches opened while the writers wrote."""
    timeline: Timeline
    """The changes under ``w/``."""
    listed: tuple[KeyValue, ...]
    exact: bool

    @property
    def all(self) -> list[Sequence[Batch]]:
        """The batches of each watch."""
        return [self.early, *self.amid]


def observe(context: RuleContext) -> Observed:
    """Run three writers on eight keys, with one watch opened before, and twelve opened meanwhile."""
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
        _wait_for_last_key(last, (early, *amid))
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


def _wait_for_last_key(last: int, followers: Sequence[Follower]) -> None:
    """Wait until all watchers received the last key. The rules find what a watcher misses that never does."""
    deadline = time.monotonic() + EVENT_TIMEOUT
    for follower in followers:
        with suppress(RuleViolated):
            left = max(0.0, deadline - time.monotonic())
            follower.wait_for(LAST_KEY, last, "wrote a last key after all others", within=left)
        if follower.error is not None:
            raise follower.error
