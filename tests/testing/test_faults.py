"""Each fault does what it says, to every connection, and core reacts to it as to a real one."""

from __future__ import annotations

import pytest

from tenure import (
    BatchType,
    Compacted,
    Conflict,
    DeadlineExceeded,
    InvalidArgument,
    LeaseLost,
    LeaseNotFound,
    LeaseState,
    OutcomeUnknown,
    PermissionDenied,
    Unavailable,
    Unsupported,
)
from tenure.testing import Sandbox, UnusedFault, wait_until


def batches(watch, count):
    got = [watch.next(timeout=5) for _ in range(count)]
    assert None not in got
    return got


@pytest.fixture
def watch(tenure_store):
    with tenure_store.watch() as watch:
        assert [batch.type for batch in batches(watch, 2)] == [BatchType.SNAPSHOT, BatchType.SYNCED]
        yield watch


def test_an_unknown_write_was_applied_or_not_as_asked(tenure_store, tenure_faults):
    for applied in (True, False):
        lost = tenure_faults.next_write_unknown(applied=applied)
        with pytest.raises(OutcomeUnknown):
            tenure_store.put("a", b"%d" % applied)
        assert lost.happened
        assert tenure_store.get("a").value == b"1"


def test_a_refusal_whose_answer_is_lost_is_unknown_too(tenure_store, tenure_faults):
    tenure_store.put("a", b"")
    tenure_faults.next_write_unknown(applied=True)
    with pytest.raises(OutcomeUnknown):
        tenure_store.put_if_absent("a", b"x")
    assert tenure_store.get("a").value == b""


def test_a_write_that_arrives_late(tenure_store, tenure_faults):
    lost = tenure_faults.next_write_unknown(applied=False)
    with pytest.raises(InvalidArgument, match="no write is under way"):
        lost.deliver_late()
    with pytest.raises(OutcomeUnknown):
        tenure_store.put_if_absent("a", b"late")
    assert tenure_store.get("a") is None
    assert lost.deliver_late().revision == tenure_store.get("a").mod_revision
    with pytest.raises(InvalidArgument):
        lost.deliver_late()


def test_a_late_write_is_judged_by_what_it_finds(tenure_store, tenure_faults):
    lost = tenure_faults.next_write_unknown(applied=False)
    with pytest.raises(OutcomeUnknown):
        tenure_store.put_if_absent("a", b"late")
    tenure_store.put("a", b"early")
    with pytest.raises(Conflict):
        lost.deliver_late()


def test_refused_calls_are_tried_again_by_core_and_counted(tenure_store, tenure_faults):
    refusal = tenure_faults.fail_calls(3, kinds="get")
    before = tenure_faults.count("get")
    assert tenure_store.get("a") is None
    assert (refusal.refused, tenure_faults.count("get") - before) == (3, 4)
    tenure_faults.fail_calls(3)
    tenure_store.put("a", b"")


def test_a_refusal_by_another_error(tenure_store, tenure_faults):
    tenure_faults.fail_calls(error=PermissionDenied, kinds=["commit", "get"])
    with pytest.raises(PermissionDenied, match="as scripted by the test"):
        tenure_store.put("a", b"")
    tenure_faults.fail_calls(2, error=Conflict("somebody was here", revision=7), kinds="commit")
    raised = []
    for _ in range(2):
        with pytest.raises(Conflict) as caught:
            tenure_store.put("a", b"")
        raised.append(caught.value)
    assert [error.revision for error in raised] == [7, 7]
    assert raised[0] is not raised[1]
    assert tenure_store.get("a") is None


def test_a_new_connection_can_be_refused(tenure_connect, tenure_faults):
    tenure_faults.fail_calls(kinds="open")
    with pytest.raises(Unavailable):
        tenure_connect()
    tenure_connect()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"kinds": "getting"}, "no such kind of call: 'getting'; choose from open, get"),
        ({"calls": 0}, "at least 1, not 0"),
        ({"error": ValueError}, "only errors of tenure.errors"),
    ],
)
def test_a_refusal_that_makes_no_sense(tenure_faults, arguments, said):
    with pytest.raises(InvalidArgument, match=said):
        tenure_faults.fail_calls(**arguments)
    with pytest.raises(InvalidArgument):
        tenure_faults.count("getting")


def test_a_lease_that_is_lost(tenure_store, tenure_faults, watch):
    told = []
    lease = tenure_store.lease(10, on_lost=told.append)
    tenure_store.put("a", b"", lease=lease)
    tenure_faults.expire_lease(lease)
    assert (lease.state, lease.reason) == (LeaseState.LOST, "the store ended it, as scripted by the test")
    assert tenure_store.get("a") is None
    assert [batch.events[0].type for batch in batches(watch, 2)] == ["create", "delete"]
    wait_until(lambda: told == [lease])
    with pytest.raises(LeaseNotFound):
        tenure_faults.expire_lease(lease)


def test_a_lost_lease_that_its_holder_has_to_notice(tenure_store, tenure_faults, tenure_clock):
    lease, other = tenure_store.lease(10), tenure_store.lease(10)
    tenure_faults.expire_lease(lease, notify_holder=False)
    tenure_faults.expire_lease(other.id)
    assert lease.alive
    with pytest.raises(LeaseNotFound):
        tenure_store.put("a", b"", lease=lease)
    assert not lease.alive
    assert other.alive
    tenure_clock.advance(10 / 3)
    assert other.state is LeaseState.LOST
    with pytest.raises(LeaseLost):
        other.ensure_valid()


def test_an_outage_hits_everybody_and_ends(tenure_store, tenure_connect, tenure_faults):
    other = tenure_connect()
    with tenure_faults.outage():
        for store in (tenure_store, other):
            for call in (lambda s: s.get("a"), lambda s: s.put("a", b""), lambda s: s.lease(5), lambda s: s.watch()):
                with pytest.raises(Unavailable):
                    call(store)
        with pytest.raises(Unavailable):
            tenure_connect()
    assert other.get("a") is None


def test_a_watch_goes_on_after_an_outage_without_a_gap(tenure_store, tenure_faults, watch):
    with tenure_faults.outage():
        assert watch.next(timeout=0.01) is None
        assert watch.staleness == 0.0  # no time has passed, but it knows
    tenure_store.put("a", b"")
    assert [batch.type for batch in batches(watch, 1)] == [BatchType.CHANGES]


def test_a_cut_watch_resumes_where_it_was(tenure_store, tenure_faults, watch):
    tenure_store.put("a", b"1")
    assert tenure_faults.cut_watches() == 1
    tenure_store.put("a", b"2")
    assert [(b.type, b.events[0].item.value) for b in batches(watch, 2)] == [("changes", b"1"), ("changes", b"2")]


def test_a_watch_cut_with_a_gap_tells_the_difference(tenure_store, tenure_faults, watch):
    tenure_store.put("gone", b"")
    batches(watch, 1)
    with tenure_faults.watches_disconnected(force_resync=True):
        tenure_store.delete("gone")
        tenure_store.put("new", b"")
        assert watch.next(timeout=0.01) is None
        with pytest.raises(Unavailable):
            tenure_store.watch("other", timeout=0.1)
    (batch,) = batches(watch, 1)
    assert batch.type is BatchType.RESYNC
    assert [(event.type, event.key) for event in batch.events] == [("create", "new"), ("delete", "gone")]
    assert "as scripted by the test" in batch.reason


def test_a_gap_ends_a_watch_after_a_revision(tenure_store, tenure_faults):
    revision = tenure_store.put("a", b"").revision
    with tenure_store.watch(after=revision) as watch:
        tenure_faults.cut_watches(force_resync=True)
        with pytest.raises(Compacted):
            watch.next(timeout=5)


def test_compacting_leaves_nothing_to_resume_from(tenure_store, tenure_faults):
    revision = tenure_store.put("a", b"").revision
    tenure_store.put("a", b"")
    tenure_store.watch(after=revision).close()
    tenure_faults.compact()
    with pytest.raises(Compacted):
        tenure_store.watch(after=revision)


def test_a_store_that_lost_its_data(tenure_store, tenure_faults, watch):
    lease = tenure_store.lease(5)
    tenure_store.put("a", b"", lease=lease)
    batches(watch, 1)
    tenure_faults.lose_data()
    assert tenure_store.get("a") is None
    assert batches(watch, 1)[0].type is BatchType.RESYNC
    with pytest.raises(LeaseNotFound):
        tenure_store.put("a", b"", lease=lease)


def test_a_frozen_store_takes_calls_and_answers_none(tenure_store, tenure_faults, watch):
    with tenure_faults.hang():
        with pytest.raises(DeadlineExceeded):
            tenure_store.get("a")
        with pytest.raises(OutcomeUnknown):
            tenure_store.put("a", b"")
        with pytest.raises(DeadlineExceeded):
            tenure_store.watch()
    assert tenure_store.get("a") is None
    tenure_store.put("a", b"")
    assert [batch.type for batch in batches(watch, 1)] == [BatchType.CHANGES]


def test_what_a_watch_would_have_seen_during_a_freeze_comes_afterwards_in_order(tenure_sandbox, watch):
    lease = tenure_sandbox.connect().lease(5)
    tenure_sandbox.connect().put("a", b"", lease=lease)
    batches(watch, 1)
    with tenure_sandbox.faults.hang():
        tenure_sandbox.faults.expire_lease(lease)
        assert watch.next(timeout=0.01) is None
    assert batches(watch, 1)[0].events[0].type == "delete"
    with tenure_sandbox.faults.hang():
        tenure_sandbox.faults.cut_watches()
    tenure_sandbox.connect().put("b", b"")
    assert batches(watch, 1)[0].events[0].key == "b"


def test_a_scripted_fault_that_never_happened_is_an_error():
    with Sandbox() as box:
        box.faults.next_write_unknown(applied=False)
        box.faults.fail_calls(2, kinds="get")
        with pytest.raises(
            UnusedFault, match=r"refuse 2 calls \(get\) with Unavailable; lose the answer .* not applied"
        ):
            box.check_faults()
        box.faults.clear()
    with pytest.raises(UnusedFault), Sandbox() as box:
        box.faults.fail_calls()
    with Sandbox() as box:
        box.faults.fail_calls(2, kinds="get")
        box.connect().get("a")
        box.faults.next_write_unknown(applied=True)
        assert box.faults.unused == ("lose the answer of a write that was applied",)
        box.faults.clear()


def test_clearing_ends_what_lasts(tenure_store, tenure_faults):
    with tenure_faults.outage(), tenure_faults.hang(), tenure_faults.watches_disconnected():
        tenure_faults.clear()
        tenure_store.put("a", b"")
        tenure_store.watch().close()


def test_a_store_named_by_its_url_has_what_needs_no_help(tmp_path):
    with Sandbox(f"sqlite://{tmp_path}/state.db") as box, box.connect() as store:
        lease = store.lease(30)
        store.put("a", b"", lease=lease)
        box.faults.expire_lease(lease)
        assert store.get("a") is None
        with store.watch() as watch:
            batches(watch, 2)
            box.faults.cut_watches(force_resync=True)
            assert batches(watch, 1)[0].type is BatchType.RESYNC
        for call in (box.faults.compact, box.faults.lose_data, lambda: box.clock):
            with pytest.raises(Unsupported):
                call()
