"""What every store does when its disk, its memory or its quota is full: it says so, in time, and applies no halves."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tenure import Store
from tenure.errors import OutcomeUnknown, StoreFull, TenureError, Unavailable
from tenure.registry import Instance, Registry, RegistryConfig, Status
from tenure.watch import Batch, EventType
from tenure_testkit.probes.mounts import mounted, remount
from tenure_testkit.servers import EtcdServer, until
from tenure_testkit.servers.consul import ConsulServer
from tenure_testkit.servers.consul_plugin import need_consul
from tenure_testkit.servers.disk import SmallDisk, WhenFull
from tenure_testkit.servers.plugin import need_container
from tenure_testkit.servers.redis import RedisServer
from tenure_testkit.servers.redis_plugin import need_redis
from tenure_testkit.servers.zookeeper import ZooKeeperServer
from tenure_testkit.servers.zookeeper_plugin import need_zookeeper
from tenure_testkit.waiting import NotInTime

pytestmark = pytest.mark.faults

WITHIN = 3.0
GRACE = 1.5
"""Seconds more than its deadline that a call may take on a loaded machine."""
KEYS = 4
SIZE = 20_000
WEB = Instance("web", id="1", host="10.0.0.1", host_name="n", port=80)
CONFIG = RegistryConfig(heartbeat=2.0, retry_first=0.2, retry_longest=1.0, max_retry=None)
MOST_WRITES = 200


def nothing(server: Any) -> None:
    """The test's own writes take the room."""


@dataclass(frozen=True)
class Case:
    """A kind of server, and what room is taken from it and given back."""

    make: Callable[[], Any]
    need: Callable[[], None]
    fill: Callable[[Any], None] = lambda server: server.disk.fill()
    free: Callable[[Any], None] = lambda server: server.disk.free()
    on_small_disk: bool = True
    deletes_pass: bool = False
    last_is_unclear: bool = False
    """The write that uses up the last room may be applied and answered like a refused one."""
    reading: str = ""
    """What the URL has to say for reads to be answered all the same, unless the server's process ends."""


def save(server: Any, expected: str) -> None:
    """Have Redis write its snapshot, which ends as expected."""
    server.ask("BGSAVE")
    until(lambda: _saved(server) == expected, 60.0, f"the snapshot ended with {expected}")


def _saved(server: Any) -> str:
    info = server.info("persistence")
    return "" if info["rdb_bgsave_in_progress"] else str(info["rdb_last_bgsave_status"])


def fill_snapshots(server: Any) -> None:
    server.disk.fill()
    save(server, "err")


def free_snapshots(server: Any) -> None:
    server.disk.free()
    save(server, "ok")


def limit_folder(server: Any, most: int) -> None:
    """Give ZooKeeper's folder of the test's keys a quota of so many bytes, or change the one it has."""
    native, place = server.client(), "/zookeeper/quota/w"
    limits = b"count=-1,bytes=-1;byteHardLimit=%d;countHardLimit=-1" % most
    try:
        if native.exists(place):
            native.set(f"{place}/zookeeper_limits", limits)
        else:
            native.create(f"{place}/zookeeper_limits", limits, makepath=True)
            native.create(f"{place}/zookeeper_stats", b"count=1,bytes=0")
    finally:
        native.stop()
        native.close()


CASES = {
    "etcd-disk": Case(EtcdServer, lambda: need_container("etcd")),
    "etcd-quota": Case(
        lambda: EtcdServer(args=["--quota-backend-bytes=4000000"]),
        lambda: need_container("etcd"),
        nothing,
        EtcdServer.make_room,
        on_small_disk=False,
        deletes_pass=True,
        last_is_unclear=True,
    ),
    "redis-disk": Case(RedisServer, need_redis),
    "redis-disk-lazily": Case(lambda: RedisServer(lazily=True), need_redis),
    "redis-disk-snapshots": Case(
        lambda: RedisServer(persistent=False, args=["--save", "3600 1"]), need_redis, fill_snapshots, free_snapshots
    ),
    "redis-memory": Case(
        RedisServer,
        need_redis,
        lambda server: server.ask("CONFIG", "SET", "maxmemory", "4mb"),
        lambda server: server.ask("CONFIG", "SET", "maxmemory", "0"),
        on_small_disk=False,
        deletes_pass=True,
    ),
    "zookeeper-disk": Case(ZooKeeperServer, need_zookeeper),
    "zookeeper-quota": Case(
        lambda: ZooKeeperServer(env={"ZOO_CFG": "enforceQuota=true"}),
        need_zookeeper,
        lambda server: limit_folder(server, 10 * SIZE),
        lambda server: limit_folder(server, 1000 * SIZE),
        on_small_disk=False,
        deletes_pass=True,
    ),
    "consul-disk": Case(ConsulServer, need_consul, reading="?consistency=stale"),
}


@pytest.fixture(params=list(CASES))
def case(request: pytest.FixtureRequest) -> Case:
    found = CASES[request.param]
    found.need()
    return found


@pytest.fixture
def server(case: Case) -> Iterator[Any]:
    with contextlib.ExitStack() as stack:
        made = case.make()
        if case.on_small_disk:
            made.disk = stack.enter_context(SmallDisk(made.image_folder, made.small_disk_bytes))
        yield stack.enter_context(made)


@dataclass
class Writer:
    """Commits transactions of several keys each, and keeps what became of them."""

    store: Store
    done: list[int] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)  # or deleted since
    unclear: list[int] = field(default_factory=list)
    _number: int = 0

    def write(self) -> TenureError | None:
        """One transaction. Answers its error, if there was one; never late, never of another type."""
        self._number += 1
        transaction = self.store.transaction()
        for each in range(KEYS):
            transaction.put(self.key(self._number, each), self.value(self._number))
        began = time.monotonic()
        try:
            transaction.commit(timeout=WITHIN)
        except OutcomeUnknown as exc:
            self.unclear.append(self._number)
            return exc
        except (StoreFull, Unavailable) as exc:
            self.refused.append(self._number)
            return exc
        else:
            self.done.append(self._number)
            return None
        finally:
            assert time.monotonic() - began < WITHIN + GRACE

    def until_refused(self) -> TenureError:
        for _ in range(MOST_WRITES):
            error = self.write()
            if error is not None:
                return error
        raise AssertionError(f"the store took {MOST_WRITES} writes of {KEYS * SIZE} bytes although it has no room")

    def until_done(self, timeout: float) -> None:
        until(lambda: self.write() is None, timeout, "the store takes writes again", interval=0.2)

    def delete(self, number: int) -> None:
        """Delete what a transaction wrote."""
        assert self.store.delete_prefix(self.key(number, 0)[:-1], timeout=10.0).deleted == KEYS
        self.done.remove(number)
        self.refused.append(number)

    def check(self) -> dict[str, bytes]:
        """What is there is whole, and what was acknowledged is there."""
        listed = {item.key: item.value for item in self.store.list("w/", timeout=10.0)}
        for number in range(1, self._number + 1):
            whole = {self.key(number, each): self.value(number) for each in range(KEYS)}
            found = {key: listed[key] for key in whole if key in listed}
            assert found in ({}, whole), f"transaction {number} is there in part: {sorted(found)}"
            assert found or number not in self.done, f"transaction {number} was acknowledged and isn't there"
            assert not found or number not in self.refused, f"transaction {number} was refused and is there"
        return listed

    @staticmethod
    def key(number: int, each: int) -> str:
        return f"w/{number:04}/{each}"

    @staticmethod
    def value(number: int) -> bytes:
        return b"%d." % number + bytes(SIZE)


class Watcher:
    """What a watch has built from what it was told."""

    def __init__(self, store: Store) -> None:
        self.known: dict[str, bytes] = {}
        self._lock = threading.Lock()
        store.watch("w/", callback=self._take)

    def agree_with(self, writer: Writer, timeout: float = 30.0) -> None:
        """Wait until it knows what is there.

        A write of unknown outcome may still be applied, between one look and the other: so both look again.
        """
        listed: dict[str, bytes] = {}
        known: dict[str, bytes] = {}

        def same() -> bool:
            nonlocal listed, known
            listed = writer.check()
            with self._lock:
                known = dict(self.known)
            return known == listed

        try:
            until(same, timeout, "the watcher knows what is there", interval=0.1)
        except NotInTime as exc:
            raise AssertionError(f"the watcher knows {sorted(known)}, there are {sorted(listed)}") from exc

    def _take(self, batch: Batch) -> None:
        with self._lock:
            for event in batch.events:
                if event.type is EventType.DELETE:
                    del self.known[event.key]
                else:
                    assert event.item is not None
                    self.known[event.key] = event.item.value


def test_a_server_without_room(case: Case, server: Any, opened: Callable[..., Store]) -> None:
    store, reader = opened(server.url), opened(server.url + case.reading)
    watcher, writer = Watcher(opened(server.url)), Writer(store)
    assert writer.write() is None
    case.fill(server)
    error = writer.until_refused()
    if case.on_small_disk and server.when_full is WhenFull.ENDS:
        # Unavailable: it has ended before, over something that it wrote by itself.
        assert isinstance(error, OutcomeUnknown | Unavailable)
        until(lambda: server.status == "exited", 60.0, "the server has ended")
        assert isinstance(writer.write(), Unavailable)
        with pytest.raises(Unavailable):
            store.get(writer.key(1, 0), timeout=1.0)
        case.free(server)
        server.start()
    else:
        if server.when_full is WhenFull.REFUSES or not case.on_small_disk:
            assert isinstance(error, OutcomeUnknown if case.last_is_unclear and writer.unclear else StoreFull)
            assert isinstance(writer.until_refused(), StoreFull)
            reader = opened(server.url)  # who comes only now may read, too
        else:
            writer.until_refused()
        item = reader.get(writer.key(1, 0), timeout=WITHIN)
        assert item is not None
        assert item.value == writer.value(1)
        if case.deletes_pass:
            while len(writer.done) > 2:
                writer.delete(writer.done[-1])
        case.free(server)

    writer.until_done(30.0)
    watcher.agree_with(writer)
    writer.delete(1)
    watcher.agree_with(writer)
    if store.capabilities.durable:
        server.restart()
        writer.until_done(30.0)
        watcher.agree_with(writer)


def test_a_registration_outlives_it(case: Case, server: Any, opened: Callable[..., Store]) -> None:
    """Whether its lease can be kept or not meanwhile, it is there again when the store has room."""
    writer = Writer(opened(server.url))
    with (
        Registry(opened(server.url), CONFIG, WEB) as own,
        Registry(opened(server.url), CONFIG) as other,
    ):
        other.wait_for("web", 1, 10.0)
        case.fill(server)
        writer.until_refused()
        # Not waiting for anything: this long is the fault.
        threading.Event().wait(1.5 * CONFIG.heartbeat)
        case.free(server)
        if server.status == "exited":
            server.start()
        until(lambda: own.status is Status.REGISTERED, 60.0, "it is registered again")
        until(lambda: other.get_services().get("web") is not None, 60.0, "others see it")
        assert own.lease is not None
        own.lease.ensure_valid()
        assert [each.identity() for each in other.get_service("web").instances] == [WEB.identity()]


def test_a_file_without_room(tmp_path: Path, opened: Callable[..., Store]) -> None:
    with mounted(tmp_path, "size=1m"):
        store = opened(f"sqlite://{tmp_path}/store.db")
        watcher, writer = Watcher(store), Writer(store)
        assert writer.write() is None
        assert isinstance(writer.until_refused(), StoreFull)
        assert writer.check().keys() >= {writer.key(1, each) for each in range(KEYS)}
        remount(tmp_path, "size=8m")
        writer.until_done(10.0)
        watcher.agree_with(writer)
        store.close()
        again = opened(f"sqlite://{tmp_path}/store.db")
        writer.store = again
        writer.check()
        again.close()
