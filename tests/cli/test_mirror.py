"""`tenure mirror`: the target is what the source is, whatever happens to either side or to the mirror."""

from __future__ import annotations

import pytest

import tenure
import tenure_memory
from tenure.migration.mirror_lock import LOCK, RECORD

from .mirrors import DEADLINE, Running, content, equal, lease_of


def test_the_state_then_every_change(source: tenure.Store, target: tenure.Store) -> None:
    for i in range(250):
        source.put(f"key/{i}", bytes([i % 256]) * (i % 7))
    with Running(source, target) as running:
        assert running.until("synced")["written"] == 250
        assert content(target) == content(source)
        source.put("key/1", b"changed")
        source.delete("key/2")
        source.put("new", b"")
        equal(source, target)
    assert running.error is None
    assert target.get(LOCK) is None
    assert target.get(RECORD) is not None


def test_a_transaction_arrives_as_one(source: tenure.Store, target: tenure.Store) -> None:
    source.put("gone", b"")
    with Running(source, target) as running:
        running.until("synced")
        transaction = source.transaction().delete("gone")
        for i in range(300):
            transaction.put(f"{i}", b"x")
        with target.watch(after=target.get_with_revision("x").revision) as watch:
            transaction.commit()
            batch = watch.next(DEADLINE)
        assert batch is not None
        assert len({event.revision for event in batch.events}) == 1
        assert len(batch.events) == 301


def test_a_restart_reconciles_again_deletes_included(source: tenure.Store, target: tenure.Store) -> None:
    source.put("stays", b"1")
    source.put("goes", b"2")
    with Running(source, target) as running:
        running.until("synced")
    source.delete("goes")
    source.put("new", b"3")
    with Running(source, target) as running:
        found = running.until("synced")
        assert (found["written"], found["deleted"]) == (1, 1)
        assert content(target) == {"stays": b"1", "new": b"3"}


def test_an_outage_of_the_source_is_told_and_outlived(
    source: tenure.Store, target: tenure.Store, names: tuple[str, str]
) -> None:
    source.put("a", b"1")
    with Running(source, target) as running:
        running.until("synced")
        with tenure_memory.server(names[0]).outage():
            assert running.until("outage", side="source")["seconds"] >= 0
        running.until("reconnected", side="source")
        source.delete("a")
        equal(source, target)
    assert running.error is None


def test_an_outage_of_the_target_is_told_and_outlived(
    source: tenure.Store, target: tenure.Store, names: tuple[str, str]
) -> None:
    source.put("a", b"1")
    with Running(source, target) as running:
        running.until("synced")
        with tenure_memory.server(names[1]).outage():
            source.put("b", b"2")
            source.delete("a")
            running.until("outage", side="target")
        running.until("reconnected", side="target")
        running.until("synced")
        assert content(target) == {"b": b"2"}
    assert running.error is None


@pytest.mark.parametrize("key", ["service", LOCK])
def test_a_target_that_lost_a_lease_is_reconciled(
    source: tenure.Store, target: tenure.Store, names: tuple[str, str], key: str
) -> None:
    source.put("service", b"1", lease=source.lease(60))
    with Running(source, target, ttl=3.0) as running:
        running.until("synced")
        tenure_memory.server(names[1]).expire_lease(lease_of(target, key))
        source.put("other", b"2")
        running.until("reconciling")
        running.until("synced")
        assert content(target) == {"service": b"1", "other": b"2"}
        assert target.get(LOCK) is not None


@pytest.mark.parametrize("applied", [True, False])
def test_a_write_without_an_answer(
    source: tenure.Store, target: tenure.Store, names: tuple[str, str], applied: bool
) -> None:
    with Running(source, target) as running:
        running.until("synced")
        tenure_memory.server(names[1]).make_next_write_unknown(applied=applied)
        source.put("a", b"1")
        assert running.until("synced")["written"] == (0 if applied else 1)
        assert content(target) == {"a": b"1"}


def test_a_gap_in_the_source(source: tenure.Store, target: tenure.Store, names: tuple[str, str]) -> None:
    source.put("a", b"1")
    server = tenure_memory.server(names[0])
    with Running(source, target) as running:
        running.until("synced")
        server.lose_data()
        running.until("resync")
        source.put("b", b"2")
        equal(source, target)
        assert content(target) == {"b": b"2"}
