"""Feeds: nothing lost, nothing doubled, nothing silent, through everything that can happen to a log."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator

import pytest

import tenure
from tenure import BatchType, Compacted, DeadlineExceeded, EventType, Unavailable
from tenure.errors import HistoryReplaced, TenureError
from tenure.spi import Bookmark, Changes, Delete, Deleted, ListRequest, Put, Transaction, WatchRequest
from tenure_testkit.probes.relay import Relay
from tenure_testkit.servers.redis import RedisServer
from tenure_testkit.waiting import until

T = 5.0


def test_state_then_changes_then_nothing_left_behind(open_redis, fresh, put, recorder):
    backend, sink = open_redis(fresh), recorder()
    put(backend, "w/a", b"1")
    put(backend, "x", b"1")
    feed = backend.watch(WatchRequest(prefix="w/"), sink=sink, timeout=T)
    assert [item.key for item in sink.snapshot.items] == ["w/a"]
    operations = (Put("w/b", b"2"), Put("x", b"2"), Delete("w/a"))
    revision = backend.commit(Transaction((), operations), timeout=T).revision
    changes = sink.wait(lambda r: [item for item in r.items if isinstance(item, Changes)])
    assert [(entry.key, type(entry)) for entry in changes[0].entries] == [
        ("w/b", tenure.KeyValue),
        ("w/a", Deleted),
    ]
    assert changes[0].revision == revision
    feed.close()
    feed.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("tenure-redis")]
    assert sink.errors == []


def test_a_quiet_feed_gets_bookmarks(open_redis, fresh, put, recorder):
    backend, sink = open_redis(fresh), recorder()
    backend.watch(WatchRequest(prefix="w/"), sink=sink, timeout=T)
    revision = put(backend, "elsewhere")
    sink.wait(lambda r: Bookmark(revision) in r.items, 3)


def test_feeds_join_a_reader_from_behind_and_from_ahead(open_redis, fresh, put, recorder):
    backend, first, early, late = open_redis(fresh), recorder(), recorder(), recorder()
    start = put(backend, "a", b"0")
    backend.watch(WatchRequest(prefix=""), sink=first, timeout=T)
    revisions = [put(backend, f"k{n}") for n in range(450)]
    first.wait(lambda r: len(r.entries) == 450)
    backend.watch(WatchRequest(prefix="", after=start), sink=early, timeout=T)
    backend.watch(WatchRequest(prefix="", after=revisions[-1]), sink=late, timeout=T)
    revisions.append(put(backend, "end"))
    for sink, expected in ((first, revisions), (early, revisions), (late, revisions[-1:])):
        sink.wait(lambda r: r.entries and r.entries[-1].key == "end")
        assert [entry.mod_revision for entry in sink.entries] == expected


def test_a_snapshot_misses_nothing_under_writers(open_redis, fresh, put, recorder):
    """A list of several pages while others write is one point in time, and the feed goes on from exactly there."""
    backend = open_redis(fresh)
    for start in range(0, 5000, 1000):
        keys = tuple(Put(f"{n:05}", b"0") for n in range(start, start + 1000))
        backend.commit(Transaction((), keys), timeout=T)
    stop, history = threading.Event(), {}

    def write() -> None:
        count = 0
        while not stop.is_set():
            count += 1
            near, far = f"{count * 7 % 5000:05}", f"{4999 - count * 7 % 5000:05}"
            if near != far:
                both = (Put(near, b"%d" % count), Delete(far) if count % 3 == 0 else Put(far, b"%d" % count))
                history[backend.commit(Transaction((), both), timeout=T).revision] = both

    thread = threading.Thread(target=write)
    thread.start()
    sinks = []
    until(lambda: len(history) > 20, 60.0, "the writer is busy")
    for _ in range(10):
        sinks.append(recorder())
        backend.watch(WatchRequest(prefix=""), sink=sinks[-1], timeout=T)
    stop.set()
    thread.join(60.0)
    last = put(backend, "end")
    state = {item.key: item.value for item in backend.list(ListRequest(prefix=""), timeout=T).items}
    moving = 0
    for sink in sinks:
        sink.wait(lambda r: r.last_revision >= last)
        snapshot = sink.snapshot
        expected = {f"{n:05}": b"0" for n in range(5000)}
        for revision in sorted(history):
            if revision <= snapshot.revision:
                for operation in history[revision]:
                    if isinstance(operation, Put):
                        expected[operation.key] = operation.value
                    else:
                        expected.pop(operation.key, None)
        assert {item.key: item.value for item in snapshot.items} == expected
        assert [item.key for item in snapshot.items] == sorted(expected)
        told = [entry.revision if isinstance(entry, Deleted) else entry.mod_revision for entry in sink.entries]
        assert told == sorted(told)
        assert all(revision > snapshot.revision for revision in told)
        for entry in sink.entries:
            if isinstance(entry, Deleted):
                expected.pop(entry.key, None)
            else:
                expected[entry.key] = entry.value
        assert expected == state
        moving += snapshot.revision < max(history)
    assert moving, "the writer had stopped before the first snapshot"


def test_a_lease_that_ends_is_told_in_time_by_the_watcher_alone(open_redis, fresh, put, recorder):
    holder, watcher, sink = open_redis(fresh), open_redis(fresh), recorder()
    watcher.watch(WatchRequest(prefix=""), sink=sink, timeout=T)
    lease = holder.grant(0.7, timeout=T)
    put(holder, "held", b"", lease.lease_id)
    granted = time.monotonic()
    put(holder, "held too", b"", lease.lease_id)
    gone = sink.wait(lambda r: [e for e in r.entries if isinstance(e, Deleted)], 5)
    assert 0.65 < time.monotonic() - granted < 0.7 + holder.capabilities.expiry_slack + 1
    assert {entry.key for entry in gone} == {"held", "held too"}
    assert len({entry.revision for entry in gone}) == 1
    assert holder.refresh([lease.lease_id], timeout=T) == {}


def test_a_trimmed_log_is_compacted(open_redis, fresh, put, recorder):
    backend = open_redis(f"{fresh}&history=100" if "?" in fresh else f"{fresh}?history=100")
    start = put(backend, "first")
    revisions = [put(backend, f"{n}") for n in range(600)]
    with pytest.raises(Compacted, match="option history") as caught:
        backend.watch(WatchRequest(prefix="", after=start), sink=recorder(), timeout=T)
    sink = recorder()
    backend.watch(WatchRequest(prefix="", after=caught.value.oldest_revision), sink=sink, timeout=T)
    last = put(backend, "last")
    sink.wait(lambda r: r.last_revision == last)
    told = [entry.mod_revision for entry in sink.entries]
    assert told == [*revisions[revisions.index(caught.value.oldest_revision) + 1 :], last]
    assert 100 <= len(told) <= 300


def test_a_log_is_bounded_by_bytes(open_redis, redis_server: RedisServer, fresh, put, recorder):
    backend, sink = open_redis(fresh), recorder()
    feed = backend.watch(WatchRequest(prefix="large", exact=True), sink=sink, timeout=T)
    start = put(backend, "small")
    revisions = [put(backend, "large", bytes(4 << 20)) for _ in range(40)]
    log = f"{{{fresh.partition('store=')[2]}}}:log"
    assert 8 <= redis_server.ask("XLEN", log) <= 17
    sink.wait(lambda r: r.last_revision >= revisions[-1], 30)
    assert sink.errors == []
    assert [entry.mod_revision for entry in sink.entries] == revisions
    feed.close()
    with pytest.raises(Compacted) as caught:
        backend.watch(WatchRequest(prefix="", after=start), sink=recorder(), timeout=T)
    assert caught.value.oldest_revision in revisions
    redis_server.ask("DEL", log)


@pytest.mark.parametrize("after", [1, 10**12, 2**62, 10**30])
def test_a_revision_that_never_was_is_of_another_history(open_redis, fresh, put, recorder, after):
    backend = open_redis(fresh)
    put(backend, "key")
    revision = put(backend, "key")
    for never in (after, revision - 1, revision + 1):
        with pytest.raises(HistoryReplaced):
            backend.watch(WatchRequest(prefix="", after=never), sink=recorder(), timeout=T)


def test_zero_is_older_than_every_change(open_redis, fresh, put, recorder):
    backend = open_redis(fresh)
    first = put(backend, "key")
    put(backend, "key")
    with pytest.raises(Compacted) as caught:
        backend.watch(WatchRequest(prefix="", after=0), sink=recorder(), timeout=T)
    assert caught.value.oldest_revision is not None
    assert caught.value.oldest_revision <= first


def test_a_reader_that_fell_behind_says_so(open_redis, redis_node: RedisServer, put, recorder):
    backend, sink = open_redis(redis_node.url), recorder()
    backend.watch(WatchRequest(prefix=""), sink=sink, timeout=T)
    put(backend, "seen")
    sink.wait(lambda r: r.entries)
    # In one step, so that the reader has no chance to see them first.
    redis_node.ask(
        "EVAL",
        "local r = redis.call('HGET', KEYS[1], '\\0')"
        " for i = 1, 3 do redis.call('XADD', KEYS[2], string.format('%.0f-0', r + i), 'op', 'x', 'd', 'k') end"
        " redis.call('HSET', KEYS[1], '\\0', string.format('%.0f', r + 3))"
        " redis.call('XTRIM', KEYS[2], 'MAXLEN', '=', 1) return 1",
        "2",
        "{leasehold}:data",
        "{leasehold}:log",
    )
    assert isinstance(sink.error(), Compacted)


@pytest.mark.parametrize("command", ["FLUSHALL", "FLUSHDB"])
def test_a_flush_is_noticed(open_redis, redis_node: RedisServer, put, recorder, command):
    backend, sink = open_redis(redis_node.url), recorder()
    backend.watch(WatchRequest(prefix=""), sink=sink, timeout=T)
    before = put(backend, "key")
    sink.wait(lambda r: r.entries)
    redis_node.ask(command)
    assert isinstance(sink.error(), HistoryReplaced)
    assert put(backend, "key") > before, "revisions grow on"
    with pytest.raises(Compacted):
        backend.watch(WatchRequest(prefix="", after=before), sink=recorder(), timeout=T)


@pytest.mark.parametrize("part", ["data", "keys", "log", "leases", "expiry", "held", "a key of data"])
def test_a_part_that_an_operator_removes_is_noticed(redis_server: RedisServer, fresh, part):
    """As by ``DEL``, or by eviction: watches and lists end with what gets find, and a lease is held by its owner."""
    tag = f"{{{fresh.partition('store=')[2]}}}:"
    with tenure.connect(fresh) as store, tenure.connect(fresh) as other, other.watch("") as watch:
        lease, survivor = store.lease(0.6), store.lease(30)
        store.transaction().put("held", b"", lease=lease).put("kept", b"", lease=survivor).put("plain", b"").commit()
        if part == "a key of data":
            redis_server.ask("HDEL", f"{tag}data", "plain")
        else:
            assert redis_server.ask("DEL", tag + part) == 1
        lost = part in ("data", "leases", "expiry")
        until(lambda: lease.state.value == ("lost" if lost else "alive"), T, "the holder knows")
        expected = {
            name
            for name, there in (
                ("held", not lost),
                ("kept", not lost),
                ("plain", part not in ("data", "a key of data")),
            )
            if there
        }
        believed: set[str] = set()

        def agreed() -> bool:
            while (batch := watch.next(0.0)) is not None:
                for event in batch.events:
                    (believed.discard if event.item is None else believed.add)(event.key)
            return believed == expected

        until(agreed, T, "the watch ends with what is there")
        assert {item.key for item in other.list("")} == expected
        assert {key for key in ("held", "kept", "plain") if other.get(key)} == expected
        lease.revoke()
        assert other.get("held") is None, "no key is left to nobody"


@pytest.mark.faults
def test_a_restart_without_persistence_is_a_resync_with_its_deletes(redis_forgetful: RedisServer):
    with tenure.connect(redis_forgetful.url) as store, store.watch("", previous=True) as watch:
        assert not store.capabilities.durable
        assert [watch.next(5).type, watch.next(5).type] == [BatchType.SNAPSHOT, BatchType.SYNCED]
        before = store.put("gone", b"1").revision
        assert watch.next(5).events[0].key == "gone"
        redis_forgetful.restart()
        after = store.put("new", b"2", timeout=10).revision
        assert after > before
        batch = watch.next(15)
        assert batch.type is BatchType.RESYNC
        events = {event.key: event for event in batch.events}
        assert events["gone"].type is EventType.DELETE
        assert events["gone"].previous.value == b"1"
        if "new" not in events:
            assert watch.next(5).events[0].key == "new"


@pytest.mark.faults
def test_a_server_taken_back_in_time_is_noticed(open_redis, put, recorder, redis_forgetful: RedisServer):
    """Restored from an old dump, the store has the same identity; no revision of the lost history comes again."""
    backend, sink = open_redis(redis_forgetful.url), recorder()
    put(backend, "old")
    redis_forgetful.ask("SAVE")
    feed = backend.watch(WatchRequest(prefix=""), sink=sink, timeout=T)
    lost = [put(backend, f"lost{n}") for n in range(5)]
    sink.wait(lambda r: len(r.entries) == 5)
    redis_forgetful.restart()
    assert isinstance(sink.error(), Unavailable)
    feed.close()
    other = open_redis(redis_forgetful.url)
    again = [put(other, f"other{n}") for n in range(8)]
    assert max(lost) < min(again)
    with pytest.raises(HistoryReplaced, match="lost or replaced"):
        backend.watch(WatchRequest(prefix="", after=sink.last_revision), sink=recorder(), timeout=T)
    with pytest.raises(HistoryReplaced):
        backend.watch(WatchRequest(prefix="", after=lost[1]), sink=recorder(), timeout=T)
    sink = recorder()
    backend.watch(WatchRequest(prefix="", after=again[-1]), sink=sink, timeout=T)
    assert put(backend, "on") == sink.wait(lambda r: r.entries)[0].mod_revision


class Names:
    """The keys in Redis of one store, to be saved and put back as a whole while everybody is connected."""

    def __init__(self, server: RedisServer, url: str) -> None:
        self._client = server.client()
        store = url.partition("store=")[2]
        self._names = [f"{{{store}}}:{part}" for part in ("data", "keys", "log", "leases", "expiry", "held")]
        self._saved: dict[str, bytes | None] = {}

    def save(self) -> None:
        self._saved = {name: self._client.dump(name) for name in self._names}

    def put_back(self) -> None:
        with self._client.pipeline(transaction=True) as together:
            together.delete(*self._names)
            for name, saved in self._saved.items():
                if saved is not None:
                    together.restore(name, 0, saved, replace=True)
            together.execute()

    def close(self) -> None:
        self._client.close()


@pytest.mark.parametrize("away", [True, False])
def test_a_history_put_back_under_running_watches(redis_server: RedisServer, fresh, away):
    """What a watch believes is what the store has, though no connection broke, and however often it happens.

    Other prefixes are busy while ``quiet/`` changes rarely; ``away``: its consumer takes nothing meanwhile.
    """
    with (
        contextlib.closing(Names(redis_server, fresh)) as names,
        tenure.connect(fresh) as store,
        tenure.connect(fresh) as writer,
    ):
        for number in range(4):
            writer.put(f"quiet/{number}", b"first")
        watches = {prefix: store.watch(prefix) for prefix in ("", "quiet/", "busy/", "absent/")}
        watches["quiet/0"] = store.watch("quiet/0", exact=True)
        believed: dict[str, dict[str, bytes]] = {prefix: {} for prefix in watches}
        follow(watches, believed, store)
        for count in range(3):
            names.save()
            lost = [writer.put(f"busy/{number}", b"lost %d" % count).revision for number in range(5)]
            stale = writer.put("quiet/0", b"lost %d" % count).revision
            if not away:
                follow(watches, believed, store)
            names.put_back()
            assert writer.get("quiet/0").mod_revision < lost[0]
            with pytest.raises(tenure.Conflict):
                writer.put_if_unchanged("quiet/0", b"never", revision=stale)
            with pytest.raises(HistoryReplaced):
                store.watch("", after=lost[1])
            fresh_ones = [writer.put(f"busy/{number}", b"new %d" % count).revision for number in range(2, 9)]
            writer.put("quiet/0", b"new %d" % count)
            assert min(fresh_ones) > max(lost)
            follow(watches, believed, store)
        writer.put("quiet/0", b"the last")
        follow(watches, believed, store)


def follow(watches, believed, store) -> None:
    """Take batches until each watch believes what the store has."""
    for prefix, watch in watches.items():
        state = believed[prefix]
        truth = {item.key: item.value for item in store.list(prefix)}
        while (batch := watch.next(0.0 if state == truth else T)) is not None:
            for event in batch.events:
                if event.item is None:
                    del state[event.key]
                else:
                    state[event.key] = event.item.value
        assert state == truth


def test_a_list_across_a_replaced_history_is_of_one_history(redis_server: RedisServer, fresh, open_redis, put):
    backend = open_redis(fresh)
    names = Names(redis_server, fresh)
    for start in range(0, 3000, 1000):
        keys = tuple(Put(f"{n:04}", b"old") for n in range(start, start + 1000))
        backend.commit(Transaction((), keys), timeout=T)
    names.save()
    put(backend, "0000", b"lost")
    original, answers = backend._pool.finish, []

    def finish(*args):
        answer = original(*args)
        answers.append(answer)
        if len(answers) == 1:
            names.put_back()
            put(backend, "2999", b"new")
        return answer

    backend._pool.finish = finish
    items = backend.list(ListRequest(prefix=""), timeout=T).items
    assert (items[0].value, items[-1].value, len(items)) == (b"old", b"new", 3000)
    names.close()


@pytest.mark.faults
def test_every_event_once_through_kills_and_restarts(redis_node: RedisServer):
    stores = [tenure.connect(redis_node.url) for _ in range(4)]
    events: list[list[tenure.Event]] = [[], [], []]
    kinds: list[BatchType] = []
    for store, found in zip(stores[1:], events, strict=True):

        def take(batch, found=found):
            kinds.append(batch.type)
            found.extend(batch.events)

        store.watch("", callback=take)
    written: dict[int, bytes] = {}
    unknown: set[bytes] = set()
    stop = threading.Event()

    def write() -> None:
        count = 0
        while not stop.is_set():
            count += 1
            value = b"%d" % count
            try:
                written[stores[0].put(f"w/{count % 50}", value, timeout=10).revision] = value
            except TenureError as exc:
                if not isinstance(exc, Unavailable):
                    unknown.add(value)

    thread = threading.Thread(target=write)
    thread.start()
    for _ in range(3):
        floor = len(written) + 200
        until(lambda floor=floor: len(written) > floor, 60.0, "200 more writes went through")
        redis_node.restart()
    floor = len(written) + 100
    until(lambda: len(written) > floor, 60.0, "writes go through after the last restart")
    stop.set()
    thread.join(60.0)
    last = stores[0].put("last", b"last").revision
    for found in events:
        until(lambda found=found: found and found[-1].revision >= last, 60.0, "the watcher has caught up")
        revisions = [event.revision for event in found]
        assert revisions == sorted(set(revisions)), "doubled or out of order"
        told = {event.revision: event.item.value for event in found if event.item}
        assert {r: v for r, v in told.items() if r in written} == written, "lost"
        assert {v for r, v in told.items() if r not in written} <= unknown | {b"last"}, "invented"
    assert BatchType.RESYNC not in kinds
    for store in stores:
        store.close()


@contextlib.contextmanager
def cut_every_20_ms(between: Relay) -> Iterator[list[int]]:
    """Gives the number of connections cut so far; go on until it is enough, as a fast machine leaves time for few."""
    stop = threading.Event()
    cuts = [0]

    def cut() -> None:
        while not stop.wait(0.02):
            cuts[0] += between.cut()

    thread = threading.Thread(target=cut)
    thread.start()
    try:
        yield cuts
    finally:
        stop.set()
        thread.join(60.0)


@pytest.mark.faults
def test_connections_cut_every_20_ms_lose_and_double_nothing(redis_server: RedisServer, fresh, relay):
    between = relay(redis_server.port)
    through = fresh.replace(str(redis_server.port), str(between.port))
    with tenure.connect(fresh) as writer, tenure.connect(through, timeout=10) as reader:
        kinds, events = [], []

        def take(batch):
            kinds.append(batch.type)
            events.extend(batch.events)

        reader.watch("", callback=take)
        revisions = []
        with cut_every_20_ms(between) as cuts:
            while cuts[0] <= 10 or len(revisions) < 3000:
                number = len(revisions)
                revisions.append(writer.put(f"k/{number % 20}", b"%d" % number).revision)
                assert number < 200_000, "hardly anything was cut"
        until(lambda: events and events[-1].revision >= revisions[-1], 60.0, "the watcher has caught up")
    start = events[0].revision
    assert [event.revision for event in events] == [r for r in revisions if r >= start]
    assert BatchType.RESYNC not in kinds


@pytest.mark.faults
def test_counting_through_cut_connections_counts_each_once(redis_server: RedisServer, fresh, relay):
    between = relay(redis_server.port)
    with tenure.connect(fresh.replace(str(redis_server.port), str(between.port)), timeout=10) as store:
        store.put("n", b"0")
        count = 0
        with cut_every_20_ms(between) as cuts:
            while cuts[0] <= 20 or count < 500:
                item = store.get("n")
                assert item.value == b"%d" % count
                count += 1
                store.put_if_unchanged("n", b"%d" % count, revision=item.mod_revision)
                assert count < 100_000, "hardly anything was cut"
        assert store.get("n").value == b"%d" % count


@pytest.mark.faults
def test_a_frozen_server_is_detected_within_what_is_declared(open_redis, redis_node: RedisServer, put, recorder):
    backend, sink = open_redis(f"{redis_node.url}?silence=1"), recorder()
    put(backend, "key")
    feed = backend.watch(WatchRequest(prefix=""), sink=sink, timeout=T)
    redis_node.pause()
    frozen = time.monotonic()
    error = sink.error()
    assert isinstance(error, DeadlineExceeded)
    assert sink.failed_at - frozen < backend.capabilities.max_watch_failure_detection
    feed.close()
    with pytest.raises(Unavailable):
        backend.watch(WatchRequest(prefix="", after=sink.last_revision), sink=recorder(), timeout=0.5)
    redis_node.resume()
    redis_node.wait_ready()
    again = recorder()
    backend.watch(WatchRequest(prefix="", after=sink.last_revision), sink=again, timeout=T)
    assert put(backend, "after") == again.wait(lambda r: r.entries)[-1].mod_revision


@pytest.mark.faults
def test_closing_with_a_frozen_server_takes_no_time(open_redis, redis_node: RedisServer, recorder):
    backend = open_redis(redis_node.url)
    feed = backend.watch(WatchRequest(prefix=""), sink=recorder(), timeout=T)
    redis_node.pause()
    started = time.monotonic()
    feed.close()
    backend.close()
    assert time.monotonic() - started < 1.0
    redis_node.resume()
