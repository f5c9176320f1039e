"""What the agent knows of one prefix, and which of the programs' watches a change concerns. Belongs to one thread.

The state is what the agent's own watch has delivered. A program's watch begins with it as a snapshot, which is encoded
once for all that ask soon after one another: those who come later get the changes since, too. A watch that was there
before resumes in a log of the last changes. Where that is impossible, because the agent was started again or its own
watch had a gap, the program's watch is told so by ``Compacted``. Its core then reads the state, and tells its
application of the gap by a RESYNC batch with the true difference.

A *mark* names one stretch without a gap, of one process of the agent. Only with the mark of the present stretch does a
revision say what a program knows.
"""

from __future__ import annotations

import secrets
from bisect import bisect_right
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from tenure.agent import _wire
from tenure.errors import Compacted, HistoryReplaced, TenureError
from tenure.spi.feed import Deleted
from tenure.spi.types import KeyValue
from tenure.watch.events import Batch, BatchType

_LOG_BYTES = 4 * 1024 * 1024
_LOG_ENTRIES = 20_000
_MOST_SNAPSHOTS = 8
"""Encoded snapshots that are kept for the next program that asks."""
_LATER = 0.25
"""Part of a snapshot's size: once the changes since are larger, the next program gets a new one."""

_Watched = tuple[str, bool]


class Listener(Protocol):
    """A program's watch."""

    watched: _Watched
    after: int

    def send(self, shared: Sequence[bytes]) -> None:
        """Send messages whose JSON follows the number of the watch."""

    def send_part(self, part: bytes, encoded: Encoded) -> None:
        """Send a part of a snapshot, without copying it."""

    def fail(self, error: TenureError) -> None:
        """End the watch."""


@dataclass(frozen=True, slots=True)
class _Logged:
    number: int
    revision: int
    entries: tuple[KeyValue | Deleted, ...]
    size: int


class Held:
    """Bytes of encoded snapshots that somebody still has, for a bound on all of them together.

    Args:
        most: bytes that there should be at most.
    """

    def __init__(self, most: int) -> None:
        self.bytes = 0
        self.most = most


class Encoded:
    """A snapshot as it is sent, shared by all who are sent it."""

    def __init__(self, parts: tuple[bytes, ...], number: int, held: Held) -> None:
        self.parts = parts
        self.number = number
        self.size = sum(map(len, parts))
        self._held = held
        held.bytes += self.size

    def __del__(self) -> None:
        self._held.bytes -= self.size


class Prefix:
    """One prefix that the agent watches.

    Args:
        prefix: the prefix, without the namespace of the agent's store.
        held: counts the snapshots of all prefixes.
    """

    def __init__(self, prefix: str, held: Held) -> None:
        self.prefix = prefix
        self.items: dict[str, KeyValue] = {}
        self.revision = 0
        self.source = ""
        """Where the state comes from: ``"store"``, ``"file"`` or nowhere, which is the empty text."""
        self.mark = ""
        self.synced = False
        """Whether the watch that runs has delivered its state."""
        self._held = held
        self._floor = 0
        self.number = 0
        """Counts the batches of changes."""
        self._log: deque[_Logged] = deque()
        self._log_bytes = self._log_entries = 0
        self._order: list[str] | None = None
        self._snapshots: dict[_Watched, Encoded] = {}
        self._listeners: dict[_Watched, dict[Listener, None]] = {}
        self._lengths: Counter[int] = Counter()
        self.changed = 0
        """Grows with each change of the state."""

    # -- what the agent's own watch delivers --

    def load(self, items: Iterable[KeyValue], revision: int) -> None:
        """Begin with what a file has, until the store's state arrives."""
        self.items = {item.key: item for item in items}
        self.source = "file"
        self._begin(revision)

    def restart(self) -> None:
        """Another watch begins: its first batch is a whole state."""
        self.synced = False

    def apply(self, batch: Batch) -> None:
        """Take a batch of the agent's watch over, and pass it on."""
        if batch.type is BatchType.SYNCED:
            self.synced = True
        elif batch.type is BatchType.SNAPSHOT:
            before, self.source = self.source, "store"
            self.items = {event.key: event.item for event in batch.events if event.item is not None}
            self._begin(batch.revision)
            if before:
                told = "served its file until now" if before == "file" else "has read its state again"
                self._gap(f"the agent {told}")
        elif batch.type is BatchType.RESYNC:
            self._set(_entries(batch))
            self._begin(batch.revision)
            self._gap(f"the agent's own watch had a gap: {batch.reason}")
        else:
            self._change(_entries(batch), batch.revision)

    def _begin(self, revision: int) -> None:
        """A stretch without a gap begins with the present state."""
        self.revision = self._floor = revision
        self.mark = _wire.MARK + secrets.token_hex(8)
        self._log.clear()
        self._log_bytes = self._log_entries = 0
        self._order = None
        self._snapshots.clear()
        self.changed += 1

    def _gap(self, reason: str) -> None:
        for listener in self.listeners():
            self.remove(listener)
            listener.fail(Compacted(reason))

    def _set(self, entries: Iterable[KeyValue | Deleted]) -> None:
        for entry in entries:
            if isinstance(entry, Deleted):
                if self.items.pop(entry.key, None) is not None:
                    self._order = None
            else:
                if entry.key not in self.items:
                    self._order = None
                self.items[entry.key] = entry

    def _change(self, entries: tuple[KeyValue | Deleted, ...], revision: int) -> None:
        self._set(entries)
        self.revision = max(self.revision, revision)
        self.number += 1
        self.changed += 1
        size = sum(len(each.key) + (len(each.value) if isinstance(each, KeyValue) else 0) + 40 for each in entries)
        self._log.append(_Logged(self.number, revision, entries, size))
        self._log_bytes += size
        self._log_entries += len(entries)
        while self._log and (self._log_bytes > _LOG_BYTES or self._log_entries > _LOG_ENTRIES):
            old = self._log.popleft()
            self._log_bytes -= old.size
            self._log_entries -= len(old.entries)
            self._floor = max(self._floor, old.revision)
        self._pass_on(entries, revision)

    def _pass_on(self, entries: Sequence[KeyValue | Deleted], revision: int) -> None:
        found: dict[_Watched, list[KeyValue | Deleted]] = {}
        for entry in entries:
            for watched in self._watching(entry.key):
                found.setdefault(watched, []).append(entry)
        for watched, mine in found.items():
            messages = _changes(mine, revision)
            for listener in tuple(self._listeners.get(watched, ())):
                if revision > listener.after:
                    listener.send(messages)

    def _watching(self, key: str) -> Iterator[_Watched]:
        if (key, True) in self._listeners:
            yield key, True
        for length in self._lengths:
            if length <= len(key) and (key[:length], False) in self._listeners:
                yield key[:length], False

    # -- the programs' watches --

    def listeners(self) -> tuple[Listener, ...]:
        """All that are served."""
        return tuple(listener for group in self._listeners.values() for listener in group)

    def remove(self, listener: Listener) -> None:
        """Serve it no longer."""
        group = self._listeners.get(listener.watched)
        if group is None or group.pop(listener, listener) is listener:
            return
        if not group:
            del self._listeners[listener.watched]
            if not listener.watched[1]:
                self._lengths[len(listener.watched[0])] -= 1
                if not self._lengths[len(listener.watched[0])]:
                    del self._lengths[len(listener.watched[0])]

    def _add(self, listener: Listener) -> None:
        prefix, exact = listener.watched
        if listener.watched not in self._listeners and not exact:
            self._lengths[len(prefix)] += 1
        self._listeners.setdefault(listener.watched, {})[listener] = None

    def begin(self, listener: Listener, state: Callable[[int], bytes]) -> None:
        """Send the state, and serve the listener from then on. ``state`` makes the message after its entries."""
        encoded, since = self.snapshot(listener.watched)
        for part in encoded.parts:
            listener.send_part(part, encoded)
        listener.send([b'"part",' + part + b"]" for part in since])
        listener.send([state(self.revision)])
        self._add(listener)

    def check_after(self, after: int, mark: str, *, unique: bool) -> None:
        """Find out whether what came after a revision is known.

        ``mark`` is empty for an application's own revision; ``unique``: whether the store uses no revision twice.

        Raises:
            Compacted: it isn't. ``HistoryReplaced`` if nobody can tell.
        """
        if mark and mark != self.mark:
            raise Compacted(f"the agent was started again, or had a gap, after revision {after}")
        if not mark and not unique:
            raise HistoryReplaced(f"the agent doesn't know whether revision {after} belongs to the store's history")
        if not mark and after > self.revision:
            raise Compacted(f"the agent has not come to revision {after} yet, only to {self.revision}")
        if after < self._floor:
            raise Compacted(f"the agent knows the changes after revision {self._floor}, and not after {after}")

    def resume(self, listener: Listener) -> None:
        """Send what came after the listener's revision, and serve it from then on."""
        for logged in self._log:
            if logged.revision > listener.after and (mine := _under(logged.entries, listener.watched)):
                listener.send(_changes(mine, logged.revision))
        self._add(listener)

    # -- reading --

    def snapshot(self, watched: _Watched) -> tuple[Encoded, list[bytes]]:
        """Return the state of a part of the prefix as it was a moment ago, and the changes since."""
        kept = self._snapshots.get(watched)
        since = None if kept is None else self._since(kept, watched)
        if kept is not None and since is not None:
            return kept, since
        prefix, exact = watched
        if exact:
            found = [self.items[prefix]] if prefix in self.items else []
        else:
            found = [self.items[key] for key in self._keys(prefix)]
        made = Encoded(tuple(_wire.groups(found)), self.number, self._held)
        self._snapshots.pop(watched, None)
        self._snapshots[watched] = made
        # None is kept for the next program where those that wait for this one need the room.
        while self._snapshots and (len(self._snapshots) > _MOST_SNAPSHOTS or self._held.bytes > self._held.most // 2):
            del self._snapshots[next(iter(self._snapshots))]
        return made, []

    def _since(self, kept: Encoded, watched: _Watched) -> list[bytes] | None:
        """Return the changes since a snapshot; ``None`` if they aren't known, or too many."""
        if self._log and self._log[0].number > kept.number + 1:
            return None
        since = [logged for logged in self._log if logged.number > kept.number]
        if sum(logged.size for logged in since) > max(_wire.PART, _LATER * kept.size):
            return None
        return list(_wire.groups(entry for logged in since for entry in _under(logged.entries, watched)))

    def page(self, prefix: str, after: str | None, limit: int | None) -> tuple[list[KeyValue], bool]:
        """Return some entries, and whether more follow."""
        keys = self._keys(prefix)
        start = 0 if after is None else bisect_right(keys, after)
        end = len(keys) if limit is None else min(len(keys), start + limit)
        return [self.items[key] for key in keys[start:end]], end < len(keys)

    def _keys(self, prefix: str) -> list[str]:
        if self._order is None:
            self._order = sorted(self.items)  # by code point, which is the order of the bytes of UTF-8
        if prefix == self.prefix:
            return self._order
        return [key for key in self._order if key.startswith(prefix)]


def _under(entries: Iterable[KeyValue | Deleted], watched: _Watched) -> list[KeyValue | Deleted]:
    prefix, exact = watched
    return [each for each in entries if (each.key == prefix if exact else each.key.startswith(prefix))]


def _entries(batch: Batch) -> tuple[KeyValue | Deleted, ...]:
    return tuple(Deleted(event.key, event.revision) if event.item is None else event.item for event in batch.events)


def _changes(entries: Sequence[KeyValue | Deleted], revision: int) -> list[bytes]:
    *parts, last = _wire.groups(entries)
    return [*(b'"part",' + part + b"]" for part in parts), b'"changes",' + last + b",%d]" % revision]
