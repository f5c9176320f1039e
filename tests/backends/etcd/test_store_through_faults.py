"""What an application sees through the store and the registry while etcd dies, freezes, forgets or elects."""

import threading
import time
from collections.abc import Callable, Iterator

import pytest

import tenure
from tenure import BatchType, DeadlineExceeded, OutcomeUnknown, Store, Unavailable
from tenure.registry import EventType, Instance, InstanceEvent, Registry, RegistryConfig
from tenure_testkit.servers import EtcdCluster, EtcdServer, until

pytestmark = pytest.mark.faults

Open = Callable[..., Store]


@pytest.fixture
def opened() -> Iterator[Open]:
    """Opens stores and closes them at the end."""
    stores: list[Store] = []

    def open_store(url: str, **options: object) -> Store:
        store = tenure.connect(url, **options)
        stores.append(store)
        return store

    yield open_store
    for store in stores:
        store.close()


class Follower:
    """A watcher on a thread of its own that keeps every event it is told."""

    def __init__(self, store: Store, prefix: str) -> None:
        self.events: list[tenure.Event] = []
        self.kinds: list[BatchType] = []
        self.watch = store.watch(prefix, callback=self._take)

    def _take(self, batch: tenure.Batch) -> None:
        self.kinds.append(batch.type)
        self.events.extend(batch.events)

    @property
    def revision(self) -> int:
        return self.events[-1].revision if self.events else 0


def test_kill_and_restart_under_a_writer_and_three_watchers(opened: Open, etcd_node: EtcdServer) -> None:
    """Every event once, in order, through three kills: also those written while a watcher was cut off."""
    writer_store = opened(etcd_node.url)
    followers = [Follower(opened(etcd_node.url), "w/") for _ in range(3)]
    written: dict[int, bytes] = {}
    unknown: list[bytes] = []
    stop = threading.Event()

    def write() -> None:
        count = 0
        while not stop.is_set():
            count += 1
            value = b"%d" % count
            try:
                written[writer_store.put(f"w/{count % 50}", value, timeout=3).revision] = value
            except OutcomeUnknown:
                unknown.append(value)
            except Unavailable:
                continue

    thread = threading.Thread(target=write)
    thread.start()
    for _ in range(3):
        so_far = len(written)
        until(lambda floor=so_far: len(written) > floor + 300, 60.0, "300 more writes went through")
        etcd_node.kill()
        etcd_node.start()
    so_far = len(written)
    until(lambda: len(written) > so_far + 100, 60.0, "writes go through after the last restart")
    stop.set()
    thread.join(60.0)
    last = writer_store.put("w/last", b"last").revision
    for follower in followers:
        until(lambda f=follower: f.revision >= last, 60.0, "the follower has caught up")
        assert BatchType.RESYNC not in follower.kinds
        revisions = [event.revision for event in follower.events]
        assert revisions == sorted(set(revisions)), "doubled or out of order"
        told = {event.revision: event.item.value for event in follower.events if event.item}
        assert {r: v for r, v in told.items() if r in written} == written, "lost"
        assert {v for r, v in told.items() if r not in written} <= {*unknown, b"last"}, "invented"
    assert len(written) > 1000


def test_a_frozen_server_costs_no_more_than_the_deadline(opened: Open, etcd_node: EtcdServer) -> None:
    store = opened(etcd_node.url, timeout=1.0)
    store.put("key", b"value")
    etcd_node.pause()
    started = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        store.get("key")
    with pytest.raises(OutcomeUnknown):
        store.put("key", b"other")
    assert time.monotonic() - started < 4.0
    etcd_node.resume()
    until(lambda: store.get("key", timeout=5) is not None, 60.0, "the server answers again")


def test_work_goes_on_when_the_leader_is_killed(opened: Open, etcd_cluster: EtcdCluster) -> None:
    store = opened(etcd_cluster.url, timeout=8.0)
    prefix = f"leader-{time.time_ns()}/"
    follower = Follower(store, prefix)
    lease = store.lease(6)
    store.put(f"{prefix}held", b"", lease=lease)
    counter = f"{prefix}counter"
    store.put(counter, b"0")
    acknowledged = unknown = 0

    def add_one() -> None:
        nonlocal acknowledged, unknown
        item = store.get(counter)
        assert item is not None
        try:
            store.put_if_unchanged(counter, b"%d" % (int(item.value) + 1), revision=item.mod_revision)
            acknowledged += 1
        except OutcomeUnknown:
            unknown += 1

    for _ in range(50):
        add_one()
    dead = etcd_cluster.kill_leader()
    survived = acknowledged
    until(lambda: (add_one(), acknowledged > survived + 50)[1], 60.0, "50 more writes without the old leader")
    dead.start()
    item = store.get(counter)
    assert item is not None
    assert acknowledged <= int(item.value) <= acknowledged + unknown
    until(lambda: follower.revision >= item.mod_revision, 60.0, "the watch has caught up")
    told = [int(e.item.value) for e in follower.events if e.key == counter and e.item]
    assert told == list(range(int(item.value) + 1)), "each value once, in order"
    assert lease.alive
    assert store.get(f"{prefix}held") is not None


def test_compaction_under_a_lagging_watcher_is_a_resync_with_its_deletes(opened: Open, etcd_node: EtcdServer) -> None:
    store = opened(etcd_node.url)
    for key in ("stays", "goes", "changes"):
        store.put(f"c/{key}", b"old")
    lagging = store.watch("c/", previous=True)
    first, synced = lagging.next(5), lagging.next(5)
    assert first is not None
    assert (first.type, len(first.events)) == (BatchType.SNAPSHOT, 3)
    assert synced is not None
    assert synced.type is BatchType.SYNCED
    etcd_node.kill()  # cuts the watch; nobody takes batches from it now, so it stays cut
    etcd_node.start()
    store.delete("c/goes")
    store.put("c/changes", b"new")
    store.put("c/comes", b"new")
    etcd_node.gateway.compact()
    batch = lagging.next(20)
    assert batch is not None
    assert batch.type is BatchType.RESYNC, batch
    assert batch.reason
    assert {(e.key, e.type, e.item and e.item.value, e.previous and e.previous.value) for e in batch.events} == {
        ("c/goes", tenure.EventType.DELETE, None, b"old"),
        ("c/changes", tenure.EventType.UPDATE, b"new", b"old"),
        ("c/comes", tenure.EventType.CREATE, b"new", None),
    }
    after = store.put("c/stays", b"new").revision
    batch = lagging.next(5)
    assert batch is not None
    assert (batch.type, batch.revision) == (BatchType.CHANGES, after)


def test_an_outage_of_three_heartbeats(opened: Open, etcd_node: EtcdServer) -> None:
    """The cache serves the last known and tells its age; then the instance is registered again, once."""
    heartbeat = 2.0
    config = RegistryConfig(heartbeat=heartbeat, retry_first=0.5, retry_longest=2.0, max_retry=None)
    mine, other = Instance("web", host="10.0.0.1"), Instance("web", host="10.0.0.2")
    observer_events: list[InstanceEvent] = []
    with (
        Registry(opened(etcd_node.url, timeout=2.0), config, mine) as registry,
        Registry(opened(etcd_node.url, timeout=2.0), config) as observer,
    ):
        # Written without a lease, as if by a service that survived the outage.
        outside = opened(etcd_node.url)
        outside.put(f"/registry/default/web/{other.id}@{other.host}", _json(other))
        observer.wait_for("web", 2, timeout=10)
        observer.add_handler(observer_events.append)
        first_lease = registry.lease
        assert first_lease is not None
        etcd_node.kill()
        until(lambda: not first_lease.alive, 3 * heartbeat, "the lease is known to be lost")
        until(lambda: observer.staleness > 3 * heartbeat, 5 * heartbeat, "three heartbeats have passed")
        assert len(observer.get_service("web")) == 2
        assert registry.staleness > 0
        etcd_node.start()
        until(lambda: observer.staleness == 0.0 and registry.staleness == 0.0, 60.0, "both are connected again")
        until(lambda: registry.lease not in (None, first_lease) and registry.lease.alive, 60.0, "registered again")
        lease = registry.lease
        assert lease is not None
        key = f"/registry/default/web/{mine.id}@{mine.host}"
        until(lambda: (item := outside.get(key)) is not None and item.lease_id == lease.id, 60.0, "under the new lease")
        # The old lease got its full time again when the server came back; its end must not take the new key away.
        until(lambda: [info.lease_id for info in outside.leases()] == [lease.id], 60.0, "the old lease has ended")
        assert outside.get(key) is not None
        assert len(outside.list("/registry/default/web/")) == 2
        assert len(observer.get_service("web")) == 2
        assert not [event for event in observer_events if event.instance.id == other.id]
        assert [e.type for e in observer_events if e.instance.id == mine.id].count(EventType.CREATE) <= 1
    until(lambda: len(outside.list("/registry/default/web/")) == 1, 60.0, "closing deregisters, and only its own")


def _json(instance: Instance) -> bytes:
    from tenure.registry import encode

    return encode(instance)
