"""What applies exactly once, in the face of what only one store can do to it: lost answers, lost data, forks."""

from __future__ import annotations

import pytest

import tenure
from tenure import Store
from tenure.errors import Conflict, OutcomeUnknown, UsedAfterFork
from tenure.testing import Faults
from tenure_testkit.probes import forked
from tenure_testkit.waiting import PATIENCE, until


def test_a_write_without_an_answer_counts_once(tenure_store: Store, tenure_faults: Faults) -> None:
    counter = tenure.Counter(tenure_store, "c")
    assert counter.add() == 1
    tenure_faults.next_write_unknown(applied=True)
    assert counter.add() == 2
    late = tenure_faults.next_write_unknown(applied=False)
    assert counter.add() == 3
    with pytest.raises(Conflict):
        late.deliver_late()
    first, second = (tenure_faults.next_write_unknown(applied=applied) for applied in (False, False))
    assert counter.add() == 4
    for late in (first, second):
        with pytest.raises(Conflict):
            late.deliver_late()
    assert counter.value() == 4
    assert not tenure_faults.unused
    assert len(tenure_store.list("tenure/mark/").keys) == 1


def test_what_could_not_be_found_out_is_told_and_never_applied(tenure_store: Store, tenure_faults: Faults) -> None:
    value = tenure.AtomicValue(tenure_store, "v")
    value.set(b"first")
    late = tenure_faults.next_write_unknown(applied=False)
    tenure_faults.fail_calls(10_000, kinds="get")
    with pytest.raises(OutcomeUnknown, match="read before you try again"):
        value.set(b"second", timeout=0.3)
    tenure_faults.clear()
    until(lambda: not tenure_store.list("tenure/mark/").keys, what="the mark is removed")
    with pytest.raises(Conflict):
        late.deliver_late()
    assert value.get() == b"first"


def test_a_store_that_lost_its_data(tenure_store: Store, tenure_faults: Faults) -> None:
    counter, ids = tenure.Counter(tenure_store, "c"), tenure.IdBlock(tenure_store, "i", size=1)
    assert [counter.add(5), ids.next()] == [5, 1]
    tenure_faults.lose_data()
    assert [counter.add(), ids.next()] == [1, 1]
    assert tenure.transact(tenure_store, lambda view: view.get(counter.key)) == b"1"


def test_a_forked_child_gives_no_ids_of_its_parent(tenure_store: Store) -> None:
    ids, counter = tenure.IdBlock(tenure_store, "i"), tenure.Counter(tenure_store, "c")
    assert [ids.next(), counter.add()] == [1, 1]

    def ask() -> None:
        for call in (ids.next, counter.add):
            with pytest.raises(UsedAfterFork):
                call()

    assert forked(ask) == ""
    assert ids.next() == 2


def test_an_interrupted_run_is_given_back(tenure_store: Store) -> None:
    def interrupted(held: tenure.Held) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tenure.once(tenure_store, "job", interrupted)
    assert not tenure_store.list().keys
    assert tenure.once(tenure_store, "job", lambda held: b"done") == b"done"


@pytest.mark.parametrize(("missed", "timeout", "calls"), [("skip", 1.5, 1), ("last", 0.01, 2)])
def test_a_slot_that_was_taken_by_a_clock_far_ahead_is_told(
    missed: str, timeout: float, calls: int, caplog: pytest.LogCaptureFixture
) -> None:
    """One that skips missed slots looks when the next slot comes."""
    with tenure.connect("memory://") as store:
        schedule = tenure.Schedule(store, "s", 1, missed=missed)
        store.put(schedule.key, b"2999-01-01T00:00:00+00:00 another")
        for _ in range(calls):
            with pytest.raises(tenure.WaitTimeout, match=r"2999-01-01.*delete the key"):
                schedule.take(timeout=timeout)
        warnings = [record for record in caplog.records if "2999-01-01" in record.getMessage()]
        assert len(warnings) == 1
        store.delete(schedule.key)
        assert schedule.take(timeout=PATIENCE).microsecond == 0


def test_a_fire_time_outside_the_calendar_is_told() -> None:
    with tenure.connect("memory://") as store:
        schedule = tenure.Schedule(store, "s", 1)
        store.put(schedule.key, b"0001-01-01T00:00:00+14:00 another")
        with pytest.raises(tenure.StoreCorrupted, match="no fire time"):
            schedule.take(timeout=PATIENCE)
