"""Watches: one long poll for a prefix, large prefixes, and what happens when the agent is killed, frozen or cut off."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

import tenure
from tenure import BatchType, Unavailable
from tenure.errors import LimitExceeded, OutcomeUnknown
from tenure.spi import Delete, Feed, ListRequest, Operation, Put, Snapshot, Transaction, WatchRequest
from tenure_consul import reads
from tenure_consul.prefix_poller import PrefixPoller
from tenure_testkit.servers.consul import ConsulServer
from tenure_testkit.waiting import until

T = 5.0


def commit(backend, *operations: Operation) -> int:
    return backend.commit(Transaction((), operations), timeout=T).revision


def watch_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("tenure-consul-watch")]


class Told:
    """What a watch has told, added up by a thread of its own."""

    def __init__(self, store: tenure.Store) -> None:
        self.values: dict[str, bytes] = {}
        self.kinds: set[BatchType] = set()
        self._watch = store.watch("")
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        for batch in self._watch:
            self.kinds.add(batch.type)
            for event in batch.events:
                if event.item is None:
                    del self.values[event.key]
                else:
                    self.values[event.key] = event.item.value

    def close(self) -> None:
        self._watch.close()
        self._thread.join(T)
        assert not self._thread.is_alive()


def converged(told: Told, store: tenure.Store) -> Callable[[], bool]:
    expected = {item.key: item.value for item in store.list("").items}
    return lambda: told.values == expected


def test_feeds_of_a_prefix_share_one_thread(consul_url, opened, prefix, recorder):
    backend = opened(consul_url)
    commit(backend, Put(prefix + "a", b""))
    before = len(watch_threads())
    sinks = [recorder() for _ in range(20)]
    feeds = []
    for sink in sinks:
        feeds.append(backend.watch(WatchRequest(prefix=prefix), sink=sink, timeout=T))
        commit(backend, Put(prefix + "a", b""))
        sink.wait(lambda r: r.items)
    revision = commit(backend, Put(prefix + "b", b""), Delete(prefix + "a"))
    for sink in sinks:
        sink.wait(lambda r: r.state() == {prefix + "b": revision})
        assert isinstance(sink.items[0], Snapshot)
        assert prefix + "a" in {item.key for item in sink.items[0].items}
    assert len(watch_threads()) == before + 1
    for feed in feeds:
        feed.close()
    assert len(watch_threads()) == before
    assert not any(sink.errors for sink in sinks)


def test_a_prefix_without_keys_tells_nothing_of_others(consul_url, opened, prefix, recorder):
    backend = opened(consul_url)
    sink = recorder()
    feed = backend.watch(WatchRequest(prefix=prefix + "empty/"), sink=sink, timeout=T)
    sink.wait(lambda r: r.items)
    for number in range(20):
        commit(backend, Put(f"{prefix}other/{number}", b""))
    revision = commit(backend, Put(prefix + "empty/key", b""))
    sink.wait(lambda r: len(r.items) > 1)
    assert [entry.mod_revision for entry in sink.entries] == [revision]
    feed.close()


def test_a_change_makes_an_item_of_the_changed_key_alone(consul_url, opened, prefix, recorder, monkeypatch):
    backend = opened(consul_url)
    commit(backend, *(Put(f"{prefix}{number:02}", b"") for number in range(20)))
    made, sink = [], recorder()

    def items(listed, make=reads.Listed.items, **options):
        made.append(listed.keys)
        return make(listed, **options)

    monkeypatch.setattr(reads.Listed, "items", items)
    feed = backend.watch(WatchRequest(prefix=prefix), sink=sink, timeout=T)
    sink.wait(lambda r: r.items)
    commit(backend, Put(f"{prefix}07", b"new"))
    sink.wait(lambda r: r.entries)
    feed.close()
    assert [len(keys) for keys in made] == [20, 1]


def test_a_feed_that_comes_and_goes_during_a_read_takes_no_change_from_another(
    consul_url, opened, prefix, recorder, monkeypatch
):
    backend, sink = opened(consul_url), recorder()
    request = WatchRequest(prefix=prefix)
    feed = backend.watch(request, sink=sink, timeout=T)
    sink.wait(lambda r: r.items)
    others: list[Feed] = []
    written: list[int] = []

    def ask(poller, *arguments, ask=PrefixPoller._ask):
        if not poller._hub.apart or written:
            return ask(poller, *arguments)
        written.append(commit(backend, Put(f"{prefix}key", b"")))
        answer = ask(poller, *arguments)
        until(lambda: others, what="the call that opens the other feed is over")
        others.pop().close()
        return answer

    monkeypatch.setattr(PrefixPoller, "_ask", ask)
    others.append(backend.watch(request, sink=recorder(), timeout=T))
    sink.wait(lambda r: r.entries)
    feed.close()


def test_close_ends_a_blocking_query_at_once(consul_url, opened, prefix, recorder):
    backend = opened(consul_url)
    sink = recorder()
    backend.watch(WatchRequest(prefix=prefix), sink=sink, timeout=T)
    sink.wait(lambda r: r.items)
    started = time.monotonic()
    backend.close()
    assert time.monotonic() - started < 1.0
    assert sink.errors == []


def test_ten_thousand_keys(consul_node: ConsulServer, opened, recorder):
    backend = opened(consul_node.url)
    size = backend.capabilities.max_transaction_operations
    keys = [f"big/{number:05}" for number in range(10_000)]
    for start in range(0, len(keys), size):
        commit(backend, *[Put(key, b"value") for key in keys[start : start + size]])
    listed = backend.list(ListRequest(prefix="big/"), timeout=T).items
    assert [item.key for item in listed] == keys
    sink = recorder()
    feed = backend.watch(WatchRequest(prefix="big/"), sink=sink, timeout=T)
    sink.wait(lambda r: r.items)
    assert sink.items[0].items == listed
    revisions = {item.key: item.mod_revision for item in listed}
    for number in range(0, 300, 3):
        revisions[keys[number]] = commit(backend, Put(keys[number], b"new"))
        commit(backend, Delete(keys[number + 1]))
        del revisions[keys[number + 1]]
    sink.wait(lambda r: r.state() == revisions)
    assert sink.errors == []
    feed.close()


@pytest.mark.faults
def test_a_frozen_agent_is_noticed_in_time(consul_node: ConsulServer, opened, recorder):
    backend = opened(consul_node.url)
    sink = recorder()
    backend.watch(WatchRequest(prefix=""), sink=sink, timeout=T)
    sink.wait(lambda r: r.items)
    consul_node.pause()
    started = time.monotonic()
    with pytest.raises(OutcomeUnknown):
        backend.commit(Transaction((), (Put("key", b""),)), timeout=0.5)
    with pytest.raises(Unavailable):
        backend.get("key", timeout=0.5)
    assert time.monotonic() - started < 2.0
    limit = backend.capabilities.max_watch_failure_detection
    sink.wait(lambda r: r.errors, timeout=limit + 1.0)
    assert isinstance(sink.errors[0], Unavailable)
    assert sink.failed_at - started <= limit
    consul_node.resume()


@pytest.mark.faults
def test_a_freeze_of_five_seconds_misses_nothing(consul_node: ConsulServer):
    with tenure.connect(consul_node.url) as store:
        store.put("stays", b"1")
        told = Told(store)
        until(converged(told, store), T, "the watch has begun")
        consul_node.pause()
        end = time.monotonic() + 5.0
        until(lambda: time.monotonic() > end, 60.0, "five seconds have passed", interval=0.1)
        consul_node.resume()
        store.delete("stays", timeout=20)
        store.put("new", b"1")
        until(converged(told, store), 60.0, "the watch tells the truth")
        told.close()


@pytest.mark.faults
def test_kill_and_restart_under_a_writer(consul_node: ConsulServer):
    with tenure.connect(consul_node.url) as store, tenure.connect(consul_node.url) as writer:
        told = Told(store)
        stop = threading.Event()
        acknowledged: dict[str, tuple[bytes, int]] = {}
        unknown: set[str] = set()

        def write() -> None:
            number = 0
            while not stop.is_set():
                number += 1
                key = f"key{number % 20}"
                try:
                    revision = writer.put(key, b"%d" % number, timeout=20).revision
                except OutcomeUnknown:
                    unknown.add(key)
                else:
                    acknowledged[key] = (b"%d" % number, revision)
                    unknown.discard(key)

        thread = threading.Thread(target=write)
        thread.start()
        for _ in range(2):
            until(lambda: len(acknowledged) >= 20, 60.0, "all keys were written")
            consul_node.restart()
            acknowledged.clear()
        until(lambda: len(acknowledged) >= 20, 60.0, "all keys were written after the last restart")
        stop.set()
        thread.join(60.0)
        store.delete("key1")
        until(converged(told, store), 60.0, "the watch tells the truth")
        del acknowledged["key1"]
        for key, (value, revision) in acknowledged.items():
            item = store.get(key)
            assert item.mod_revision == revision or key in unknown
            assert item.value == value or key in unknown
        assert BatchType.RESYNC in told.kinds
        told.close()


@pytest.mark.faults
def test_connections_cut_every_twenty_milliseconds(middle, consul_node: ConsulServer):
    """The watcher sits behind cuts, the writer doesn't; what it has built in the end is what there is."""
    url = f"consul://127.0.0.1:{middle.port}"
    with tenure.connect(url, timeout=20) as store, tenure.connect(consul_node.url) as writer:
        told = Told(store)
        cuts = 0
        end = time.monotonic() + 4.0
        number = 0
        next_cut = 0.0
        while time.monotonic() < end or cuts <= 10:
            number += 1
            assert number < 100_000, "hardly anything was cut"
            writer.put(f"key{number % 30}", b"%d" % number)
            if number % 7 == 0:
                writer.delete(f"key{(number * 3) % 30}")
            if time.monotonic() >= next_cut:
                cuts += middle.cut()
                next_cut = time.monotonic() + 0.02
        until(converged(told, writer), 60.0, "the watch tells the truth")
        told.close()


@pytest.mark.faults
def test_data_put_back_from_a_snapshot_is_told(consul_node: ConsulServer, opened, recorder):
    """Revisions go back with it; watchers that stay connected are given the whole content."""
    backend = opened(consul_node.url)
    commit(backend, Put("old", b""), Put("both", b"1"))
    consul_node.exec("consul", "snapshot", "save", "/tmp/snapshot")
    sink = recorder()
    backend.watch(WatchRequest(prefix=""), sink=sink, timeout=T)
    commit(backend, Delete("old"), Put("both", b"2"))
    commit(backend, Put("new", b""))
    sink.wait(lambda r: set(r.state()) == {"both", "new"})
    consul_node.exec("consul", "snapshot", "restore", "/tmp/snapshot")
    if not sink.errors:
        sink.wait(lambda r: r.errors or set(r.state()) == {"old", "both"}, timeout=20)
    again = recorder()
    backend.watch(WatchRequest(prefix=""), sink=again, timeout=T)
    again.wait(lambda r: r.items)
    assert set(again.state()) == {"old", "both"}
    revision = commit(backend, Put("after", b""))
    again.wait(lambda r: r.state().get("after") == revision)


@pytest.mark.faults
def test_an_agent_that_lost_its_data(consul_node: ConsulServer):
    with tenure.connect(consul_node.url) as store:
        for number in range(30):
            store.put(f"key{number}", b"")
        told = Told(store)
        until(converged(told, store), T, "the watch has begun")
        consul_node.kill()
        consul_node.wipe()
        consul_node.start()
        assert store.put("first", b"1", timeout=20).revision > 0
        until(converged(told, store), 60.0, "the watch tells the truth")
        assert set(told.values) == {"first"}
        store.put("second", b"2")
        until(converged(told, store), 60.0, "the watch tells what came later")
        assert store.get_with_revision("second").revision >= store.get("second").mod_revision
        told.close()


def test_more_prefixes_than_the_option_allows_are_refused_by_name(opened, consul_own_url, recorder):
    separator = "&" if "?" in consul_own_url else "?"
    backend = opened(f"{consul_own_url}{separator}watches=3")
    feeds = [backend.watch(WatchRequest(prefix=f"{name}/"), sink=recorder(), timeout=T) for name in "abc"]
    backend.watch(WatchRequest(prefix="a/"), sink=recorder(), timeout=T)  # shares
    with pytest.raises(LimitExceeded, match="http_max_conns_per_client"):
        backend.watch(WatchRequest(prefix="d/"), sink=recorder(), timeout=T)
    commit(backend, Put("x", b"1"))
    feeds[2].close()
    backend.watch(WatchRequest(prefix="d/"), sink=recorder(), timeout=T)


def test_an_agent_that_takes_no_more_connections_is_named(opened, recorder):
    with ConsulServer(settings=["limits { http_max_conns_per_client = 6 }"]) as server:
        backend = opened(server.url_with())
        sinks = [recorder() for _ in range(10)]
        feeds = [
            backend.watch(WatchRequest(prefix=f"{number}/"), sink=sink, timeout=T) for number, sink in enumerate(sinks)
        ]
        found = until(lambda: [error for sink in sinks for error in sink.errors], what="a watch without a connection")
        assert "http_max_conns_per_client" in str(found[0])
        for feed in feeds:
            feed.close()
        until(lambda: _commits(backend), what="a call after the watches have given their connections back")


def _commits(backend) -> bool:
    try:
        commit(backend, Put("x", b"1"))
    except (Unavailable, OutcomeUnknown):
        return False
    return True
