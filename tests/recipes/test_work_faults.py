"""Sharing work in the face of what only one store can do to it: lost answers, outages, forks."""

from __future__ import annotations

import pytest

import tenure
from tenure import Store
from tenure.errors import AlreadyHeld, Conflict, LeaseLost, OutcomeUnknown, UsedAfterFork
from tenure.testing import Faults
from tenure_testkit.probes import forked
from tenure_testkit.waiting import PATIENCE, until


def _claimed(queue: tenure.WorkQueue) -> tenure.Claim:
    claim = queue.try_claim()
    assert claim is not None
    return claim


@pytest.mark.parametrize("applied", [True, False])
def test_a_put_without_an_answer_puts_once(tenure_store: Store, tenure_faults: Faults, applied: bool) -> None:
    queue = tenure.WorkQueue(tenure_store, "q")
    queue.put(b"1")
    late = tenure_faults.next_write_unknown(applied=applied)
    queue.put(b"2")
    if not applied:
        with pytest.raises(Conflict):
            late.deliver_late()
    found = [_claimed(queue), _claimed(queue)]
    assert [claim.value for claim in found] == [b"1", b"2"]
    assert queue.try_claim() is None


@pytest.mark.parametrize("applied", [True, False])
def test_a_claim_without_an_answer_claims_once(tenure_store: Store, tenure_faults: Faults, applied: bool) -> None:
    queue = tenure.WorkQueue(tenure_store, "q")
    queue.put(b"1")
    late = tenure_faults.next_write_unknown(applied=applied)
    claim = _claimed(queue)
    assert claim.attempts == 1
    if not applied:
        with pytest.raises(Conflict):
            late.deliver_late()
    claim.ack()
    assert not tenure_store.list("tenure/queue/").keys


@pytest.mark.parametrize("applied", [True, False])
def test_an_acknowledgement_without_an_answer_writes_once(
    tenure_store: Store, tenure_faults: Faults, applied: bool
) -> None:
    queue = tenure.WorkQueue(tenure_store, "q")
    queue.put(b"1")
    claim = _claimed(queue)
    tenure_faults.next_write_unknown(applied=applied)
    claim.ack(tenure_store.transaction().if_absent("done").put("done", b""))
    assert not claim.held
    assert not tenure_store.list("tenure/queue/").keys
    done = tenure_store.get("done")
    assert done is not None
    assert done.create_revision == done.mod_revision


def test_an_acknowledgement_whose_outcome_stays_unknown_gives_the_item_back(
    tenure_store: Store, tenure_faults: Faults
) -> None:
    queue = tenure.WorkQueue(tenure_store, "q")
    queue.put(b"1")
    claim = _claimed(queue)
    late = tenure_faults.next_write_unknown(applied=False)
    tenure_faults.fail_calls(10_000, kinds="get")
    with pytest.raises(OutcomeUnknown):
        claim.ack(tenure_store.transaction().put("done", b""), timeout=0.3)
    tenure_faults.clear()
    until(lambda: not [key for key in tenure_store.list().keys if key.endswith(".claim")])
    with pytest.raises(Conflict):
        late.deliver_late()
    assert _claimed(queue).attempts == 2
    assert tenure_store.get("done") is None


def test_a_release_in_an_outage_is_done_after_it(tenure_store: Store, tenure_faults: Faults) -> None:
    queue = tenure.WorkQueue(tenure_store, "q")
    queue.put(b"1")
    claim = _claimed(queue)
    tenure_faults.fail_calls(3)
    claim.release(timeout=0.01)
    tenure_faults.clear()
    again = queue.claim(timeout=PATIENCE)
    assert again is not None
    assert again.attempts == 2


def test_permits_without_an_answer_are_given_once(tenure_store: Store, tenure_faults: Faults) -> None:
    limiter = tenure.RateLimiter(tenure_store, "r", rate=3, per=3600)
    assert limiter.try_acquire()
    tenure_faults.next_write_unknown(applied=True)
    assert limiter.try_acquire()
    late = tenure_faults.next_write_unknown(applied=False)
    assert limiter.try_acquire()
    with pytest.raises(Conflict):
        late.deliver_late()
    assert not limiter.try_acquire()


@pytest.mark.parametrize("applied", [True, False])
def test_a_partition_without_an_answer_is_taken_once(tenure_store: Store, tenure_faults: Faults, applied: bool) -> None:
    with tenure.Partitioner(tenure_store, "p", partitions=1) as mine:
        with tenure.Group(tenure_store, "g").join():  # so that there is a session
            tenure_faults.next_write_unknown(applied=applied)
            assert mine.update()
        assert list(mine.owned) == [0]
    until(lambda: not tenure_store.list().keys)


def test_a_persistent_key_without_an_answer_is_there_once(tenure_store: Store, tenure_faults: Faults) -> None:
    for applied in (True, False):
        tenure_faults.next_write_unknown(applied=applied)
        with tenure.PersistentKey(tenure_store, "up", b"1") as key:
            assert key.present
        assert tenure_store.get("up") is None


def test_a_forked_child_has_nothing_of_its_parents_work(tenure_store: Store) -> None:
    queue, limiter = tenure.WorkQueue(tenure_store, "q"), tenure.RateLimiter(tenure_store, "r", rate=1)
    share = tenure.Partitioner(tenure_store, "p", partitions=1)
    queue.put(b"1")
    claim = _claimed(queue)
    assert share.update()

    def ask() -> None:
        assert not claim.held
        assert not share.owned
        for call in (queue.try_claim, limiter.try_acquire, claim.ack, share.update, lambda: queue.put(b"2")):
            with pytest.raises(UsedAfterFork):
                call()

    assert forked(ask) == ""
    assert claim.held
    claim.ack()
    assert list(share.owned) == [0]
    share.close()


def test_a_store_that_lost_its_data(tenure_store: Store, tenure_faults: Faults) -> None:
    queue, share = tenure.WorkQueue(tenure_store, "q"), tenure.Partitioner(tenure_store, "p", partitions=2)
    limiter = tenure.RateLimiter(tenure_store, "r", rate=1, per=3600)
    queue.put(b"1")
    claim = _claimed(queue)
    assert share.update()
    assert limiter.try_acquire()
    tenure_faults.lose_data()
    with pytest.raises(LeaseLost):
        claim.ack(tenure_store.transaction().put("done", b""))
    queue.put(b"2")
    assert _claimed(queue).value == b"2"
    until(lambda: share.update() and len(share.owned) == 2)
    share.guard(tenure_store.transaction().put("done", b""), 1).commit()
    assert limiter.try_acquire()
    share.close()


def test_one_object_gives_and_takes_for_one_caller_at_a_time(tenure_store: Store) -> None:
    refused: list[str] = []

    def release(number: int, held: tenure.Held) -> None:
        for call in (one.update, one.close):  # as another thread might, at this moment
            with pytest.raises(AlreadyHeld, match="'p'"):
                call()
            refused.append(call.__name__)

    one = tenure.Partitioner(tenure_store, "p", partitions=2, on_release=release)
    assert one.update()
    other = tenure.Partitioner(tenure_store, "p", partitions=2)
    other.update()
    assert one.update()
    assert refused == ["update", "close"]
    assert other.update()
    assert [list(one.owned), list(other.owned)] == [[0], [1]]
    other.close()
    one = tenure.Partitioner(tenure_store, "q", partitions=1)
    one.close()
    assert one.update(), "a call that has ended holds up no other"
    one.close()
