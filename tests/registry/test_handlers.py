"""Handlers: order, replay, errors, slowness."""

from __future__ import annotations

import logging
import threading

import pytest

from tenure._runtime.deadline import Deadline
from tenure.registry import EventType, Instance, InstanceEvent
from tenure.registry.lifecycle.handlers import Dispatcher, merge
from tenure_testkit.waiting import until

WEB = Instance("web", id="1", host="h", host_name="n")


def test_events_of_an_instance_come_in_order(registry, store, told):
    own, seen = registry(), told()
    own.add_handler(seen)
    for port in range(1, 200):
        store.put("/registry/default/web/1@h", b'{"port":%d}' % port)
    store.delete("/registry/default/web/1@h")
    events = seen.of(200)
    assert [event.type for event in events] == ["create", *["upsert"] * 198, "delete"]
    assert [event.instance.port for event in events] == [*range(1, 200), 199]
    assert events[0].previous is None
    assert [event.previous.port for event in events[1:]] == list(range(1, 200))


def test_a_transaction_is_seen_whole_by_handlers(registry, store, told):
    own, sizes = registry(), told()
    own.add_handler(lambda event: sizes(len(own.get_service("web"))))
    store.transaction().put("/registry/default/web/1@h", b"{}").put("/registry/default/web/2@h", b"{}").commit()
    assert sizes.of(2) == [2, 2]


def test_replay_tells_what_is_known_then_what_comes(registry, store, told):
    own, seen = registry(WEB), told()
    own.add_handler(seen, replay=True)
    own.drain()
    assert [(event.type, event.instance.ready) for event in seen.of(2)] == [("create", True), ("upsert", False)]


def test_a_handler_for_one_service_hears_of_no_other(registry, store, told):
    own, seen = registry(WEB), told()
    own.add_handler(seen, service="db", replay=True)
    store.put("/registry/default/web/2@h", b"{}")
    store.put("/registry/default/db/1@h", b"{}")
    assert [event.instance.service_name for event in seen.of(1)] == ["db"]


def test_a_removed_handler_hears_nothing_more(registry, told):
    own, gone, seen = registry(), told(), told()
    own.add_handler(gone)
    own.remove_handler(gone)
    own.add_handler(seen)
    own.register(WEB)
    seen.of(1)
    assert gone == []


def test_a_handler_that_raises_is_logged_and_the_others_go_on(registry, told, caplog):
    own, seen = registry(), told()

    def broken(event):
        raise RuntimeError("mine")

    own.add_handler(broken)
    own.add_handler(seen)
    with caplog.at_level(logging.ERROR, "tenure.registry"):
        own.register(WEB)
        own.drain()
        seen.of(2)
        until(lambda: caplog.text.count("RuntimeError: mine") >= 2, what="both events were given to the broken one")


def test_a_handler_may_call_the_registry_and_the_store(registry, store, told):
    own, done = registry(), told()

    def handler(event):
        if event.type is EventType.CREATE:
            own.drain()
            store.put("seen", b"")
            own.wait_for("web", include_draining=True)
            own.deregister()
            done(event)

    own.add_handler(handler)
    own.register(WEB)
    done.of(1)
    assert own.current() is None


def test_a_handler_may_close_the_registry(registry, told):
    own, done = registry(WEB), told()

    def handler(event):
        own.close()
        done(event)

    own.add_handler(handler, replay=True)
    done.of(1)
    assert own.closed


def test_a_blocked_handler_does_not_hold_up_the_cache(registry, store):
    own = registry()
    release, entered = threading.Event(), threading.Event()

    def handler(event):
        entered.set()
        release.wait(10)

    own.add_handler(handler)
    store.put("/registry/default/web/1@h", b"{}")
    assert entered.wait(60.0)
    store.put("/registry/default/web/2@h", b"{}")
    assert len(own.wait_for("web", 2)) == 2
    release.set()


def test_too_many_waiting_events_become_fewer_with_the_same_effect(store, told):
    dispatcher = Dispatcher(store._strand, most_waiting=10)
    release, seen = threading.Event(), told()

    def handler(event):
        release.wait(10)
        seen(event)

    dispatcher.add(handler, None, [("first", WEB)])
    instances = {f"k{number}": WEB.copy(id=f"k{number}") for number in range(4)}
    dispatcher.dispatch([(key, InstanceEvent(EventType.CREATE, one)) for key, one in instances.items()])
    for port in range(1, 500):
        changed = {key: one.copy(port=port) for key, one in instances.items()}
        dispatcher.dispatch([(key, InstanceEvent(EventType.UPSERT, one)) for key, one in changed.items()])
    dispatcher.dispatch([("k0", InstanceEvent(EventType.DELETE, instances["k0"]))])
    release.set()
    dispatcher.close(Deadline(5.0))
    assert len(seen) < 100
    known: dict[str, int] = {}
    for event in seen:
        if event.type is EventType.DELETE:
            known.pop(event.instance.id)
        else:
            assert (event.type is EventType.CREATE) == (event.instance.id not in known)
            known[event.instance.id] = event.instance.port
    assert known == {"1": 8000, "k1": 499, "k2": 499, "k3": 499}


OLD, MID, NEW = WEB, WEB.copy(port=1), WEB.copy(port=2)
CREATE, UPSERT, DELETE = EventType.CREATE, EventType.UPSERT, EventType.DELETE


@pytest.mark.parametrize(
    ("first", "second", "merged"),
    [
        ((CREATE, MID, None), (UPSERT, NEW, MID), (CREATE, NEW, None)),
        ((CREATE, MID, None), (DELETE, MID, MID), None),
        ((UPSERT, MID, OLD), (UPSERT, NEW, MID), (UPSERT, NEW, OLD)),
        ((UPSERT, MID, OLD), (DELETE, MID, MID), (DELETE, MID, OLD)),
        ((DELETE, OLD, OLD), (CREATE, NEW, None), (UPSERT, NEW, OLD)),
    ],
)
def test_merging_two_events(first, second, merged):
    assert merge(InstanceEvent(*first), InstanceEvent(*second)) == (merged and InstanceEvent(*merged))
