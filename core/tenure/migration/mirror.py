"""Mirroring a namespace: what is done, apart from how it is shown.

A round takes the lock in the target, opens a watch on the source, reconciles the target with the watch's snapshot
(writes what differs, deletes what the source doesn't have), then applies batch after batch. The watch itself survives
outages of the source. A failure of the target that can pass (an outage, a write without an answer, a lease that
expired, a precondition that failed) ends the round. The next round reconciles again, so the mirror doesn't have to
remember which writes were in progress.

A key under a lease in the source is put under the mirror's own lease in the target. A key under any other lease in the
target belongs to a process that has moved already: the mirror skips it, whatever the source contains. Each write of a
leased key has what the mirror read as its precondition, so a process that moves at that moment isn't overwritten.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tenure._client.store import Store
from tenure._client.transaction import TransactionBuilder
from tenure._outages import OutageTracker
from tenure._runtime.deadline import monotonic
from tenure._runtime.retry import Backoff
from tenure._text import plural, seconds, size
from tenure.errors import (
    Compacted,
    ConfigError,
    Conflict,
    LeaseLost,
    LeaseNotFound,
    LimitExceeded,
    OutcomeUnknown,
    StoreFull,
    TenureError,
    Unavailable,
)
from tenure.migration.copier import joined
from tenure.migration.mirror_lock import LOCK, NOT_MIRRORED, Hold
from tenure.spi.types import KeyValue
from tenure.watch import Batch, BatchType, Event, Watch

_LOOK = 0.5
_STATUS = 10.0
_BATCH = 100  # changes of several transactions of the source that go together
_OVERHEAD = 400  # what a namespace and a store's own encoding may add to a key
_SHOWN = 5
_AGAIN = (Conflict, OutcomeUnknown, LeaseLost, LeaseNotFound, Compacted)
_OUTAGE = (Unavailable, StoreFull)

Tell = Callable[..., None]
"""``tell(kind, text, **fields)``: something happened that people or programs want to know."""


@dataclass(frozen=True, slots=True)
class Totals:
    """What a mirror has done so far. ``skipped`` counts how often it passed over a key of a process that has moved."""

    written: int = 0
    deleted: int = 0
    skipped: int = 0


@dataclass(frozen=True, slots=True)
class Change:
    """One key to put (``item``) or to delete.

    The mirror reads the key before a ``conditional`` change, and what it read is the precondition. If ``looked`` is
    set, it has read the key, and ``found`` is what was there.
    """

    key: str
    item: KeyValue | None
    conditional: bool
    looked: bool = False
    found: KeyValue | None = None

    @property
    def operations(self) -> int:
        """How many preconditions and operations it takes."""
        return 2 if self.conditional else 1

    @property
    def bytes(self) -> int:
        return len(self.key.encode()) + (0 if self.item is None else len(self.item.value)) + _OVERHEAD


class Mirror:
    """One mirror of ``source`` in ``target``.

    ``stop(seconds)`` waits so long at most and says whether to end; once it has said so it goes on saying so.
    """

    def __init__(self, source: Store, target: Store, *, ttl: float, tell: Tell, stop: Callable[[float], bool]) -> None:
        self._source = source
        self._target = target
        self._tell = tell
        self._stop = stop
        self._hold = Hold(target, source.url, ttl=ttl)
        self._leased: set[str] = set()
        self._trackers = {"source": OutageTracker(), "target": OutageTracker()}
        self._failing: dict[str, float] = {}
        self._backoff = Backoff(first=0.1, longest=5.0)
        self._side = "target"
        self._told = (Totals(), monotonic())
        self.totals = Totals()

    def run(self) -> float:
        """Mirror until told to stop; answers for how many seconds copies of leased keys may stay.

        Raises what can't pass: ``Failed`` or ``ConfigError`` where the target isn't to be written to,
        ``LimitExceeded`` for what it can't take, ``PermissionDenied`` and the like. The lock is given back then too.
        """
        staying = 0.0
        try:
            while not self._stop(0):
                try:
                    self._round()
                except _OUTAGE as exc:
                    self._wait(exc)
                except _AGAIN as exc:
                    self._tell("reconciling", f"comparing both sides again: {exc}")
                    self._stop(self._backoff.delay())
        finally:
            staying = self._hold.leave()
        return staying

    def _round(self) -> None:
        self._side = "target"
        self._hold.take()
        self._side = "source"
        with self._source.watch() as watch:
            self._works("source")
            self._side = "target"
            self._follow(watch)

    def _follow(self, watch: Watch) -> None:
        while not self._stop(0):
            batch = watch.next(_LOOK)
            self._look("source", watch.staleness)
            self._look("target", self._hold.silent_for)
            self._status()
            if batch is None:
                continue
            if batch.type is BatchType.SNAPSHOT:
                self._reconcile(batch)
            elif batch.events:
                if batch.type is BatchType.RESYNC:
                    self._tell(
                        "resync", f"the source reported {plural(len(batch.events), 'difference')}: {batch.reason}"
                    )
                self._apply(batch.events)

    # -- outages --

    def _wait(self, error: TenureError) -> None:
        now = monotonic()
        age = now - self._failing.setdefault(self._side, now)
        self._look(self._side, max(age, 0.001), str(error))
        self._stop(self._backoff.delay())

    def _works(self, side: str) -> None:
        self._failing.pop(side, None)
        self._look(side, 0.0)

    def _look(self, side: str, age: float, why: str = "") -> None:
        news = self._trackers[side].look(age)
        if news is None:
            return
        if news.over:
            self._tell("reconnected", f"the {side} is back after {seconds(news.age)}", side=side, seconds=news.age)
        else:
            text = f"the {side} hasn't answered or served for {seconds(news.age)}; waiting{': ' + why if why else ''}"
            self._tell("outage", text, side=side, seconds=round(news.age, 3))

    def _status(self) -> None:
        before, since = self._told
        if self.totals != before and monotonic() - since >= _STATUS:
            self._told = (self.totals, monotonic())
            self._tell("status", _counted(self.totals), **_fields(self.totals))

    # -- reconciling --

    def _reconcile(self, batch: Batch) -> None:
        """Make the target equal to ``batch``, the source's state, except for keys of processes that have moved."""
        items = sorted(event.item for event in batch.events if event.item is not None)
        self._check_inside(items)
        wanted = [item for item in items if item.key not in NOT_MIRRORED]
        self._check_sizes(wanted)
        there = (item for item in self._target.scan() if item.key not in NOT_MIRRORED)
        skipped, changes = 0, []
        for ours, theirs in joined(iter(wanted), there):
            if theirs is not None and self._hold.foreign(theirs):
                skipped += 1
            elif not self._same(ours, theirs):
                changes.append(_reconciling(ours, theirs))
        self._check_around(wanted, changes)
        before = self.totals
        for chunk in packed(([change] for change in changes), *self._room()):
            self._write(chunk)
        self._leased = {item.key for item in wanted if item.lease_id is not None}
        self._hold.settle()
        self._backoff.reset()
        self._works("target")
        done = Totals(self.totals.written - before.written, self.totals.deleted - before.deleted, skipped)
        self._tell(
            "synced",
            f"in sync, {plural(len(wanted), 'key')}: {_counted(done)}; following",
            keys=len(wanted),
            **_fields(done),
        )

    def _same(self, ours: KeyValue | None, theirs: KeyValue | None) -> bool:
        if ours is None or theirs is None or ours.value != theirs.value:
            return False
        return theirs.lease_id == (None if ours.lease_id is None else self._hold.lease.id)

    def _check_sizes(self, wanted: Sequence[KeyValue]) -> None:
        limit = self._target.capabilities.max_value_bytes
        large = [item for item in wanted if len(item.value) > limit]
        if large:
            names = ", ".join(f"{item.key!r} ({size(len(item.value))})" for item in large[:_SHOWN])
            more = f" and {len(large) - _SHOWN} more" if len(large) > _SHOWN else ""
            raise LimitExceeded(
                f"{plural(len(large), 'value')} can't go into the target, which takes {size(limit)} at most: "
                f"{names}{more}; nothing of this state was written"
            )

    def _check_inside(self, items: Sequence[KeyValue]) -> None:
        """Our lock among the source's keys: then the target is the source, or lies inside it."""
        if any(item.key.endswith(LOCK) and self._hold.id.encode() in item.value for item in items):
            raise ConfigError(
                f"{self._target.url} is the same namespace as {self._source.url}, or lies inside it: what is "
                "mirrored would be mirrored again"
            )

    def _check_around(self, wanted: Sequence[KeyValue], changes: Sequence[Change]) -> None:
        """A key of the source among those to be deleted: then the source lies inside the target."""
        if not wanted:
            return
        first = wanted[0]
        for change in changes:
            found = change.found
            if change.item is None and found is not None and found.key.endswith(first.key) and found[1:] == first[1:]:
                raise ConfigError(
                    f"{self._source.url} lies inside {self._target.url}: mirroring would delete the source itself"
                )

    # -- following --

    def _apply(self, events: Iterable[Event]) -> None:
        """Bring changes to the target: a transaction of the source in one of the target's where it fits."""
        told = (event for event in events if event.key not in NOT_MIRRORED)
        groups = (
            [self._following(event) for event in group]
            for _, group in itertools.groupby(told, key=lambda event: event.revision)
        )
        for chunk in packed(groups, *self._room()):
            self._write(chunk)

    def _following(self, event: Event) -> Change:
        leased = event.item is not None and event.item.lease_id is not None
        conditional = leased or event.key in self._leased
        (self._leased.add if leased else self._leased.discard)(event.key)
        return Change(event.key, event.item, conditional)

    def _room(self) -> tuple[int, int]:
        """Preconditions and operations, and bytes, for which a transaction has room besides the one on the lock."""
        limits = self._target.capabilities
        return limits.max_transaction_operations - 1, limits.max_transaction_bytes

    def _write(self, chunk: Sequence[Change]) -> None:
        transaction = self._hold.transaction()
        done = Totals()
        for change in chunk:
            if change.conditional:
                found = change.found if change.looked else self._target.get(change.key)
                if found is not None and self._hold.foreign(found):
                    done = replace(done, skipped=done.skipped + 1)
                    continue
                _require(transaction, change.key, found)
            if change.item is None:
                transaction.delete(change.key)
                done = replace(done, deleted=done.deleted + 1)
            else:
                lease = None if change.item.lease_id is None else self._hold.lease
                transaction.put(change.key, change.item.value, lease=lease)
                done = replace(done, written=done.written + 1)
        if done.written or done.deleted:
            transaction.commit()
        self.totals = Totals(
            self.totals.written + done.written,
            self.totals.deleted + done.deleted,
            self.totals.skipped + done.skipped,
        )


def _require(transaction: TransactionBuilder, key: str, found: KeyValue | None) -> None:
    """Commit the transaction only if the key is as it was found."""
    if found is None:
        transaction.if_absent(key)
    else:
        transaction.if_unchanged(key, revision=found.mod_revision)


def _reconciling(ours: KeyValue | None, theirs: KeyValue | None) -> Change:
    key = ours.key if ours is not None else theirs.key if theirs is not None else ""
    conditional = any(item is not None and item.lease_id is not None for item in (ours, theirs))
    return Change(key, ours, conditional, looked=True, found=theirs)


def packed(groups: Iterable[list[Change]], most: int, most_bytes: int) -> Iterator[list[Change]]:
    """Chunks that fit into a transaction, each key at most once: small groups together, a large one by itself, one
    that is too large for a transaction cut into several."""
    chunk = _Chunk(most, most_bytes)
    for group in groups:
        if chunk.changes and (len(chunk.changes) + len(group) > _BATCH or not chunk.fits(group)):
            yield chunk.changes
            chunk = _Chunk(most, most_bytes)
        for change in group:
            if chunk.changes and not chunk.fits([change]):
                yield chunk.changes
                chunk = _Chunk(most, most_bytes)
            chunk.add(change)
    if chunk.changes:
        yield chunk.changes


class _Chunk:
    """Changes for one transaction, and how much room they leave."""

    def __init__(self, most: int, most_bytes: int) -> None:
        self.changes: list[Change] = []
        self._keys: set[str] = set()
        self._room = most
        self._bytes = most_bytes

    def fits(self, more: Sequence[Change]) -> bool:
        return (
            sum(change.operations for change in more) <= self._room
            and sum(change.bytes for change in more) <= self._bytes
            and self._keys.isdisjoint(change.key for change in more)
        )

    def add(self, change: Change) -> None:
        self.changes.append(change)
        self._keys.add(change.key)
        self._room -= change.operations
        self._bytes -= change.bytes


def _fields(totals: Totals) -> dict[str, Any]:
    return {"written": totals.written, "deleted": totals.deleted, "skipped": totals.skipped}


def _counted(totals: Totals) -> str:
    skipped = f", {totals.skipped} skipped (their processes have moved)" if totals.skipped else ""
    return f"{totals.written} written, {totals.deleted} deleted{skipped}"
