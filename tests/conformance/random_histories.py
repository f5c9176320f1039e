"""Random histories of a simulated store, which may have a fault: made from a seed, so that a failure comes again."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from tenure.conformance.checkers.linearizability.operations import (
    ABSENT,
    EXISTS,
    Condition,
    Item,
    Kind,
    Operation,
    Outcome,
    holds,
)

FAULTS = ("stale read", "lost update", "applied twice", "two winners", "applied too early", "refused for nothing")


@dataclass
class Call:
    """One client's operation on its way."""

    operation: Operation
    applied: bool = False


@dataclass
class Simulation:
    """A store in one place, clients that wait for it, and time in whole steps."""

    chance: random.Random
    clients: int
    keys: int
    doubt: float
    """How often an answer gets lost."""
    fault: str | None = None
    at: int = 0
    """The fault strikes from this operation on, once."""
    revision: int = 0
    state: dict[str, Item] = field(default_factory=dict)
    past: list[tuple[int, dict[str, Item]]] = field(default_factory=list)
    known: dict[str, int] = field(default_factory=dict)
    """What clients were told: keys and the revision they were put at."""
    made: int = 0
    later: list[Operation] = field(default_factory=list)
    struck: bool = False

    def run(self, length: int) -> list[Operation]:
        """The operations of one run, in the order of their ends."""
        calls: dict[int, Call] = {}
        done: list[Operation] = []
        time = 0
        while len(done) + len(calls) < length or calls:
            time += 1
            client = self.chance.randrange(self.clients)
            if client not in calls:
                if len(done) + len(calls) < length:
                    calls[client] = Call(self._begin(client, float(time)))
            elif not calls[client].applied:
                call = calls[client]
                call.operation, call.applied = self._serve(call.operation), True
            else:
                done.append(self._end(calls.pop(client).operation, float(time)))
            if self.chance.random() < 0.1:
                self.revision += 1  # somebody else's write
            if self.later and self.chance.random() < 0.2:
                self._apply(self.later.pop())
        return done

    def _begin(self, client: int, now: float) -> Operation:
        self.made += 1
        value = f"v{self.made}"
        one, two = (f"k{self.chance.randrange(self.keys)}" for _ in range(2))
        precondition: tuple[str, Condition] = (one, self.known.get(one, 0))
        base = Operation(client, Kind.READ, now, math.inf, Outcome.DONE)
        match self.chance.randrange(9):
            case 0 | 1:
                return base._replace(kind=Kind.PUT, puts=((one, value),))
            case 2:
                return base._replace(kind=Kind.PUT_IF_ABSENT, puts=((one, value),), preconditions=((one, ABSENT),))
            case 3:
                return base._replace(kind=Kind.COMPARE_AND_SET, puts=((one, value),), preconditions=(precondition,))
            case 4:
                return base._replace(kind=Kind.DELETE, deletes=(one,))
            case 5 if one != two:
                return base._replace(
                    kind=Kind.TRANSACTION, puts=((one, value),), deletes=(two,), preconditions=(precondition,)
                )
            case 6:
                return base._replace(kind=Kind.TRANSACTION, preconditions=((one, EXISTS), (two, EXISTS)))
            case 7 if one != two:
                return base._replace(kind=Kind.LIST, seen=((one, None), (two, None)))
        return base._replace(seen=((one, None),))

    def _strikes(self, fault: str) -> bool:
        if self.fault != fault or self.struck or self.made < self.at:
            return False
        self.struck = True
        return True

    def _serve(self, operation: Operation) -> Operation:
        if operation.seen:
            state, revision = self.state, self.revision
            if len(self.past) > 1 and self._strikes("stale read"):
                revision, state = self.chance.choice(self.past[:-1])
            return operation._replace(revision=revision, seen=tuple((key, state.get(key)) for key, _ in operation.seen))
        held = all(holds(condition, self.state.get(key)) for key, condition in operation.preconditions)
        if held and operation.preconditions and self._strikes("refused for nothing"):
            held = False
        if not held and not self._strikes("two winners"):
            return operation._replace(outcome=Outcome.REFUSED)
        if operation.puts and self._strikes("lost update"):
            self.revision += 1
            return operation._replace(revision=self.revision)
        if (operation.puts or operation.deletes) and self.chance.random() < self.doubt:
            if self.chance.random() < 0.3:
                self.later.append(operation)
            elif self.chance.random() < 0.7:
                self._apply(operation)
            return operation._replace(outcome=Outcome.UNKNOWN)
        answered = self._apply(operation)
        if operation.puts and self._strikes("applied twice"):
            self.later.append(operation)
        return answered

    def _apply(self, operation: Operation) -> Operation:
        if not all(holds(condition, self.state.get(key)) for key, condition in operation.preconditions) and (
            self.fault != "two winners"
        ):
            return operation
        deleted = sum(self.state.pop(key, None) is not None for key in operation.deletes)
        if operation.puts or deleted:
            self.revision += 1
        for key, value in operation.puts:
            before = self.state.get(key)
            self.state[key] = (value, before[1] if before else self.revision, self.revision)
        if operation.puts or deleted:
            self.past.append((self.revision, dict(self.state)))
        return operation._replace(revision=self.revision, deleted=deleted)

    def _end(self, operation: Operation, now: float) -> Operation:
        if operation.outcome is Outcome.UNKNOWN:
            return operation
        self.known.update({key: item[2] for key, item in operation.seen if item is not None})
        if operation.outcome is Outcome.DONE:
            self.known.update({key: operation.revision or 0 for key, _ in operation.puts})
        if operation.puts and self._strikes("applied too early"):
            # As if it had begun only after what it was seen by.
            return operation._replace(invoked=now + 2.5, returned=now + 2.75)
        return operation._replace(returned=now)


def history(
    seed: int, length: int, *, fault: str | None = None, doubt: float = 0.15, clients: int = 3, keys: int = 2
) -> list[Operation]:
    """A history of ``length`` operations."""
    chance = random.Random(seed)
    return Simulation(chance, clients, keys, doubt, fault, chance.randrange(1, max(2, length - 2))).run(length)


def broken(
    seed: int, length: int, is_broken: Callable[[list[Operation]], bool], *, fault: str | None = None
) -> list[Operation]:
    """The first history from ``seed`` on whose fault can be seen."""
    for attempt in range(10_000):
        chosen = fault or FAULTS[(seed + attempt) % len(FAULTS)]
        found = history(seed * 10_000 + attempt, length, fault=chosen)
        if is_broken(found):
            return found
    raise AssertionError(f"no fault can be seen from seed {seed} on")
