"""Each fault does what it says, to every connection, and core reacts to it as to a real one."""

from __future__ import annotations

import pytest

from leasehold import (
    BatchKind,
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
from leasehold.testing import Sandbox, UnusedFault, wait_until


def batches(watch, count):
    got = [watch.next(timeout=5) for _ in range(count)]
    assert None not in got
    return got


@pytest.fixture
def watch(leasehold_store):
    with leasehold_store.watch() as watch:
        assert [batch.kind for batch in batches(watch, 2)] == [BatchKind.SNAPSHOT, BatchKind.IN_SYNC]
        yield watch


def test_an_unknown_write_was_applied_or_not_as_asked(leasehold_store, leasehold_faults):
    for applied in (True, False):
        lost = leasehold_faults.next_write_unknown(applied=applied)
        with pytest.raises(OutcomeUnknown):
            leasehold_store.put("a", b"%d" % applied)
        assert lost.happened
        assert leasehold_store.get("a").value == b"1"


def test_a_refusal_whose_answer_is_lost_is_unknown_too(leasehold_store, leasehold_faults):
    leasehold_store.put("a", b"")
    leasehold_faults.next_write_unknown(applied=True)
    with pytest.raises(OutcomeUnknown):
        leasehold_store.put_if_absent("a", b"x")
    assert leasehold_store.get("a").value == b""


def test_a_write_that_arrives_late(leasehold_store, leasehold_faults):
    lost = leasehold_faults.next_write_unknown(applied=False)
    with pytest.raises(InvalidArgument, match="no write is under way"):
        lost.arrive()
    with pytest.raises(OutcomeUnknown):
        leasehold_store.put_if_absent("a", b"late")
    assert leasehold_store.get("a") is None
    assert lost.arrive().revision == leasehold_store.get("a").mod_revision
    with pytest.raises(InvalidArgument):
        lost.arrive()


def test_a_late_write_is_judged_by_what_it_finds(leasehold_store, leasehold_faults):
    lost = leasehold_faults.next_write_unknown(applied=False)
    with pytest.raises(OutcomeUnknown):
        leasehold_store.put_if_absent("a", b"late")
    leasehold_store.put("a", b"early")
    with pytest.raises(Conflict):
        lost.arrive()


def test_refused_calls_are_tried_again_by_core_and_counted(leasehold_store, leasehold_faults):
    refusal = leasehold_faults.refuse(3, of="get")
    before = leasehold_faults.count("get")
    assert leasehold_store.get("a") is None
    assert (refusal.refused, leasehold_faults.count("get") - before) == (3, 4)
    leasehold_faults.refuse(3)
    leasehold_store.put("a", b"")


def test_a_refusal_by_another_error(leasehold_store, leasehold_faults):
    leasehold_faults.refuse(error=PermissionDenied, of=["commit", "get"])
    with pytest.raises(PermissionDenied, match="as the test wants it"):
        leasehold_store.put("a", b"")
    leasehold_faults.refuse(2, error=Conflict("somebody was here", revision=7), of="commit")
    raised = []
    for _ in range(2):
        with pytest.raises(Conflict) as caught:
            leasehold_store.put("a", b"")
        raised.append(caught.value)
    assert [error.revision for error in raised] == [7, 7]
    assert raised[0] is not raised[1]
    assert leasehold_store.get("a") is None


def test_a_new_connection_can_be_refused(leasehold_connect, leasehold_faults):
    leasehold_faults.refuse(of="open")
    with pytest.raises(Unavailable):
        leasehold_connect()
    leasehold_connect()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"of": "getting"}, "no call to a store is 'getting': there are open, get"),
        ({"calls": 0}, "at least 1, not 0"),
        ({"error": ValueError}, "errors of leasehold.errors alone"),
    ],
)
def test_a_refusal_that_makes_no_sense(leasehold_faults, arguments, said):
    with pytest.raises(InvalidArgument, match=said):
        leasehold_faults.refuse(**arguments)
    with pytest.raises(InvalidArgument):
        leasehold_faults.count("getting")


def test_a_lease_that_is_lost(leasehold_store, leasehold_faults, watch):
    told = []
    lease = leasehold_store.lease(10, on_lost=told.append)
    leasehold_store.put("a", b"", lease=lease)
    leasehold_faults.lose(lease)
    assert (lease.state, lease.reason) == (LeaseState.LOST, "the store ended it, as the test wants it")
    assert leasehold_store.get("a") is None
    assert [batch.events[0].kind for batch in batches(watch, 2)] == ["create", "delete"]
    wait_until(lambda: told == [lease])
    with pytest.raises(LeaseNotFound):
        leasehold_faults.lose(lease)


def test_a_lost_lease_that_its_holder_has_to_notice(leasehold_store, leasehold_faults, leasehold_clock):
    lease, other = leasehold_store.lease(10), leasehold_store.lease(10)
    leasehold_faults.lose(lease, noticed=False)
    leasehold_faults.lose(other.id)
    assert lease.alive
    with pytest.raises(LeaseNotFound):
        leasehold_store.put("a", b"", lease=lease)
    assert not lease.alive
    assert other.alive
    leasehold_clock.elapse(10 / 3)
    assert other.state is LeaseState.LOST
    with pytest.raises(LeaseLost):
        other.assert_valid()


def test_an_outage_hits_everybody_and_ends(leasehold_store, leasehold_connect, leasehold_faults):
    other = leasehold_connect()
    with leasehold_faults.outage():
        for store in (leasehold_store, other):
            for call in (lambda s: s.get("a"), lambda s: s.put("a", b""), lambda s: s.lease(5), lambda s: s.watch()):
                with pytest.raises(Unavailable):
                    call(store)
        with pytest.raises(Unavailable):
            leasehold_connect()
    assert other.get("a") is None


def test_a_watch_goes_on_after_an_outage_without_a_gap(leasehold_store, leasehold_faults, watch):
    with leasehold_faults.outage():
        assert watch.next(timeout=0.01) is None
        assert watch.disconnected_for == 0.0  # no time has passed, but it knows
    leasehold_store.put("a", b"")
    assert [batch.kind for batch in batches(watch, 1)] == [BatchKind.CHANGES]


def test_a_cut_watch_resumes_where_it_was(leasehold_store, leasehold_faults, watch):
    leasehold_store.put("a", b"1")
    assert leasehold_faults.cut_watches() == 1
    leasehold_store.put("a", b"2")
    assert [(b.kind, b.events[0].item.value) for b in batches(watch, 2)] == [("changes", b"1"), ("changes", b"2")]


def test_a_watch_cut_with_a_gap_tells_the_difference(leasehold_store, leasehold_faults, watch):
    leasehold_store.put("gone", b"")
    batches(watch, 1)
    with leasehold_faults.without_watches(gap=True):
        leasehold_store.delete("gone")
        leasehold_store.put("new", b"")
        assert watch.next(timeout=0.01) is None
        with pytest.raises(Unavailable):
            leasehold_store.watch("other", timeout=0.1)
    (batch,) = batches(watch, 1)
    assert batch.kind is BatchKind.RESYNC
    assert [(event.kind, event.key) for event in batch.events] == [("create", "new"), ("delete", "gone")]
    assert "as the test wants it" in batch.reason


def test_a_gap_ends_a_watch_after_a_revision(leasehold_store, leasehold_faults):
    revision = leasehold_store.put("a", b"").revision
    with leasehold_store.watch(after=revision) as watch:
        leasehold_faults.cut_watches(gap=True)
        with pytest.raises(Compacted):
            watch.next(timeout=5)


def test_compacting_leaves_nothing_to_resume_from(leasehold_store, leasehold_faults):
    revision = leasehold_store.put("a", b"").revision
    leasehold_store.put("a", b"")
    leasehold_store.watch(after=revision).close()
    leasehold_faults.compact()
    with pytest.raises(Compacted):
        leasehold_store.watch(after=revision)


def test_a_store_that_lost_its_data(leasehold_store, leasehold_faults, watch):
    lease = leasehold_store.lease(5)
    leasehold_store.put("a", b"", lease=lease)
    batches(watch, 1)
    leasehold_faults.lose_data()
    assert leasehold_store.get("a") is None
    assert batches(watch, 1)[0].kind is BatchKind.RESYNC
    with pytest.raises(LeaseNotFound):
        leasehold_store.put("a", b"", lease=lease)


def test_a_frozen_store_takes_calls_and_answers_none(leasehold_store, leasehold_faults, watch):
    with leasehold_faults.freeze():
        with pytest.raises(DeadlineExceeded):
            leasehold_store.get("a")
        with pytest.raises(OutcomeUnknown):
            leasehold_store.put("a", b"")
        with pytest.raises(DeadlineExceeded):
            leasehold_store.watch()
    assert leasehold_store.get("a") is None
    leasehold_store.put("a", b"")
    assert [batch.kind for batch in batches(watch, 1)] == [BatchKind.CHANGES]


def test_what_a_watch_would_have_seen_during_a_freeze_comes_afterwards_in_order(leasehold_sandbox, watch):
    lease = leasehold_sandbox.connect().lease(5)
    leasehold_sandbox.connect().put("a", b"", lease=lease)
    batches(watch, 1)
    with leasehold_sandbox.faults.freeze():
        leasehold_sandbox.faults.lose(lease)
        assert watch.next(timeout=0.01) is None
    assert batches(watch, 1)[0].events[0].kind == "delete"
    with leasehold_sandbox.faults.freeze():
        leasehold_sandbox.faults.cut_watches()
    leasehold_sandbox.connect().put("b", b"")
    assert batches(watch, 1)[0].events[0].key == "b"


def test_a_scripted_fault_that_never_happened_is_an_error():
    with Sandbox() as box:
        box.faults.next_write_unknown(applied=False)
        box.faults.refuse(2, of="get")
        with pytest.raises(
            UnusedFault, match=r"refuse 2 calls \(get\) with Unavailable; lose the answer .* not applied"
        ):
            box.check_faults()
        box.faults.clear()
    with pytest.raises(UnusedFault), Sandbox() as box:
        box.faults.refuse()
    with Sandbox() as box:
        box.faults.refuse(2, of="get")
        box.connect().get("a")
        box.faults.next_write_unknown(applied=True)
        assert box.faults.unused == ("lose the answer of a write that was applied",)
        box.faults.clear()


def test_clearing_ends_what_lasts(leasehold_store, leasehold_faults):
    with leasehold_faults.outage(), leasehold_faults.freeze(), leasehold_faults.without_watches():
        leasehold_faults.clear()
        leasehold_store.put("a", b"")
        leasehold_store.watch().close()


def test_a_store_named_by_its_url_has_what_needs_no_help(tmp_path):
    with Sandbox(f"sqlite://{tmp_path}/state.db") as box, box.connect() as store:
        lease = store.lease(30)
        store.put("a", b"", lease=lease)
        box.faults.lose(lease)
        assert store.get("a") is None
        with store.watch() as watch:
            batches(watch, 2)
            box.faults.cut_watches(gap=True)
            assert batches(watch, 1)[0].kind is BatchKind.RESYNC
        for call in (box.faults.compact, box.faults.lose_data, lambda: box.clock):
            with pytest.raises(Unsupported):
                call()
