"""A run of clients that share: readers and writers, holders of permits, holders of several locks at once."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from tenure.conformance.harness.context import RuleContext
from tenure.conformance.workloads.leases import seconds_of_a_put
from tenure.conformance.workloads.lock_turns import PATIENT, SLOW
from tenure.conformance.workloads.participants import IN_VAIN, Client, in_vain, without_error
from tenure.conformance.workloads.threads import DEADLINE, together
from tenure.recipes._holding import Acquires
from tenure.recipes.lock import Lock
from tenure.recipes.multi_lock import MultiLock
from tenure.recipes.read_write_lock import ReadWriteLock
from tenure.recipes.semaphore import Semaphore

_READERS, _PERMITS = 2, 2
_ROUNDS, _FEW = 4, 2
_STAY = 0.02
"""Seconds that a holder works, in which others ask and must not get what it has."""

Hold = tuple[str, int]
"""What is held, and how much of it."""


@dataclass(frozen=True, slots=True)
class Shared:
    """What was held when."""

    spans: dict[str, tuple[int, list[dict[str, object]]]]
    """For what is held: how much there is, and the spans, as data for the checker."""
    together: int
    """Kinds of holders of which two were seen to hold at once."""
    least: int
    """Spans of each that the run needs to be conclusive."""


def share(context: RuleContext) -> Shared:
    """Let clients on three connections compete for a read-write lock, a lock beside it, and permits."""
    slow = seconds_of_a_put(context) > SLOW
    rounds = _FEW if slow else context.profile.pick(quick=_ROUNDS, full=4 * _ROUNDS)
    clients = [Client.connected(context) for _ in range(3)]
    return _Sharing(context, clients, rounds, DEADLINE * PATIENT if slow else DEADLINE).run()


class _Sharing:
    """The clients, and what they recorded. ``index`` is a read-write lock, ``table`` a lock, ``seats`` are permits."""

    def __init__(self, context: RuleContext, clients: list[Client], rounds: int, patience: float) -> None:
        self._context = context
        self._clients = clients
        self._rounds = rounds
        self._patience = patience
        self._lock = threading.Lock()
        self._spans: dict[str, list[dict[str, object]]] = defaultdict(list)
        self._began = context.store.clock.now()

    def run(self) -> Shared:
        """Do everything."""
        one, two, three = self._clients
        whole, reading = [("the read-write lock", _READERS)], [("the read-write lock", 1)]
        several: list[Hold] = [("the read-write lock", _READERS), ("the lock", 1)]
        seat: list[Hold] = [("the permits", 1)]
        at_once = self._at_once(two)
        parts: list[tuple[str, Acquires, list[Hold]]] = [
            ("reader 1", self._index(one).read, reading),
            ("reader 2", self._index(two).read, reading),
            ("writer", self._index(three).write, whole),
            (
                "holder of both locks",
                self._context.make(MultiLock, one.store, ["table", "index"], session=one.session),
                several,
            ),
            (
                "holder of the lock",
                self._context.make(Lock, two.store, "table", session=two.session),
                [("the lock", 1)],
            ),
            *((f"client {number}", self._seats(client), seat) for number, client in enumerate([*self._clients, one])),
        ]
        workers = [partial(self._work, who, lock, holds) for who, lock, holds in parts]
        together(self._context.check, workers, "clients that share", within=self._patience)
        limits = {"the read-write lock": _READERS, "the lock": 1, "the permits": _PERMITS}
        spans = {what: (limit, self._spans[what]) for what, limit in limits.items()}
        return Shared(spans, at_once, self._rounds * _PERMITS)

    def _index(self, client: Client) -> ReadWriteLock:
        return self._context.make(ReadWriteLock, client.store, "index", session=client.session)

    def _seats(self, client: Client) -> Semaphore:
        return self._context.make(Semaphore, client.store, "seats", limit=_PERMITS, session=client.session)

    def _at_once(self, third: Client) -> int:
        """Let two readers hold at once, and two holders of permits; a third participant then gets nothing."""
        cases: list[tuple[str, Callable[[Client], Acquires], Acquires]] = [
            ("readers", lambda client: self._index(client).read, self._index(third).write),
            ("holders of permits", self._seats, self._seats(third)),
        ]
        for what, make, other in cases:
            did = f"two {what} one after the other, on two connections, with nobody else there"
            with without_error(self._context.check, did, "they hold at the same time"):
                held = [make(client).acquire(timeout=self._patience / 4) for client in self._clients[:2]]
                found = other.try_acquire()
                self._context.check.equal(found, None, f"{did}; then a third client tried what they exclude")
                wait = partial(other.acquire, timeout=in_vain(self._context))
                self._context.check.raises(IN_VAIN, wait, f"{did}; then a third client waited for what they exclude")
                for each in held:
                    each.release()
        return len(cases)

    def _work(self, who: str, lock: Acquires, holds: list[Hold]) -> None:
        clock = self._context.store.clock
        did = f"{who} took its turn repeatedly, beside others that compete"
        for number in range(self._rounds):
            with without_error(self._context.check, did, "its turn comes"):
                held = lock.acquire(timeout=self._patience)
                began = clock.now() - self._began
                self._context.store.put(f"work of {who}", str(number).encode())
                time.sleep(_STAY)
                ended = clock.now() - self._began
                held.release()
            with self._lock:
                for what, takes in holds:
                    span = {"who": who, "takes": takes, "began": round(began, 6), "ended": round(ended, 6)}
                    self._spans[what].append(span)
