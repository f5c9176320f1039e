"""One watch of a queue's folder for all who wait there on one store object: each hears when its ticket is the first.

A waiter alone watches the ticket before its own, and reads the queue again when that is gone. Several waiters of one
process share a *line* instead. A line sees each ticket come and go, so it knows who is first without a read, and wakes
that one alone. It also serves who comes next: a ticket is put, and nothing is read.

A ticket that is the first stays the first until it goes: later tickets have greater revisions. So what a line has seen
is true also when its waiter hears of it later. A line serves stores whose watches tell each change. It ends at the
first gap in what it sees, and its waiters read the queue themselves.

Each change of the folder reaches each line. So a line takes a waiter only as long as its own process has a good part of
the tickets: no more than :data:`SHARE` processes follow one folder, however long the queue is.
"""

from __future__ import annotations

import logging
import os
import weakref
from collections import Counter, OrderedDict
from collections.abc import Callable
from itertools import islice
from typing import NamedTuple

from tenure._client.store import Store
from tenure._runtime.deadline import monotonic
from tenure._runtime.monitor import Monitor
from tenure._steps.effects import Word
from tenure.errors import TenureError
from tenure.recipes._ticket_names import DIGITS
from tenure.spi.feed import Changes, Deleted, Feed, FeedItem, Snapshot
from tenure.spi.types import KeyValue, LeaseId

_log = logging.getLogger("tenure.recipes")
SHARE = 16
"""A process follows the folder while it has at least this part of the tickets, and at most so many processes do."""
_LINGER = 2.0
"""Seconds that a line stays after its last waiter: the next one needs no other."""


class _Place(NamedTuple):
    revision: int
    lease_id: LeaseId | None
    value: bytes


class Spot(Word):
    """One that waits in a line. It hears ``True`` once its ticket is one of the first, ``False`` to look itself."""

    __slots__ = ("__weakref__", "_line", "key", "place", "together")

    def __init__(self, line: Line, key: str, place: int, together: int, tell: Callable[[], object]) -> None:
        super().__init__(tell)
        self._line = line
        self.key = key
        self.place = place
        self.together = together

    def leave(self) -> None:
        self._line.leave(self)


class Line:
    """The tickets of one folder as a feed tells of them, and who waits there. Thread-safe.

    The plugin's thread that delivers a change wakes the waiter. It takes a lock that is held for moments, and during no
    call of the store. A line that reads a watch instead would cost five times as much for each change of each process.
    """

    def __init__(
        self,
        folder: str,
        on_rest: Callable[[Line], object] = id,
        on_end: Callable[[Line], object] = id,
        *,
        strip: int = 0,
    ) -> None:
        """``on_rest`` is called when the last waiter has left, ``on_end`` at the end. They do not block.

        ``strip`` is the length of the namespace, with which the feed's keys begin.
        """
        self.folder = folder
        self.feed: Feed | None = None
        self.ended = False
        self._strip = strip
        self._on_rest = on_rest
        self._on_end = on_end
        self._used = monotonic()
        self._resting = False
        self._length = len(folder) + DIGITS
        self._data = Monitor()
        self._whole = False
        self._revision = 0
        self._last = 0
        self._most = 1
        self._in_order = True
        self._tickets: OrderedDict[str, _Place] = OrderedDict()
        self._on_lease: Counter[LeaseId | None] = Counter()
        self._spots: weakref.WeakValueDictionary[str, Spot] = weakref.WeakValueDictionary()

    # -- for waiters --

    def join(
        self,
        key: str,
        place: int,
        lease_id: LeaseId,
        tell: Callable[[], object],
        *,
        together: int = 1,
        fits: Callable[[bytes], bool] = lambda first: True,
    ) -> Spot | None:
        """Let the ticket ``key`` of the revision ``place`` wait until it is one of the first ``together``.

        ``None``: the line can't serve it, or it does not fit behind the first ticket, whose value ``fits`` gets.
        """
        with self._data:
            mine = self._tickets.get(key)
            if self.ended or (self._whole and not self._serves(mine, place, lease_id)):
                return None
            if self._tickets and not fits(next(iter(self._tickets.values())).value):
                return None
            spot = self._spots[key] = Spot(self, key, place, together, tell)
            self._most = max(self._most, together)
            if self._whole:
                self._call_first()
            return spot

    def leave(self, spot: Spot) -> None:
        """Forget one that waits no longer."""
        with self._data:
            if self._spots.get(spot.key) is spot:
                del self._spots[spot.key]
            self._used = monotonic()
            rests = not self._resting and not self._spots and not self.ended
            self._resting = self._resting or rests
        if rests:
            self._on_rest(self)

    def rest(self, seconds: float) -> float | None:
        """End if nobody has waited for so long. Returns when to look again; ``None``: not before :meth:`leave` asks."""
        with self._data:
            if self._spots or self.ended:
                self._resting = False
                return None
            due = self._used + seconds
        if monotonic() < due:
            return due
        self.end()
        return None

    def end(self) -> None:
        """Serve nobody any more: those that wait look themselves. Never blocks."""
        with self._data:
            ended, self.ended = self.ended, True
            spots = list(self._spots.values())
            self._spots.clear()
            self._tickets.clear()
        for spot in spots:
            spot.say(first=False)
        if not ended:
            self._on_end(self)

    # -- for the feed: no method blocks --

    def deliver(self, item: FeedItem, /) -> None:
        """Take the first state, or a change."""
        try:
            with self._data:
                if not self.ended:
                    self._take(item)
        except BaseException:  # an interrupt: what the line knows may be half a change
            self.end()
            raise

    def fail(self, error: TenureError, /) -> None:
        """Serve nobody any more: there is a gap."""
        self.end()

    # -- under _data --

    def _take(self, item: FeedItem) -> None:
        if isinstance(item, Changes):
            for entry in item.entries:
                self._note(entry)
        elif item.away is not None or (self._whole and isinstance(item, Snapshot)):
            self.end()
            return
        elif isinstance(item, Snapshot):
            for entry in item.items:
                self._note(entry)
            self._whole = True
        self._revision = item.revision
        if not self._in_order:
            self._tickets = OrderedDict(sorted(self._tickets.items(), key=lambda one: (one[1].revision, one[0])))
            self._in_order = True
        if isinstance(item, Snapshot):
            self._admit()
        if self._whole:
            self._call_first()

    def _note(self, entry: KeyValue | Deleted) -> None:
        """Note one change."""
        key = entry.key[self._strip :]
        if len(key) != self._length:
            if isinstance(entry, KeyValue):
                self.end()  # not a queue of tickets alone: each waiter looks what that means
            return
        known = self._tickets.get(key)
        place = entry.create_revision if isinstance(entry, KeyValue) else 0
        if known is not None and known.revision == place:
            return  # it was put again, in its place
        if known is not None:
            self._forget(key, known)
        if isinstance(entry, KeyValue):
            self._tickets[key] = _Place(place, entry.lease_id, entry.value)
            self._on_lease[entry.lease_id] += 1
            self._in_order = self._in_order and place > self._last
            self._last = max(self._last, place)

    def _forget(self, key: str, known: _Place) -> None:
        """Note that a ticket is gone."""
        del self._tickets[key]
        self._on_lease[known.lease_id] -= 1
        if not self._on_lease[known.lease_id]:
            del self._on_lease[known.lease_id]
        spot = self._spots.pop(key, None)
        if spot is not None:
            spot.say(first=False)

    def _serves(self, mine: _Place | None, place: int, lease_id: LeaseId) -> bool:
        """Whether the line can tell when a ticket is the first, and whether it is worth it."""
        if mine is None:
            # Its own change is still to come. Where no other ticket is seen, a read is quicker than that.
            if place <= self._revision or not self._tickets:
                return False
        elif mine.revision != place:
            return False
        return len(self._tickets) <= SHARE * max(1, self._on_lease[lease_id])

    def _admit(self) -> None:
        """Let those look themselves who joined before the first state had come, and aren't served by it."""
        for key, spot in list(self._spots.items()):
            mine = self._tickets.get(key)
            known = mine is not None and mine.revision == spot.place
            if not known and (mine is not None or spot.place <= self._revision):
                del self._spots[key]
                spot.say(first=False)

    def _call_first(self) -> None:
        """Wake those whose turn it is."""
        first = list(islice(self._tickets, self._most + 1))
        for index, key in enumerate(first[: self._most]):
            spot = self._spots.get(key)
            if spot is not None and index < spot.together and spot.place == self._tickets[key].revision:
                del self._spots[key]
                spot.followed = index + 1 < len(first) and first[index + 1] not in self._spots
                spot.say(first=True)


class Lines:
    """The lines of one store object, by folder."""

    def __init__(self) -> None:
        self._lines: dict[str, Line] = {}
        self._lock = Monitor()

    def find(self, folder: str) -> Line | None:
        """Return the line of a folder, if it is there."""
        return self._lines.get(folder)

    def open(self, store: Store, folder: str, timeout: float) -> None:
        """Open a line, unless it is there. If the store doesn't let it, there is none."""
        with self._lock:
            if folder in self._lines:
                return
            line = Line(folder, _resting(store), self._ending(store), strip=store._strip)
            self._lines[folder] = line
        store._before_close.add(line.end)
        try:
            line.feed = store._open_feed(folder, line, timeout)
        except TenureError as exc:
            _log.debug("following %r failed, so that each waiter looks itself: %s", folder, exc)
        finally:
            if line.feed is None:
                line.end()
            elif line.ended:
                line.feed.close()

    def _ending(self, store: Store) -> Callable[[Line], None]:
        """Return what forgets a line at its end, and closes its feed."""
        submit, before_close = store._callbacks.submit, store._before_close

        def end(line: Line) -> None:
            before_close.discard(line.end)
            if self._lines.get(line.folder) is line:
                del self._lines[line.folder]
            if line.feed is not None:
                submit(line.feed.close)  # which may wait for the server

        return end


def _resting(store: Store) -> Callable[[Line], None]:
    """Return what ends a line that nobody has used for a while."""
    clock, timers = store.clock, store._timers

    def look_later(line: Line) -> None:
        timers.call_at(monotonic() + clock.pause(_LINGER), lambda: look(line))

    def look(line: Line) -> None:
        due = line.rest(clock.pause(_LINGER))
        if due is not None:
            timers.call_at(due, lambda: look(line))

    return look_later


_by_store: weakref.WeakKeyDictionary[Store, Lines] = weakref.WeakKeyDictionary()
_lock = Monitor()
os.register_at_fork(after_in_child=_lock._at_fork_reinit)  # a thread of the parent may have held it


def lines_of(store: Store) -> Lines:
    """Return the lines of ``store``."""
    found = _by_store.get(store)
    if found is None:
        with _lock:
            found = _by_store.setdefault(store, Lines())
    return found
