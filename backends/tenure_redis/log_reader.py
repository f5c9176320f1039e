"""The thread that reads the log for all feeds of a backend, on a connection of its own.

    start ── connect, see that the log still has the position ──► loop:  XREAD, blocking at most until the next tick
                                                                         a tick: end leases, see that the store is
                                                                         still the same and not behind the position
    anything wrong ──► every feed fails, the thread ends; core opens the feeds again, which makes a new reader

Who watches sees leases end in time, because who watches also ends them: at the moment the next one is due, and at
least twice a second, since a lease may be granted meanwhile. A store without watchers needs no ticks: whoever reads
or writes ends leases first.

Every revision has an entry, so the next one is the last plus one, and anything else is a gap.
"""

from __future__ import annotations

import threading

from tenure.errors import Compacted, PluginError, TenureError, Unavailable
from tenure.plugin_kit import Deadline, Monitor, monotonic
from tenure_redis import scripts
from tenure_redis.connection import Connection, ConnectionBroken
from tenure_redis.encoding import Entry, entry
from tenure_redis.errors import ERRORS, ServerError, refused
from tenure_redis.feed import RedisFeed
from tenure_redis.history_position import HistoryPosition, HistoryPositions
from tenure_redis.pool import Pool

_TICK = 0.5
_BATCH = 100
_BOOKMARK_EVERY = 500
_ACTION = "watching"


class LogReader:
    """Reads on from where its first feed is. Ends by itself when something is wrong, or by :meth:`close`."""

    def __init__(self, pool: Pool, positions: HistoryPositions, feed: RedisFeed, *, silence: float) -> None:
        self._pool = pool
        self._positions = positions
        self._silence = silence
        self._lock = Monitor()
        self._feeds: dict[RedisFeed, None] = {feed: None}
        self._position = feed.position
        self._connection: Connection | None = None
        self._stopping = False
        self.finished = False
        self._thread = threading.Thread(target=self._run, name="tenure-redis-watch", daemon=True)

    def start(self) -> None:
        """Begin reading."""
        self._thread.start()

    def add(self, feed: RedisFeed) -> bool:
        """Serve ``feed``, too, unless it has to be told first what is behind us."""
        with self._lock:
            if self.finished or feed.position.revision < self._position.revision:
                return False
            self._feeds[feed] = None
            return True

    def remove(self, feed: RedisFeed) -> bool:
        """Serve ``feed`` no longer. Answers whether nobody is left."""
        with self._lock:
            self._feeds.pop(feed, None)
            return not self._feeds

    def close(self) -> None:
        """Stop and wait until the thread is gone: at once, unless it is connecting."""
        with self._lock:
            self._stopping = True
            self._feeds.clear()
            if self._connection is not None:
                self._connection.interrupt()
        if self._thread is not threading.current_thread():
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
            feeds, self._feeds = tuple(self._feeds), {}
            connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
        for feed in feeds:
            feed.fail(error)

    def _read(self) -> None:
        connection = self._pool.locator.open(Deadline(self._silence))
        with self._lock:
            if self._stopping:
                connection.close()
                return
            self._connection = connection
        try:
            self._check_history(connection)
            self._follow(connection)
        except ConnectionBroken as exc:
            if not self._stopping:
                raise ERRORS.unanswered(
                    str(exc), action=_ACTION, where=connection.where, write=False, late=exc.late
                ) from exc
        except ServerError as exc:
            raise refused(exc, action=_ACTION, where=connection.where, write=False) from exc

    def _follow(self, connection: Connection) -> None:
        next_tick = 0.0
        while not self._stopping:
            now = monotonic()
            if now >= next_tick:
                next_tick = now + self._tick(connection)
            block = max(1, int((next_tick - monotonic()) * 1000))
            command = ("XREAD", "COUNT", _BATCH, "BLOCK", block, "STREAMS", self._pool.names.log)
            answer = connection.call(
                *command, f"{self._position.revision}-0", deadline=Deadline(block / 1000 + self._silence)
            )
            if answer is not None:
                self._tell([entry(one) for one in answer[0][1]])

    def _tell(self, found: list[Entry]) -> None:
        with self._lock:
            for one in found:
                if one.revision != self._position.revision + 1:
                    raise Compacted(
                        f"watching: revision {self._position.revision + 1} is no longer in the log of Redis at "
                        f"{self._pool.locator.where}, which goes on at {one.revision}",
                        oldest_revision=one.revision,
                    )
                self._position = HistoryPosition(self._position.identity, one.revision, one.op)
                for feed in self._feeds:
                    feed.offer(one)
            for feed in self._feeds:
                feed.bookmark(apart=_BOOKMARK_EVERY)

    def _tick(self, connection: Connection) -> float:
        """End leases, look where the store is, and answer after how many seconds to do it again."""
        started = monotonic()
        identity, revision, due = self._pool.evaluate(connection, scripts.TICK, (), Deadline(self._silence))
        self._pool.reaped = max(self._pool.reaped, started)
        if identity != self._position.identity or int(revision) < self._position.revision:
            raise self._replaced(int(revision))
        if int(revision) == self._position.revision:
            with self._lock:
                for feed in self._feeds:
                    feed.bookmark()
        return _TICK if due < 0 else min(_TICK, due / 1000 + 0.002)

    def _check_history(self, connection: Connection) -> None:
        identity, revision, op = self._position
        answer = self._pool.evaluate(connection, scripts.HISTORY, (identity, revision, op), Deadline(self._silence))
        verdict, _, now, oldest = answer
        if verdict == b"trimmed":
            raise Compacted(
                f"watching: revision {revision} is no longer in the log of Redis at {connection.where}",
                oldest_revision=int(oldest),
            )
        if verdict != b"same":
            raise self._replaced(int(now))

    def _replaced(self, now: int) -> Compacted:
        self._positions.replaced(self._position.revision)
        return Compacted(
            f"watching: revision {self._position.revision} isn't in the history of Redis at "
            f"{self._pool.locator.where}, now at {now}: its data was lost or replaced, by a restart without "
            "persistence, a flush, or a replica that lagged behind"
        )
