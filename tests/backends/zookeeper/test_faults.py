"""What applications see when the server freezes, dies and comes back, or a leader is lost."""

import threading
import time
from collections.abc import Iterator

import pytest

from tenure import Store, connect
from tenure.errors import Conflict, DeadlineExceeded, OutcomeUnknown, TenureError, Unavailable
from tenure_testkit.servers import until
from tenure_testkit.servers.zookeeper import ZooKeeperServer
from tenure_testkit.servers.zookeeper_ensemble import ZooKeeperEnsemble

pytestmark = pytest.mark.faults


class Writer:
    """Puts numbered keys until told to stop; keeps what was acknowledged and what is unknown."""

    def __init__(self, store: Store) -> None:
        self.acknowledged: dict[str, int] = {}
        self.unknown: set[str] = set()
        self._store = store
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        number = 0
        while not self._stop.is_set():
            number += 1
            key = f"w/{number:06}"
            try:
                self.acknowledged[key] = self._store.put_if_absent(key, b"x", timeout=2.0).revision
            except OutcomeUnknown:
                self.unknown.add(key)
            except Unavailable:
                continue

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()


@pytest.fixture
def frozen(zookeeper_node: ZooKeeperServer) -> Iterator[ZooKeeperServer]:
    yield zookeeper_node
    if zookeeper_node.status == "paused":
        zookeeper_node.resume()


def test_a_frozen_server_hangs_nobody(frozen: ZooKeeperServer) -> None:
    store = connect(f"{frozen.url}?session_timeout=2")
    try:
        store.put("key", b"0")
        lease = store.lease(30.0)
        store.put("leased", b"", lease=lease)
        watch = store.watch("")
        frozen.pause()
        frozen_at = time.monotonic()
        calls = {
            "put": lambda: store.put("key", b"1", timeout=0.5),
            # It looks at the key before it writes, and that is what gets no answer.
            "leased put": lambda: store.put("leased", b"1", lease=lease, timeout=0.5),
            "get": lambda: store.get("key", timeout=0.5),
            "list": lambda: store.list("", timeout=0.5),
            "grant": lambda: store.lease(5.0, timeout=0.5),
            "refresh": lambda: lease.refresh(timeout=0.5),
        }
        for name, call in calls.items():
            started = time.monotonic()
            with pytest.raises(OutcomeUnknown if name == "put" else Unavailable):
                call()
            assert time.monotonic() - started < 1.5, name
        until(lambda: watch.next(0.05) is None and watch.staleness > 0, 60.0, "the watch noticed")
        assert time.monotonic() - frozen_at < store.capabilities.max_watch_failure_detection + 4.0
    finally:
        started = time.monotonic()
        store.close()
        assert time.monotonic() - started < 8.0


def test_kill_and_restart_under_a_writer(zookeeper_node: ZooKeeperServer) -> None:
    with connect(zookeeper_node.url, timeout=10.0) as store, connect(zookeeper_node.url, timeout=10.0) as other:
        known: dict[str, int] = {}
        watch = other.watch("w/")
        writer = Writer(store)
        try:
            for _ in range(3):
                before = len(writer.acknowledged)
                until(lambda: len(writer.acknowledged) > before + 20, 60.0, "the writer goes on")  # noqa: B023 - at once
                zookeeper_node.restart()
            before = len(writer.acknowledged)
            until(lambda: len(writer.acknowledged) > before + 20, 60.0, "the writer goes on after all")
        finally:
            writer.stop()
        listed = {item.key: item.mod_revision for item in store.list("w/", timeout=10.0)}
        assert writer.acknowledged.items() <= listed.items()
        assert set(listed) <= set(writer.acknowledged) | writer.unknown

        def caught_up() -> bool:
            batch = watch.next(0.1)
            for event in batch.events if batch else ():
                assert event.key not in known, "told twice"
                known[event.key] = event.revision
            return known == listed

        until(caught_up, 60.0, "the watcher knows what is there")
        watch.close()


def test_the_leader_is_killed(zookeeper_ensemble: ZooKeeperEnsemble) -> None:
    url = f"{zookeeper_ensemble.url}/leader-{time.time_ns()}"
    with connect(url, timeout=15.0) as store, connect(url, timeout=15.0) as other:
        lease = store.lease(20.0)
        store.put("leased", b"", lease=lease)
        watch = other.watch("")
        writer = Writer(store)
        try:
            until(lambda: len(writer.acknowledged) > 20, 60.0, "the writer has begun")
            dead = zookeeper_ensemble.leader()
            dead.kill()
            before = len(writer.acknowledged)
            until(lambda: len(writer.acknowledged) > before + 20, 60.0, "the writer goes on with a new leader")
        finally:
            writer.stop()
        lease.refresh(timeout=15.0)
        listed = {item.key: item.mod_revision for item in other.list("", timeout=15.0)}
        assert "leased" in listed
        assert writer.acknowledged.items() <= listed.items()
        known: dict[str, int] = {}

        def caught_up() -> bool:
            batch = watch.next(0.1)
            known.update({event.key: event.revision for event in batch.events} if batch else {})
            return known == listed

        until(caught_up, 60.0, "the watcher knows what is there")
        watch.close()


def test_no_quorum_is_told(zookeeper_ensemble: ZooKeeperEnsemble) -> None:
    with connect(f"{zookeeper_ensemble.url}/quorum-{time.time_ns()}", timeout=10.0) as store:
        store.put("key", b"")
        for node in zookeeper_ensemble.nodes[:2]:
            node.kill()
        with pytest.raises((Unavailable, OutcomeUnknown)):
            store.put("key", b"", timeout=3.0)
        with pytest.raises((Unavailable, DeadlineExceeded)):
            store.get("key", timeout=3.0)
        zookeeper_ensemble.recover()
        until(lambda: _answers(store), 60.0, "the store works again")


def _answers(store: Store) -> bool:
    try:
        return store.get("key", timeout=5.0) is not None
    except TenureError:
        return False


def test_a_single_server_that_lost_its_data_is_used_again() -> None:
    with ZooKeeperServer() as server, connect(f"{server.url}/mine") as store:
        with connect(f"{server.url}/other") as other:
            for number in range(300):
                other.put(f"{number}", b"")
        seen = store.put("key", b"old").revision
        server.kill()
        server.wipe()
        server.start()
        # It is far behind what this client has seen, which a client of several servers must not put up with.
        until(lambda: _value(store, "key") == (), 60.0, "the emptied server answers")
        with connect(f"{server.url}/mine") as other:
            assert other.put("key", b"new").revision < seen
        # Versions of nodes count from 0 again, too: none that was seen before may prove anything now.
        with pytest.raises(Conflict):
            store.put_if_unchanged("key", b"wrong", revision=seen)
        assert _value(store, "key") == (b"new",)


def _value(store: Store, key: str) -> tuple[bytes, ...] | None:
    """What is at the key, nothing at all, or ``None`` for a store that doesn't answer."""
    try:
        item = store.get(key, timeout=1.0)
    except Unavailable:
        return None
    return () if item is None else (item.value,)
