"""The checkers behind the watch rules: each finds what it is for, and nothing in a true account."""

from __future__ import annotations

import json

import pytest

from tenure.conformance.checkers import by_name, watches, write_history
from tenure.conformance.checkers.write_history import History, Timeline
from tenure.spi import CommitResult, Delete, KeyValue, Put
from tenure.watch import Batch, BatchType, Event, EventType

A1, B1 = KeyValue("a", b"1", 1, 1), KeyValue("b", b"1", 1, 1)
A2 = KeyValue("a", b"2", 1, 2)
A4 = KeyValue("a", b"4", 4, 4)

SNAPSHOT = Batch(BatchType.SNAPSHOT, (), 0)
SYNCED = Batch(BatchType.SYNCED, (), 0)


def changes(*events: Event) -> Batch:
    return Batch(BatchType.CHANGES, events, max(event.revision for event in events))


def put(kind: EventType, item: KeyValue) -> Event:
    return Event(kind, item.key, item, item.mod_revision)


CREATED = changes(put(EventType.CREATE, A1), put(EventType.CREATE, B1))
UPDATED = changes(put(EventType.UPDATE, A2))
DELETED = changes(Event(EventType.DELETE, "a", None, 3))
AGAIN = changes(put(EventType.CREATE, A4))
TRUE = [SNAPSHOT, SYNCED, CREATED, UPDATED, DELETED, AGAIN]


@pytest.fixture
def timeline() -> Timeline:
    writes = History()
    writes.done(CommitResult(4), Put("a", b"4"))  # recorded in whatever order threads come
    writes.done(CommitResult(1), Put("a", b"1"), Put("b", b"1"))
    writes.done(CommitResult(3, 1), Delete("a"), Delete("none"))
    writes.done(CommitResult(2), Put("a", b"2"))
    writes.done(CommitResult(2, 0), Delete("a"))  # answered at another's revision: it deleted nothing
    return writes.timeline()


def problems(batches: list[Batch], timeline: Timeline) -> dict[str, list[str]]:
    found = {
        "order": write_history.check_order(batches),
        "truth": write_history.check_truth(batches, timeline, exact=True),
        "convergence": write_history.check_convergence(batches, [A4, B1]),
        "kinds": write_history.check_kinds(batches, previous=False),
        "shape": write_history.check_shape(batches),
        "transactions": write_history.check_every_transaction(batches, timeline, after=0),
    }
    return {name: each for name, each in found.items() if each}


def test_a_true_account_has_no_problem(timeline):
    assert problems(TRUE, timeline) == {}


ACCOUNTS = [
    ([*TRUE[:5]], {"convergence", "transactions"}),
    ([*TRUE, AGAIN], {"order", "kinds", "transactions"}),
    ([SNAPSHOT, SYNCED, UPDATED, CREATED, DELETED, AGAIN], {"order", "kinds", "transactions"}),
    ([SNAPSHOT, SYNCED, CREATED, UPDATED, AGAIN], {"kinds", "transactions"}),
    ([SNAPSHOT, *TRUE[2:]], {"shape"}),
    ([*TRUE[:3], SYNCED, *TRUE[3:]], {"shape"}),
    ([*TRUE[:3], Batch(BatchType.RESYNC, UPDATED.events, 2), *TRUE[4:]], {"shape", "transactions"}),
    ([*TRUE[:2], *(changes(event) for event in CREATED.events), *TRUE[3:]], {"transactions"}),
    ([*TRUE[:2], changes(CREATED.events[0]), *TRUE[3:]], {"convergence", "transactions"}),
    ([*TRUE[:5], changes(put(EventType.CREATE, A4._replace(value=b"?")))], {"truth", "convergence"}),
    ([*TRUE[:4], changes(Event(EventType.DELETE, "a", None, 2)), AGAIN], {"order", "truth", "transactions"}),
    (TRUE, set()),
]


@pytest.mark.parametrize(("batches", "found"), ACCOUNTS)
def test_what_is_wrong_is_found(timeline, batches, found):
    assert set(problems(batches, timeline)) == found


CHECKS = {
    "order": watches.ORDER,
    "truth": watches.TRUTH,
    "convergence": watches.CONVERGENCE,
    "kinds": watches.KINDS,
    "shape": watches.SHAPE,
    "transactions": watches.TRANSACTIONS,
}


@pytest.mark.parametrize("number", range(len(ACCOUNTS)))
def test_a_saved_account_is_judged_alike(timeline, number):
    batches, _ = ACCOUNTS[number]
    wanted = problems(batches, timeline)
    for name, check in CHECKS.items():
        data = watches.record([check], [batches], timeline=timeline, listed=[A4, B1], exact=True, after=[0])
        assert by_name.check("watch", json.loads(json.dumps(data))) == wanted.get(name, [])
    every = watches.record(
        list(CHECKS.values()), [TRUE, batches], timeline=timeline, listed=[A4, B1], exact=True, after=[0, 0]
    )
    found = by_name.check("watch", json.loads(json.dumps(every)))
    assert len(found) == sum(map(len, wanted.values()))
    assert all(problem.startswith("watcher 2 of 2: ") for problem in found)


def test_a_saved_account_keeps_doubt_and_previous_values():
    writes = History()
    writes.done(CommitResult(1), Put("a", b"1"), Put("b", b"1"))
    writes.unknown(Put("a", b"\xff\0"), Delete("b"))
    told = changes(
        Event(EventType.UPDATE, "a", KeyValue("a", b"\xff\0", 1, 2, "lease"), 2, previous=A1),
        Event(EventType.DELETE, "b", None, 3, previous=B1),
    )
    checks = [watches.TRUTH, watches.KINDS]
    for batches, right in (([CREATED, told], True), ([told], False)):
        data = watches.record(checks, [batches], timeline=writes.timeline(), exact=True, previous=True)
        assert (by_name.check("watch", json.loads(json.dumps(data))) == []) is right


def test_previous_values_are_compared():
    wrong = Event(EventType.UPDATE, "a", A2, 2, previous=B1)
    assert write_history.check_kinds([CREATED, changes(wrong)], previous=True)
    assert not write_history.check_kinds([CREATED, changes(wrong)], previous=False)


def test_values_of_unknown_outcome_may_or_may_not_appear():
    writes = History()
    writes.done(CommitResult(1), Put("a", b"1"))
    writes.unknown(Put("a", b"perhaps"))
    told = changes(put(EventType.UPDATE, KeyValue("a", b"perhaps", 1, 2)))
    assert write_history.check_truth([told], writes.timeline(), exact=True) == []
    other = changes(put(EventType.UPDATE, KeyValue("a", b"never", 1, 2)))
    assert write_history.check_truth([other], writes.timeline(), exact=True)


def test_deletes_of_unknown_outcome_may_or_may_not_appear():
    writes = History()
    writes.done(CommitResult(1), Put("a", b"1"), Put("b", b"1"))
    writes.unknown(Delete("a"))
    timeline = writes.timeline()
    deletes = {key: changes(Event(EventType.DELETE, key, None, 2)) for key in "ab"}
    assert write_history.check_truth([deletes["a"]], timeline, exact=True) == []
    assert write_history.check_truth([deletes["b"]], timeline, exact=True)
    assert write_history.check_every_transaction([CREATED, deletes["a"]], timeline, after=0) == []
    assert write_history.check_every_transaction([changes(CREATED.events[0])], timeline, after=0)
