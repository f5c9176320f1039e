"""`leasehold mirror`: the target is what the source is, whatever happens to either side or to the mirror."""

from __future__ import annotations

import dataclasses
import json
import queue
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import pytest

import leasehold
import leasehold_memory
from leasehold.cli.errors import Failed
from leasehold.cli.mirror_hold import LOCK, NOT_MIRRORED, RECORD, Hold
from leasehold.cli.mirroring import Change, Mirror, packed
from leasehold.errors import AlreadyRegistered, ConfigError, Conflict, LimitExceeded
from leasehold.registry import Instance, Registry, RegistryConfig

from .conftest import Run
from .processes import Command

DEADLINE = 20.0
TTL = 30.0


class Running:
    """A mirror in a thread of this process; for use in ``with``, whose end stops it. ``error`` is what ended it."""

    def __init__(self, source: leasehold.Store, target: leasehold.Store, *, ttl: float = TTL) -> None:
        self._end = threading.Event()
        self._told: queue.SimpleQueue[tuple[str, dict[str, Any]]] = queue.SimpleQueue()
        self.error: leasehold.LeaseholdError | None = None
        self.mirror = Mirror(source, target, ttl=ttl, tell=self._tell, stop=self._end.wait)
        self._thread = threading.Thread(target=self._run)

    def _tell(self, kind: str, text: str, **fields: Any) -> None:
        assert text
        self._told.put((kind, fields))

    def _run(self) -> None:
        try:
            self.mirror.run()
        except leasehold.LeaseholdError as exc:
            self.error = exc
        self._told.put(("ended", {}))

    def until(self, wanted: str, **fields: Any) -> dict[str, Any]:
        """What is told next of this kind with these fields."""
        seen: list[tuple[str, dict[str, Any]]] = []
        while True:
            try:
                kind, found = self._told.get(timeout=DEADLINE)
            except queue.Empty:
                raise AssertionError(f"{wanted} was not told, but {seen}") from None
            seen.append((kind, found))
            if kind == wanted and fields.items() <= found.items():
                return found
            assert kind != "ended", (seen, self.error)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join(DEADLINE)
        assert not self._thread.is_alive()


@pytest.fixture
def names() -> Iterator[tuple[str, str]]:
    found = (f"from-{uuid.uuid4().hex}", f"to-{uuid.uuid4().hex}")
    yield found
    for name in found:
        leasehold_memory.forget(name)


@pytest.fixture
def source(names: tuple[str, str]) -> Iterator[leasehold.Store]:
    with leasehold.connect(f"memory://{names[0]}", timeout=0.3) as opened:
        yield opened


@pytest.fixture
def target(names: tuple[str, str]) -> Iterator[leasehold.Store]:
    with leasehold.connect(f"memory://{names[1]}", timeout=0.3) as opened:
        yield opened


def content(store: leasehold.Store) -> dict[str, bytes]:
    return {item.key: item.value for item in store.list() if item.key not in NOT_MIRRORED}


def lease_of(store: leasehold.Store, key: str) -> str:
    item = store.get(key)
    assert item is not None
    assert item.lease_id is not None
    return item.lease_id


def wait_until(store: leasehold.Store, holds: Callable[[], bool]) -> None:
    """Wait for changes of ``store`` until it ``holds``."""
    deadline = time.monotonic() + DEADLINE
    with store.watch() as watch:
        while not holds():
            assert time.monotonic() < deadline, content(store)
            watch.next(1.0)


def equal(source: leasehold.Store, target: leasehold.Store) -> None:
    wait_until(target, lambda: content(target) == content(source))


# -- following ---------------------------------------------------------------------------------------


def test_the_state_then_every_change(source: leasehold.Store, target: leasehold.Store) -> None:
    for i in range(250):
        source.put(f"key/{i}", bytes([i % 256]) * (i % 7))
    with Running(source, target) as running:
        assert running.until("in_sync")["written"] == 250
        assert content(target) == content(source)
        source.put("key/1", b"changed")
        source.delete("key/2")
        source.put("new", b"")
        equal(source, target)
    assert running.error is None
    assert target.get(LOCK) is None
    assert target.get(RECORD) is not None


def test_a_transaction_arrives_as_one(source: leasehold.Store, target: leasehold.Store) -> None:
    source.put("gone", b"")
    with Running(source, target) as running:
        running.until("in_sync")
        transaction = source.transaction().delete("gone")
        for i in range(300):
            transaction.put(f"{i}", b"x")
        with target.watch(after=target.read("x").revision) as watch:
            transaction.commit()
            batch = watch.next(DEADLINE)
        assert batch is not None
        assert len({event.revision for event in batch.events}) == 1
        assert len(batch.events) == 301


def test_a_restart_levels_again_deletes_included(source: leasehold.Store, target: leasehold.Store) -> None:
    source.put("stays", b"1")
    source.put("goes", b"2")
    with Running(source, target) as running:
        running.until("in_sync")
    source.delete("goes")
    source.put("new", b"3")
    with Running(source, target) as running:
        found = running.until("in_sync")
        assert (found["written"], found["deleted"]) == (1, 1)
        assert content(target) == {"stays": b"1", "new": b"3"}


def test_an_outage_of_the_source_is_told_and_outlived(
    source: leasehold.Store, target: leasehold.Store, names: tuple[str, str]
) -> None:
    source.put("a", b"1")
    with Running(source, target) as running:
        running.until("in_sync")
        with leasehold_memory.server(names[0]).outage():
            assert running.until("outage", side="source")["seconds"] >= 0
        running.until("reconnected", side="source")
        source.delete("a")
        equal(source, target)
    assert running.error is None


def test_an_outage_of_the_target_is_told_and_outlived(
    source: leasehold.Store, target: leasehold.Store, names: tuple[str, str]
) -> None:
    source.put("a", b"1")
    with Running(source, target) as running:
        running.until("in_sync")
        with leasehold_memory.server(names[1]).outage():
            source.put("b", b"2")
            source.delete("a")
            running.until("outage", side="target")
        running.until("reconnected", side="target")
        running.until("in_sync")
        assert content(target) == {"b": b"2"}
    assert running.error is None


@pytest.mark.parametrize("key", ["service", LOCK])
def test_a_target_that_lost_a_lease_is_levelled(
    source: leasehold.Store, target: leasehold.Store, names: tuple[str, str], key: str
) -> None:
    source.put("service", b"1", lease=source.lease(60))
    with Running(source, target, ttl=3.0) as running:
        running.until("in_sync")
        leasehold_memory.server(names[1]).expire_lease(lease_of(target, key))
        source.put("other", b"2")
        running.until("levelling")
        running.until("in_sync")
        assert content(target) == {"service": b"1", "other": b"2"}
        assert target.get(LOCK) is not None


@pytest.mark.parametrize("applied", [True, False])
def test_a_write_without_an_answer(
    source: leasehold.Store, target: leasehold.Store, names: tuple[str, str], applied: bool
) -> None:
    with Running(source, target) as running:
        running.until("in_sync")
        leasehold_memory.server(names[1]).make_next_write_unknown(applied=applied)
        source.put("a", b"1")
        assert running.until("in_sync")["written"] == (0 if applied else 1)
        assert content(target) == {"a": b"1"}


def test_a_gap_in_the_source(source: leasehold.Store, target: leasehold.Store, names: tuple[str, str]) -> None:
    source.put("a", b"1")
    server = leasehold_memory.server(names[0])
    with Running(source, target) as running:
        running.until("in_sync")
        server.lose_data()
        running.until("resync")
        source.put("b", b"2")
        equal(source, target)
        assert content(target) == {"b": b"2"}


# -- limits ------------------------------------------------------------------------------------------


def test_a_value_too_large_is_told_before_anything_is_written(
    source: leasehold.Store, target: leasehold.Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    source.put("a", b"fits")
    source.put("b", b"x" * 300)
    small = dataclasses.replace(target.capabilities, max_value_bytes=250)
    monkeypatch.setattr(target, "_capabilities", small)
    with Running(source, target) as running:
        running.until("ended")
    assert isinstance(running.error, LimitExceeded)
    assert "'b'" in str(running.error)
    assert content(target) == {}


def test_a_target_of_small_transactions(
    source: leasehold.Store, target: leasehold.Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease = source.lease(60)
    small = dataclasses.replace(target.capabilities, max_transaction_operations=5, max_transaction_leases=1)
    monkeypatch.setattr(target, "_capabilities", small)
    for i in range(20):
        source.put(f"{i}", b"x", lease=lease if i % 2 else None)
    with Running(source, target) as running:
        running.until("in_sync")
        transaction = source.transaction()
        for i in range(20):
            transaction.put(f"{i}", b"y", lease=lease if i % 3 else None)
        transaction.commit()
        equal(source, target)
    assert running.error is None


def test_packing_keeps_groups_together_and_keys_apart() -> None:
    def change(key: str, *, guarded: bool = False, value: bytes = b"") -> Change:
        return Change(key, leasehold.KeyValue(key, value, 1, 1), guarded)

    def keys(groups: list[list[Change]], most: int = 4, most_bytes: int = 10_000) -> list[str]:
        return ["".join(each.key for each in chunk) for chunk in packed(groups, most, most_bytes)]

    a, b, c, d, e = (change(key) for key in "abcde")
    assert keys([]) == []
    assert keys([[a, b], [c, d], [e]]) == ["abcd", "e"]
    assert keys([[a, b, c], [d, e]]) == ["abc", "de"]
    assert keys([[a, b, c, d, e]]) == ["abcd", "e"]
    assert keys([[a], [a], [b]]) == ["a", "ab"]
    assert keys([[change("a", guarded=True)], [change("b", guarded=True)], [c]]) == ["ab", "c"]
    assert keys([[change("a", value=bytes(6_000))], [change("b", value=bytes(6_000))]]) == ["a", "b"]


# -- whose the target is -----------------------------------------------------------------------------


def test_one_mirror_at_a_time(source: leasehold.Store, target: leasehold.Store) -> None:
    with Running(source, target) as running:
        running.until("in_sync")
        with pytest.raises(Failed, match="another mirror is writing"):
            Mirror(source, target, ttl=TTL, tell=lambda *_, **__: None, stop=lambda _: False).run()
        source.put("a", b"1")
        equal(source, target)


def test_who_lost_the_lock_to_another_writes_no_more(
    source: leasehold.Store, target: leasehold.Store, names: tuple[str, str]
) -> None:
    frozen, quick = Hold(target, source.url, ttl=TTL), Hold(target, source.url, ttl=TTL)
    frozen.take()
    overdue = frozen.transaction().put("a", b"late")
    leasehold_memory.server(names[1]).expire_lease(lease_of(target, LOCK))
    quick.take()
    with pytest.raises(Conflict):
        overdue.commit()
    with pytest.raises(Failed, match="another mirror"):
        frozen.take()
    quick.transaction().put("a", b"1").commit()
    assert content(target) == {"a": b"1"}


def test_a_target_with_keys_or_of_another_source_is_refused(
    run: Run, url: str, source: leasehold.Store, target: leasehold.Store
) -> None:
    target.put("b", b"old")
    result = run("mirror", source.url, target.url, "--json")
    assert result.exit_code == 1
    assert json.loads(result.stderr.splitlines()[-1])["error"] == "Failed"
    assert "empty" in result.stderr
    target.delete("b")
    target.put(RECORD, b'{"source": "memory://elsewhere", "leases": []}')
    result = run("mirror", source.url, target.url)
    assert result.exit_code == 1
    assert "memory://elsewhere" in result.stderr
    target.put(RECORD, b"not a record")
    assert run("mirror", source.url, target.url).exit_code == 1
    assert {item.key for item in target.list()} == {RECORD}


def test_a_target_that_is_the_source_or_inside_it(run: Run, url: str, store: leasehold.Store) -> None:
    for first, second in ((url, f"{url}/inside"), (f"{url}/n", f"{url}?namespace=n")):
        result = run("mirror", first, second)
        assert result.exit_code == 2, result.stderr
        assert "the same namespace" in result.stderr


def test_a_source_inside_the_target(url: str, store: leasehold.Store) -> None:
    with leasehold.connect(f"{url}/n") as inside, Running(inside, store) as running:
        running.until("in_sync")
    with leasehold.connect(f"{url}/n") as inside:
        inside.put("k", b"1")
        with Running(inside, store) as running:
            running.until("ended")
        assert isinstance(running.error, ConfigError)
        assert inside.get("k") is not None


# -- services that move ------------------------------------------------------------------------------


def test_services_move_without_a_gap(source: leasehold.Store, target: leasehold.Store) -> None:
    """Seen from the target the service is there from the first moment on: mirrored, then registered by itself."""
    config = RegistryConfig(heartbeat=30.0)
    instance = Instance("web", id="one", host="10.0.0.1", host_name="h", port=8001)
    with Registry(target, config) as new, target.watch("/registry/") as watch:
        with Running(source, target) as running:
            with Registry(source, config) as old:
                old.register(instance)
                new.wait_for("web", 1, DEADLINE)
                with pytest.raises(AlreadyRegistered):
                    new.register(instance)
                new.register(instance.with_metadata({"moved": True}), take_over=True)
                old.update(instance.with_metadata({"late": True}))  # not brought to what stands for itself now
            # Here the source's entry has been deleted.
            source.put("after", b"")
            wait_until(target, lambda: "after" in content(target))
        assert running.mirror.totals.left_alone == 2
        with Running(source, target) as running:
            assert running.until("in_sync")["left_alone"] == 1  # a restart spares it too
        target.put("/registry/last", b"")
        told: list[leasehold.Event] = []
        while not told or told[-1].key != "/registry/last":
            batch = watch.next(DEADLINE)
            assert batch is not None
            told.extend(batch.events)
        assert [event.kind for event in told] == ["create", "update", "create"]
        [entry] = new.get_service("web").instances
        assert entry.meta == {"moved": True}


def test_copies_stay_for_the_handover(source: leasehold.Store, target: leasehold.Store, names: tuple[str, str]) -> None:
    source.put("service", b"1", lease=source.lease(60))
    with leasehold.connect(f"memory://{names[1]}") as own, Running(source, own) as running:
        running.until("in_sync")
        source.delete("service")
        equal(source, target)
        source.put("service", b"2", lease=source.lease(60))
        equal(source, target)
    # The mirror's own connection is closed: what it left behind goes by its lease and not before.
    assert target.get(LOCK) is None
    leasehold_memory.server(names[1]).expire_lease(lease_of(target, "service"))
    assert target.get("service") is None
    assert target.get(RECORD) is not None


# -- as a command ------------------------------------------------------------------------------------


def test_as_a_process_between_files(tmp_path: Path) -> None:
    first, second = f"sqlite://{tmp_path / 'from.db'}", f"sqlite://{tmp_path / 'to.db'}"
    with leasehold.connect(first) as source, leasehold.connect(second) as target:
        source.put("a", b"1")
        source.put("b", b"2", lease=source.lease(60))
        with Command("mirror", first, second, "--json", "--handover", "20", url=first) as command:
            assert command.err.record(type="in_sync")["written"] == 2
            source.put("c", b"3")
            source.delete("a")
            equal(source, target)
            with Command("mirror", first, second, url=first) as other:
                assert other.wait() == 1
                assert "another mirror is writing" in other.err.rest()[-1]
            command.signal(signal.SIGTERM)
            assert command.err.record(type="stopped")["deleted"] == 1
            assert command.wait() == 128 + signal.SIGTERM
        assert content(target) == {"b": b"2", "c": b"3"}
        source.delete("c")
        with Command("mirror", first, second, url=first) as command:
            command.err.with_text("in sync, 1 key: 1 written, 1 deleted")
            command.signal(signal.SIGINT)
            command.err.with_text("stopped")
            assert command.wait() == 130
        assert content(target) == {"b": b"2"}


def test_a_killed_mirror_is_followed_by_another_without_a_gap(tmp_path: Path) -> None:
    first, second = f"sqlite://{tmp_path / 'from.db'}", f"sqlite://{tmp_path / 'to.db'}"
    arguments = ("mirror", first, second, "--json", "--handover", "300")
    with leasehold.connect(first) as source, leasehold.connect(second) as target:
        source.put("service", b"1", lease=source.lease(60))
        with Command(*arguments, url=first) as command:
            command.err.record(type="in_sync")
            command.signal(signal.SIGKILL)
            command.wait()
        before = lease_of(target, "service")
        target.revoke_lease(lease_of(target, LOCK))  # what time would do
        with target.watch("service") as watch, Command(*arguments, url=first) as command:
            assert command.err.record(type="in_sync")["written"] == 1
            target.put("service/last", b"")
            told: list[leasehold.Event] = []
            while not told or told[-1].key != "service/last":
                batch = watch.next(DEADLINE)
                assert batch is not None
                told.extend(batch.events)
            assert [event.kind for event in told] == ["create", "update", "create"]
            assert lease_of(target, "service") != before
