"""Watches against a server that is killed, frozen, compacted, emptied, or just busy."""

import queue
import threading
import time

from tenure.errors import Compacted, HistoryReplaced, OutcomeUnknown, TenureError, Unavailable
from tenure.spi import Changes, Delete, KeyValue, ListRequest, Put, Snapshot, Transaction, WatchRequest
from tenure_testkit.servers import EtcdServer, until


def _resume(backend, prefix, recorder, after, timeout=20.0):
    """What core does after a feed has failed: open it again until the server is back."""

    def attempt():
        try:
            return backend.watch(WatchRequest(prefix=prefix, after=after), sink=recorder, timeout=2)
        except Unavailable:
            return None

    return until(attempt, timeout, "the watch opens again")


def test_a_transaction_is_one_item(open_etcd, etcd_own_url, recorder, put) -> None:
    backend, seen = open_etcd(etcd_own_url), recorder()
    first = put(backend, "whole/before")
    backend.watch(WatchRequest(prefix="whole/"), sink=seen, timeout=5)
    puts = tuple(Put(f"whole/{n:03d}", b"v") for n in range(100))
    revision = backend.commit(Transaction((), (*puts, Delete("whole/before"))), timeout=5).revision
    seen.wait(lambda r: len(r.items) >= 2)
    snapshot, changes = seen.items
    assert isinstance(snapshot, Snapshot)
    assert snapshot.revision >= first
    assert isinstance(changes, Changes)
    assert (len(changes.entries), changes.revision) == (101, revision)


def test_resuming_begins_with_the_next_revision(open_etcd, etcd_own_url, recorder, put) -> None:
    backend, seen = open_etcd(etcd_own_url), recorder()
    revisions = [put(backend, "resume/key", b"%d" % n) for n in range(10)]
    backend.watch(WatchRequest(prefix="resume/", after=revisions[3]), sink=seen, timeout=5)
    seen.wait(lambda r: len(r.entries) >= 6)
    assert [entry.mod_revision for entry in seen.entries] == revisions[4:]


def test_a_catch_up_larger_than_a_message_arrives_whole(open_etcd, etcd_own_url, recorder, put) -> None:
    backend, seen = open_etcd(etcd_own_url), recorder()
    start = put(backend, "large/first")
    revisions = [
        backend.commit(
            Transaction((), tuple(Put(f"large/{part}", bytes([n]) * 100_000) for part in range(12))), timeout=10
        ).revision
        for n in range(12)
    ]
    backend.watch(WatchRequest(prefix="large/", after=start), sink=seen, timeout=5)
    seen.wait(lambda r: len(r.entries) >= 144, timeout=20)
    per_revision: dict[int, int] = {}
    for entry in seen.entries:
        assert isinstance(entry, KeyValue)
        per_revision[entry.mod_revision] = per_revision.get(entry.mod_revision, 0) + 1
    assert per_revision == dict.fromkeys(revisions, 12)
    for item in seen.items:
        assert item.entries[-1].mod_revision == item.revision


def test_keys_that_are_not_text_are_left_out(open_etcd, etcd_node: EtcdServer, recorder, put) -> None:
    backend, seen = open_etcd(etcd_node.url), recorder()
    etcd_node.gateway.put(b"odd/\xff", b"foreign")
    for n in range(70):
        etcd_node.gateway.put(b"odd/\x80%d" % n, b"foreign")
    put(backend, "odd/text")
    put(backend, "odd/\U0010ffff")
    pages, after, more = [], None, True
    while more:
        page = backend.list(ListRequest(prefix="odd/", after=after, limit=1), timeout=5)
        more = page.has_more
        assert page.items or not more
        pages += [item.key for item in page.items]
        after = pages[-1]
    assert pages == ["odd/text", "odd/\U0010ffff"]
    backend.watch(WatchRequest(prefix="odd/"), sink=seen, timeout=5)
    etcd_node.gateway.put(b"odd/\xfe", b"foreign")
    put(backend, "odd/text", b"2")
    seen.wait(lambda r: r.entries)
    assert [entry.key for entry in seen.entries] == ["odd/text"]


def test_many_feeds_share_a_stream(open_etcd, etcd_own_url, recorder, put) -> None:
    backend = open_etcd(etcd_own_url)
    after = put(backend, "many/start")
    backend.watch(WatchRequest(prefix="many/", after=after), sink=recorder(), timeout=5)
    threads = threading.active_count()
    sinks = [recorder() for _ in range(100)]
    feeds = [
        backend.watch(WatchRequest(prefix=f"many/{n:03d}", after=after), sink=sink, timeout=5)
        for n, sink in enumerate(sinks)
    ]
    assert threading.active_count() <= threads + 1
    for n in range(0, 100, 10):
        put(backend, f"many/{n:03d}")
    for n, sink in enumerate(sinks):
        if n % 10 == 0:
            sink.wait(lambda r: r.entries)
    for feed in feeds:
        feed.close()
        feed.close()
    assert [len(sink.entries) for sink in sinks] == [1 if n % 10 == 0 else 0 for n in range(100)]
    assert not any(sink.errors for sink in sinks)


def test_a_closed_feed_is_silent_and_the_stream_goes_with_the_last(open_etcd, etcd_own_url, recorder, put) -> None:
    backend = open_etcd(etcd_own_url)
    for _ in range(5):
        one, other = recorder(), recorder()
        first = backend.watch(WatchRequest(prefix="closing/"), sink=one, timeout=5)
        second = backend.watch(WatchRequest(prefix="closing/"), sink=other, timeout=5)
        first.close()
        put(backend, "closing/key")
        other.wait(lambda r: r.entries)
        second.close()
        assert not one.entries
        assert not one.errors
        assert not other.errors
    until(lambda: not [t for t in threading.enumerate() if t.name.startswith("etcd-watch")], 60.0, "no thread is left")


def test_closing_the_backend_ends_feeds_without_a_word(open_etcd, etcd_own_url, recorder) -> None:
    backend, seen = open_etcd(etcd_own_url), recorder()
    backend.watch(WatchRequest(prefix="quiet/"), sink=seen, timeout=5)
    backend.close()
    assert not seen.errors


def test_bookmarks_follow_other_keys(open_etcd, etcd_node: EtcdServer, recorder, put, monkeypatch) -> None:
    monkeypatch.setattr("tenure_etcd.watch_stream._PROGRESS_SECONDS", 0.1)
    backend, seen = open_etcd(etcd_node.url), recorder()
    backend.watch(WatchRequest(prefix="bookmarked/"), sink=seen, timeout=5)
    revision = put(backend, "elsewhere/key")
    seen.wait(lambda r: r.last_revision >= revision)
    assert not seen.entries


def test_a_compacted_revision_is_told(open_etcd, etcd_node: EtcdServer, recorder, put) -> None:
    backend, seen = open_etcd(etcd_node.url), recorder()
    revisions = [put(backend, "compact/key") for _ in range(10)]
    etcd_node.gateway.compact(revisions[5])
    backend.watch(WatchRequest(prefix="compact/", after=revisions[0]), sink=seen, timeout=5)
    error = seen.error()
    assert isinstance(error, Compacted)
    assert error.oldest_revision == revisions[5]
    again = recorder()
    backend.watch(WatchRequest(prefix="compact/", after=revisions[5]), sink=again, timeout=5)
    again.wait(lambda r: len(r.entries) == 4)


def test_kill_and_restart_lose_and_repeat_nothing(open_etcd, etcd_node: EtcdServer, put) -> None:
    """Three feeds that are resumed as core does it, a writer, and three kills."""
    backend = open_etcd(etcd_node.url)
    start = put(backend, "kill/start")
    seen: list[list[tuple[str, int, bytes]]] = [[], [], []]
    stop = threading.Event()

    class Follower:
        def __init__(self, log: list[tuple[str, int, bytes]]) -> None:
            self.log, self.after, self.failed = log, start, queue.SimpleQueue()

        def deliver(self, item) -> None:
            if isinstance(item, Changes):
                self.log += [(entry.key, entry.mod_revision, entry.value) for entry in item.entries]
            self.after = item.revision

        def fail(self, error: TenureError) -> None:
            self.failed.put(error)

        def run(self) -> None:
            while not stop.is_set():
                try:
                    backend.watch(WatchRequest(prefix="kill/", after=self.after), sink=self, timeout=2)
                except Unavailable:
                    stop.wait(0.05)
                    continue
                error = self.failed.get()
                assert error is None or isinstance(error, Unavailable), error

    followers = [Follower(log) for log in seen]
    threads = [threading.Thread(target=follower.run, daemon=True) for follower in followers]
    for thread in threads:
        thread.start()
    acknowledged: dict[int, bytes] = {}
    attempted: set[bytes] = set()
    for round_number in range(3):
        killer = threading.Thread(target=etcd_node.restart)
        deadline = time.monotonic() + 30
        count = 0
        while count < 300 or killer.is_alive():
            assert time.monotonic() < deadline
            if count == 100:
                killer.start()
            value = b"%d-%d" % (round_number, count)
            count += 1
            attempted.add(value)
            try:
                acknowledged[put(backend, f"kill/{count % 7}", value)] = value
            except (Unavailable, OutcomeUnknown):
                continue
        killer.join(60.0)
    last = until(lambda: _try_put(put, backend), 60.0, "a put succeeds")
    until(lambda: all(follower.after >= last for follower in followers), 60.0, "all followers have caught up")
    stop.set()
    for follower in followers:
        follower.failed.put(None)
    for thread in threads:
        thread.join(60.0)
    for log in seen:
        revisions = [revision for _, revision, _ in log]
        assert revisions == sorted(set(revisions))
        assert acknowledged.items() <= {revision: value for _, revision, value in log}.items()
        assert {value for _, _, value in log} <= attempted | {b"last"}
    assert seen[0] == seen[1] == seen[2]


def _try_put(put, backend):
    try:
        return put(backend, "kill/last", b"last")
    except (Unavailable, OutcomeUnknown):
        return None


def test_a_frozen_server_is_noticed_in_time(open_etcd, etcd_node: EtcdServer, recorder, put) -> None:
    backend, seen = open_etcd(f"{etcd_node.url}?keepalive=5&keepalive_timeout=1"), recorder()
    backend.watch(WatchRequest(prefix="frozen/"), sink=seen, timeout=5)
    put(backend, "frozen/key")
    seen.wait(lambda r: r.entries)
    etcd_node.pause()
    frozen = time.monotonic()
    error = seen.error(timeout=30)
    etcd_node.resume()
    assert isinstance(error, Unavailable)
    assert seen.failed_at - frozen <= backend.capabilities.max_watch_failure_detection
    again = recorder()
    _resume(backend, "frozen/", again, seen.last_revision)
    put(backend, "frozen/key")
    again.wait(lambda r: r.entries)


def test_five_hundred_feeds_reopen_after_a_restart(open_etcd, etcd_node: EtcdServer, recorder, put) -> None:
    backend = open_etcd(etcd_node.url)
    after = put(backend, "herd/start")
    sinks = [recorder() for _ in range(500)]
    for sink in sinks:
        backend.watch(WatchRequest(prefix="herd/", after=after), sink=sink, timeout=5)
    etcd_node.restart()
    for sink in sinks:
        assert isinstance(sink.error(), Unavailable)
    threads = threading.active_count()
    again = [recorder() for _ in sinks]
    jobs = [threading.Thread(target=_resume, args=(backend, "herd/", sink, after)) for sink in again]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join(60.0)
    revision = put(backend, "herd/after")
    for sink in again:
        sink.wait(lambda r: r.last_revision == revision or r.errors)
        assert len(sink.entries) == 1
    # One may be waiting to make the next call of the main thread.
    assert threading.active_count() <= threads + 4


def test_an_emptied_server_is_another_history(open_etcd, etcd_node: EtcdServer, recorder, put) -> None:
    backend, seen = open_etcd(etcd_node.url), recorder()
    revision = [put(backend, "wiped/key") for _ in range(20)][-1]
    backend.watch(WatchRequest(prefix="wiped/", after=revision), sink=seen, timeout=5)
    etcd_node.kill()
    etcd_node.wipe()
    etcd_node.start()
    assert isinstance(seen.error(), Unavailable)

    def reopen():
        try:
            backend.watch(WatchRequest(prefix="wiped/", after=revision), sink=recorder(), timeout=2)
        except HistoryReplaced as exc:
            return exc
        except Unavailable:
            return None
        raise AssertionError("the watch went on in another history")

    assert "lost or replaced by a backup" in str(until(reopen, 60.0, "the server answers"))
    fresh = recorder()
    backend.watch(WatchRequest(prefix="wiped/"), sink=fresh, timeout=5)
    assert fresh.items[0].items == ()
    put(backend, "wiped/key")
    fresh.wait(lambda r: r.entries)
