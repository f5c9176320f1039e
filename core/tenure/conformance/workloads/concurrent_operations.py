"""One run of many clients on few keys, which the rules about the order of operations inspect.

Every operation is recorded as its client saw it: when it began, when it returned, and the result. No value is written
twice, so a value identifies its write.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from tenure.conformance.checkers.linearizability.operations import Kind, Operation, Outcome
from tenure.conformance.harness.context import RuleContext
from tenure.conformance.workloads.recording_client import Client, Recorder
from tenure.conformance.workloads.threads import DEADLINE, together
from tenure.spi import KeyValue

_STALE = 0.3
"""Probability that a precondition is on an earlier read, and not on one made just before."""

_SUCCESSES = (Kind.READ, Kind.PUT, Kind.COMPARE_AND_SET, Kind.DELETE, Kind.PUT_IF_ABSENT, Kind.TRANSACTION)

_SLOW = 0.05
"""Seconds; a store that takes longer for a put has fewer clients, more time and less to do."""
_FEW, _FEWEST = 4, 4
_PATIENCE = 60.0
"""Seconds for a slow store."""

_PHASE = 500
"""Number of operations of all clients after which they start or stop to yield after each operation.

It matters only for a store in this process. There a client makes dozens of operations before another has its turn, and
is interrupted in the middle of one. If they yield, they alternate, but their operations hardly ever overlap.
"""


@dataclass(frozen=True, slots=True)
class OrderRun:
    """The recorded operations, in the order of their beginnings."""

    operations: tuple[Operation, ...]
    clients: int
    least: int
    """How often each kind has to be done for the run to be conclusive."""

    def check_enough(self, context: RuleContext) -> None:
        """Require that every kind was done, writes were refused, and operations overlapped."""
        least = self.least
        for kind in _SUCCESSES:
            done = sum(each.kind is kind and each.outcome is Outcome.DONE for each in self.operations)
            context.check.enough(done, least, f"a {kind.value} that was done")
        refused = sum(each.outcome is Outcome.REFUSED for each in self.operations)
        context.check.enough(refused, least, "a conflict between clients")
        context.check.enough(overlapping(self.operations), least, "an operation that began while another was under way")


def overlapping(operations: Sequence[Operation]) -> int:
    """Return the number of operations that began before an earlier one had ended."""
    count, latest = 0, 0.0
    for operation in sorted(operations, key=lambda each: each.invoked):
        count += operation.invoked < latest
        latest = max(latest, operation.returned)
    return count


def observe(context: RuleContext) -> OrderRun:
    """Run ten or twenty clients on three or five connections, for some seconds or thousands of operations."""
    started = time.monotonic()
    context.store.put("before", b"")
    slow = time.monotonic() - started > _SLOW
    clients = _FEW if slow else context.profile.pick(quick=10, full=20)
    stores = [context.store, *(context.connect() for _ in range(context.profile.pick(quick=2, full=4)))]
    recorder = Recorder()
    run = _Clients(context, recorder, [f"o/{number}" for number in range(clients // 2)], slow=slow)
    together(
        context.check,
        [partial(run.work, recorder.client(number, stores[number % len(stores)])) for number in range(clients)],
        f"{clients} clients reading and writing {clients // 2} keys",
        within=_PATIENCE + DEADLINE if slow else None,
    )
    operations = tuple(sorted(recorder.operations, key=lambda each: each.invoked))
    return OrderRun(operations, clients, least_of(context, slow=slow))


class _Clients:
    """What all clients of a run share: how much they do, and when it is enough."""

    def __init__(self, context: RuleContext, recorder: Recorder, keys: Sequence[str], *, slow: bool) -> None:
        self._recorder = recorder
        self._keys = keys
        self._most = context.profile.pick(quick=3_000, full=9_000)
        self._seconds = context.profile.pick(quick=2.0, full=8.0)
        self._least = least_of(context, slow=slow)
        self._patience = _PATIENCE if slow else DEADLINE / 2
        self._seed = context.profile.seed
        self._whole_lists = context.capabilities.consistent_list
        self._started = time.monotonic()
        self._lock = threading.Lock()
        self._counts = dict.fromkeys(_SUCCESSES, 0)
        self._refused = 0

    def work(self, client: Client) -> None:
        """Run one client until all clients together have done enough."""
        chance = random.Random(self._seed * 1_000 + client.number)  # noqa: S311 - repeatable, hides nothing
        known: dict[str, KeyValue | None] = {}
        turn = 0
        while self._may_go_on():
            turn += 1
            if len(self._recorder.operations) // _PHASE % 2:
                time.sleep(0)
            kind, done = self._act(client, chance, known, f"{client.number}-{turn}".encode())
            with self._lock:
                if not done:
                    self._refused += 1
                elif kind in self._counts:
                    self._counts[kind] += 1

    def _may_go_on(self) -> bool:
        seconds = time.monotonic() - self._started
        if seconds >= self._patience:
            return False  # even a slow store has done enough by then
        over = len(self._recorder.operations) >= self._most or seconds >= self._seconds
        enough = over and min(*self._counts.values(), self._refused) >= self._least
        return not enough or overlapping(self._recorder.operations) < self._least

    def _act(
        self, client: Client, chance: random.Random, known: dict[str, KeyValue | None], value: bytes
    ) -> tuple[Kind, bool]:
        key, other = chance.sample(self._keys, 2)
        item = known.get(key)
        dice = chance.random()
        if dice < 0.08 and self._whole_lists:
            client.list("o/", self._keys)
            return Kind.LIST, True
        if dice < 0.45:
            known[key] = client.read(key)
            return Kind.READ, True
        if dice < 0.60:
            return Kind.PUT, client.put(key, value)
        if dice < 0.68:
            return Kind.DELETE, client.delete(key)
        if dice < 0.80:
            return Kind.PUT_IF_ABSENT, client.put_if_absent(key, value)
        if item is None or chance.random() >= _STALE:
            known[key] = item = client.read(key)
        if item is None:
            return Kind.READ, True
        if dice < 0.93:
            return Kind.COMPARE_AND_SET, client.compare_and_set(key, value, item.mod_revision)
        unchanged = {key: item.mod_revision}
        return Kind.TRANSACTION, client.transaction(puts={key: value}, deletes=(other,), unchanged=unchanged)


def least_of(context: RuleContext, *, slow: bool = False) -> int:
    """Return how often each kind has to be done for the run to be conclusive."""
    return _FEWEST if slow else context.profile.pick(quick=15, full=40)
