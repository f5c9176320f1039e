"""A store that was written under the project's old name is read and continued: keys, revisions, leases, services, and
copies and mirrors that are under way. ``old_data`` says what was written."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import tenure
from tenure import BatchType, Conflict, LeaseNotFound, Store
from tenure.registry import Instance, Registry, encode, key_of
from tenure_testkit.servers.consul import ConsulServer
from tenure_testkit.servers.consul_plugin import need_consul
from tenure_testkit.servers.etcd import EtcdServer
from tenure_testkit.servers.plugin import need_container
from tenure_testkit.servers.redis import RedisServer
from tenure_testkit.servers.redis_plugin import need_redis
from tenure_testkit.servers.zookeeper import ZooKeeperServer
from tenure_testkit.servers.zookeeper_plugin import need_zookeeper
from tenure_testkit.waiting import until

from .old_data import NAMESPACES, SOURCE, OldData, Server, load

DEADLINE = 30.0
Open = Callable[..., Store]


STORES = ("sqlite", "redis", "redis-named", "etcd", "zookeeper", "consul")
# Where history and leases are data that came back. Elsewhere both were a server's, which is gone.
with_its_history = pytest.mark.parametrize("kind", STORES[:3], indirect=True, scope="module")


@pytest.fixture(scope="module", params=STORES)
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def server(kind: str) -> Iterator[Server | None]:
    """A server of these tests' own, since the default names in it are theirs; none for SQLite."""
    if kind == "sqlite":
        yield None
        return
    made: Server
    if kind == "etcd":
        need_container("etcd")
        made = EtcdServer()
    elif kind == "zookeeper":
        need_zookeeper()
        made = ZooKeeperServer()
    elif kind == "consul":
        need_consul()
        made = ConsulServer()
    else:
        need_redis()
        made = RedisServer()
    with made:
        yield made


@pytest.fixture
def old(kind: str, server: Server | None, tmp_path: Path) -> OldData:
    """The store with what the old version wrote, and nothing else."""
    return load(kind, server, tmp_path)


@pytest.fixture
def store(old: OldData, opened: Open) -> Store:
    return opened(old.url(""))


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opened: Open) -> Store:
    """The source of the copy and of the mirror, as the old version had it."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    made = opened(SOURCE)
    for number in range(1, 21):
        made.put(f"k/{number:03}", b"%d" % number)
    return made


# -- keys, revisions, changes --------------------------------------------------------------------------


@pytest.mark.parametrize("namespace", NAMESPACES)
def test_every_key_is_read(old: OldData, namespace: str, opened: Open) -> None:
    store = opened(old.url(namespace))
    listed = list(store.list())
    expected = old.expected(namespace)
    assert len(expected) > 15
    if old.exact:
        assert listed == expected
    else:
        assert [(item.key, item.value) for item in listed] == [(item.key, item.value) for item in expected]
    assert [store.get(item.key) for item in listed] == listed


@pytest.mark.parametrize("namespace", NAMESPACES)
def test_every_key_is_written_on_at_its_revision(old: OldData, namespace: str, opened: Open) -> None:
    store = opened(old.url(namespace))
    for item in old.expected(namespace) if old.exact else store.list():
        result = store.put_if_unchanged(item.key, b"new", revision=item.mod_revision)
        assert result.revision > item.mod_revision or not old.exact
        with pytest.raises(Conflict):
            store.put_if_unchanged(item.key, b"late", revision=item.mod_revision)
        with pytest.raises(Conflict):
            store.put_if_absent(item.key, b"late")
        present = store.get(item.key)
        assert present is not None
        assert (present.value, present.create_revision) == (b"new", item.create_revision)
        assert present.mod_revision == result.revision


@with_its_history
def test_the_revision_goes_on_from_the_last_one(old: OldData, store: Store) -> None:
    assert store.get_with_revision("a").revision >= old.seen["revision"]
    assert store.put("new", b"").revision > old.seen["revision"]


def test_a_watch_begins_with_the_old_keys_and_follows(old: OldData, store: Store) -> None:
    with store.watch("a") as watch:
        state: dict[str, bytes] = {}
        while (batch := watch.next(DEADLINE)) is not None and batch.type is BatchType.SNAPSHOT:
            state |= {event.item.key: event.item.value for event in batch.events if event.item is not None}
        assert batch is not None
        assert batch.type is BatchType.SYNCED
        assert state == {item.key: item.value for item in old.expected("") if item.key.startswith("a")}
        store.put("a//b", b"new")
        store.delete("a")
        seen = [event for _ in range(2) if (batch := watch.next(DEADLINE)) is not None for event in batch.events]
        assert [(event.key, event.item and event.item.value) for event in seen] == [("a//b", b"new"), ("a", None)]


@with_its_history
def test_a_watch_resumes_in_what_the_old_version_wrote(old: OldData, store: Store) -> None:
    with store.watch(after=old.seen["start"]) as watch:
        store.put("gone", b"new")
        changes = []
        while ("gone", b"new") not in changes:
            batch = watch.next(DEADLINE)
            assert batch is not None
            changes += [(event.key, event.item.value if event.item else None) for event in batch.events]
    followed = [change for change in changes if change[0] in ("twice", "gone")]
    assert followed == [("twice", b"second"), ("gone", b""), ("gone", None), ("gone", b"new")]


# -- leases and services -------------------------------------------------------------------------------


@with_its_history
def test_leases_go_on(old: OldData, store: Store) -> None:
    leases = {lease.lease_id: lease for lease in store.leases()}
    assert leases[old.lasting].keys == ("on a lasting lease",)
    assert leases[old.lasting].ttl == pytest.approx(3600.0)
    store.put("another", b"", lease=old.lasting)
    store.revoke_lease(old.lasting)
    assert [store.get(key) for key in ("another", "on a lasting lease")] == [None, None]
    if old.ended:
        assert old.short not in leases
        with pytest.raises(LeaseNotFound):
            store.put("another", b"", lease=old.short)
    # In SQLite it has its ttl again, counted from the first opening after another boot.
    until(lambda: store.get("on a short lease") is None, DEADLINE, "the short lease ends")


def test_the_old_instance_is_in_the_new_registry(old: OldData, store: Store) -> None:
    with Registry(store, instance=Instance("shop", id="new-1", port=9090)) as registry:
        service = registry.wait_for("shop", 2, DEADLINE)
        assert not registry.malformed_entries
        found = next(instance for instance in service.instances if instance.id == "old-1")
        assert (found.host, found.host_name, found.port) == ("192.0.2.10", "old-host", 8080)
        assert found.meta == {"zone": "a<b", "weights": (1, 2.5, None)}
        # The other way round: the old version finds and reads what this one writes.
        assert key_of(registry.config.key_prefix, found) == old.entry_key
        assert encode(found) == old.entry
        with pytest.raises(tenure.AlreadyRegistered), Registry(store, instance=found):
            pass
        store.delete(old.entry_key)
        until(lambda: len(registry.get_service("shop")) == 1, DEADLINE, "the old instance goes")


# -- copies and mirrors --------------------------------------------------------------------------------


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tenure.cli", *arguments], capture_output=True, text=True, timeout=DEADLINE, check=False
    )


def values(store: Store) -> dict[str, bytes]:
    return {item.key: item.value for item in store.list("k/")}


def test_an_unfinished_copy_is_finished(old: OldData, source: Store, opened: Open) -> None:
    target = opened(old.url("copied"))
    assert 0 < len(values(target)) < 20
    refused = command("copy", "sqlite://?namespace=another", old.url("copied"))
    assert refused.returncode != 0
    assert "unfinished copy" in refused.stderr
    done = command("copy", SOURCE, old.url("copied"))
    assert done.returncode == 0, done.stderr
    assert values(target) == values(source)
    assert target.get("leasehold-copy") is None


def test_a_mirror_is_continued(old: OldData, source: Store, opened: Open) -> None:
    target = opened(old.url("mirrored"))
    assert values(target) == values(source)
    source.delete("k/001")
    source.put("k/021", b"new")
    refused = command("mirror", "sqlite://?namespace=another", old.url("mirrored"))
    assert refused.returncode != 0
    assert "is the mirror of" in refused.stderr
    with mirror(SOURCE, old.url("mirrored")) as running:
        until(lambda: values(target) == values(source), DEADLINE, "the mirror levels both sides")
        source.put("k/022", b"newer")
        until(lambda: values(target) == values(source), DEADLINE, "the mirror follows")
        running.send_signal(signal.SIGTERM)
        assert running.wait(DEADLINE) == 128 + signal.SIGTERM


def mirror(source: str, target: str) -> subprocess.Popen[bytes]:
    """A mirror that runs: it is refused until the lease of the killed one's lock has ended, as it has not in SQLite."""
    deadline = time.monotonic() + DEADLINE
    while True:
        running = subprocess.Popen(
            [sys.executable, "-m", "tenure.cli", "mirror", source, target, "--lease-grace", "5"],
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        assert running.stderr is not None
        said = b""
        while (line := running.stderr.readline()) and b"in sync" not in line:
            said += line
        if line:
            return running
        with running:
            running.wait(DEADLINE)
        assert b"another mirror is writing" in said, said
        assert time.monotonic() < deadline, said
