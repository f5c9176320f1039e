"""The thread that reads the log for all feeds of a backend, on a connection of its own.

    start ── connect ──► loop:  a tick: end leases, see that the store is not behind the position
                                XREAD, blocking at most until the next tick
    anything wrong ──► every feed fails, the thread ends; core opens the feeds again, which makes a new reader

Who watches sees leases end in time, because who watches also ends them: at the moment the next one is due, and at
least twice a second, since a lease may be granted meanwhile. A store without watchers needs no ticks: whoever reads
or writes ends leases first.

Every entry names the revision that it follows. Where that isn't the reader's position, entries have left the log, or
the store's history was replaced. A feed that joins ahead of the reader waits until the reader comes to its position.
"""

from __future__ import annotations

import threading

from tenure.errors import Compacted, HistoryReplaced, PluginError, TenureError, Unavailable
from tenure.plugin_kit import Deadline, Monitor, ProgressDeadline, monotonic, start_thread
from tenure.spi.types import KeyValue
from tenure_redis import endpoints, history_position, scripts
from tenure_redis.connection import Connection, ConnectionBroken
from tenure_redis.encoding import Entry, entry
from tenure_redis.errors import ERRORS, ServerError, refused
from tenure_redis.feed import RedisFeed
from tenure_redis.feed_index import FeedIndex
from tenure_redis.pool import Pool

_TICK = 0.5
_FIRST_BATCH, _BATCH = 10, 100
_BATCH_BYTES = 1 << 20
_BOOKMARK_EVERY = 500
_ACTION = "watching"


class LogReader:
    """Reads on from where its first feed is. Ends by itself when something is wrong, or by :meth:`close`."""

    def __init__(self, pool: Pool, feed: RedisFeed, position: int, *, silence: float) -> None:
        self._pool = pool
        self._silence = silence
        self._lock = Monitor()
        self._feeds = FeedIndex()
        self._feeds.add(feed)
        self._ahead: dict[RedisFeed, int] = {}
        self._position = position
        self._count = _FIRST_BATCH
        self._untold = 0  # entries since all feeds were last told how far the reader is
        self._connection: Connection | None = None
        self._stopping = False
        self.finished = False
        self._thread = threading.Thread(target=self._run, name="tenure-redis-watch", daemon=True)

    def start(self) -> None:
        """Begin reading."""
        start_thread(self._thread)

    @property
    def running(self) -> bool:
        """Whether it was started; it may have finished since."""
        return self._thread.ident is not None

    def add(self, feed: RedisFeed, position: int) -> bool:
        """Serve ``feed``, too, from ``position`` on, unless it has to be told first what is behind us."""
        with self._lock:
            if self.finished or position < self._position:
                return False
            if position == self._position:
                self._feeds.add(feed)
            else:
                self._ahead[feed] = position
            return True

    def remove(self, feed: RedisFeed) -> bool:
        """Serve ``feed`` no longer. Answers whether nobody is left."""
        with self._lock:
            self._feeds.remove(feed)
            self._ahead.pop(feed, None)
            return not self._feeds and not self._ahead

    def close(self) -> None:
        """Stop and wait until the thread is gone: at once, unless it is connecting."""
        with self._lock:
            self._stopping = True
            self._feeds, self._ahead = FeedIndex(), {}
            if self._connection is not None:
                self._connection.interrupt()
        # An interrupt may have come before the thread was started.
        if self._thread is not threading.current_thread() and self._thread.ident is not None:
            self._thread.join(self._silence + 1.0)

    # -- the thread --

    def _run(self) -> None:
        try:
            self._read()
        except TenureError as exc:
            error = exc
        except Exception as exc:  # noqa: BLE001 - a bug must end the feeds loudly, whatever it raised
            error = PluginError(f"reading the log failed with {type(exc).__name__}: {exc}")
            error.__cause__ = exc
        else:
            error = Unavailable("watching: the store was closed")
        with self._lock:
            self.finished = True
            feeds, self._feeds = tuple(self._feeds), FeedIndex()
            ahead, self._ahead = tuple(self._ahead), {}
            connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
        for feed in feeds:
            feed.fail(error)
        for feed in ahead:  # the log may well go on after their position
            feed.fail(Unavailable(str(error)) if isinstance(error, Compacted) else error)

    def _read(self) -> None:
        connection = self._pool.locator.open(Deadline(self._silence))
        with self._lock:
            if self._stopping:
                connection.close()
                return
            self._connection = connection
        try:
            self._follow(connection)
        except ConnectionBroken as exc:
            if not self._stopping:
                raise ERRORS.unanswered(
                    str(exc), action=_ACTION, where=connection.where, write=False, late=exc.late
                ) from exc
        except ServerError as exc:
            raise refused(exc, action=_ACTION, where=connection.where, write=False) from exc

    def _follow(self, connection: Connection) -> None:
        next_tick, present = 0.0, self._position
        while not self._stopping:
            now = monotonic()
            if now >= next_tick:
                present, pause = self._tick(connection)
                next_tick = now + pause
            block = max(1, int((next_tick - monotonic()) * 1000))
            command = ("XREAD", "COUNT", self._count, "BLOCK", block, "STREAMS", self._pool.names.log)
            deadline = ProgressDeadline(block / 1000 + self._silence)
            answer = connection.call(*command, f"{self._position}-0", deadline=deadline)
            found = [] if answer is None else [entry(one) for one in answer[0][1]]
            self._adapt(found)
            if not self._tell(found) or (not found and self._position < present):
                raise history_position.cut_off(self._pool, connection, self._position, Deadline(self._silence))

    def _adapt(self, found: list[Entry]) -> None:
        """Choose how many entries to ask for next: XREAD has no limit in bytes, and an answer is held as a whole."""
        if len(found) < self._count:
            return
        size = sum(map(_size, found))
        if size > _BATCH_BYTES:
            self._count = max(1, self._count * _BATCH_BYTES // size)
        else:
            self._count = min(2 * self._count, _BATCH)

    def _tell(self, found: list[Entry]) -> bool:
        """Deliver entries. False: they don't follow the position."""
        with self._lock:
            for one in found:
                if one.follows != self._position:
                    return False
                self._position = one.revision
                self._feeds.offer(one)
                if self._ahead:
                    self._admit(one.revision)
            self._untold += len(found)
            if self._untold >= _BOOKMARK_EVERY:
                self._bookmark()
        return True

    def _admit(self, reached: int) -> None:
        """Serve the feeds that waited for this revision. Those that it has passed are of another history."""
        for feed, position in list(self._ahead.items()):
            if position > reached:
                continue
            del self._ahead[feed]
            if position == reached:
                self._feeds.add(feed)
            else:
                feed.fail(self._replaced(position, reached))

    def _replaced(self, position: int, present: int) -> HistoryReplaced:
        return HistoryReplaced(
            f"watching after revision {position}: Redis at {self._pool.locator.where}, now at {present}, has no such "
            "revision: its data were lost or replaced; read the present state"
        )

    def _bookmark(self) -> None:
        self._untold = 0
        for feed in self._feeds:
            feed.bookmark(self._position)

    def _tick(self, connection: Connection) -> tuple[int, float]:
        """End leases, and answer where the store is and after how many seconds to do it again."""
        with self._lock:
            waiting = dict(self._ahead)
        endpoints.confirm(connection, Deadline(self._silence))
        started = monotonic()
        revision, due = self._pool.evaluate(connection, scripts.TICK, (), Deadline(self._silence))
        self._pool.reaped = max(self._pool.reaped, started)
        present = int(revision)
        if present < self._position:
            raise history_position.cut_off(self._pool, connection, self._position, Deadline(self._silence))
        with self._lock:
            if present == self._position:
                self._bookmark()
            for feed, position in waiting.items():  # those that came later may be beyond this look
                if position > present and self._ahead.pop(feed, None) is not None:
                    feed.fail(self._replaced(position, present))
        return present, _TICK if due < 0 else min(_TICK, due / 1000 + 0.002)


def _size(one: Entry) -> int:
    return sum(len(change.value) for change in one.changes if isinstance(change, KeyValue))
