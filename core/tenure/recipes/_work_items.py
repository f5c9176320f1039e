"""How a work queue lies in its store, and what holds for its items.

An item has one of ``most`` numbered places, so that producers together can't put more items:

* ``items/00042``: what a consumer has to know to choose, a few bytes of JSON. It is put again with each claim;
* ``data/00042``: the value, which is written once and read by the consumer that has claimed it;
* ``items/00042.claim``: on the session of the consumer that has it. Its revision is the token. When a consumer dies,
  the store removes it, and the item is there again, with the attempt counted.

An item whose attempts are used up, and that no consumer has, is a dead letter. No write makes it one.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

from tenure._client.store import Store
from tenure._runtime.clock import TimeLimit
from tenure._runtime.deadline import wall_clock
from tenure._steps.effects import Commit, Get, ListKeys, Steps
from tenure.errors import Conflict
from tenure.recipes._janitor import Janitor
from tenure.recipes._marks import MarkedCommits
from tenure.recipes._owner import fields_of, finite, whole
from tenure.recipes.session import Session
from tenure.spi.types import Delete, KeyAbsent, KeyValue, Operation, Put, RevisionEquals

CLAIM = ".claim"
"""What the key of a claim has more than the item's."""


@dataclass(frozen=True, slots=True)
class Header:
    """What a consumer has to know of an item to choose.

    Attributes:
        id: the item's own name.
        priority: larger ones are claimed first.
        due: seconds since the epoch, by the wall clock of who put it, before which it isn't claimed.
        attempts: claims until now.
        most: claims after which it is a dead letter.
    """

    id: str
    priority: int
    due: float
    attempts: int
    most: int

    def encode(self) -> bytes:
        """Return the value of the item's key."""
        return json.dumps(asdict(self)).encode()


class Item(NamedTuple):
    """An item as it is in the store. A named tuple, as a consumer makes one of each item with each claim.

    Attributes:
        place: its number among the places.
        header: what is known of it.
        order: its create revision.
        revision: the revision of its last change.
        claimed: whether a consumer has it.
    """

    place: str
    header: Header
    order: int
    revision: int
    claimed: bool

    @property
    def dead(self) -> bool:
        """Whether it is a dead letter."""
        return not self.claimed and self.header.attempts >= self.header.most


@dataclass(frozen=True, slots=True)
class Layout:
    """One queue in its store, for producers and consumers.

    Attributes:
        store: the store.
        folder: the prefix of the queue's keys.
        what: the queue, for messages.
        most: the number of places.
        janitor: removes what is left behind.
        marks: commits puts with a certain outcome.
        session: a session of one's own; ``None`` for the store's.
        wall: the wall clock, in seconds since the epoch. Only delays are counted by it.
    """

    store: Store
    folder: str
    what: str
    most: int
    janitor: Janitor
    marks: MarkedCommits
    session: Session | None
    wall: Callable[[], float] = wall_clock

    @property
    def items(self) -> str:
        """The prefix of items and claims."""
        return f"{self.folder}items/"

    def item(self, place: str) -> str:
        """Return the key of the item at a place."""
        return f"{self.folder}items/{place}"

    def data(self, place: str) -> str:
        """Return the key of its value."""
        return f"{self.folder}data/{place}"

    def dead(self, limit: TimeLimit) -> Steps[list[tuple[Item, bytes]]]:
        """Steps that return the dead letters with their values, in order."""
        found = []
        for item in items_of((yield from ListKeys(self.items, limit, values=True)).items, self.items):
            if item.dead:
                data = yield from Get(self.data(item.place), limit)
                found.append((item, data.value if data is not None else b""))
        return found

    def settle_dead(self, name: str, limit: TimeLimit, *, retry: bool) -> Steps[bool]:
        """Steps that let a dead letter be claimed again, or remove it. Return whether there was one."""
        for item in items_of((yield from ListKeys(self.items, limit, values=True)).items, self.items):
            if item.dead and item.header.id == name:
                key = self.item(item.place)
                again = Put(key, replace(item.header, attempts=0, due=0.0).encode())
                change: tuple[Operation, ...] = (again,) if retry else (Delete(key), Delete(self.data(item.place)))
                try:
                    yield from Commit((RevisionEquals(key, item.revision), KeyAbsent(key + CLAIM)), change, limit)
                except Conflict:
                    return False  # another program was quicker
                return True
        return False


def items_of(present: Iterable[KeyValue], prefix: str) -> list[Item]:
    """Return what the keys of a queue mean, in the order in which items are claimed. Others' keys are left out.

    ``prefix`` is what the keys of its items start with.
    """
    values = {item.key: item for item in present}
    items = []
    for key, value in values.items():
        header, place = _header_of(value.value), key.removeprefix(prefix)
        if header is None or "/" in place:
            continue
        items.append(Item(place, header, value.create_revision, value.mod_revision, key + CLAIM in values))
    items.sort(key=lambda item: (-item.header.priority, item.order))
    return items


@functools.lru_cache(maxsize=10_000)  # a consumer sees the same items with each claim
def _header_of(value: bytes) -> Header | None:
    fields: dict[str, Any] = fields_of(value)
    try:
        counts = whole(fields["attempts"]), whole(fields["most"])
        return Header(str(fields["id"]), whole(fields["priority"]), finite(fields["due"]), *counts)
    except (KeyError, ValueError):
        return None
