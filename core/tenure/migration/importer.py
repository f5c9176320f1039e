"""Writing a file of :mod:`.archive` into a store: whole where it fits into a transaction, otherwise in counted parts.

Each part is one transaction. It writes what is missing or differs, and its preconditions say that nobody has changed
these keys since they were read. So an import never overwrites what another client wrote meanwhile, and doing it again
writes only what is left.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tenure._client.store import Store
from tenure._failed import Failed
from tenure._text import plural
from tenure.errors import Conflict, OutcomeUnknown
from tenure.migration.archive import Archive, Entry
from tenure.spi.types import KeyValue

_OVERHEAD = 400  # what a namespace and a store's own encoding may add to a key
_BATCH = 100
_COSTS = 2  # a precondition and a put


@dataclass(frozen=True, slots=True)
class ImportPlan:
    """What an import would do: ``keys`` to write or compare, ``skipped_leased`` that stay away, ``whole`` if one
    transaction has room for all. ``too_large`` are keys whose values the store doesn't take, with their sizes."""

    keys: int
    bytes: int
    skipped_leased: int
    whole: bool
    largest_value: int
    too_large: tuple[tuple[str, int], ...]


@dataclass(slots=True)
class Progress:
    """What is surely done, also after an error: keys ``written``, keys found ``equal``, the ``last`` key of these in
    the file's order, and ``unsure``: first key, last key and number of those of which the store gave no answer."""

    written: int = 0
    equal: int = 0
    last: str | None = None
    unsure: tuple[str, str, int] | None = None


class Importer:
    """One import of ``archive`` into ``store``.

    Args:
        store: the store to write to.
        archive: the file.
        merge: the namespace may have keys; those that are in the file too are replaced.
        include_leased: write keys that hung on a lease, too. They stay for good: their lease is not in the file.
    """

    def __init__(self, store: Store, archive: Archive, *, merge: bool, include_leased: bool) -> None:
        self._store = store
        self._archive = archive
        self._merge = merge
        self._include_leased = include_leased
        self.progress = Progress()

    def plan(self) -> ImportPlan:
        """Look what would be done. Raises ``Failed`` if the namespace has keys and ``merge`` wasn't said."""
        if not self._merge and len(self._store.list(limit=1, keys_only=True)):
            raise Failed(
                f"the namespace of {self._store.url} has keys already: import into an empty one, or say --merge to "
                "replace those that the file has too"
            )
        limits = self._store.capabilities
        keys = size = room = skipped = 0
        too_large = []
        for entry in self._archive:
            if entry.lease is not None and not self._include_leased:
                skipped += 1
                continue
            keys += 1
            size += len(entry.value)
            room += _size(entry)
            if len(entry.value) > limits.max_value_bytes:
                too_large.append((entry.key, len(entry.value)))
        whole = keys * _COSTS <= limits.max_transaction_operations and room <= limits.max_transaction_bytes
        return ImportPlan(keys, size, skipped, whole, limits.max_value_bytes, tuple(too_large))

    def run(self, plan: ImportPlan, advance: Callable[[int], object]) -> Progress:
        """Write. ``advance`` gets the number of keys that are done. What was done before an error is in ``progress``.

        Raises:
            Failed: another client wrote one of the keys meanwhile.
            OutcomeUnknown: the store didn't answer; ``progress.unsure`` tells about which keys.
        """
        limits = self._store.capabilities
        most = limits.max_transaction_operations // _COSTS
        if not plan.whole:
            most = max(1, min(_BATCH, most))
        part: list[Entry] = []
        room = 0
        for entry in self._archive:
            if entry.lease is not None and not self._include_leased:
                continue
            if part and (len(part) >= most or room + _size(entry) > limits.max_transaction_bytes):
                self._write(part, advance)
                part, room = [], 0
            part.append(entry)
            room += _size(entry)
        if part:
            self._write(part, advance)
        return self.progress

    def _write(self, part: list[Entry], advance: Callable[[int], object]) -> None:
        found = self._present(part)
        change = self._store.transaction()
        written = 0
        for entry, present in zip(part, found, strict=True):
            if present is not None and present.value == entry.value and present.lease_id is None:
                continue
            if present is None:
                change.if_absent(entry.key)
            else:
                change.if_unchanged(entry.key, revision=present.mod_revision)
            change.put(entry.key, entry.value)
            written += 1
        if written:
            try:
                change.commit()
            except Conflict as exc:
                names = ", ".join(repr(key) for key in exc.keys[:3])
                raise Failed(
                    f"another client wrote to {names or 'these keys'} during the import: look at them"
                ) from exc
            except OutcomeUnknown:
                self.progress.unsure = (part[0].key, part[-1].key, len(part))
                raise
        done = self.progress
        done.written += written
        done.equal += len(part) - written
        done.last = part[-1].key
        advance(done.written + done.equal)

    def _present(self, part: list[Entry]) -> tuple[KeyValue | None, ...]:
        """What the store has of these keys. Into an empty namespace nothing is read: the preconditions notice."""
        if not self._merge:
            return (None,) * len(part)
        return self._store.get_many([entry.key for entry in part]).items


def _size(entry: Entry) -> int:
    return len(entry.key.encode()) + len(entry.value) + _OVERHEAD


def told(progress: Progress, plan: ImportPlan) -> str:
    """Say exactly what an import that failed has done."""
    done = progress.written + progress.equal
    if progress.unsure is not None:
        first, last, count = progress.unsure
        unsure = f"; {plural(count, 'key')} from {first!r} to {last!r} may have been imported, all or none of them"
    else:
        unsure = ""
    if not done:
        return "no key was imported" + unsure if unsure else "nothing was imported"
    return f"{done:,} of {plural(plan.keys, 'key')} were imported, up to {progress.last!r}{unsure}"
