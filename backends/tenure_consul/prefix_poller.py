"""One thread that follows one prefix by long polls, for all feeds on that prefix.

Theory of operation. A read of the prefix answers its whole content and an index. A blocking read with that index
answers when something below the prefix has changed, or when its time is up. What the thread knows is each key's
revision; the difference to the next answer is what it delivers. Only this thread reads and delivers::

    READ (at once) ──► tell: snapshots to feeds that joined before it, the difference to the others
      ▲                  │
      │                  ▼
      └── changed ◄── BLOCK ── joined, last feed closed: its connection is shut from outside
                         │
                         └──── silent beyond its time, broken, refused: all feeds fail, the thread ends

A prefix of many keys blocks on a listing of names instead, folded at slashes: as the answer to a poll in which nothing
happened comes every few seconds, it had better be short. After a change there, the thread rests for as long as the read
took it, so that a busy prefix takes no more than half of a processor.

An index that goes back (indexes do when Consul forgets when keys were deleted, and when its data is restored) restarts
from a plain read. If the content differs as well, revisions can't be compared with those told before, and feeds get a
snapshot.
"""

from __future__ import annotations

import threading
from operator import attrgetter

from tenure.errors import PluginError, StoreClosed, TenureError
from tenure.plugin_kit import Deadline, Monitor, monotonic
from tenure.spi.feed import Changes, Deleted, Snapshot
from tenure.spi.types import KeyValue
from tenure_consul import reads
from tenure_consul.capabilities import MARGIN, poll_limit
from tenure_consul.connection import Answer, Connection, ConnectionBroken
from tenure_consul.errors import ERRORS, refused
from tenure_consul.feed import ConsulFeed
from tenure_consul.keys import Layout
from tenure_consul.pool import Pool
from tenure_consul.revisions import Revisions

_MANY = 500
_LONGEST_REST = 1.0
_SHORTEST_REST = 0.02
_CONNECT = 5.0
_JOIN = 5.0
_BY_REVISION = attrgetter("mod_revision")


class PrefixPoller:
    """Polls ``prefix`` from when its first feed joins until its last one leaves or a poll fails."""

    def __init__(self, pool: Pool, layout: Layout, revisions: Revisions, prefix: str, *, wait: float) -> None:
        self.prefix = prefix
        self._pool = pool
        self._layout = layout
        self._revisions = revisions
        self._wait = wait
        self._path = reads.list_path(layout, prefix)
        self._action = "watching"
        self._changed = Monitor()
        self._joining: list[ConsulFeed] = []
        self._feeds: list[ConsulFeed] = []
        self._connection: Connection | None = None
        self._blocking = False
        self._ended = False
        self._known: dict[str, int] = {}
        self._index = 0
        self._cost = 0.0
        self._thread = threading.Thread(target=self._run, name=f"tenure-consul-watch-{prefix[:40]}", daemon=True)

    # -- for feeds, from any thread --

    def join(self, feed: ConsulFeed) -> bool:
        """Let the feed in; ``False`` if this poller has ended."""
        with self._changed:
            if self._ended:
                return False
            self._joining.append(feed)
            if not self._thread.ident:
                self._thread.start()
            if self._blocking:
                self._shut()
            self._changed.notify_all()
            return True

    def leave(self, feed: ConsulFeed) -> bool:
        """Deliver nothing more to the feed; whether it was the last, and the poller has ended."""
        with self._changed:
            for feeds in (self._joining, self._feeds):
                if feed in feeds:
                    feeds.remove(feed)
            if self._joining or self._feeds:
                return False
            self._end()
            return True

    def stop(self) -> None:
        """End without telling the feeds. Doesn't wait."""
        with self._changed:
            self._feeds, self._joining = [], []
            self._end()

    def wait_ended(self) -> None:
        """Wait for the thread, in bounded time."""
        if self._thread is not threading.current_thread() and self._thread.ident:
            self._thread.join(_JOIN)

    def _end(self) -> None:
        self._ended = True
        self._shut()
        self._changed.notify_all()

    def _shut(self) -> None:
        if self._connection is not None:
            self._connection.interrupt()

    # -- the thread --

    def _run(self) -> None:
        try:
            while not self._ended:
                with self._pool.connection(Deadline(_CONNECT), self._action, fresh=True) as connection:
                    self._follow(connection)
        except StoreClosed:
            self.stop()
        except TenureError as exc:
            self._fail(exc)
        except Exception as exc:  # noqa: BLE001 - a bug must end the feeds loudly, whatever it raised
            error = PluginError(f"watching failed with an untranslated {type(exc).__name__}: {exc}")
            error.__cause__ = exc
            self._fail(error)

    def _follow(self, connection: Connection) -> None:
        """READ and BLOCK on one connection, until it is shut or there is nobody to tell."""
        with self._changed:
            self._connection = connection
        while not connection.spent:
            with self._changed:
                if self._ended:
                    return
                joined = list(self._joining)
            present = self._present() if joined else 0
            answer = self._ask(connection, "recurse", self._wait + MARGIN)
            if answer is None:
                return
            self._cost = self._tell(answer, joined, present)
            while (answer := self._block(connection)) is not None:
                self._cost = self._tell(answer, [], 0)

    def _block(self, connection: Connection) -> Answer | None:
        """Wait for a change, and return the new content; ``None``: read it at once, or on a new connection."""
        many = len(self._known) > _MANY
        listing = "keys&separator=%2F" if many else "recurse"
        query = f"{listing}&index={max(self._index, 1)}&wait={int(self._wait * 1000)}ms"
        while not connection.spent:
            with self._changed:
                if many:
                    self._changed.wait_for(lambda: self._ended or self._joining, self._rest())
                if self._ended or self._joining:
                    return None
                self._blocking = True
            answer = self._ask(connection, query, poll_limit(self._wait))
            with self._changed:
                self._blocking = False
            if answer is None or many or answer.index < self._index:
                if answer is not None and answer.index == self._index:
                    continue
                return None
            if answer.index > self._index:
                return answer
        return None

    def _rest(self) -> float:
        """Seconds to rest after a read: as long as that took."""
        return min(max(self._cost, _SHORTEST_REST), _LONGEST_REST)

    def _present(self) -> int:
        """How far the store is, which the prefix's own index doesn't show; 0 where the next read may be of before."""
        if not self._revisions.following:
            return 0
        return reads.present(self._pool, self._layout, self._revisions, timeout=self._wait + MARGIN)

    def _ask(self, connection: Connection, query: str, limit: float) -> Answer | None:
        """The answer to a read; ``None`` if the connection was shut from this side."""
        try:
            answer = connection.exchange("GET", self._pool.target(self._path, query, read=True), None, Deadline(limit))
        except ConnectionBroken as exc:
            if connection.spent:
                return None
            self._pool.turn(connection.where)
            raise ERRORS.unanswered(
                str(exc), action=self._action, where=connection.where, write=False, late=exc.late
            ) from exc
        if answer.status not in (200, 404):
            if answer.status >= 500:
                self._pool.turn(connection.where)
            raise refused(answer.status, answer.body, action=self._action, where=connection.where, write=False)
        return answer

    def _tell(self, answer: Answer, joined: list[ConsulFeed], present: int) -> float:
        """Deliver what is new: a snapshot to who has just joined, changes to the others. Returns the time it took.

        ``present``: the store's revision before the answer, at which what it shows was true as well.
        """
        started = monotonic()
        items = tuple(reads.items_of(self._layout, answer))
        fresh = {item.key: item.mod_revision for item in items}
        known, self._known = self._known, fresh
        index, self._index = self._index, answer.index
        whole = Snapshot(items, max(answer.index, present))
        changes = None
        if fresh != known:
            changes = _difference(known, items, fresh, answer.index)
            replaced = answer.index < index or any(fresh[key] < known.get(key, 0) for key in fresh)
        with self._changed:
            if changes is not None:
                for feed in self._feeds:
                    feed.sink.deliver(whole if replaced else changes)
            for feed in joined:
                # It may have left meanwhile.
                if feed in self._joining:
                    self._joining.remove(feed)
                    self._feeds.append(feed)
                    feed.sink.deliver(whole)
        return monotonic() - started

    def _fail(self, error: TenureError) -> None:
        with self._changed:
            feeds = [] if self._pool.closed else self._feeds + self._joining
            self._feeds, self._joining = [], []
            self._end()
            for feed in feeds:
                feed.sink.fail(error)


def _difference(known: dict[str, int], items: tuple[KeyValue, ...], fresh: dict[str, int], index: int) -> Changes:
    """What has changed, in the order of revisions. Consul doesn't tell when a key was deleted: no later than now."""
    entries: list[KeyValue | Deleted] = [item for item in items if known.get(item.key) != item.mod_revision]
    entries.sort(key=_BY_REVISION)
    entries.extend(Deleted(key, index) for key in known if key not in fresh)
    return Changes(tuple(entries), index)
