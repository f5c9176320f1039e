"""Watches, and the ending of leases in time: one thread per backend, alive only while there is either.

While something is watched, another thread waits for the system's signs of writes and wakes the first.

Every commit, of whichever process, is in the file's change log. The thread reads it once for all feeds, from
the position of the hindmost, and hands each feed what it hasn't had. When to look: at once after a commit of this
backend; soon and some times after a sign that somebody writes (``write_signs``); else every tenth of a second, or every
``poll`` seconds where there are no signs. A look asks whether SQLite's counter of other connections' commits has moved,
which costs microseconds. The thread also wakes up at the next lease's deadline, so that a lease ends in time as long as
any process that watches or that ever granted one is running.

A feed joins with the position of its snapshot, so nothing falls between the two. Each read of the log first looks
whether the log has the feed's position: revisions are unique, so a file that doesn't is of another history, and the
feed ends.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from tenure.errors import Compacted, DeadlineExceeded, HistoryReplaced, TenureError
from tenure.plugin_kit import FeedHub, HubFeed, Monitor, Worker, monotonic
from tenure.spi import Clock, Feed, Sink, WatchRequest
from tenure_sqlite import change_log
from tenure_sqlite.database import Connection, Database
from tenure_sqlite.errors import described, is_busy
from tenure_sqlite.write_signs import WriteSigns

_PATIENCE = 1.0  # seconds that ending a lease may wait for other writers, and between attempts that failed

_AFTER_A_SIGN = (0.0002, 0.0005, 0.001, 0.002, 0.004, 0.008, 0.015)
"""Seconds between looks after a sign. The commit comes a moment after it, later on a busy machine."""
_OWN, _AFTER_AN_OWN = 0.01, 4
"""Seconds within which a sign is that of an own commit, and the look that follows it."""
_WITHOUT_SIGNS = 0.1
_SETTLED = 0.25
"""Seconds for which something has been watched before signs are waited for."""

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
        self._reap = reap
        self._condition = Monitor()
        self._hub = FeedHub(bookmark_every=max(1, history // 10))
        self._worker = Worker(self._run, name="tenure-sqlite", on_error=self._fail, lasting=True)
        self._nudged = False
        self._closed = False
        self._deadline: float | None = None  # of the next lease to end, whosever it is
        self._minding_leases = False  # this backend granted one, and there still are some
        self._retry_reaping_at = 0.0
        self._signs: WriteSigns | None = None
        self._looks = len(_AFTER_A_SIGN)  # since the last sign
        self._own_commit_at = float("-inf")
        self._version: int | None = None  # of SQLite's commit counter when the log was last read

    # -- called by the backend, from any thread ----------------------------------------------------

    def feed(self, request: WatchRequest, sink: Sink, *, position: int) -> Feed:
        """A feed that gets what follows ``position``."""
        # Closing takes no lock. Without feeds the thread finds out by itself, at its next look.
        feed = HubFeed(request, sink, position=position, on_close=self._hub.remove)
        with self._condition:
            if not self._closed:
                self._hub.add(feed)
                self._nudged = True
                self._worker.start("watching")
                self._condition.notify_all()
        return feed

    def granted(self, deadline: float) -> None:
        """This backend granted a lease: from now on somebody has to be there when one ends."""
        with self._condition:
            self._minding_leases = True
            self._deadline = deadline if self._deadline is None else min(deadline, self._deadline)
            if not self._closed:
                self._nudged = True
                self._worker.request()  # without a thread every writer ends the leases that are due
                self._condition.notify_all()

    def wake(self) -> None:
        """This backend committed something."""
        if self._hub:
            with self._condition:
                self._nudged = True
                self._own_commit_at = monotonic()
                self._condition.notify_all()

    def close(self) -> None:
        """End all feeds without a word, and the thread."""
        with self._condition:
            self._closed = True
            self._hub.clear()
            self._worker.stop()
            self._condition.notify_all()
        self._worker.join(_PATIENCE * 3)

    # -- the thread --------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._watch()
        finally:
            self._hub.admit()  # forgets the feeds that have left
            signs, self._signs = self._signs, None
            if signs is not None:
                signs.close()

    def _signed(self) -> None:
        with self._condition:
            # A commit of this backend is a sign, too, and has been looked at: one of another at the same time is rare.
            own = monotonic() - self._own_commit_at < _OWN
            self._looks = min(self._looks, _AFTER_AN_OWN if own else 0)
            self._condition.notify_all()

    def _watch(self) -> None:
        began = monotonic()
        while self._wait():
            # Not for a watch that ends at once: a thread costs more than a few looks.
            if self._signs is None and self._hub and monotonic() - began > _SETTLED:
                self._signs = WriteSigns(self._database.path, self._signed)
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

    def _wait(self) -> bool:
        """Until there is something to look at; false when the thread is to end."""
        with self._condition:
            if not self._worker.on_duty or not (self._hub or self._minding_leases):
                return False
            if not self._nudged:
                looks = self._looks
                self._clock.wait(self._condition, self._pause())
                if self._looks == looks:
                    self._looks += 1
            return self._worker.on_duty

    def _pause(self) -> float:
        pauses = [self._next_look()] if self._hub else []
        if self._deadline is not None:
            now = self._database.time.now()
            pauses.append(max(self._deadline, self._retry_reaping_at) - now)
        return max(0.0, min(pauses, default=0.0))

    def _next_look(self) -> float:
        if self._signs is None or not self._signs.working:
            return self._poll
        return _AFTER_A_SIGN[self._looks] if self._looks < len(_AFTER_A_SIGN) else max(self._poll, _WITHOUT_SIGNS)

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
            if version != self._version or not self._hub:
                self._version = None  # until reading has succeeded
                self._read(connection)
                self._version = version
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            self._database.park(connection)

    def _read(self, connection: Connection) -> None:
        hub = self._hub
        hub.admit()
        places = hub.places()
        connection.execute("BEGIN")
        hindmost = min(places, default=0)
        history_id, revision, log_start, deadline, has_hindmost = described(
            connection.execute(_STATE, (hindmost,)).fetchone()
        )
        self._learn_deadline(deadline)
        found = {hindmost: hindmost in (log_start, revision) or (bool(has_hindmost) and hindmost > log_start)}
        for position in places.keys() - {hindmost}:
            found[position] = change_log.has(connection, position, start=log_start, present=revision)
        lost = [position for position in places if not found[position]]
        for position in lost:
            for feed in places[position]:
                hub.end(feed, cut_off(self._database.path, position, start=log_start, present=revision))
        hindmost = min((position for position in places if found[position]), default=revision)
        if hindmost < revision:
            for at, entries in change_log.read(connection, hindmost):
                hub.offer(at, entries)
        hub.reached(revision)
        if history_id != self._database.history_id or lost:
            connection.execute("ROLLBACK")
            self._nudged = True  # look at what is there now
            self._database.suspect()

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
        self._hub.fail(error)


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
