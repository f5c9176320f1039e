"""Watches, and the ending of leases in time: one thread per backend, alive only while there is either.

Every commit, of whichever process, is in the file's change log. The thread reads it once for all feeds, from
the position of the hindmost, and hands each feed what it hasn't had. When to look: at once after a commit of this
backend, and every ``poll`` seconds whether SQLite's counter of other connections' commits has moved, which costs
microseconds. The thread also wakes up at the next lease's deadline, so that a lease ends in time as long as any
process that watches or that ever granted one is running.

A feed joins with the position of its snapshot, so nothing falls between the two. Each read of the log first looks
whether the log has the feed's position: revisions are unique, so a file that doesn't is of another history, and the
feed ends.
"""

from __future__ import annotations

import itertools
import logging
import sqlite3
import threading
from collections.abc import Callable

from tenure.errors import Compacted, DeadlineExceeded, HistoryReplaced, PluginError, TenureError
from tenure.plugin_kit import Monitor, start_thread
from tenure.spi import Clock, Feed, Sink, WatchRequest
from tenure_sqlite import change_log
from tenure_sqlite.database import Connection, Database
from tenure_sqlite.errors import is_busy
from tenure_sqlite.feed import SqliteFeed

_log = logging.getLogger("tenure.sqlite")

_PATIENCE = 1.0  # seconds that ending a lease may wait for other writers, and between attempts that failed

_STATE = (
    "SELECT history_id, revision, log_start, (SELECT min(deadline) FROM lease), "
    "EXISTS (SELECT 1 FROM log WHERE log.revision = ?) FROM store"
)


class Watches:
    """The feeds of one backend and their thread."""

    def __init__(
        self, database: Database, *, clock: Clock, poll: float, history: int, reap: Callable[[float], None]
    ) -> None:
        self._database = database
        self._clock = clock
        self._poll = poll
        self._bookmark_every = max(1, history // 10)
        self._reap = reap
        self._condition = Monitor()
        self._numbers = itertools.count()
        self._feeds: dict[int, SqliteFeed] = {}
        self._shift: object | None = None  # identity of the run on duty; a retired run sees that it isn't its own
        self._threads: list[threading.Thread] = []
        self._nudged = False
        self._closed = False
        self._deadline: float | None = None  # of the next lease to end, whosever it is
        self._minding_leases = False  # this backend granted one, and there still are some
        self._retry_reaping_at = 0.0
        self._version: int | None = None  # of SQLite's commit counter when the log was last read

    # -- called by the backend, from any thread ----------------------------------------------------

    def feed(self, request: WatchRequest, sink: Sink, *, position: int) -> Feed:
        """A feed that gets what follows ``position``."""
        number = next(self._numbers)
        feed = SqliteFeed(request, sink, position=position, number=number, on_close=self.discard)
        with self._condition:
            self._feeds[number] = feed
            self._start()
        return feed

    def discard(self, feed: SqliteFeed) -> None:
        # One dictionary operation, without the lock: the closer may hold one of its own that delivering waits for.
        # Without feeds the thread finds out by itself, at its next look.
        self._feeds.pop(feed.number, None)

    def granted(self, deadline: float) -> None:
        """This backend granted a lease: from now on somebody has to be there when one ends."""
        with self._condition:
            self._minding_leases = True
            self._deadline = deadline if self._deadline is None else min(deadline, self._deadline)
            try:
                self._start()
            except RuntimeError as exc:  # the next call tries again; every writer ends the leases that are due
                _log.info("%s: the thread that ends leases can't be started now: %s", self._database.path, exc)

    def wake(self) -> None:
        """This backend committed something."""
        if self._feeds:
            with self._condition:
                self._nudged = True
                self._condition.notify_all()

    def close(self) -> None:
        """End all feeds without a word, and the thread."""
        with self._condition:
            self._closed = True
            self._feeds.clear()
            self._shift = None
            self._condition.notify_all()
            threads = list(self._threads)
        for thread in threads:
            if thread is not threading.current_thread() and thread.ident is not None:
                thread.join(_PATIENCE * 3)

    def _start(self) -> None:
        self._nudged = True
        if self._closed:
            self._feeds.clear()
        elif self._shift is None:
            self._shift = shift = object()
            thread = threading.Thread(target=self._run, args=(shift,), name="tenure-sqlite", daemon=True)
            self._threads = [*(old for old in self._threads if old.is_alive()), thread]
            try:
                start_thread(thread)
            except BaseException:
                if thread.ident is None:
                    self._shift = None
                    self._threads.remove(thread)
                raise
        else:
            self._condition.notify_all()

    # -- the thread --------------------------------------------------------------------------------

    def _run(self, shift: object) -> None:
        while self._wait(shift):
            try:
                self._look()
                self._end_leases()
            except DeadlineExceeded:
                continue  # somebody holds the lock: the next look is soon
            except sqlite3.Error as exc:
                if not is_busy(exc):  # as after the death of a writer, while another one clears up
                    self._fail(self._database.failure(exc))
            except TenureError as exc:
                self._fail(exc)
            except Exception as exc:  # noqa: BLE001 - whatever it is, watchers must hear of it
                error = PluginError(f"reading the change log failed with an unexpected {type(exc).__name__}: {exc}")
                error.__cause__ = exc
                self._fail(error)

    def _wait(self, shift: object) -> bool:
        """Until there is something to look at; false when the thread is to end."""
        with self._condition:
            if self._shift is not shift:
                return False
            if not self._feeds and not self._minding_leases:
                self._shift = None
                return False
            if not self._nudged:
                self._clock.wait(self._condition, self._pause())
            return self._shift is shift

    def _pause(self) -> float:
        pauses = [self._poll] if self._feeds else []
        if self._deadline is not None:
            now = self._database.time.now()
            pauses.append(max(self._deadline, self._retry_reaping_at) - now)
        return max(0.0, min(pauses, default=0.0))

    def _look(self) -> None:
        """Deliver what is new, and learn the next lease's deadline."""
        with self._condition:
            nudged, self._nudged = self._nudged, False
        if nudged:
            self._version = None  # read the log, now or, if that fails, the next time
        self._database.check_file(timeout=_PATIENCE, now_and_then=not nudged)
        connection = self._database.unpark()
        if connection is None:
            connection, self._version = self._database.take(), None
        try:
            version = connection.execute("PRAGMA data_version").fetchone()[0]
            if version != self._version or not self._feeds:
                self._version = None  # until reading has succeeded
                self._read(connection)
                self._version = version
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            self._database.park(connection)

    def _read(self, connection: Connection) -> None:
        feeds = list(self._feeds.values())
        connection.execute("BEGIN")
        hindmost = min((feed.position for feed in feeds), default=0)
        history_id, revision, log_start, deadline, has_hindmost = connection.execute(_STATE, (hindmost,)).fetchone()
        self._learn_deadline(deadline)
        found = {hindmost: hindmost in (log_start, revision) or (bool(has_hindmost) and hindmost > log_start)}
        for feed in feeds:
            if feed.position not in found:
                found[feed.position] = change_log.has(connection, feed.position, start=log_start, present=revision)
        lost = [feed for feed in feeds if not found[feed.position]]
        self._deliver(connection, [feed for feed in feeds if found[feed.position]], revision)
        for feed in lost:
            self._end(feed, cut_off(self._database.path, feed.position, start=log_start, present=revision))
        if history_id != self._database.history_id or lost:
            connection.execute("ROLLBACK")
            self._nudged = True  # look at what is there now
            self._database.suspect()

    def _deliver(self, connection: Connection, feeds: list[SqliteFeed], revision: int) -> None:
        """Bring these feeds, whose positions are in the log, up to ``revision``."""
        hindmost = min((feed.position for feed in feeds), default=revision)
        if hindmost < revision:
            for at, entries in change_log.read(connection, hindmost):
                for feed in feeds:
                    feed.offer(at, entries)
        for feed in feeds:
            feed.catch_up(revision, bookmark_every=self._bookmark_every)

    def _learn_deadline(self, deadline: float | None) -> None:
        with self._condition:
            if not self._nudged:  # else a lease may have been granted since the file was read
                self._deadline = deadline
                self._minding_leases = self._minding_leases and deadline is not None

    def _end_leases(self) -> None:
        now = self._database.time.now()
        if self._deadline is None or self._deadline > now or self._retry_reaping_at > now:
            return
        self._retry_reaping_at = now + self._poll
        self._reap(_PATIENCE)
        self._retry_reaping_at = 0.0
        self._nudged = True  # look at what that did

    def _fail(self, error: TenureError) -> None:
        """End all feeds. Leases go on being looked after, but not in a hurry."""
        self._retry_reaping_at = self._database.time.now() + _PATIENCE
        for feed in list(self._feeds.values()):
            self._end(feed, error)

    def _end(self, feed: SqliteFeed, error: TenureError) -> None:
        if self._feeds.pop(feed.number, None) is not None:
            feed.fail(error)


def cut_off(path: str, position: int, *, start: int, present: int) -> Compacted:
    """Why a feed can't go on after ``position`` in the log of ``path``, which has what follows ``start``."""
    if position < start:
        return Compacted(
            f"watching after revision {position}: those changes have left the log of {path}, which begins at {start}; "
            "read the present state",
            oldest_revision=start,
        )
    return HistoryReplaced(
        f"watching after revision {position}: {path}, now at {present}, has no such revision: its data were lost or "
        "replaced by a backup; read the present state",
        oldest_revision=start,
    )
