"""The write history of a run, and the checks of a watcher's batches against it.

Writers record what they committed, with the revision of the result. Sorted by revision and applied to a dictionary, the
records give the true state, step by step. Every event, batch and list can be compared with it. The checks return a list
of problems, which is empty if there are none.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from tenure.spi import CommitResult, Delete, KeyValue, Operation, Put
from tenure.watch import Batch, BatchType, Event, EventType

UNREPEATED = "w/0"
"""Prefix of the keys whose values a workload writes only once; it may put its marks again."""


@dataclass(frozen=True, slots=True)
class Step:
    """One transaction as it was applied: keys with their new item, ``None`` for a delete."""

    revision: int
    changes: Mapping[str, KeyValue | None]


@dataclass(slots=True)
class Timeline:
    """The transactions, in order.

    With writes of unknown outcome it is not ``certain``: acknowledged puts are still exact, but not whether a delete
    found a key.
    """

    steps: list[Step]
    deletes: Mapping[str, Sequence[int]] = field(default_factory=dict)
    """Acknowledged deletes by key, whether they found something or not."""
    doubtful: tuple[Operation, ...] = ()
    """Operations of unknown outcome."""
    items: dict[tuple[str, int], KeyValue | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for step in self.steps:
            for key, item in step.changes.items():
                self.items[key, step.revision] = item

    @property
    def certain(self) -> bool:
        """Whether every write was acknowledged or refused."""
        return not self.doubtful

    def may_have_put(self, key: str, value: bytes) -> bool:
        """Return whether a write of unknown outcome is this put."""
        return any(isinstance(op, Put) and (op.key, op.value) == (key, value) for op in self.doubtful)

    def may_have_deleted(self, key: str, revision: int) -> bool:
        """Whether a delete of the key was acknowledged up to ``revision``, or had an unknown outcome."""
        if any(isinstance(op, Delete) and op.key == key for op in self.doubtful):
            return True
        return any(made <= revision for made in self.deletes.get(key, ()))

    def may_have_deleted_since(self, key: str, revision: int) -> bool:
        """Whether a delete of the key was acknowledged at ``revision`` or later, or had an unknown outcome."""
        if any(isinstance(op, Delete) and op.key == key for op in self.doubtful):
            return True
        return any(made >= revision for made in self.deletes.get(key, ()))

    def under(self, prefix: str) -> Timeline:
        """The part that concerns keys under ``prefix``."""
        parts = (
            Step(step.revision, {key: item for key, item in step.changes.items() if key.startswith(prefix)})
            for step in self.steps
        )
        return Timeline([part for part in parts if part.changes], self.deletes, self.doubtful)


class History:
    """Collects writes from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._writes: list[tuple[int, tuple[Operation, ...]]] = []
        self._doubtful: list[Operation] = []

    def __len__(self) -> int:
        return len(self._writes)

    def done(self, committed: CommitResult, *operations: Operation) -> CommitResult:
        """Record an acknowledged transaction and return ``committed``. Without effect it has no revision of its own."""
        if committed.deleted or any(isinstance(operation, Put) for operation in operations):
            with self._lock:
                self._writes.append((committed.revision, operations))
        return committed

    def unknown(self, *operations: Operation) -> None:
        """A transaction may have been applied. Its values have to be found in no other write."""
        with self._lock:
            self._doubtful.extend(operations)

    def timeline(self) -> Timeline:
        """Everything recorded so far, applied in the order of revisions to an empty store."""
        state: dict[str, KeyValue] = {}
        steps = []
        deletes: dict[str, list[int]] = {}
        with self._lock:
            writes = sorted(self._writes, key=lambda write: write[0])
            doubtful = tuple(self._doubtful)
        for revision, operations in writes:
            changes: dict[str, KeyValue | None] = {}
            for operation in operations:
                before = state.get(operation.key)
                if isinstance(operation, Delete):
                    deletes.setdefault(operation.key, []).append(revision)
                    if before is not None:
                        changes[operation.key] = None
                        del state[operation.key]
                    continue
                created = revision if before is None else before.create_revision
                item = KeyValue(operation.key, operation.value, created, revision, operation.lease_id)
                state[operation.key] = changes[operation.key] = item
            if changes:
                steps.append(Step(revision, changes))
        return Timeline(steps, deletes, doubtful)


def events_of(batches: Iterable[Batch]) -> list[Event]:
    """Return all events in the order of their delivery."""
    return [event for batch in batches for event in batch.events]


def check_order(batches: Sequence[Batch]) -> list[str]:
    """Check that the revisions of each key only grow."""
    last: dict[str, int] = {}
    problems = []
    for event in events_of(batches):
        before = last.get(event.key, -1)
        if event.revision <= before:
            problems.append(f"{event.type} of {event.key!r} at revision {event.revision} came after one at {before}")
        last[event.key] = event.revision
    return problems


def check_truth(batches: Sequence[Batch], timeline: Timeline, *, exact: bool) -> list[str]:
    """Check that every event is true. Without ``exact`` a delete may be delivered at a later revision."""
    problems = []
    for event in events_of(batches):
        if event.item is not None:
            problem = _untrue_put(event, event.item, timeline)
        elif exact and timeline.certain:
            problem = _untrue_delete(event, timeline)
        else:
            problem = _delete_too_early(event, timeline)
        if problem is not None:
            problems.append(problem)
    return problems


def _untrue_put(event: Event, item: KeyValue, timeline: Timeline) -> str | None:
    if timeline.may_have_put(event.key, item.value):
        return None
    written = timeline.items.get((event.key, event.revision))
    if not timeline.certain and written is not None:
        # A write of unknown outcome may have created the key, so only key and value are compared.
        written = written._replace(create_revision=item.create_revision)
    if written == item:
        return None
    return f"{event.type} has {item}, the write at {event.revision} is {written}"


def _untrue_delete(event: Event, timeline: Timeline) -> str | None:
    if timeline.items.get((event.key, event.revision), "not written") is None:
        return None
    return f"a delete of {event.key!r} at revision {event.revision}, none was made then"


def _delete_too_early(event: Event, timeline: Timeline) -> str | None:
    if timeline.may_have_deleted(event.key, event.revision):
        return None
    later = [made for made in timeline.deletes.get(event.key, ()) if made > event.revision]
    next_one = f"the next one acknowledged is at {min(later)}" if later else "nor is one acknowledged later"
    return f"a delete of {event.key!r} at revision {event.revision}, none was made before it; {next_one}"


def final_state(batches: Iterable[Batch]) -> dict[str, KeyValue]:
    """Return the state that the events lead to."""
    state: dict[str, KeyValue] = {}
    for event in events_of(batches):
        if event.item is None:
            state.pop(event.key, None)
        else:
            state[event.key] = event.item
    return state


def check_convergence(batches: Sequence[Batch], listed: Iterable[KeyValue]) -> list[str]:
    """Check that the state built from the events equals a list made after the last write."""
    built, expected = final_state(batches), {item.key: item for item in listed}
    return [
        f"{key!r}: the events lead to {built.get(key)}, the list has {expected.get(key)}"
        for key in sorted(built.keys() | expected.keys())
        if built.get(key) != expected.get(key)
    ]


def check_kinds(batches: Sequence[Batch], *, previous: bool) -> list[str]:
    """Check the types of events and the previous values, against what this watcher received before."""
    problems = []
    view: dict[str, KeyValue] = {}
    for event in events_of(batches):
        known = view.pop(event.key, None)
        expected = EventType.CREATE if known is None else EventType.UPDATE
        if event.item is None:
            expected = EventType.DELETE
            if known is None:
                problems.append(f"a delete of {event.key!r} at {event.revision}, which the watcher didn't know")
        else:
            view[event.key] = event.item
        if event.type is not expected:
            problems.append(f"{event.type} of {event.key!r} at {event.revision}, it should be {expected}")
        if previous and event.previous != known:
            problems.append(
                f"{event.type} of {event.key!r} has {event.previous} as the previous value, delivered was {known}"
            )
    return problems


def check_shape(batches: Sequence[Batch]) -> list[str]:
    """Check that the state comes first and once, then SYNCED, then only changes and RESYNC batches."""
    kinds = [batch.type for batch in batches]
    problems = []
    if kinds[:2] != [BatchType.SNAPSHOT, BatchType.SYNCED]:
        problems.append(f"the first two batches are {', '.join(kinds[:2]) or 'missing'}, not snapshot, synced")
    if {BatchType.SNAPSHOT, BatchType.SYNCED} & set(kinds[2:]):
        problems.append(f"a snapshot or in_sync came again later: {', '.join(kinds)}")
    problems += [
        f"a resync at {batch.revision} gives no reason"
        for batch in batches
        if batch.type is BatchType.RESYNC and not batch.reason
    ]
    return problems


def check_every_transaction(batches: Sequence[Batch], timeline: Timeline, *, after: int) -> list[str]:
    """Check that each transaction after ``after`` is one whole batch, in order; for a store with lossless_watch."""
    changes = [batch for batch in batches if batch.type is BatchType.CHANGES]
    return [
        *_in_several_batches(changes),
        *_missing(changes, timeline, after),
        *_out_of_order(changes),
    ]


def _in_several_batches(changes: Sequence[Batch]) -> list[str]:
    home: dict[int, int] = {}
    return [
        f"the transaction {event.revision} came in more than one batch"
        for number, batch in enumerate(changes)
        for event in batch.events
        if home.setdefault(event.revision, number) != number
    ]


def _missing(changes: Sequence[Batch], timeline: Timeline, after: int) -> list[str]:
    """Return the transactions that were not delivered, or only in part."""
    delivered: dict[int, set[str]] = {}
    for event in events_of(changes):
        delivered.setdefault(event.revision, set()).add(event.key)
    steps = (step for step in timeline.steps if step.revision > after)
    problems = (_undelivered(step, delivered.get(step.revision), certain=timeline.certain) for step in steps)
    return [problem for problem in problems if problem is not None]


def _undelivered(step: Step, keys: set[str] | None, *, certain: bool) -> str | None:
    """Return what of a transaction is missing, if ``keys`` of it were delivered; ``None`` if nothing is."""
    puts = {key for key, item in step.changes.items() if item is not None}
    if keys is None:
        if not puts and not certain:
            return None  # the key may not have existed
        return f"the transaction {step.revision} on {sorted(step.changes)} was not delivered"
    if certain and keys != set(step.changes):
        return f"of the transaction {step.revision} on {sorted(step.changes)} only {sorted(keys)} was delivered"
    if not puts <= keys:
        return f"of the puts {sorted(puts)} of the transaction {step.revision} only {sorted(keys)} was delivered"
    return None


def _out_of_order(changes: Sequence[Batch]) -> list[str]:
    order = [revision for batch in changes for revision in sorted({event.revision for event in batch.events})]
    return [] if order == sorted(order) else ["transactions were not delivered in the order of their revisions"]


def check_once(batches: Iterable[Batch], keys: str) -> list[str]:
    """No write under ``keys`` was applied twice, on a run in which none of their values is written by two writes."""
    revisions: dict[tuple[str, bytes], set[int]] = {}
    for event in events_of(batches):
        if event.item is not None and event.key.startswith(keys):
            revisions.setdefault((event.key, event.item.value), set()).add(event.item.mod_revision)
    return [
        f"{key!r} was put to {value!r}, by one write, at the revisions {', '.join(map(str, sorted(seen)))}"
        for (key, value), seen in revisions.items()
        if len(seen) > 1
    ]


def check_acknowledged(listed: Iterable[KeyValue], timeline: Timeline) -> list[str]:
    """Check that every acknowledged write is there, or that another write replaced or deleted it."""
    there = {item.key: item for item in listed}
    last: dict[str, tuple[int, KeyValue | None]] = {}
    for step in timeline.steps:
        for key, change in step.changes.items():
            last[key] = step.revision, change
    problems = []
    for key in sorted(there.keys() | last.keys()):
        item = there.get(key)
        revision, acknowledged = last.get(key, (0, None))
        if item is None:
            if acknowledged is not None and not timeline.may_have_deleted_since(key, revision):
                problems.append(f"{key!r}: put at {revision} and acknowledged, it is missing and no client deleted it")
        elif item.mod_revision < revision:
            problems.append(f"{key!r}: is as of {item.mod_revision}, a later change at {revision} was acknowledged")
        elif item.mod_revision > revision and not timeline.may_have_put(key, item.value):
            problems.append(
                f"{key!r}: was put at {item.mod_revision} by a write that no client made or that was refused"
            )
        elif item.mod_revision == revision and (acknowledged is None or acknowledged.value != item.value):
            problems.append(f"{key!r}: has another value than was acknowledged at {revision}")
    return problems
