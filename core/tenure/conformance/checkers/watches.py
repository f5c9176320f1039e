"""The checker ``watch``: compare what watchers received with what was written, by :mod:`.write_history`.

In its data one table has every item, a key as it was put once. Events name an item by its place there, since many
watchers receive the same item, and it comes again as a previous value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from tenure.conformance.checkers import write_history
from tenure.conformance.checkers.linearizability.operations import text_of
from tenure.conformance.checkers.write_history import UNREPEATED, Step, Timeline
from tenure.spi import Delete, KeyValue, Operation, Put
from tenure.watch import Batch, BatchType, Event, EventType

ORDER = "order"
TRUTH = "truth"
CONVERGENCE = "convergence"
SHAPE = "shape"
KINDS = "kinds"
TRANSACTIONS = "transactions"
ACKNOWLEDGED = "acknowledged"
ONCE = "once"
"""The checks: revisions grow per key, events are true, watchers converge, the sequence of batches, types of events,
every transaction arrives, a list has every acknowledged write, and no write of a workload was applied twice."""


def record(
    checks: Sequence[str],
    watchers: Sequence[Sequence[Batch]],
    *,
    timeline: Timeline | None = None,
    listed: Iterable[KeyValue] | None = None,
    exact: bool = False,
    previous: bool = False,
    after: Sequence[int] = (),
) -> dict[str, Any]:
    """Return the data for the checker.

    ``watchers``: the batches that each received. ``timeline``: what was written, for TRUTH and TRANSACTIONS.
    ``listed``: a list made after the last write, for CONVERGENCE. ``exact``: deletes carry their own revision.
    ``previous``: events carry the previous value. ``after``: for each watcher the revision from which it has to
    receive every transaction.
    """
    items = _Items()
    data: dict[str, Any] = {
        "checks": list(checks),
        "exact": exact,
        "previous": previous,
        "watchers": [[_batch(items, batch) for batch in batches] for batches in watchers],
    }
    if after:
        data["after"] = list(after)
    if listed is not None:
        data["listed"] = [items.place(item) for item in listed]
    if timeline is not None:
        data["timeline"] = _timeline(items, timeline)
    data["items"] = items.table
    return data


def check(data: Mapping[str, Any]) -> list[str]:
    """Run every check asked for, on every watcher."""
    items = [KeyValue(key, value.encode("latin-1"), *rest) for key, value, *rest in data["items"]]
    timeline = _made_timeline(items, data["timeline"]) if "timeline" in data else Timeline([])
    listed = [items[place] for place in data.get("listed", ())]
    watchers = [[_made_batch(items, batch) for batch in told] for told in data["watchers"]]
    checks: dict[str, Callable[[int, list[Batch]], list[str]]] = {
        ORDER: lambda _, told: write_history.check_order(told),
        TRUTH: lambda _, told: write_history.check_truth(told, timeline, exact=data["exact"]),
        CONVERGENCE: lambda _, told: write_history.check_convergence(told, listed),
        SHAPE: lambda _, told: write_history.check_shape(told),
        KINDS: lambda _, told: write_history.check_kinds(told, previous=data["previous"]),
        ACKNOWLEDGED: lambda number, _: [] if number else write_history.check_acknowledged(listed, timeline),
        ONCE: lambda _, told: write_history.check_once(told, UNREPEATED),
        TRANSACTIONS: lambda number, told: write_history.check_every_transaction(
            told, timeline, after=data["after"][number]
        ),
    }
    problems = []
    for number, told in enumerate(watchers):
        who = f"watcher {number + 1} of {len(watchers)}: " if len(watchers) > 1 else ""
        problems += [who + problem for name in data["checks"] for problem in checks[name](number, told)]
    return problems


# -- to JSON ---------------------------------------------------------------------------------------


class _Items:
    def __init__(self) -> None:
        self.table: list[list[Any]] = []
        self._places: dict[KeyValue, int] = {}

    def place(self, item: KeyValue) -> int:
        found = self._places.setdefault(item, len(self.table))
        if found == len(self.table):
            self.table.append([item.key, text_of(item.value), *item[2:]])
        return found


def _batch(items: _Items, batch: Batch) -> list[Any]:
    events = [
        [
            event.type.value,
            event.key if event.item is None else items.place(event.item),
            event.revision,
            *([] if event.previous is None else [items.place(event.previous)]),
        ]
        for event in batch.events
    ]
    return [batch.type.value, batch.revision, batch.reason, events]


def _timeline(items: _Items, timeline: Timeline) -> dict[str, Any]:
    return {
        "steps": [
            [
                step.revision,
                [items.place(item) for item in step.changes.values() if item is not None],
                [key for key, item in step.changes.items() if item is None],
            ]
            for step in timeline.steps
        ],
        "deletes": {key: list(revisions) for key, revisions in timeline.deletes.items()},
        "doubtful": [
            [operation.key, *([text_of(operation.value)] if isinstance(operation, Put) else [])]
            for operation in timeline.doubtful
        ],
    }


# -- from JSON -------------------------------------------------------------------------------------


def _made_batch(items: Sequence[KeyValue], data: Sequence[Any]) -> Batch:
    kind, revision, reason, events = data
    return Batch(BatchType(kind), tuple(_made_event(items, *each) for each in events), revision, reason)


def _made_event(
    items: Sequence[KeyValue], kind: str, what: int | str, revision: int, previous: int | None = None
) -> Event:
    item = items[what] if isinstance(what, int) else None
    before = None if previous is None else items[previous]
    return Event(EventType(kind), str(what) if item is None else item.key, item, revision, before)


def _made_timeline(items: Sequence[KeyValue], data: Mapping[str, Any]) -> Timeline:
    steps = []
    for revision, puts, deletes in data["steps"]:
        changes: dict[str, KeyValue | None] = {items[place].key: items[place] for place in puts}
        changes.update(dict.fromkeys(deletes))
        steps.append(Step(revision, changes))
    doubtful: list[Operation] = [
        Put(key, value[0].encode("latin-1")) if value else Delete(key) for key, *value in data["doubtful"]
    ]
    return Timeline(steps, data["deletes"], tuple(doubtful))
