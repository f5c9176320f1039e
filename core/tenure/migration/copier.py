"""Copying a namespace: what is done, apart from how it is shown.

Both sides are read in key order at the same time, and what differs is written. So a copy that was interrupted
goes on by doing the same again: what is there already is only compared. Three steps:

1. survey: count, find what the target can't take, see whether the target may be written to;
2. a record key in the target says that a copy is under way and from where; then passes until one writes nothing
   (the last pass is the verification; a source that keeps changing ends as an error that says so);
3. the record is removed.
"""

from __future__ import annotations

import itertools
import json
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from tenure._client.store import Store
from tenure._failed import Failed
from tenure._text import plural
from tenure.errors import Compacted, ConfigError
from tenure.spi.types import KeyValue

RECORD = "leasehold-copy"
_PASSES = 5
_BATCH = 100
_OVERHEAD = 400  # what a namespace and a store's own encoding may add to a key
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Survey:
    """What there is to copy, and what the target thinks of it."""

    keys: int
    bytes: int
    skipped_leased: int
    target_keys: int
    resumed: bool
    largest_value: int
    too_large: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Counts:
    """What a finished copy did: keys written over all passes, keys found equal in the last one."""

    written: int
    compared: int


@dataclass(slots=True)
class _Pass:
    complete: bool = False
    compared: int = 0
    written: int = 0
    extra: list[str] = field(default_factory=list)


class Copier:
    """One copy from ``source`` to ``target``. ``begun`` tells whether the target has been written to."""

    def __init__(self, source: Store, target: Store, *, merge: bool, include_leased: bool) -> None:
        self._source = source
        self._target = target
        self._merge = merge
        self._include_leased = include_leased
        limits = target.capabilities
        self._max_operations = min(_BATCH, limits.max_transaction_operations)
        self._max_bytes = limits.max_transaction_bytes
        self.begun = False

    # -- step 1 --

    def survey(self) -> Survey:
        """Read the source once and look at the target. Raises ``Failed`` if the target mustn't be written to."""
        if self._source.url == self._target.url:
            raise ConfigError(f"{self._source.url} is both sides: give two namespaces, or two stores")
        if self._source.get(RECORD) is not None:
            raise Failed(
                f"the source {self._source.url} is itself the target of an unfinished copy: finish that one first, or "
                f"delete the key {RECORD!r} there if it may stay as it is"
            )
        resumed = self._resumed()
        target_keys = sum(1 for _ in self._items(self._target, leased=True))
        if target_keys and not resumed and not self._merge:
            raise Failed(
                f"the target {self._target.url} has {plural(target_keys, 'key')} already: copy into an empty "
                "namespace, or say --merge"
            )
        limits = self._target.capabilities
        keys = total = skipped = 0
        too_large = []
        for item in self._items(self._source, leased=True):
            if item.lease_id is not None and not self._include_leased:
                skipped += 1
                continue
            keys += 1
            total += len(item.value)
            if len(item.value) > limits.max_value_bytes:
                too_large.append((item.key, len(item.value)))
        return Survey(keys, total, skipped, target_keys, resumed, limits.max_value_bytes, tuple(too_large))

    def _resumed(self) -> bool:
        """Whether the target holds an unfinished copy from this source. Another source's is an error."""
        found = self._target.get(RECORD)
        if found is None:
            return False
        try:
            record = json.loads(found.value)
            begun_from, merging = record["source"], record["merge"]
        except (ValueError, KeyError, TypeError, RecursionError):
            begun_from = merging = None
        if begun_from != self._source.url:
            shown = begun_from[:200] if isinstance(begun_from, str) else "somewhere unreadable"
            raise Failed(
                f"the target {self._target.url} holds an unfinished copy from {shown}: "
                f"finish that one, or delete the key {RECORD!r} and say --merge"
            )
        self._merge = self._merge or bool(merging)
        return True

    # -- steps 2 and 3 --

    def run(self, advance: Callable[[int], object]) -> Counts:
        """Write, compare, and answer the counts. Raises ``Failed`` if the two sides can't be made equal."""
        self._write_record()
        written = rounds = 0
        while rounds < _PASSES:
            done = self._pass(advance)
            written += done.written
            # A pass cut short counts only if it got nowhere: otherwise the next one gets further.
            rounds += 1 if done.complete or not done.written else 0
            if done.complete and not done.written:
                if done.extra and not self._merge:
                    raise Failed(_extra(done.extra, self._target.url))
                self._target.delete(RECORD)
                return Counts(written, done.compared)
        raise Failed(
            f"the source keeps changing: after {_PASSES} rounds the two sides still differ ({written} keys were "
            "written). Stop its writers and give the same command again"
        )

    def _write_record(self) -> None:
        mark = uuid.uuid4().hex
        self._target.put(RECORD, json.dumps({"source": self._source.url, "merge": self._merge, "id": mark}).encode())
        if any(item.key.endswith(RECORD) and mark.encode() in item.value for item in self._source.scan()):
            self._target.delete(RECORD)
            raise ConfigError(
                f"{self._target.url} is the same namespace as {self._source.url}, or lies inside it: what is "
                "copied would be copied again"
            )
        self.begun = True

    def _pass(self, advance: Callable[[int], object]) -> _Pass:
        """Go through both sides once; not ``complete`` if a side's history went away under the slow reader."""
        done = _Pass()
        pending: list[KeyValue] = []
        try:
            self._compare(done, pending, advance)
            done.complete = True
        except Compacted:
            pass  # what was found so far is written below
        self._write(pending, done)
        return done

    def _compare(self, done: _Pass, pending: list[KeyValue], advance: Callable[[int], object]) -> None:
        gone_through = waiting = 0
        source = self._items(self._source, leased=self._include_leased)
        for ours, theirs in joined(source, self._items(self._target, leased=True)):
            if ours is None:
                assert theirs is not None
                done.extra.append(theirs.key)
                continue
            gone_through += 1
            advance(gone_through)
            if theirs is not None and theirs.value == ours.value and theirs.lease_id is None:
                done.compared += 1
                continue
            if len(pending) >= self._max_operations or waiting + _size(ours) > self._max_bytes:
                self._write(pending, done)
                waiting = 0
            pending.append(ours)
            waiting += _size(ours)

    def _write(self, pending: list[KeyValue], done: _Pass) -> None:
        if pending:
            transaction = self._target.transaction()
            for item in pending:
                transaction.put(item.key, item.value)
            transaction.commit()
            done.written += len(pending)
            pending.clear()

    @staticmethod
    def _items(store: Store, *, leased: bool) -> Iterator[KeyValue]:
        """A side's keys in order, without the record; those with a lease only if asked for."""
        return (item for item in store.scan() if item.key != RECORD and (leased or item.lease_id is None))


def joined(left: Iterator[KeyValue], right: Iterator[KeyValue]) -> Iterator[tuple[KeyValue | None, KeyValue | None]]:
    """Pairs of the same key from two sorted sides, with ``None`` for the side that doesn't have it."""
    ours, theirs = next(left, None), next(right, None)
    while ours is not None or theirs is not None:
        order = _order(ours, theirs)
        yield ours if order <= 0 else None, theirs if order >= 0 else None
        if order <= 0:
            ours = next(left, None)
        if order >= 0:
            theirs = next(right, None)


def _order(ours: KeyValue | None, theirs: KeyValue | None) -> int:
    if ours is None:
        return 1
    if theirs is None:
        return -1
    mine, yours = ours.key.encode(), theirs.key.encode()
    return (mine > yours) - (mine < yours)


def _size(item: KeyValue) -> int:
    return len(item.key.encode()) + len(item.value) + _OVERHEAD


def _extra(keys: list[str], url: str) -> str:
    names = ", ".join(repr(key) for key in itertools.islice(keys, _SHOWN))
    more = f" and {len(keys) - _SHOWN} more" if len(keys) > _SHOWN else ""
    return (
        f"the target {url} has keys that the source doesn't have (deleted there meanwhile, or written here by someone "
        f"else): {names}{more}. Delete them, or say --merge to keep them, and give the same command again"
    )
