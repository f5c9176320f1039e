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

from tenure.errors import Compacted, HistoryReplaced, TenureError, Unavailable
from tenure.plugin_kit import Deadline, FeedHub, HubFeed, Monitor, ProgressDeadline, Worker, monotonic
from tenure.spi.types import KeyValue
from tenure_redis import endpoints, history_position, scripts
from tenure_redis.connection import Connection, ConnectionBroken
from tenure_redis.encoding import Entry, entry
from tenure_redis.errors import ERRORS, ServerError, refused
from tenure_redis.pool import Pool

_TICK = 0.5
_FIRST_BATCH, _BATCH = 10, 100
_BATCH_BYTES = 1 << 20
_BOOKMARK_EVERY = 500
_ACTION = "watching"


class LogReader:
    """Reads on from ``position``. Ends by itself when something is wrong or no feed is left, or by :meth:`close`."""

    def __init__(self, pool: Pool, position: int, *, silence: float) -> None:
        self._pool = pool
        self._silence = silence
        self._lock = Monitor()
        self.hub = FeedHub(position, bookmark_every=_BOOKMARK_EVERY)
        self._count = _FIRST_BATCH
        self._connection: Connection | None = None
        self.finished = False
        self._worker = Worker(self._run, name="tenure-redis-watch", on_error=self._fail)

    def add(self, feed: HubFeed) -> bool:
        """Serve ``feed``, too, from its position on, unless it has to be told first what is behind us."""
        with self._lock:
            if self.finished or feed.position < self.hub.position:
                return False
            self.hub.add(feed)
            # Also where another feed had it started: that call may have been interrupted before.
            self._worker.start(_ACTION)
            return True

    def leave(self, feed: HubFeed) -> bool:
        """Serve ``feed`` no longer; whether no feed is left, and the reader takes no other one.

        A reader that has failed is finished with feeds that are yet to be told, so being finished isn't the answer.
        """
        with self._lock:
            empty = self.hub.remove(feed)
            self.finished = empty or self.finished
            return empty

    def close(self) -> None:
        """Stop and wait until the thread is gone: at once, unless it is connecting."""
        with self._lock:
            self._worker.stop()
            self.hub.clear()
            if self._connection is not None:
                self._connection.interrupt()
        self._worker.join(self._silence + 1.0)

    # -- the thread --

    def _run(self) -> None:
        try:
            self._read()
        finally:
            with self._lock:
                self.finished = True
                connection, self._connection = self._connection, None
            if connection is not None:
                connection.close()

    def _fail(self, error: TenureError) -> None:
        self.hub.admit()
        if isinstance(error, Compacted):
            for feed in self.hub.apart:  # the log may well go on after their position
                self.hub.end(feed, Unavailable(str(error)))
        self.hub.fail(error)

    def _read(self) -> None:
        if not self._wanted():
            return
        connection = self._pool.locator.open(Deadline(self._silence))
        with self._lock:
            if not self._worker.on_duty:
                connection.close()
                return
            self._connection = connection
        try:
            self._follow(connection)
        except ConnectionBroken as exc:
            if self._worker.on_duty:
                raise ERRORS.unanswered(
                    str(exc), action=_ACTION, where=connection.where, write=False, late=exc.late
                ) from exc
        except ServerError as exc:
            raise refused(exc, action=_ACTION, where=connection.where, write=False) from exc

    def _follow(self, connection: Connection) -> None:
        hub = self.hub
        next_tick, present = 0.0, hub.position
        while self._wanted():
            now = monotonic()
            if now >= next_tick:
                present, pause = self._tick(connection)
                next_tick = now + pause
            block = max(1, int((next_tick - monotonic()) * 1000))
            command = ("XREAD", "COUNT", self._count, "BLOCK", block, "STREAMS", self._pool.names.log)
            deadline = ProgressDeadline(block / 1000 + self._silence)
            answer = connection.call(*command, f"{hub.position}-0", deadline=deadline)
            found = [] if answer is None else [entry(one) for one in answer[0][1]]
            self._adapt(found)
            if not self._tell(found) or (not found and hub.position < present):
                raise history_position.cut_off(self._pool, connection, hub.position, Deadline(self._silence))

    def _wanted(self) -> bool:
        """Whether to read on. The call that took the last feed off may have been interrupted."""
        with self._lock:
            self.finished = self.finished or not self.hub
            return self._worker.on_duty and not self.finished

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
            self.hub.admit()
            for one in found:
                if one.follows != self.hub.position:
                    return False
                for feed in self.hub.apart:  # passed without having been reached: of another history
                    if feed.position < one.revision:
                        self.hub.end(feed, self._replaced(feed.position, one.revision))
                self.hub.offer(one.revision, one.changes)
        return True

    def _replaced(self, position: int, present: int) -> HistoryReplaced:
        return HistoryReplaced(
            f"watching after revision {position}: Redis at {self._pool.locator.where}, now at {present}, has no such "
            "revision: its data were lost or replaced; read the present state"
        )

    def _tick(self, connection: Connection) -> tuple[int, float]:
        """End leases, and answer where the store is and after how many seconds to do it again."""
        with self._lock:
            self.hub.admit()
        waiting = self.hub.apart
        endpoints.confirm(connection, Deadline(self._silence))
        started = monotonic()
        revision, due = self._pool.evaluate(connection, scripts.TICK, (), Deadline(self._silence))
        self._pool.reaped = max(self._pool.reaped, started)
        present = int(revision)
        if present < self.hub.position:
            raise history_position.cut_off(self._pool, connection, self.hub.position, Deadline(self._silence))
        if present == self.hub.position:
            self.hub.bookmark()
        for feed in waiting:  # those that came later may be beyond this look
            if feed.position > present:
                self.hub.end(feed, self._replaced(feed.position, present))
        return present, _TICK if due < 0 else min(_TICK, due / 1000 + 0.002)


def _size(one: Entry) -> int:
    return sum(len(change.value) for change in one.changes if isinstance(change, KeyValue))
