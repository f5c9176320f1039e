"""Put an item into a work queue exactly once, whatever answer is lost. Steps, without I/O.

A put that had no answer can't be found by its item: a consumer may have done it meanwhile. So it leaves a mark in the
same transaction (:mod:`tenure.recipes._marks`).

The place of the item is chosen at random, as most queues are nearly empty: a put needs to know nothing of the others.
"""

from __future__ import annotations

import random
import secrets

from tenure._runtime.clock import TimeLimit
from tenure._steps.effects import ListKeys, Steps
from tenure.errors import LimitExceeded
from tenure.recipes._work_items import Header, Layout
from tenure.spi.types import KeyAbsent, Put

_TRIES = 4
"""Places that are tried at random before the free ones are listed."""


def put(layout: Layout, value: bytes, limit: TimeLimit, *, priority: int, delay: float, attempts: int) -> Steps[str]:
    """Steps that put an item, and return its id.

    Raise ``LimitExceeded`` if no place is free, ``OutcomeUnknown`` if the time is up, or the session has ended, while
    no answer tells whether it was put.
    """
    header = Header(secrets.token_hex(8), priority, layout.wall() + delay if delay else 0.0, 0, attempts)
    places = [_name(random.randrange(layout.most)) for _ in range(_TRIES)]  # noqa: S311 - no secret
    while True:
        for place in places:
            key = layout.item(place)
            operations = Put(key, header.encode()), Put(layout.data(place), value)
            if (yield from layout.marks.commit((KeyAbsent(key),), operations, limit)):
                return header.id
        places = yield from _free_places(layout, limit)


def _free_places(layout: Layout, limit: TimeLimit) -> Steps[list[str]]:
    taken = set((yield from ListKeys(layout.items, limit)).keys)
    free = [place for number in range(layout.most) if layout.item(place := _name(number)) not in taken]
    if not free:
        raise LimitExceeded(
            f"putting into {layout.what}: it has {layout.most} items, dead letters included; wait until consumers have "
            "done some, drop dead letters, or let all programs give a larger max_items"
        )
    return random.sample(free, min(_TRIES, len(free)))


def _name(number: int) -> str:
    return f"{number:05}"
