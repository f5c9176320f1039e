"""A bounded list of numbered messages: what publishers put and trim, and what a reader makes of it. Without I/O.

One key, the *head*, has the numbers of the first and the last message. Each message is a key of its own. One
transaction puts the message and the head, removes the oldest messages beyond the bound, and applies only if the head is
as it was read. So numbers have no gap, and a try whose answer was lost may be sent again: both have the same number.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from tenure._runtime.clock import TimeLimit
from tenure._runtime.deadline import wall_clock
from tenure._steps.effects import Commit, Get, Steps
from tenure.errors import (
    Compacted,
    Conflict,
    DeadlineExceeded,
    HistoryReplaced,
    OutcomeUnknown,
    StoreCorrupted,
    Unavailable,
)
from tenure.recipes._owner import finite, whole
from tenure.recipes._patience import over, pause
from tenure.spi.types import Delete, KeyAbsent, KeyValue, Operation, Put, RevisionEquals

_MOST_TRIMMED = 8
"""Messages that one publish removes at most: their number shrinks although each publish adds one."""


class Head(NamedTuple):
    """The numbers of the first and the last message; 1 and 0 before the first one."""

    first: int = 1
    last: int = 0


class Position(NamedTuple):
    """A message that was read: its number, and its own id, which another history's message doesn't have."""

    number: int = 0
    id: str = ""

    def __str__(self) -> str:
        return f"{self.number}-{self.id}"


class Entry(NamedTuple):
    """A message as it is stored."""

    position: Position
    at: float
    data: bytes


@dataclass(frozen=True, slots=True)
class Messages:
    """The messages of one bus, and how many are kept.

    Attributes:
        folder: the prefix of the keys.
        what: the bus, for messages to people.
        most: the number of messages that are kept.
        max_age: seconds for which they are kept; ``None`` for no limit.
        now: reads the wall clock, which publishers share.
    """

    folder: str
    what: str
    most: int
    max_age: float | None = None
    now: Callable[[], float] = wall_clock

    @property
    def head(self) -> str:
        """The key of the head."""
        return f"{self.folder}head"

    def key(self, number: int) -> str:
        """Return the key of a message."""
        return f"{self.folder}{number:020d}"

    def publish(self, data: bytes, limit: TimeLimit) -> Steps[Position]:
        """Steps that put a message once. Raise ``OutcomeUnknown`` if no answer came until ``limit``."""
        attempt = _Attempt(secrets.token_hex(8))
        trimmed = False
        while True:
            try:
                position = yield from self._try(attempt, data, limit)
                if position is not None:
                    return position
                trimmed = True
            except Conflict:
                pass  # another publisher was quicker, or an earlier try was applied
            except OutcomeUnknown as exc:
                attempt.unknown = exc
            except Unavailable:
                if attempt.unknown is None:
                    raise
            if trimmed or over(limit):
                raise attempt.unknown or DeadlineExceeded(
                    f"publishing on {self.what}: others published all the time; give a longer timeout"
                )
            if attempt.unknown is not None:
                yield from pause()

    def _try(self, attempt: _Attempt, data: bytes, limit: TimeLimit) -> Steps[Position | None]:
        """Put the message as the next one, unless an earlier try has. ``None``: it would be trimmed by now."""
        item = yield from Get(self.head, limit)
        head = self.read_head(item)
        if attempt.unknown is not None:
            found = yield from self._find(attempt, head, limit)
            if found is not False:
                return Position(attempt.number, attempt.id) if found else None
            if head.last >= attempt.number:
                attempt.unknown = None  # the number is another's message, so the lost try is refused for ever
        attempt.number = head.last + 1
        put = yield from self._transaction(item, head, self._write(attempt.id, data), limit)
        yield from put
        return Position(attempt.number, attempt.id)

    def _find(self, attempt: _Attempt, head: Head, limit: TimeLimit) -> Steps[bool | None]:
        """Look whether the message was put. ``None``: nobody can tell, as it would be trimmed by now."""
        item = yield from Get(self.key(attempt.number), limit)
        if item is not None:
            return self.read(item).position.id == attempt.id
        return None if head.last >= attempt.number else False

    def _transaction(self, item: KeyValue | None, head: Head, value: bytes, limit: TimeLimit) -> Steps[Commit]:
        last = head.last + 1
        first = yield from self._first_kept(head, last, limit)
        guard = KeyAbsent(self.head) if item is None else RevisionEquals(self.head, item.mod_revision)
        operations: list[Operation] = [
            Put(self.head, json.dumps({"first": first, "last": last}).encode()),
            Put(self.key(last), value),
        ]
        operations += [Delete(self.key(number)) for number in range(head.first, first)]
        return Commit((guard,), tuple(operations), limit)

    def _first_kept(self, head: Head, last: int, limit: TimeLimit) -> Steps[int]:
        first = max(head.first, last + 1 - self.most)
        most = min(head.first + _MOST_TRIMMED, last)
        while self.max_age is not None and first < most:
            oldest = yield from Get(self.key(first), limit)
            if oldest is not None and self.read(oldest).at > self.now() - self.max_age:
                break
            first += 1
        return min(first, most)

    # -- what the keys hold --

    def read_head(self, item: KeyValue | None) -> Head:
        """Read the numbers of the first and the last message."""
        if item is None:
            return Head()
        try:
            fields = json.loads(item.value)
            head = Head(whole(fields["first"]), whole(fields["last"]))
        except (ValueError, KeyError, TypeError, RecursionError) as exc:
            raise self._corrupted(item) from exc
        if not 1 <= head.first <= head.last + 1:
            raise self._corrupted(item)
        return head

    def read(self, item: KeyValue) -> Entry:
        """Read a message."""
        fields, _, data = item.value.partition(b"\n")
        try:
            found = json.loads(fields)
            return Entry(Position(int(item.key[len(self.folder) :]), str(found["id"])), finite(found["at"]), data)
        except (ValueError, KeyError, TypeError, RecursionError) as exc:
            raise self._corrupted(item) from exc

    def _write(self, mine: str, data: bytes) -> bytes:
        return json.dumps({"id": mine, "at": self.now()}).encode() + b"\n" + data

    def _corrupted(self, item: KeyValue) -> StoreCorrupted:
        return StoreCorrupted(
            f"reading {self.what}: the key {item.key!r} holds what no publisher wrote; delete the keys of the bus"
        )


class _Attempt:
    """A message that is being put: its number in the last try, and the answer that was lost."""

    __slots__ = ("id", "number", "unknown")

    def __init__(self, own: str) -> None:
        self.id = own
        self.number = 0
        self.unknown: OutcomeUnknown | None = None


class Reader:
    """A reader's place among the messages.

    Attributes:
        position: the last message that was read.
    """

    def __init__(self, messages: Messages, position: Position | None) -> None:
        """``None``: begin after the message that is the last one at the start."""
        self.position = position or Position()
        self._messages = messages
        self._started = position is not None

    def lacks(self, present: Mapping[str, KeyValue]) -> int | None:
        """Return the number of the next message if the head has it, and its key isn't there.

        A store that shows keys one by one will show it. If it doesn't, another program has removed it.
        """
        last = self._messages.read_head(present.get(self._messages.head)).last
        number = self.position.number + 1 if self._started else last
        return number if 0 < number <= last and self._messages.key(number) not in present else None

    def skip(self, number: int) -> StoreCorrupted:
        """Go on after a message that is never coming. Return what tells of it."""
        self.position, self._started = Position(number), True
        return StoreCorrupted(
            f"reading {self._messages.what}: another program removed message {number}; the next call continues after it"
        )

    def start(self, present: Mapping[str, KeyValue]) -> bool:
        """Find the place to begin at. ``False``: a store that shows keys one by one doesn't show it yet."""
        if not self._started:
            last = self._messages.read_head(present.get(self._messages.head)).last
            newest = present.get(self._messages.key(last))
            self._started = newest is not None or last == 0
            if newest is not None:
                self.position = self._messages.read(newest).position
        return self._started

    def next(self, present: Mapping[str, KeyValue]) -> Entry | None:
        """Return the next message, ``None`` if it isn't there yet. Messages that are gone are told, once.

        The caller sets the position to the message's when it has it.
        """
        messages = self._messages
        head = messages.read_head(present.get(messages.head))
        number, own = self.position
        before = present.get(messages.key(number))
        if number > head.last or (own and before is not None and messages.read(before).position.id != own):
            self.position = Position(head.first - 1)
            raise HistoryReplaced(
                f"reading {messages.what}: its messages are others than those read up to {number}, because the store's "
                "data were lost or replaced; the next call gives the first message that is there"
            )
        if number + 1 < head.first:
            self.position = Position(head.first - 1)
            raise Compacted(
                f"reading {messages.what}: messages {number + 1} to {head.first - 1} were removed before they were "
                "read; the next call gives the first message that is left, and a larger bound keeps more",
                oldest_revision=head.first,
            )
        item = present.get(messages.key(number + 1)) if number < head.last else None
        if item is None:
            return None
        try:
            return messages.read(item)
        except StoreCorrupted:
            self.position = Position(number + 1)
            raise
