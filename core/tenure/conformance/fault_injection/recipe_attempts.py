"""What a client does with recipes while its answers get lost, and what has to be in the store afterwards."""

from __future__ import annotations

import contextlib
import time
from collections import Counter as Multiset
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from tenure._client.store import Store
from tenure.conformance.fault_injection.faults import SHORT, wait_for_effects, works_again
from tenure.conformance.harness.assertions import EVENT_TIMEOUT
from tenure.conformance.harness.context import RuleContext
from tenure.conformance.network import Cut, CutPoint, Direction, Together
from tenure.conformance.workloads.participants import IN_VAIN, Client, without_error
from tenure.conformance.workloads.threads import Running
from tenure.errors import OutcomeUnknown, Unavailable
from tenure.recipes.atomic_value import AtomicValue
from tenure.recipes.count_down_latch import CountDownLatch
from tenure.recipes.lock import Lock
from tenure.recipes.work_queue import Claim, WorkQueue

T = TypeVar("T")

_MANY = 1000
"""More count-downs than are made."""
_ATTEMPTS = 4
_LOOK = 0.5
"""Seconds that a consumer waits for an item before it looks whether it was done."""
DID = "counted, counted down, worked off items and took a lock while answers were lost"


class Attempts:
    """One client, and how its calls ended. Each call is repeated only if the recipe says that nothing was done.

    The connection is cut under the very request that writes.
    """

    cuts = 5
    """Requests that are cut each time."""

    def __init__(self, context: RuleContext, client: Client) -> None:
        self._context = context
        self._client = client
        self._counted: Multiset[str] = Multiset()
        self._down = 0
        self._items = 0
        self._doubtful = 0
        self._latch = context.make(CountDownLatch, client.store, "parts", count=_MANY)
        self._lock = context.make(Lock, client.store, "resource", session=client.session)
        self._queue = context.make(WorkQueue, client.store, "jobs", max_attempts=100, session=client.session)
        self._point = CutPoint.AFTER_REPLY
        self._armed: list[Together] = []

    def make(self, point: CutPoint) -> int:
        """Do each once, while answers are lost at ``point``. Return how many connections were broken."""
        self._point = point
        broken = 0
        for attempt in (self._count, self._count_down, self._work, self._take_the_lock):
            try:
                with without_error(self._context.check, DID, "calls that end, and do what they say once"):
                    attempt()
            finally:
                broken += sum(cut.effects for cut in self._armed)
                while self._armed:
                    self._armed.pop().remove()
        return broken

    def _cut(self) -> None:
        """Cut the connection under the next request."""
        self._armed.append(self._context.network.add(Cut(point=self._point), Direction.UP))

    def _count(self) -> None:
        """Add one to a number. An outcome that stays unknown may have been counted."""

        def add(before: bytes | None) -> bytes:
            if not self._armed:
                self._cut()
            return str(int(before or 0) + 1).encode()

        try:
            self._answered(partial(self._context.make(AtomicValue, self._client.store, "number").update, add))
            self._counted["acknowledged"] += 1
        except OutcomeUnknown:
            self._counted["unknown"] += 1

    def _count_down(self) -> None:
        """Count down once. The same object finishes a count-down whose answer was lost."""
        self._cut()
        try:
            self._answered(self._latch.count_down)
        except OutcomeUnknown:
            self._answered(self._latch.count_down)
        self._down += 1

    def _work(self) -> None:
        """Put an item and work until it is done. One whose outcome stays unknown may come back."""
        value = f"job {self._items}".encode()
        self._answered(partial(self._queue.put, value))
        self._items += 1
        deadline = time.monotonic() + EVENT_TIMEOUT
        while time.monotonic() < deadline:
            claim = self._answered(partial(self._queue.claim, timeout=_LOOK))
            if claim is None:
                continue
            if not self._armed:
                self._cut()
            try:
                self._answered(partial(self._acknowledge, claim))
            except OutcomeUnknown:
                self._doubtful += 1
            if claim.value == value:
                return

    def _take_the_lock(self) -> None:
        """Take a lock and release it. What is left of an attempt with an unknown outcome is removed soon."""
        self._cut()
        held = self._answered(partial(self._lock.acquire, timeout=EVENT_TIMEOUT))
        self._cut()
        held.release()

    def give_up(self) -> int:
        """Ask for the lock, lose the answer to that, and can't reach the store until the wait is over.

        On a slow machine the wait may be over before; then it is longer the next time. Returns how many connections
        were broken.
        """
        broken = 0
        for number in range(_ATTEMPTS):
            broken = broken or self._give_up(SHORT * (1 + number))
        return broken

    def _give_up(self, timeout: float) -> int:
        network = self._context.network

        def take() -> None:
            with contextlib.suppress(*IN_VAIN):
                self._lock.acquire(timeout=timeout).release()

        with network.add(Cut(point=CutPoint.AFTER_REPLY), Direction.UP) as cut:
            taking = Running(self._context.check, [take], DID)
            wait_for_effects(cut, 1, EVENT_TIMEOUT, unless=lambda: not taking.alive)
            with network.down():
                taking.join()
        works_again(self._context, self._client.store)
        return cut.effects

    def _acknowledge(self, claim: Claim) -> None:
        done = _done(claim.value)
        claim.ack(self._client.store.transaction().if_absent(done).put(done, b""))

    def judge(self, reader: Store) -> None:
        """Check what is in the store."""
        check = self._context.check
        counted = {"acknowledged": self._counted["acknowledged"], "unknown": self._counted["unknown"]}
        final = self._context.make(AtomicValue, reader, "number").get()
        data = {"start": 0, **counted, "final": None if final is None else int(final)}
        problems = self._context.evidence.check("counter", data)
        check.no_problems(problems, DID, expected="every acknowledged addition, and some of the unknown ones")
        left = self._context.make(CountDownLatch, reader, "parts", count=_MANY).remaining()
        check.equal(_MANY - left, self._down, f"{DID}; count-downs that are in the store")
        check.enough(
            self._items - self._doubtful, self._items // 2, "an item that was put and acknowledged with an answer"
        )
        done = {_done(f"job {number}".encode()) for number in range(self._items)}
        missing = done - {*reader.list("done/", keys_only=True).keys}
        check.true(
            len(missing) <= self._doubtful, f"{DID}; items that are not done", expected=self._doubtful, seen=missing
        )
        check.eventually(
            lambda: reader.list("tenure/lock/", keys_only=True).keys,
            lambda keys: not keys,
            f"{DID}; keys that are left of the lock",
            expected=(),
        )

    def _answered(self, call: Callable[[], T]) -> T:
        """Repeat ``call`` while it says that nothing was done because the store could not be reached."""
        deadline = time.monotonic() + EVENT_TIMEOUT
        while True:
            try:
                return call()
            except Unavailable:
                if time.monotonic() >= deadline:
                    raise


def _done(value: bytes) -> str:
    return f"done/{value.decode()}"
