"""Feeds over persistent recursive watches: a hint that a key changed, then a look at the key.

An event of ZooKeeper's names a path, not what was written there. So an event marks its key as stale in every
feed that wants it; one thread reads the stale keys, hundreds at a time, and delivers what it finds: the item with
its revision, or that it is gone. What changed twice before it was read is told once (``lossless_watch`` is not
declared). What is read is never older than the event, as both come from the same server on one connection.

A feed begins by adding the watch and then listing, so nothing falls between. A list takes a while; what is marked
meanwhile is read again for the snapshot, until nothing is marked. So it shows one revision as the SPI wants it: no key
that had gone before, and all that were still there.
A feed of one key watches the two leaves that the key can have. Watches are shared by the feeds on the same node. They
end with the connection, and so do the feeds: core opens them again and finds the difference. So a feed never meets data
that were replaced.

A server hides the events of nodes that the client may no longer read. So the thread looks at the access rules now and
then (``access_rules``).

Servers before 3.6 have no such watches: there a feed lists twice a second.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from tenure.errors import StoreClosed, TenureError, Unavailable
from tenure.plugin_kit import Deadline, FeedHub, HubFeed, Monitor, Worker, monotonic, untranslated
from tenure.spi.feed import Changes, Deleted, Feed, Sink, Snapshot
from tenure.spi.types import KeyValue, ListRequest, Page, WatchRequest
from tenure_zookeeper import access_rules, encoding, keys, reads
from tenure_zookeeper.connection import Connection
from tenure_zookeeper.errors import translate
from tenure_zookeeper.feed import ZooKeeperFeed, ZooKeeperPollingFeed

_READ_TIMEOUT = 10.0
"""Seconds; the connection itself is found dead earlier."""
_AT_A_TIME = 200
_ROUNDS = 10
"""Looks at what changed while a feed began, until nothing has."""

_Work = list[tuple[ZooKeeperFeed, list[str]]]
"""Feeds, each with the keys that are stale in it."""


class Watches:
    """All feeds of one backend. Thread-safe."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._condition = Monitor()
        self._hub = FeedHub(-1)
        self._marked: dict[ZooKeeperFeed, None] = {}
        """Feeds with stale keys."""
        self._polling: set[ZooKeeperPollingFeed] = set()
        self._watched: dict[str, set[ZooKeeperFeed]] = {}
        """The nodes with a watch, each with the feeds that it is for."""
        self._losses = 0
        self._check_at = 0.0
        self._closed = False
        self._worker = Worker(self._run, name="zookeeper-watch", lasting=True)
        connection.listen(self._on_event, self._on_lost)

    def open(self, request: WatchRequest, *, sink: Sink, deadline: Deadline) -> Feed:
        """``Backend.watch``; it always begins with a snapshot."""
        self._connection.ensure_open()
        if not self._connection.modern:
            return self._poll(request, sink)
        feed = ZooKeeperFeed(request, sink, on_close=self.remove)
        self._add(feed, deadline)
        self._worker.start("watching")
        page = self._list(request, deadline)
        snapshot = self._settle(feed, page, deadline)
        feed.delivered = {item.key: item.mod_revision for item in snapshot.items}
        with self._condition:
            if feed in self._hub:  # else the connection was lost, and the sink has been told
                sink.deliver(snapshot)
                feed.live = True
                self._condition.notify()
        return feed

    def remove(self, feed: HubFeed) -> bool:
        """End a feed; the last one on a folder takes its watch away. Whether it hadn't ended before."""
        with self._condition:
            if not isinstance(feed, ZooKeeperFeed):
                return False
            present = feed in self._hub
            unwatched = []
            for path in feed.watched:
                feeds = self._watched.get(path)
                if feeds is not None:
                    feeds.discard(feed)
                    if not feeds:
                        unwatched.append(path)
            # Sent under the lock, so that it can't overtake the watch of a feed that is being opened. Nothing waits
            # for the answer: events that still come find no feed. Not connected: the watch is gone already.
            if unwatched:
                with contextlib.suppress(TenureError):
                    self._connection.send(
                        [encoding.remove_watches(path) for path in unwatched], action="ending a watch"
                    )
            for path in unwatched:
                self._watched.pop(path, None)
            self._hub.remove(feed)
            self._hub.admit()
            self._marked.pop(feed, None)
            return present

    def end(self) -> None:
        """End all feeds; sinks aren't told."""
        with self._condition:
            self._closed = True
            self._hub.clear()
            self._worker.stop()
            self._condition.notify()

    def close(self) -> None:
        """Wait for the threads of ended feeds; the connection is closed, so that they wait for nothing."""
        with self._condition:
            polling = list(self._polling)
        for feed in polling:
            feed.close()
        self._worker.join(_READ_TIMEOUT)

    # -- opening --

    def _list(self, request: WatchRequest, deadline: Deadline) -> Page:
        """What is watched, as it is now."""
        if not request.exact:
            return reads.list_page(self._connection, ListRequest(prefix=request.prefix), deadline=deadline)
        item, revision = reads.get(self._connection, request.prefix, deadline=deadline)
        return Page(() if item is None else (item,), False, revision)

    def _poll(self, request: WatchRequest, sink: Sink) -> Feed:
        losses = self._losses

        def read() -> Snapshot:
            page = self._list(request, Deadline(_READ_TIMEOUT))
            if self._losses != losses:  # it is back already, but a feed ends with its connection
                raise Unavailable("the connection to ZooKeeper was lost")
            return Snapshot(page.items, page.revision)

        feed = ZooKeeperPollingFeed(read, sink, self._polling)
        with self._condition:
            self._polling.add(feed)
            closed = self._closed
        if closed:
            feed.close()
            raise StoreClosed("this store was closed")
        return feed

    def _add(self, feed: ZooKeeperFeed, deadline: Deadline) -> None:
        action = "adding a watch"
        with self._condition:
            if self._closed:
                raise StoreClosed("this store was closed")
            recursive = not feed.request.exact
            watches = [encoding.add_watch(path, recursive=recursive) for path in feed.watched]
            for path in feed.watched:  # before they are sent: what may have been sent is taken back
                self._watched.setdefault(path, set()).add(feed)
            calls = self._connection.send(watches, action=action)
            self._hub.add(feed)
            self._hub.admit()
        for call in calls:
            answer = self._connection.wait_for(call, deadline=deadline, action=action)
            if answer.error:
                raise translate(answer.error, action=action, write=False)
        feed.rules = access_rules.counts(self._connection, _rules_of([feed]), deadline=deadline)

    def _settle(self, feed: ZooKeeperFeed, page: Page, deadline: Deadline) -> Snapshot:
        """The list with what changed while it was read, and then with what changed while that was read."""
        items = {item.key: item for item in page.items}
        revision, gone = page.revision, set[str]()
        for _ in range(_ROUNDS):
            with self._condition:
                answered = self._connection.answered()  # every change up to it has been marked
                stale, feed.stale = list(feed.stale), {}
                self._marked.pop(feed, None)
            if stale or gone:
                revision = answered
            for key in gone.difference(stale):
                items.pop(key, None)  # seen to be gone before, and nothing has happened to it since
            gone.intersection_update(stale)
            if not stale:
                break
            found = reads.read_keys(self._connection, stale, deadline=deadline)
            for key, (item, _) in zip(stale, found, strict=True):
                if item is None:
                    gone.add(key)
                else:
                    items[key] = item
                    gone.discard(key)
        with self._condition:
            for key in gone:
                self._mark(feed, key)  # perhaps after the snapshot: what it had before stays, the delete follows
        return Snapshot(tuple(items[key] for key in sorted(items, key=str.encode)), revision)

    # -- kazoo's reading thread --

    def _on_event(self, path: str) -> None:
        key = keys.key_of(path)
        if key is None:
            return
        with self._condition:
            for feed in self._hub.watching(key):
                if isinstance(feed, ZooKeeperFeed):
                    self._mark(feed, key)
            self._condition.notify()

    def _mark(self, feed: ZooKeeperFeed, key: str) -> None:
        feed.stale[key] = None
        self._marked[feed] = None

    def _on_lost(self, error: TenureError) -> None:
        with self._condition:
            self._watched.clear()
            self._marked.clear()
            self._losses += 1
            if self._closed:
                self._hub.clear()
            else:
                self._hub.fail(error)
            self._hub.admit()

    # -- the thread that reads stale keys --

    def _run(self) -> None:
        while (work := self._wait()) is not None:
            if not work:
                self._check_rules()
                continue
            state = self._read_for(work)
            if state is not None:
                self._deliver(work, state)

    def _wait(self) -> _Work | None:
        """Wait for stale keys, and take them; none if the rules are to be looked at; ``None`` once it is closed."""
        with self._condition:
            while not self._closed:
                left = self._check_at - monotonic()
                if left <= 0:
                    self._check_at = monotonic() + access_rules.CHECK_INTERVAL
                    return []
                work = [(feed, self._take(feed)) for feed in tuple(self._marked) if feed.live]
                if work:
                    return work
                self._condition.wait(left)
        return None

    def _check_rules(self) -> None:
        """End the feeds whose access rules have changed."""
        with self._condition:
            feeds = [feed for feed in self._hub if isinstance(feed, ZooKeeperFeed) and feed.live]
        if not feeds:
            return
        try:
            now = access_rules.counts(self._connection, _rules_of(feeds), deadline=Deadline(_READ_TIMEOUT))
        except TenureError:
            return  # the connection is lost or slow, which is found out elsewhere
        for feed in feeds:
            try:
                access_rules.check(feed.rules, now)
            except TenureError as exc:
                self._fail([feed], exc)
            else:
                new = [path for path, count in feed.rules.items() if count == access_rules.NONE]
                feed.rules |= {path: now[path] for path in new}

    def _read_for(self, work: _Work) -> dict[str, KeyValue | Deleted] | None:
        """The stale keys as they are, or ``None`` after the feeds were failed because they can't be read."""
        error: TenureError
        try:
            return self._read(sorted({key for _, stale in work for key in stale}))
        except TenureError as exc:
            error = exc
        except Exception as exc:  # noqa: BLE001 - a bug must end the feeds loudly, whatever it raised
            error = untranslated("reading changed keys", exc)
        self._fail([feed for feed, _ in work], error)
        return None

    def _deliver(self, work: _Work, state: dict[str, KeyValue | Deleted]) -> None:
        for feed, stale in work:
            entries = _entries(feed, stale, state)
            with self._condition:
                if entries and feed in self._hub:  # else it was told that it ended, which is the last word
                    feed.sink.deliver(Changes(entries, max(_revision(entry) for entry in entries)))

    def _read(self, wanted: Sequence[str]) -> dict[str, KeyValue | Deleted]:
        """Each key as it is, or when it was seen to be gone."""
        deadline = Deadline(_READ_TIMEOUT)
        found = reads.read_keys(self._connection, wanted, deadline=deadline)
        return {
            key: Deleted(key, revision) if item is None else item
            for key, (item, revision) in zip(wanted, found, strict=True)
        }

    def _take(self, feed: ZooKeeperFeed) -> list[str]:
        taken = list(feed.stale)[:_AT_A_TIME]
        for key in taken:
            del feed.stale[key]
        if not feed.stale:
            self._marked.pop(feed, None)
        return taken

    def _fail(self, feeds: Sequence[ZooKeeperFeed], error: TenureError) -> None:
        for feed in feeds:
            # The connection may have failed it already, while its keys were being read.
            if self.remove(feed) and not self._closed:
                feed.sink.fail(error)


def _rules_of(feeds: Sequence[ZooKeeperFeed]) -> dict[access_rules.Watched, None]:
    """What to look at for these feeds."""
    return {(path, not feed.request.exact): None for feed in feeds for path in feed.watched}


def _entries(
    feed: ZooKeeperFeed, stale: Sequence[str], state: dict[str, KeyValue | Deleted]
) -> tuple[KeyValue | Deleted, ...]:
    """What is news to the feed, oldest first."""
    entries: list[KeyValue | Deleted] = []
    for key in stale:
        entry = state[key]
        delivered = feed.delivered.get(key)
        if isinstance(entry, Deleted):
            if delivered is not None:
                del feed.delivered[key]
                entries.append(entry)
        elif entry.mod_revision != delivered:
            feed.delivered[key] = entry.mod_revision
            entries.append(entry)
    entries.sort(key=_revision)
    return tuple(entries)


def _revision(entry: KeyValue | Deleted) -> int:
    return entry.revision if isinstance(entry, Deleted) else entry.mod_revision
