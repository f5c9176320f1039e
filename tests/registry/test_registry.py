"""Registering, finding, waiting, closing: without faults."""

from __future__ import annotations

import contextlib
import logging
import math
import signal
import threading
import time
from collections.abc import Callable

import pytest

from tenure import KeyValue, SystemClock
from tenure.errors import (
    AlreadyRegistered,
    ConfigError,
    InvalidArgument,
    NoInstanceAvailable,
    OutcomeUnknown,
    PermissionDenied,
    PluginError,
    RegistryError,
    ServiceNotFound,
    StoreClosed,
    TenureError,
    Unavailable,
)
from tenure.plugin_kit import monotonic
from tenure.registry import Instance, Registry, RegistryConfig, Status
from tenure.testing import Sandbox, wait_until
from tenure.watch.engine import Watch
from tenure_testkit.waiting import PATIENCE, until

WEB = Instance("web", id="1", host="10.0.0.1", host_name="n", port=80, meta={"zone": "a"})
WEB_KEY = "/registry/default/web/1@10.0.0.1"
WEB_JSON = b'{"id":"1","host":"10.0.0.1","host_name":"n","port":80,"service_name":"web","meta":{"zone":"a"}}'


def test_an_entry_stands_under_the_lease_exactly_as_go_writes_it(store, registry):
    own = registry(WEB, heartbeat=7.0)
    assert store.get(WEB_KEY) == KeyValue(WEB_KEY, WEB_JSON, 1, 1, own.lease.id)
    assert own.lease.ttl == 7.0
    assert (own.key, own.status, own.current()) == (WEB_KEY, Status.REGISTERED, WEB)


def test_who_registers_finds_itself_and_is_found(registry, open_store):
    own, other = registry(), registry(on=open_store())
    own.register(WEB)
    assert own.get_service("web").instances == (WEB,)
    assert other.wait_for("web").instances == (WEB,)


def test_an_entry_written_by_go_appears(store, registry):
    reader = registry()
    store.put("/registry/default/web/1@10.0.0.1", WEB_JSON)
    assert reader.wait_for("web").instances == (WEB,)


def test_what_was_there_before_the_start_is_known_when_it_returns(store, registry):
    for number in range(50):
        store.put(f"/registry/default/web/{number}@h", b"{}")
    assert len(registry().get_service("web")) == 50


def test_a_prefix_is_used_verbatim_and_registries_are_apart(store, registry):
    registry(WEB, prefix="my:")
    assert [item.key for item in store.list()] == ["my:web/1@10.0.0.1"]
    with pytest.raises(ServiceNotFound):
        registry(name="other").get_service("web")


def test_update_drain_and_undrain_show(registry, open_store, told):
    own, other = registry(WEB), registry(on=open_store())
    seen = told()
    other.add_handler(seen)
    own.update(WEB.copy(port=81))
    own.drain()
    own.undrain()
    events = seen.of(3)
    assert [event.instance.port for event in events] == [81, 81, 81]
    assert [event.instance.ready for event in events] == [True, False, True]
    assert own.current() == WEB.copy(port=81)
    assert own.lease.alive


def test_an_update_keeps_the_identity(registry):
    own = registry(WEB)
    with pytest.raises(InvalidArgument, match="keeps service, id and host"):
        own.update(WEB.copy(id="2"))
    assert own.current() == WEB


def test_without_a_registration_nothing_can_be_updated_and_deregistering_does_nothing(registry):
    own = registry()
    with pytest.raises(RegistryError, match="register an instance first"):
        own.drain()
    own.deregister()
    assert (own.current(), own.status) == (None, Status.IDLE)


def test_deregister_deletes_the_entry_and_the_lease(store, registry):
    own = registry(WEB)
    own.deregister()
    assert store.get(WEB_KEY) is None
    assert store.leases() == ()
    assert (own.current(), own.key, own.lease, own.status) == (None, None, None, Status.IDLE)
    with pytest.raises(ServiceNotFound):
        own.get_service("web")
    own.register(WEB)
    assert own.get_service("web").instances == (WEB,)


def test_one_identity_is_registered_once(registry, open_store, store):
    first, second = registry(WEB), registry(on=open_store())
    with pytest.raises(AlreadyRegistered, match="wait=<seconds>"):
        second.register(WEB.copy(port=81))
    with pytest.raises(AlreadyRegistered, match="update it, or deregister"):
        first.register(Instance("other"))
    assert first.get_service("web").instances == (WEB,)
    assert len(store.leases()) == 1
    assert (second.status, second.current()) == (Status.IDLE, None)


def test_start_with_a_taken_identity_closes_the_registry(registry, open_store):
    registry(WEB)
    second = Registry(open_store(), instance=WEB)
    with pytest.raises(AlreadyRegistered):
        second.start()
    assert second.status is Status.CLOSED
    with pytest.raises(StoreClosed):
        second.start()


def test_an_entry_without_a_lease_says_that_it_will_not_go_away(registry, store):
    store.put(WEB_KEY, WEB_JSON)
    with pytest.raises(AlreadyRegistered, match="without a lease"):
        registry().register(WEB)
    assert store.get(WEB_KEY).lease_id is None


def test_take_over_replaces_and_the_other_gives_up(registry, open_store, store, told):
    first, second = registry(WEB), registry(on=open_store())
    statuses = told()
    first.add_status_handler(statuses)
    second.register(WEB.copy(port=81), take_over=True)
    assert statuses.of(1)[0].status is Status.FAILED
    assert "another client replaced it" in statuses[0].reason
    assert (first.status, first.current()) == (Status.FAILED, None)
    assert store.get(WEB_KEY).lease_id == second.lease.id
    assert len(store.leases()) == 1
    first.deregister()
    assert first.status is Status.IDLE


def test_waiting_for_a_predecessor_that_died(registry, open_store, store, clock):
    dead = store.lease(10.0, keep_alive=False)
    store.put(WEB_KEY, WEB_JSON, lease=dead)
    own = registry()
    registered: list[Instance] = []
    thread = threading.Thread(target=lambda: registered.append(own.register(WEB, wait=10.0)))
    thread.start()
    clock.jump(10.0)
    thread.join(60.0)
    assert registered == [WEB]
    assert store.get(WEB_KEY).lease_id == own.lease.id


def test_waiting_ends(registry, open_store):
    registry(WEB)
    with pytest.raises(AlreadyRegistered):
        registry(on=open_store()).register(WEB, wait=0.05)
    with pytest.raises(InvalidArgument, match="wait"):
        registry(on=open_store()).register(WEB.copy(id="2"), wait=-1)


def test_register_takes_an_instance(registry):
    with pytest.raises(InvalidArgument, match="takes an Instance, not str"):
        registry().register("web")
    with pytest.raises(ConfigError, match="opened store"):
        Registry(5)
    with pytest.raises(ConfigError, match="no scheme"):
        Registry("somewhere")


def test_closing_deregisters_and_freezes(open_store, store, registry, clock):
    own, other = registry(WEB), registry(Instance("db", id="d"), on=open_store())
    own.wait_for("db")
    own.close()
    assert store.get(WEB_KEY) is None
    assert (own.closed, own.status) == (True, Status.CLOSED)
    assert list(own.get_services()) == ["db"]
    clock.jump(5.0)
    assert own.staleness == 5.0
    other.deregister()
    assert own.get_service("db")[0].id == "d"
    for act in (own.register, own.deregister, own.drain, own.wait_for):
        with pytest.raises(StoreClosed):
            act()
    own.close()


def test_before_the_start_it_says_so(store):
    idle = Registry(store)
    for act in (idle.get_service, idle.register, idle.wait_for):
        with pytest.raises(StoreClosed, match="hasn't started"):
            act()
    assert idle.staleness == math.inf
    idle.close()


def test_starting_twice_is_starting_once(registry):
    own = registry(WEB)
    assert own.start() is own


def test_a_store_that_is_down_at_the_start(server, store):
    with server.outage(), pytest.raises(Unavailable):
        Registry(store).start()


def test_a_store_closed_under_the_registry(*, registry, open_store, store, clock, told):
    underlying = open_store()
    own = registry(WEB, on=underlying)
    seen = told()
    own.add_status_handler(seen)
    underlying.close()
    assert [(change.part, change.status) for change in seen.of(2)] == [
        ("registration", Status.FAILED),
        ("cache", Status.FAILED),
    ]
    assert (own.status, own.current(), own.closed) == (Status.FAILED, None, True)
    assert isinstance(own.error, StoreClosed)
    assert list(store.list("/registry/")) == []
    clock.jump(3.0)
    assert own.staleness == 3.0
    assert len(own.get_service("web")) == 1
    with pytest.raises(StoreClosed):
        own.drain()
    own.close()
    assert own.closed


# -- finding -----------------------------------------------------------------------------------------


def test_filters(registry, store):
    zones = {"1": b'{"meta":{"zone":"a","tags":["x"]}}', "2": b'{"meta":{"zone":"b"}}', "3": b'{"meta":{"zone":null}}'}
    for id_, value in zones.items():
        store.put(f"/registry/default/web/{id_}@h", value)
    own = registry()

    def ids(meta):
        return [instance.id for instance in own.get_service("web", meta)]

    assert ids({"zone": "a"}) == ["1"]
    assert ids({"zone": None}) == ["3"]
    assert ids({"tags": ["x"]}) == ["1"]
    assert ids(lambda instance: instance.id != "1") == ["2", "3"]
    assert ids({}) == ["1", "2", "3"]
    with pytest.raises(ServiceNotFound, match="'zone': 'c'"):
        own.get_service("web", {"zone": "c"})
    with pytest.raises(ServiceNotFound):
        own.get_service("web", {"missing": None})
    with pytest.raises(InvalidArgument, match="a filter is"):
        own.get_service("web", "zone")


def test_ready_only_on_request_and_pick_passes_draining_over(registry, open_store):
    own = registry(WEB)
    other = registry(WEB.copy(id="2"), on=open_store())
    own.wait_for("web", 2)
    own.drain()
    assert len(own.get_service("web")) == 2
    assert [instance.id for instance in own.get_service("web", ready_only=True)] == ["2"]
    assert {own.pick("web").id for _ in range(4)} == {"2"}
    other.drain()

    def nobody_is_ready():
        try:
            own.get_service("web", ready_only=True)
        except NoInstanceAvailable:
            return True
        return False

    until(nobody_is_ready)
    with pytest.raises(
        NoInstanceAvailable, match=r"no instance of 'web' \(of those that are ready\) is available, 2 are"
    ):
        own.pick("web")
    assert own.pick("web", include_draining=True).id in {"2", WEB.id}
    other.deregister()
    own.deregister()
    with pytest.raises(ServiceNotFound, match="no instance of 'web' is known") as caught:
        own.pick("web")
    assert not isinstance(caught.value, NoInstanceAvailable)


def test_wait_for_more_instances(registry, open_store, store):
    own = registry(WEB)
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(len(own.wait_for("web", 3, 10.0))))
    thread.start()
    for number in range(2):
        store.put(f"/registry/default/web/x{number}@h", b"{}")
    thread.join(60.0)
    assert found == [3]


def test_wait_for_says_how_many_there_were(registry):
    own = registry(WEB)
    with pytest.raises(ServiceNotFound, match=r"1 of 2 instances of 'web'.*after 0\.05 s"):
        own.wait_for("web", 2, 0.05)
    for wrong in ({"count": 0}, {"timeout": 0}):
        with pytest.raises(InvalidArgument):
            own.wait_for("web", **wrong)


def test_closing_wakes_who_waits(registry):
    own = registry()
    ended: list[Exception] = []
    begun = threading.Event()

    def predicate(instance):
        return False

    def wait():
        begun.set()
        try:
            own.wait_for("web", 1, 60.0, meta=predicate)
        except StoreClosed as exc:
            ended.append(exc)

    thread = threading.Thread(target=wait)
    thread.start()
    begun.wait(5)
    own.close()
    thread.join(60.0)
    assert len(ended) == 1


def test_services_are_one_picture_that_does_not_change(registry):
    own = registry(WEB)
    before = own.get_services()
    with pytest.raises(TypeError):
        before["x"] = None
    own.deregister()
    assert (list(before), list(own.get_services())) == (["web"], [])


# -- what others write -------------------------------------------------------------------------------


def test_what_is_no_instance_is_told_once_and_breaks_nothing(registry, store, caplog):
    own = registry()
    with caplog.at_level(logging.WARNING, "tenure.registry"):
        for value in (b"\xff\x00", b"[]", b"junk"):
            store.put("/registry/default/web/1@h", value)
        store.put("/registry/default/lock", b"")
        store.put("/registry/default/web/2@h", b"{}")
        own.wait_for("web")
    assert set(own.malformed_entries) == {"/registry/default/web/1@h", "/registry/default/lock"}
    assert sum("ignored" in record.message for record in caplog.records) == 2
    store.put("/registry/default/web/1@h", b"{}")
    store.delete("/registry/default/lock")
    store.put("/registry/default/web/3@h", b"{}")
    own.wait_for("web", 3)
    assert own.malformed_entries == {}


def test_an_instance_overwritten_by_junk_is_gone(registry, store, told):
    own = registry()
    seen = told()
    own.add_handler(seen)
    store.put("/registry/default/web/1@h", b"{}")
    store.put("/registry/default/web/1@h", b"junk")
    store.delete("/registry/default/web/1@h")
    store.put("/registry/default/web/2@h", b"{}")
    assert [event.type for event in seen.of(3)] == ["create", "delete", "create"]


def test_where_key_and_json_disagree_the_json_says_what_and_the_key_says_which(registry, store, told, caplog):
    own = registry()
    seen = told()
    own.add_handler(seen)
    with caplog.at_level(logging.WARNING, "tenure.registry"):
        store.put("/registry/default/web/1@h", b'{"service_name":"db"}')
        own.wait_for("db")
    assert "it is listed under that name" in caplog.text
    store.put("/registry/default/web/1@h", b'{"service_name":"cache"}')
    own.wait_for("cache")
    store.delete("/registry/default/web/1@h")
    events = seen.of(4)
    assert [(event.type, event.instance.service_name) for event in events] == [
        ("create", "db"),
        ("delete", "db"),
        ("create", "cache"),
        ("delete", "cache"),
    ]
    assert not own.get_services()


def test_a_delete_of_what_is_not_known_is_harmless(registry, store):
    own = registry(WEB)
    store.put("/registry/default/junk", b"")
    store.delete("/registry/default/junk")
    store.put("/registry/default/web/2@h", b"{}")
    assert len(own.wait_for("web", 2)) == 2


def test_a_right_that_goes_and_comes_back_is_told_and_the_cache_follows_again(
    registry, server, clock, monkeypatch, told
):
    own = registry(WEB)
    statuses = told()
    own.add_status_handler(statuses)
    with monkeypatch.context() as patched:
        patched.setattr(Watch, "_try_open", lambda watch, timeout, request: PermissionDenied("not any more"))
        server.cut_watches()
        change = statuses.of(1)[0]
        assert (change.part, change.status) == ("cache", Status.RECOVERING)
        assert isinstance(own.error, PermissionDenied)
        clock.jump(4.0)
        assert (own.staleness, own.closed) == (4.0, False)
        assert own.get_service("web").instances == (WEB,)
        own.store.put("/registry/default/web/2@h", b"{}")
    assert len(own.wait_for("web", 2, timeout=PATIENCE)) == 2
    change = statuses.of(2)[1]
    assert (change.part, change.status, own.error, own.staleness) == ("cache", Status.FOLLOWING, None, 0.0)


def test_a_watch_that_ends_for_good_is_told_and_the_cache_goes_on_serving(registry, server, clock, monkeypatch, told):
    own = registry(WEB)
    statuses = told()
    own.add_status_handler(statuses)
    monkeypatch.setattr(Watch, "_try_open", lambda watch, timeout, request: PluginError("broken"))
    server.cut_watches()
    change = statuses.of(1)[0]
    assert (change.part, change.status) == ("cache", Status.FAILED)
    assert isinstance(own.error, PluginError)
    clock.jump(4.0)
    assert (own.staleness, own.closed) == (4.0, True)
    assert own.get_service("web").instances == (WEB,)
    monkeypatch.undo()


def test_config_is_kept(store):
    config = RegistryConfig("x")
    one = Registry(store, config)
    assert (one.config, one.store) == (config, store)
    assert "/registry/x/" in repr(one)


def test_an_instance_in_the_config_is_registered_unless_another_one_is_given(store):
    config = RegistryConfig(instance=WEB)
    with Registry(store, config) as own:
        assert own.current() == WEB
    with Registry(store, config, Instance("db", id="2", host="10.0.0.2")) as own:
        assert own.current().service_name == "db"


# -- time limits ---------------------------------------------------------------------------------------


def call_every_action(own: Registry, limit: float) -> dict[str, Callable[[], object]]:
    return {
        "update": lambda: own.update(WEB.with_metadata({"a": 1}), timeout=limit),
        "drain": lambda: own.drain(timeout=limit),
        "undrain": lambda: own.undrain(timeout=limit),
        "deregister": lambda: own.deregister(timeout=limit),
        "register": lambda: own.register(WEB.copy(id="late"), timeout=limit),
    }


@pytest.mark.parametrize("action", ["update", "drain", "undrain", "deregister", "register"])
def test_each_action_ends_within_its_timeout_on_a_frozen_store(action):
    with Sandbox(clock=SystemClock()) as box, box.connect(timeout=30) as store:
        own = Registry(store, instance=WEB).start()
        if action == "register":
            own.deregister()
        with box.faults.hang():
            started = monotonic()
            with pytest.raises((OutcomeUnknown, Unavailable)):
                call_every_action(own, 0.2)[action]()
            assert monotonic() - started < 5.0  # the store's own timeout is 30 s
        own.close()


def test_close_ends_within_its_timeout_on_a_frozen_store():
    with Sandbox(clock=SystemClock()) as box, box.connect(timeout=30) as store:
        own = Registry(store, instance=WEB).start()
        with box.faults.hang():
            started = monotonic()
            own.close(timeout=0.2)
            assert monotonic() - started < 5.0
        assert own.status is Status.CLOSED


@pytest.mark.parametrize("action", ["update", "drain", "undrain", "deregister", "close"])
def test_without_a_timeout_each_action_takes_the_stores_once_on_a_frozen_store(action):
    with Sandbox(clock=SystemClock()) as box, box.connect(timeout=2.0) as store:
        own = Registry(store, instance=WEB).start()
        calls = {
            "update": lambda: own.update(WEB.with_metadata({"a": 1})),
            "drain": own.drain,
            "undrain": own.undrain,
            "deregister": own.deregister,
        }
        with box.faults.hang():
            started = monotonic()
            if action == "close":
                own.close()
            else:
                with pytest.raises((OutcomeUnknown, Unavailable)):
                    calls[action]()
            assert monotonic() - started < 3.5
        own.close()


@pytest.mark.parametrize("raises", [False, True])
def test_close_in_a_signal_handler_in_the_middle_of_a_change_deregisters_afterwards(gated, raises):
    gate, store = gated
    own = Registry(store, instance=WEB).start()
    gate.stops = lambda transaction: True

    handled = threading.Event()
    main = threading.get_ident()

    def send() -> None:
        gate.reached.wait(PATIENCE)
        while not handled.is_set():  # a signal that comes right before a wait begins doesn't interrupt it
            signal.pthread_kill(main, signal.SIGALRM)
            time.sleep(0.05)

    def handle(number: int, frame: object) -> None:
        if handled.is_set():
            return
        handled.set()
        own.close(timeout=PATIENCE)
        gate.go_on.set()
        if raises:
            raise SystemExit(3)

    before = signal.signal(signal.SIGALRM, handle)
    try:
        sender = threading.Thread(target=send)
        sender.start()
        if raises:
            with pytest.raises(SystemExit):
                own.drain()
        else:
            with contextlib.suppress(TenureError):
                own.drain()
        sender.join()
    finally:
        signal.signal(signal.SIGALRM, before)
    wait_until(lambda: own.status is Status.CLOSED, within=PATIENCE)
    assert list(store.list("/registry/")) == []
    assert list(store.leases()) == []


def test_a_handler_that_blocks_holds_close_up_no_longer_than_its_timeout(registry, store):
    release = threading.Event()
    own = registry(WEB)
    own.add_handler(lambda event: release.wait(30), replay=True)
    started = monotonic()
    own.close(timeout=0.2)
    assert monotonic() - started < 5.0
    release.set()
