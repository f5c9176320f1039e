"""A short soak without servers finds nothing, and the judgements of the soak find what they are there for."""

from __future__ import annotations

import pytest

from tenure import Batch, BatchType, Event, EventType, KeyValue
from tenure_testkit.soak import checker
from tenure_testkit.soak.replica import Replica
from tenure_testkit.soak.soak import soak

SECONDS = 8.0


def test_nothing_is_wrong_with_the_embedded_stores(tmp_path):
    found = soak(
        ["memory", "sqlite"], minutes=SECONDS / 60, seed="1", folder=tmp_path / "soak", processes=1, tell=lambda _: None
    )
    assert found["problems"] == []
    for name, one in found["stores"].items():
        assert one["turns"], name
        for kind in ("put done", "get done", "lease done", "next done", "put_if_unchanged done"):
            assert one["counts"].get(kind), f"{name}: {kind}"


def held(holder, token, began, last):
    return [{"kind": "held", "lock": "l", "token": token, "holder": holder, "at": at} for at in (began, last)]


def test_two_holders_at_once_are_found():
    assert checker.lock_problems(held("a", 1, 1.0, 2.0) + held("b", 2, 2.5, 3.0)) == []
    assert "two holders" in checker.lock_problems(held("a", 1, 1.0, 2.0) + held("b", 2, 1.5, 3.0))[0]


def test_a_token_that_does_not_grow_is_found_unless_the_history_was_replaced():
    records = held("a", 2, 1.0, 2.0) + held("b", 1, 2.5, 3.0)
    assert "came after" in checker.lock_problems(records)[0]
    assert checker.lock_problems(records, [(2.1, 2.2)]) == []


@pytest.mark.parametrize(("value", "wrong"), [(1, True), (2, False), (3, False), (4, True), (None, True)])
def test_a_counter_is_what_was_acknowledged_and_what_is_unknown(value, wrong):
    hows = ["try", "done", "try", "done", "try", "refused", "try", "unknown"]
    records = [{"kind": "count", "key": "c", "how": how} for how in hows]
    assert bool(checker.counter_problems(records, {"c": value})) == wrong


def test_an_increment_of_a_killed_process_is_unknown():
    records = [{"kind": "count", "key": "c", "how": "try"}]
    assert checker.counter_problems(records, {"c": 1}) == checker.counter_problems(records, {"c": None}) == []


def created(key, revision, kind=EventType.CREATE):
    item = KeyValue(key=key, value=b"", create_revision=revision, mod_revision=revision)
    return Event(kind, key, item, revision)


def replica(*batches):
    one = Replica("w", lossless=True)
    one.apply(Batch(BatchType.SNAPSHOT, (created("a", 1),), 1))
    for batch in batches:
        one.apply(batch)
    return one


def test_a_right_watch_is_right():
    one = replica(Batch(BatchType.CHANGES, (created("b", 2),), 2))
    assert one.problems == one.difference(one.items.values()) == one.missing([("b", 2)]) == []


@pytest.mark.parametrize(
    "batch",
    [
        Batch(BatchType.CHANGES, (created("a", 2),), 2),
        Batch(BatchType.CHANGES, (created("b", 2, EventType.UPDATE),), 2),
        Batch(BatchType.CHANGES, (created("a", 1, EventType.UPDATE),), 2),
        Batch(BatchType.CHANGES, (), 0),
        Batch(BatchType.SNAPSHOT, (), 2),
    ],
)
def test_a_wrong_batch_is_found(batch):
    assert replica(batch).problems


def test_a_change_that_was_never_delivered_is_found_unless_a_gap_was_reported():
    assert replica(Batch(BatchType.CHANGES, (created("b", 3),), 3)).missing([("c", 2)])
    assert not replica(Batch(BatchType.RESYNC, (created("b", 3),), 3, "a gap")).missing([("c", 2)])


def test_a_copy_that_differs_from_the_list_is_found():
    assert replica().difference([])
