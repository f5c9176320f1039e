"""A run of workers that take turns with a lock, which several rules inspect.

Times are seconds of the stores' clock, which all processes of a machine share.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import partial

from tenure.conformance.checkers.linearizability.operations import Kind, Operation, Outcome
from tenure.conformance.harness.context import RuleContext
from tenure.conformance.workloads.leases import seconds_of_a_put
from tenure.conformance.workloads.participants import Client, without_error
from tenure.conformance.workloads.threads import DEADLINE, together
from tenure.recipes._holding import Held
from tenure.recipes.lock import Lock

_WORKERS = 5
SLOW = 0.05
"""Seconds; on a store that takes longer for a put, fewer workers take fewer turns."""
_FEW = 3
_TURNS, _FEW_TURNS = 20, 8
"""Turns that a run needs to be conclusive."""
PATIENT = 3
"""So many times as long they may take."""
_CONTENDED_WITHIN = 1.0
"""Seconds that a holder waits until another worker wants the lock, or gets it."""


@dataclass(frozen=True, slots=True)
class Span:
    """The time in which a client believed that it held something."""

    who: str
    token: int
    began: float
    ended: float

    def as_json(self, since: float) -> dict[str, object]:
        """Return the data for the checkers."""
        began, ended = round(self.began - since, 6), round(self.ended - since, 6)
        return {"who": self.who, "token": self.token, "began": began, "ended": ended}


def spans_as_json(spans: tuple[Span, ...]) -> dict[str, object]:
    """Return the data for the checkers."""
    since = min(span.began for span in spans)
    return {"spans": [span.as_json(since) for span in spans]}


@dataclass(frozen=True, slots=True)
class Turns:
    """A run of workers that take turns with one lock."""

    spans: tuple[Span, ...]
    operations: tuple[Operation, ...]
    created: tuple[tuple[int, int | None], ...]
    """Each token, and the create revision of the holder's key that another connection read meanwhile."""
    contended: int
    """How often a worker waited for the lock while another held it."""
    least: int
    """Turns needed for the run to be conclusive."""
    number: int | None
    """The final value of the number that the lock protects."""

    def as_json(self) -> dict[str, object]:
        """Return the spans, as data for the checkers."""
        return spans_as_json(self.spans)


def take_turns(context: RuleContext) -> dict[str, Turns]:
    """Let workers on three connections take a fair lock and an unfair one repeatedly, both at the same time.

    Each increments a number without any precondition, which shows when two hold a lock at once. Fair locks need reads
    of the latest state, so they are left out on stores that declare less.
    """
    slow = seconds_of_a_put(context) > SLOW
    count = _FEW if slow else _WORKERS
    clients = [Client.connected(context) for _ in range(3)]
    kinds = {"fair": True, "unfair": False} if context.capabilities.linearizable else {"unfair": False}
    runs = {name: _Workers(context, clients, name, count, fair=fair) for name, fair in kinds.items()}
    workers = [partial(run.work, number) for number in range(count) for run in runs.values()]
    within = DEADLINE * PATIENT if slow else DEADLINE
    together(context.check, workers, f"{len(workers)} workers taking turns with {len(runs)} locks", within=within)
    return {name: run.result() for name, run in runs.items()}


class _Workers:
    """The workers of one lock, and what they recorded.

    A holder keeps the lock until another worker waits, and waits until another had it: every turn is contended.
    """

    def __init__(self, context: RuleContext, clients: list[Client], name: str, workers: int, *, fair: bool) -> None:
        self._context = context
        self._clients = clients
        self._looker = context.connect()
        self._name = name
        self._fair = fair
        self._slow = workers < _WORKERS
        self._rounds = _FEW if self._slow else context.profile.pick(quick=5, full=20)
        self._patience = DEADLINE * PATIENT if self._slow else DEADLINE
        self._changed = threading.Condition()
        self._waiting: set[int] = set()
        self._active = workers
        self._taken = 0
        self._spans: list[Span] = []
        self._operations: list[Operation] = []
        self._created: list[tuple[int, int | None]] = []
        self._contended = 0
        context.store.put(self._number, b"0")

    @property
    def _number(self) -> str:
        return f"number/{self._name}"

    def result(self) -> Turns:
        """Return what was recorded."""
        item = self._context.store.get(self._number)
        return Turns(
            tuple(self._spans),
            tuple(self._operations),
            tuple(self._created),
            self._contended,
            _FEW_TURNS if self._slow else _TURNS,
            item and int(item.value),
        )

    def work(self, number: int) -> None:
        """One worker's rounds."""
        client = self._clients[number % len(self._clients)]
        lock = self._context.make(Lock, client.store, self._name, session=client.session, fair=self._fair)
        did = f"worker {number} took the {self._name} lock repeatedly, each time until another one waited"
        with without_error(self._context.check, did, "its turn comes"):
            for _ in range(self._rounds):
                self._turn(client, lock, number)
        with self._changed:
            self._active -= 1
            self._changed.notify_all()

    def _turn(self, client: Client, lock: Lock, number: int) -> None:
        clock, store, who = self._context.store.clock, client.store, f"worker {number}"
        asked = clock.now()
        held = self._acquired(lock, number)
        began = clock.now()
        self._inside(number)
        item = store.get(self._number)
        key = self._looker.get(held.key)
        store.put(self._number, str((0 if item is None else int(item.value)) + 1).encode())
        ended = clock.now()
        released = held.release()  # false if another worker has it; the rules find that
        left = clock.now()
        self._hand_over()
        self._spans.append(Span(who, held.token, began, ended))
        self._created.append((held.token, key and key.create_revision))
        outcome = Outcome.DONE if released else Outcome.REFUSED
        self._operations.append(Operation(number, Kind.ACQUIRE, asked, began, Outcome.DONE, held.token))
        self._operations.append(Operation(number, Kind.RELEASE, ended, left, outcome))

    def _acquired(self, lock: Lock, number: int) -> Held:
        held = lock.try_acquire()
        if held is not None:
            return held
        with self._changed:
            self._waiting.add(number)
            self._changed.notify_all()
        return lock.acquire(timeout=self._patience)

    def _inside(self, number: int) -> None:
        with self._changed:
            self._waiting.discard(number)
            self._taken += 1
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._waiting or self._active == 1, _CONTENDED_WITHIN)
            self._contended += bool(self._waiting)

    def _hand_over(self) -> None:
        with self._changed:
            taken = self._taken
            self._changed.wait_for(lambda: self._taken > taken or not self._waiting, _CONTENDED_WITHIN)
