"""A fair lock's queue that is longer than what a client reads of it at once, and in which the first clock is ahead.

The names of tickets sort by the clocks of their clients, and their place is their revision. So the ticket of a client
whose clock is ahead is far from those that came at the same time, and the others have to find it there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tenure.conformance.harness.assertions import EVENT_TIMEOUT
from tenure.conformance.harness.context import RuleContext
from tenure.conformance.workloads.participants import Client, in_vain, without_error
from tenure.conformance.workloads.threads import DEADLINE, Running
from tenure.recipes import _names
from tenure.recipes._holding import Held
from tenure.recipes._queue import PAGE
from tenure.recipes._ticket_names import earlier, new_name
from tenure.recipes.lock import Lock

_MANY = PAGE + 6
_AHEAD = 60.0
"""Seconds by which the clock of the first one is ahead."""
_NAME = "long"
_LOOKS = 2
"""Lists that a client needs to find its place in a long queue."""


@dataclass(frozen=True, slots=True)
class LongQueue:
    """What was seen.

    Attributes:
        did: what was done.
        beside: whether the client held the lock although the first one was there.
    """

    did: str
    beside: bool


def observe(context: RuleContext) -> LongQueue:
    """Let a client wait in the middle of a long queue, take away those before it, and at last the first one."""
    lease = context.store.lease(context.long_ttl).id
    client = Client.connected(context)
    lock = context.make(Lock, client.store, _NAME, session=client.session)
    folder = _names.folder("lock", _NAME)
    first = folder + earlier(new_name(), -_AHEAD)
    _come(context, [first], lease)
    before = [folder + new_name() for _ in range(_MANY)]
    _come(context, before, lease)
    did = f"waited for a lock behind one whose clock is ahead and {_MANY} others, who left, before {_MANY} more"
    held: list[Held] = []

    def wait() -> None:
        with without_error(context.check, did, "its turn comes once all before it have gone"):
            held.append(lock.acquire(timeout=DEADLINE))

    looks = context.evidence.counts["list"]
    waiting = Running(context.check, [wait], did)
    _wait(context, lambda: context.evidence.counts["list"] >= looks + _LOOKS)
    _come(context, [folder + new_name() for _ in range(_MANY)], lease)
    _go(context, before[:-1])
    looks = context.evidence.counts["list"]
    _go(context, before[-1:])
    _wait(context, lambda: context.evidence.counts["list"] > looks)
    _wait(context, lambda: bool(held))
    beside = bool(held)
    _go(context, [first])
    waiting.join(DEADLINE + EVENT_TIMEOUT)
    held[0].release()
    return LongQueue(did, beside)


def _come(context: RuleContext, tickets: Sequence[str], lease: str) -> None:
    for part in _parts(context, tickets):
        transaction = context.store.transaction()
        for ticket in part:
            transaction.put(ticket, b"", lease=lease)
        transaction.commit()


def _go(context: RuleContext, tickets: Sequence[str]) -> None:
    for part in _parts(context, tickets):
        transaction = context.store.transaction()
        for ticket in part:
            transaction.delete(ticket)
        transaction.commit()


def _parts(context: RuleContext, tickets: Sequence[str]) -> list[Sequence[str]]:
    most = context.capabilities.max_transaction_operations
    return [tickets[start : start + most] for start in range(0, len(tickets), most)]


def _wait(context: RuleContext, until: Callable[[], bool]) -> None:
    """Give the client time to look. If it is too slow, the run shows less, and nothing wrong."""
    deadline = time.monotonic() + in_vain(context)
    while not until() and time.monotonic() < deadline:
        time.sleep(0.002)
