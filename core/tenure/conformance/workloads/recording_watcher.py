"""A consumer of a watch that records each batch and its time, and can be waited for."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from typing import Self

from tenure.conformance.harness.assertions import EVENT_TIMEOUT, Checks
from tenure.errors import StoreClosed, TenureError
from tenure.watch import Batch, BatchType, Event, Watch


class Follower:
    """Reads ``watch`` on a thread of its own until it is closed. Use it in ``with``."""

    def __init__(self, check: Checks, watch: Watch) -> None:
        self.watch = watch
        self.batches: list[Batch] = []
        self.arrived: list[float] = []
        """When each batch arrived, by ``time.monotonic``."""
        self.error: TenureError | None = None
        self._check = check
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="conformance-follower", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                batch = self.watch.next()
            except StoreClosed:
                return
            except TenureError as exc:
                with self._changed:
                    self.error = exc
                    self._changed.notify_all()
                return
            if batch is not None:
                self._check.evidence.delivered(batch.type.value, len(batch.events))
                with self._changed:
                    self.batches.append(batch)
                    self.arrived.append(time.monotonic())
                    self._changed.notify_all()

    # -- waiting --

    def wait(self, until: Callable[[], bool], did: str, *, expected: str, within: float = EVENT_TIMEOUT) -> None:
        """Wait until the condition on the recorded batches holds."""
        with self._changed:
            if not self._changed.wait_for(lambda: until() or self.error is not None, within) or self.error is not None:
                seen = f"the watch ended by {self.error!r}" if self.error else f"these batches: {self._tail()}"
                raise self._check.fail(f"{did}, waited {within:.1f} s", expected=expected, seen=seen)

    def wait_in_sync(self) -> int:
        """Wait for the present state, and return its revision."""
        self.wait(lambda: len(self.batches) > 1, "opened a watch", expected="a snapshot and that it is in sync")
        return self.batches[1].revision

    def wait_for(self, key: str, revision: int, did: str, *, within: float = EVENT_TIMEOUT) -> None:
        """Wait until the change of ``key`` at ``revision``, or a later one, was delivered."""
        self.wait(
            lambda: self.moment(key, revision) is not None,
            did,
            expected=f"an event of {key!r} at revision {revision} or later",
            within=within,
        )

    def moment(self, key: str, revision: int) -> float | None:
        """When the watcher first knew of the change of ``key`` at ``revision`` or a later one."""
        for batch, arrived in zip(self.batches, self.arrived, strict=False):
            if any(event.key == key and event.revision >= revision for event in batch.events):
                return arrived
        return None

    def event(self, key: str, accept: Callable[[Event], bool]) -> tuple[Event, float] | None:
        """The first acceptable event of ``key`` and when it came."""
        for batch, arrived in zip(self.batches, self.arrived, strict=False):
            for event in batch.events:
                if event.key == key and accept(event):
                    return event, arrived
        return None

    @property
    def resyncs(self) -> int:
        """The number of gaps delivered."""
        return sum(batch.type is BatchType.RESYNC for batch in self.batches)

    def close(self) -> None:
        """Close the watch; its reader has to come back."""
        self.watch.close()
        self._thread.join(EVENT_TIMEOUT)
        if self._thread.is_alive():
            raise self._check.fail("closed a watch", expected="its reader comes back", seen="still blocked")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is None:
            self.close()
        else:  # the first error is the one to report
            with contextlib.suppress(AssertionError):
                self.close()

    def _tail(self) -> str:
        return "; ".join(
            f"{batch.type}@{batch.revision} "
            + ", ".join(f"{event.type} {event.key[:20]!r}@{event.revision}" for event in batch.events[:4])
            for batch in self.batches[-6:]
        )
