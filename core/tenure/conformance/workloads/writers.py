"""Writers that put, delete and transact on few keys from several threads, and record their operations."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial

from tenure._client.store import Store
from tenure.conformance.checkers.write_history import History
from tenure.conformance.harness.assertions import EVENT_TIMEOUT, Checks
from tenure.conformance.workloads.threads import Running
from tenure.errors import OutcomeUnknown, Unavailable
from tenure.spi import Delete, Operation, Put

LAST_KEY = "w/~last"
"""Sorts behind the others; its write ends a run."""

_KEYS = 8
_SEED = 20240229
_PACE = 0.002
"""Seconds between two grants of more transactions, of which each writer gets one."""


class Workload:
    """Threads that write under ``w/`` (and now and then beside it), as many transactions as they are allowed.

    No value is written twice, so a value identifies its write. With ``faults`` writes may fail or be unknown.
    """

    def __init__(
        self, check: Checks, stores: Sequence[Store], *, writers: int = 3, turns: int, faults: bool = False
    ) -> None:
        self.history = History()
        self.failed_writes = 0
        self._store = stores[0]
        self._faults = faults
        self._check = check
        self._allowed = threading.Condition()
        self._left = turns
        self._writers = writers
        self._made = 0
        self._stopped = False
        self._running = Running(
            check,
            [partial(self._write, number, stores[number % len(stores)]) for number in range(writers)],
            f"{writers} writers",
        )

    def _write(self, writer: int, store: Store) -> None:
        chance = random.Random(_SEED + writer)  # noqa: S311 - repeatable, hides nothing
        turn = 0
        while self._may_go_on():
            self._apply(store, tuple(self._operations(chance, f"{writer}-{turn}")))
            turn += 1
            with self._allowed:
                self._made += 1
                self._allowed.notify_all()

    def _may_go_on(self) -> bool:
        with self._allowed:
            self._allowed.wait_for(lambda: self._left > 0 or self._stopped)
            self._left -= 1
            return self._left >= 0

    def _operations(self, chance: random.Random, value: str) -> list[Operation]:
        kind = chance.random()
        keys = chance.sample(range(_KEYS), 4)
        if kind < 0.45:
            return [Put(f"w/0{keys[0]}", value.encode())]
        if kind < 0.65:
            return [Delete(f"w/0{keys[0]}")]
        operations: list[Operation] = [Put(f"w/0{key}", f"{value}/{key}".encode()) for key in keys]
        operations[chance.randrange(4)] = Delete(f"w/0{keys[0]}") if kind < 0.85 else Put("w0", value.encode())
        distinct = {operation.key: operation for operation in operations}
        return list(distinct.values())

    def _apply(self, store: Store, operations: tuple[Operation, ...]) -> None:
        transaction = store.transaction()
        for operation in operations:
            if isinstance(operation, Put):
                transaction.put(operation.key, operation.value)
            else:
                transaction.delete(operation.key)
        try:
            self.history.done(transaction.commit(), *operations)
        except OutcomeUnknown:
            if not self._faults:
                raise
            self.history.unknown(*operations)
            self.failed_writes += 1
        except Unavailable:
            if not self._faults:
                raise
            self.failed_writes += 1

    def more(self, turns: int) -> None:
        """Allow this many more transactions."""
        with self._allowed:
            self._left += turns
            self._allowed.notify_all()

    def wait(self, made: int) -> None:
        """Wait until this many transactions have been tried."""
        with self._allowed:
            self._allowed.wait_for(lambda: self._made >= made or self._running.failed, EVENT_TIMEOUT)
            self._check.enough(self._made, 0 if self._running.failed else made, "a write of a workload")

    @property
    def acknowledged(self) -> int:
        """The number of acknowledged transactions that had an effect."""
        return len(self.history)

    def wait_acknowledged(self, count: int, within: float) -> bool:
        """Wait until this many more transactions are acknowledged; return whether they were in time."""
        wanted = self.acknowledged + count
        return self._wait(lambda: self.acknowledged >= wanted, within)

    def wait_failed(self, count: int, within: float) -> bool:
        """Wait until this many more transactions have failed; return whether they did in time."""
        wanted = self.failed_writes + count
        return self._wait(lambda: self.failed_writes >= wanted, within)

    def _wait(self, until: Callable[[], bool], within: float) -> bool:
        now = time.monotonic()
        deadline, granting = now + within, now
        with self._allowed:
            while not until():
                now = time.monotonic()
                if now >= deadline or self._running.failed:
                    return False
                if self._left <= 0 and now >= granting:
                    self._left = self._writers  # as many as needed
                    self._allowed.notify_all()
                    granting = now + _PACE
                self._allowed.wait(min(deadline - now, _PACE if self._left <= 0 else 0.1))
            return True

    def stop(self) -> None:
        """Begin no further transaction."""
        with self._allowed:
            self._left = 0
            self._stopped = True
            self._allowed.notify_all()

    def finish(self, *, retry: Callable[[Callable[[], None]], None] = lambda call: call()) -> int:
        """Let the writers use up their allowance, write the last key, and return its revision."""
        with self._allowed:
            self._stopped = True
            self._allowed.notify_all()
        self._running.join()
        if not self._faults:
            self._delete_half()
        return self.mark(LAST_KEY, retry=retry)

    def mark(self, key: str, *, retry: Callable[[Callable[[], None]], None] = lambda call: call()) -> int:
        """Put one more key, whatever the writers do, and return the revision."""
        revision = 0
        put = Put(key, key.encode())

        def put_once() -> None:
            nonlocal revision
            try:
                revision = self.history.done(self._store.put(put.key, put.value), put).revision
            except OutcomeUnknown:
                self.history.unknown(put)
                raise

        retry(put_once)
        return revision

    def _delete_half(self) -> None:
        """End with deletes that no later write hides: a watcher that missed one has a key too many."""
        for key in range(_KEYS):
            self._apply(self._store, (Put(f"w/0{key}", f"last-{key}".encode()),))
        for key in range(_KEYS // 2):
            self._apply(self._store, (Delete(f"w/0{key}"),))
