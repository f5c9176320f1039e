"""Losing the registration and getting it back, once; never coming back after a deregister. Time moves by hand."""

from __future__ import annotations

import threading

import pytest

from tenure import ManualClock, Store
from tenure._runtime.monitor import Monitor
from tenure.errors import (
    AuthenticationFailed,
    OutcomeUnknown,
    PermissionDenied,
    ServiceNotFound,
    StoreFull,
    Unavailable,
)
from tenure.registry import Instance, Part, RegistryConfig, Status, encode
from tenure.registry.lifecycle.entry import OwnEntry
from tenure.registry.lifecycle.recovery import Recovery
from tenure.registry.lifecycle.state import RegistrationState
from tenure.spi.types import Put

WEB = Instance("web", id="1", host="10.0.0.1", host_name="n", port=80)
KEY = "/registry/default/web/1@10.0.0.1"


def statuses_of(own, told):
    """What is told of the registration; that the cache follows again may be told before or after it."""
    seen = told()
    own.add_status_handler(lambda change: seen(change) if change.part is Part.REGISTRATION else None)
    return seen


def back(seen) -> bool:
    """Whether the last that was told is that it is registered."""
    return bool(seen) and seen[-1].status is Status.REGISTERED


def entries(store: Store) -> list[tuple[str, bytes]]:
    return [(item.key, item.value) for item in store.list("/registry/")]


def test_a_lease_that_ends_is_replaced_without_the_process_ending(registry, store, server, told):
    own = registry(WEB)
    seen = statuses_of(own, told)
    first = own.lease.id
    server.expire_lease(first)
    seen.wait(back)
    assert own.lease.id != first
    assert entries(store) == [(KEY, encode(WEB))]
    assert store.get(KEY).lease_id == own.lease.id
    assert [change.status for change in seen] == [Status.RECOVERING, Status.REGISTERED]


def test_a_deleted_entry_comes_back_under_the_same_lease(registry, store, told):
    own = registry(WEB)
    seen = statuses_of(own, told)
    lease = own.lease.id
    store.delete(KEY)
    seen.wait(back)
    assert store.get(KEY).lease_id == own.lease.id == lease
    assert "deleted" in seen[0].reason


def test_an_entry_overwritten_by_hand_is_put_right(registry, store, told):
    own = registry(WEB)
    seen = statuses_of(own, told)
    store.put(KEY, b"junk")
    seen.wait(back)
    assert (store.get(KEY).value, store.get(KEY).lease_id) == (encode(WEB), own.lease.id)


def test_a_revoked_lease_is_replaced(registry, open_store, told):
    own = registry(WEB)
    seen = statuses_of(own, told)
    open_store().revoke_lease(own.lease.id)
    seen.wait(back)
    assert len(open_store().leases()) == 1


def test_a_store_that_lost_its_data_gets_its_instances_back(registry, open_store, server, told):
    own, other = registry(WEB), registry(Instance("db", id="d", host="h"), on=open_store())
    watcher = registry(on=open_store())
    seen, others = statuses_of(own, told), statuses_of(other, told)
    server.lose_data()
    seen.wait(back)
    others.wait(back)
    watcher.wait_for("web", 1, 10.0)
    watcher.wait_for("db", 1, 10.0)
    assert [key for key, _ in entries(open_store())] == ["/registry/default/db/d@h", KEY]


def test_an_outage_of_three_heartbeats(*, registry, open_store, store, server, clock, told):
    own, watcher = registry(WEB), registry(on=open_store())
    seen, events = statuses_of(own, told), told()
    watcher.wait_for("web")
    watcher.add_handler(events)
    with server.outage():
        clock.jump(30.0)
        # It keeps serving what it knew, and says how old that is.
        assert watcher.get_service("web").instances == (WEB,)
        assert watcher.staleness == 30.0
        seen.wait(lambda changes: any("attempt 1 failed" in change.reason for change in changes))
        assert own.status is Status.RECOVERING
        assert isinstance(own.error, Unavailable)
        assert own.current() == WEB
    # No time passes: the connection that is back cuts the wait for the next attempt short.
    seen.wait(back)
    assert entries(store) == [(KEY, encode(WEB))]
    assert len(store.leases()) == 1
    assert [event.type for event in events.of(2)] == ["delete", "create"]
    assert watcher.get_service("web").instances == (WEB,)
    assert watcher.staleness == 0.0


def test_an_outage_shorter_than_the_lease_changes_nothing(registry, store, server, clock, told):
    own = registry(WEB)
    seen, events, lease = statuses_of(own, told), told(), own.lease.id
    own.add_handler(events)
    with server.outage():
        clock.jump(5.0)
        assert own.staleness == 5.0
    own.drain()
    assert own.lease.id == lease
    assert [event.type for event in events.of(1)] == ["upsert"]
    assert [change.status for change in seen] == []


def failing(error):
    def fail(*arguments, **named):
        raise error

    return fail


def test_refused_attempts_are_spaced_and_given_up_in_the_end(*, registry, store, server, clock, told, monkeypatch):
    own = registry(WEB, max_retry=4)
    seen = statuses_of(own, told)
    monkeypatch.setattr(store, "lease", failing(StoreFull("no room")))
    server.expire_lease(own.lease.id)
    for number, delay in enumerate((3.0, 6.0, 9.0), start=1):
        seen.wait(lambda changes, n=number: any(f"attempt {n} failed" in change.reason for change in changes))
        assert f"next in {delay:.1f} s" in seen[-1].reason
        assert own.status is Status.RECOVERING
        clock.jump(delay)
    seen.wait(lambda changes: changes[-1].status is Status.FAILED)
    assert "gave up after 4 refusals" in seen[-1].reason
    monkeypatch.undo()
    assert (own.current(), own.status) == (None, Status.FAILED)
    assert entries(store) == []
    own.register(WEB)
    assert own.status is Status.REGISTERED
    assert entries(store) == [(KEY, encode(WEB))]


@pytest.mark.parametrize(
    "error",
    [Unavailable("down"), OutcomeUnknown("no answer"), PermissionDenied("no right"), AuthenticationFailed("no login")],
    ids=lambda error: type(error).__name__,
)
def test_an_outage_of_any_length_gives_nothing_up(*, registry, store, server, clock, told, monkeypatch, error):
    own = registry(WEB, max_retry=1, retry_first=1.0, retry_longest=1.0)
    seen = statuses_of(own, told)
    monkeypatch.setattr(store, "lease", failing(error))
    server.expire_lease(own.lease.id)
    for number in range(1, 25):
        seen.wait(lambda changes, n=number: any(f"attempt {n} failed" in change.reason for change in changes))
        assert own.status is Status.RECOVERING
        assert own.error is error
        clock.jump(1.0)
    monkeypatch.undo()
    clock.jump(1.0)
    seen.wait(back)
    assert own.error is None
    assert entries(store) == [(KEY, encode(WEB))]


def test_the_status_tells_of_a_lost_lease_before_anything_else_has_noticed(registry, server, clock):
    own = registry(WEB)
    server.pause()
    clock.jump(10.0)
    assert own.status is Status.RECOVERING
    server.resume()


def test_first_attempts_are_spread_over_a_time_that_grows_with_the_number_of_instances():
    def spread(known: int) -> float:
        now = ManualClock()
        state = RegistrationState(lambda change: None)
        state.begin(WEB)
        config = RegistryConfig(heartbeat=10.0, jitter=1.0, retry_longest=30.0)
        dues = []
        for _ in range(200):
            recovery = Recovery(
                state, None, Monitor(), clock=now, config=config, offline=lambda: 0.0, known=lambda: known
            )
            state.suspicion = ""
            recovery.mark_suspect("its lease was lost")
            dues.append(recovery._due - now.now())
        return max(dues)

    assert spread(10) <= 1.0
    assert 4.0 < spread(8_000) <= 8.0
    assert 15.0 < spread(1_000_000) <= 30.0


def test_unlimited_retry_never_gives_up(registry, server, clock, told):
    own = registry(WEB, max_retry=None, retry_first=1.0, retry_longest=1.0)
    seen = statuses_of(own, told)
    with server.outage():
        clock.jump(10.0)
        for number in range(1, 5):
            seen.wait(lambda changes, n=number: any(f"attempt {n} failed" in change.reason for change in changes))
            clock.jump(1.0)
    seen.wait(back)


def test_an_identity_taken_while_away_is_not_fought_over(*, registry, open_store, store, server, clock, told):
    own, watcher = registry(WEB, max_retry=1), registry(on=open_store())
    seen = statuses_of(own, told)
    with server.outage():
        clock.jump(10.0)
        seen.wait(lambda changes: any("attempt 1 failed" in change.reason for change in changes))
    # Whether the rival is there before the recovery or after it: one of the two gives up, and it isn't the rival.
    foreign = store.lease(10.0)
    store.put(KEY, b'{"port":99}', lease=foreign)
    seen.wait(lambda changes: changes[-1].status is Status.FAILED)
    assert store.get(KEY).lease_id == foreign.id
    assert watcher.wait_for("web", meta=lambda instance: instance.port == 99)


def test_an_update_while_recovering_brings_it_back_at_once(registry, store, server, clock, told):
    own = registry(WEB)
    seen = statuses_of(own, told)
    with server.outage():
        clock.jump(10.0)
        seen.wait(lambda changes: any("attempt 1 failed" in change.reason for change in changes))
        with pytest.raises(Unavailable):
            own.update(WEB.copy(port=81))
        assert own.current() == WEB
    own.update(WEB.copy(port=82))
    seen.wait(back)
    assert entries(store) == [(KEY, encode(WEB.copy(port=82)))]


def test_a_lease_whose_grant_was_not_answered_is_taken_again_beside_an_old_entry(
    *, registry, store, clock, monkeypatch
):
    own = registry()
    store.put(KEY, b"{}")
    grant, answers = store.lease, [OutcomeUnknown("no answer")]

    def lease(*arguments, **named):
        if answers:
            raise answers.pop()
        return grant(*arguments, **named)

    monkeypatch.setattr(store, "lease", lease)
    own.register(WEB, take_over=True)
    assert entries(store) == [(KEY, encode(WEB))]


@pytest.mark.parametrize("applied", [True, False])
def test_registering_without_an_answer_is_found_out(registry, store, server, applied):
    own = registry()
    server.make_next_write_unknown(applied=applied)
    own.register(WEB)
    assert own.status is Status.REGISTERED
    assert entries(store) == [(KEY, encode(WEB))]
    assert len(store.leases()) == 1


@pytest.mark.parametrize("applied", [True, False])
def test_an_update_without_an_answer_is_found_out(registry, store, server, applied):
    own = registry(WEB)
    server.make_next_write_unknown(applied=applied)
    own.update(WEB.copy(port=81))
    assert entries(store) == [(KEY, encode(WEB.copy(port=81)))]


def test_unknown_stays_unknown_while_nothing_can_be_read_then_becomes_true(registry, server, store, monkeypatch, told):
    own = registry(WEB)

    def cut(key, **arguments):
        raise Unavailable("cut off")

    server.make_next_write_unknown(applied=False)
    monkeypatch.setattr(store, "get", cut)
    seen = statuses_of(own, told)
    with pytest.raises(OutcomeUnknown):
        own.update(WEB.copy(port=81))
    assert own.current().port == 81
    seen.wait(lambda changes: any("attempt 1 failed" in change.reason for change in changes))
    monkeypatch.undo()
    own.update(WEB.copy(port=82))
    assert entries(store) == [(KEY, encode(WEB.copy(port=82)))]


def test_registering_that_stays_unknown_leaves_nothing_behind(registry, server, store, monkeypatch):
    own = registry()

    def cut(key, **arguments):
        raise Unavailable("cut off")

    server.make_next_write_unknown(applied=True)
    monkeypatch.setattr(store, "get", cut)
    with pytest.raises(OutcomeUnknown):
        own.register(WEB)
    monkeypatch.undo()
    assert entries(store) == []
    assert (own.current(), own.status) == (None, Status.IDLE)


# -- no ghosts -----------------------------------------------------------------------------------------


def test_deregister_then_reconnect_leaves_no_ghost(registry, open_store, store, server, clock):
    own, watcher = registry(WEB), registry(on=open_store())
    watcher.wait_for("web")
    server.pause()
    with pytest.raises(Unavailable):
        own.deregister()
    assert own.status is Status.IDLE
    server.resume()
    server.cut_watches()
    clock.jump(10.0)
    assert entries(store) == []
    store.put("/registry/default/other/1@h", b"{}")
    watcher.wait_for("other", 1, 10.0)
    with pytest.raises(ServiceNotFound):
        watcher.get_service("web")


def test_an_entry_under_a_lease_of_before_goes_as_well(store):
    former = store.lease(600)
    store.put(KEY, encode(WEB), lease=former)
    own = OwnEntry(store, RegistryConfig(), lambda _lease: None)
    own.lease_ids = {former.id}
    own.end(own.default_deadline())
    assert entries(store) == []


def test_the_last_instance_goes_too(registry, open_store, told):
    own, watcher = registry(WEB), registry(on=open_store())
    watcher.wait_for("web")
    seen = told()
    watcher.add_handler(seen)
    own.close()
    assert seen.of(1)[0].type == "delete"
    assert dict(watcher.get_services()) == {}


def test_a_delete_that_happened_while_cut_off_is_told(registry, open_store, server, told):
    own, watcher = registry(WEB), registry(on=open_store())
    watcher.wait_for("web")
    seen = told()
    watcher.add_handler(seen)
    server.cut_watches()
    server.compact()
    own.deregister()
    seen.wait(lambda events: [event.type for event in events] == ["delete"])


def test_one_observer_cut_off_evicts_nobody(registry, open_store, store, server):
    own, observer = registry(WEB), registry(on=open_store())
    observer.wait_for("web")
    for _ in range(10):
        server.cut_watches()
    observer.close()
    assert own.status is Status.REGISTERED
    assert entries(store) == [(KEY, encode(WEB))]


@pytest.mark.parametrize("before", [True, False], ids=["before the write", "after the write"])
def test_a_deregister_that_meets_a_recovery_wins(*, registry, gated, server, store, told, before):
    gate, through = gated
    own = registry(WEB, on=through)
    seen = statuses_of(own, told)
    gate.before = before
    gate.stops = lambda transaction: any(isinstance(operation, Put) for operation in transaction.operations)
    server.expire_lease(own.lease.id)
    assert gate.reached.wait(60.0)
    ending = threading.Thread(target=own.deregister)
    ending.start()
    # The deregister has made itself known when nothing is wanted any more; only then may the write go on.
    while own.current() is not None:
        ending.join(0.01)
    gate.go_on.set()
    ending.join(60.0)
    assert not ending.is_alive()
    assert entries(store) == []
    assert store.leases() == ()
    seen.wait(lambda changes: changes and changes[-1].status is Status.IDLE)
    assert own.status is Status.IDLE


def test_a_deregister_that_meets_a_register_wins(registry, gated, store):
    gate, through = gated
    own = registry(on=through)
    gate.stops = lambda transaction: True
    registering = threading.Thread(target=own.register, args=(WEB,))
    registering.start()
    assert gate.reached.wait(60.0)
    ending = threading.Thread(target=own.deregister)
    ending.start()
    while own.current() is not None:
        ending.join(0.01)
    gate.go_on.set()
    for thread in (registering, ending):
        thread.join(60.0)
        assert not thread.is_alive()
    assert entries(store) == []
    assert (own.status, store.leases()) == (Status.IDLE, ())


def test_many_losses_at_once_end_in_one_entry(registry, store, server, told):
    own = registry(WEB)
    seen = statuses_of(own, told)
    for _ in range(20):
        server.expire_lease(own.lease.id)
        store.delete(KEY)
        seen.wait(back)
        seen.clear()
    assert entries(store) == [(KEY, encode(WEB))]
    assert len(store.leases()) == 1
