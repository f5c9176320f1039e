"""The thread that reads the change log for all feeds of a backend, on a connection of its own.

    connect, LISTEN ──► loop:  read the log from the hindmost feed on, deliver
                               wait for a notification, a new feed, or the next tick
                               a tick: end leases, read the log in any case
    anything wrong ──► every feed fails, the thread ends; core opens the feeds again, which makes a new reader

**A notification is a hint and nothing else.** It has no content, and losing one costs time: the log is read at every
tick as well, at most ``poll`` seconds later.

**Each read proves its place.** The statement that reads what follows also says whether the log has the revision that a
feed was served up to. A feed whose revision is missing ends: with ``Compacted`` if it was trimmed away, otherwise with
``HistoryReplaced``. So a feed notices a replaced store at the next tick, also if no connection broke.

A tick comes when the next lease is due, and at least every ``poll`` seconds, since a lease may be granted meanwhile.
So who watches sees leases end in time even if nobody else is there.

Connecting is done by who opens the first feed, who is told if that fails. A reader stops by itself with its last feed.
A retired one is never used again; a new feed gets a new reader.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from itertools import groupby

from tenure.errors import TenureError
from tenure.plugin_kit import Deadline, FeedHub, HubFeed, Monitor, Worker, monotonic
from tenure.spi import Deleted, KeyValue
from tenure_postgresql import encoding
from tenure_postgresql.connection import Connection, ConnectionBroken, Row, ServerError
from tenure_postgresql.context import BackendContext, lost_row
from tenure_postgresql.errors import broken, refused
from tenure_postgresql.log_position import missing

_ROWS = 500
_BYTES = 8 << 20
_SOONEST = 0.005
_ACTION = "watching"
_FREED = -1


def connect(
    context: BackendContext, deadline: Deadline, *, patience: float, given_up: Callable[[], bool]
) -> Connection:
    """A connection for a reader, whose statements take at most ``patience``. Raises ``Unavailable`` and its like."""
    connection = context.pool.endpoints.connect(deadline, given_up=given_up)
    try:
        connection.limit(patience, deadline=deadline)
        connection.run(context.statements.listen, deadline=deadline)
    except ConnectionBroken as exc:
        connection.close()
        raise broken(exc, action=_ACTION, where=connection.where, write=False) from exc
    except ServerError as exc:
        connection.close()
        raise refused(exc, action=_ACTION, where=connection.where, write=False) from exc
    return connection


class LogReader:
    """Reads on from where its feeds are."""

    def __init__(
        self,
        context: BackendContext,
        connection: Connection,
        *,
        poll: float,
        silence: float,
    ) -> None:
        self._context = context
        self._connection = connection
        self._poll = poll
        self._silence = silence
        self._lock = Monitor()
        self._hub = FeedHub()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._worker = Worker(self._run, name="tenure-postgresql-watch", on_error=self._hub.fail)
        self.retired = False
        self._since = monotonic()

    # -- called from any thread; no lock is held while a sink is called --

    def add(self, feed: HubFeed) -> bool:
        """Serve ``feed``, too; false if this reader has retired."""
        with self._lock:
            if self.retired:
                return False
            self._hub.add(feed)
            # Also where another feed had it started: that call may have been interrupted before.
            self._worker.start(_ACTION)
            os.eventfd_write(self._wake, 1)
            return True

    def remove(self, feed: HubFeed) -> None:
        """Serve ``feed`` no longer; without any the reader retires."""
        if self._hub.remove(feed):
            with self._lock:
                if not self._hub:
                    self._retire()

    def close(self) -> None:
        """Forget all feeds and wait until the thread is gone."""
        with self._lock:
            self._hub.clear()
            self._retire()
        self._worker.join(self._silence + 1.0)

    def _retire(self) -> None:
        if not self.retired:
            self.retired = True
            begun = self._worker.running
            self._worker.stop()
            self._connection.interrupt()  # which also wakes the thread
            if not begun:
                self._free()

    def _free(self) -> None:
        self._connection.close()
        wake, self._wake = self._wake, _FREED
        if wake != _FREED:
            os.close(wake)

    # -- the thread --

    def _run(self) -> None:
        try:
            self._follow(self._connection)
        except ConnectionBroken as exc:
            raise broken(exc, action=_ACTION, where=self._connection.where, write=False) from exc
        except ServerError as exc:
            raise self._refused(exc) from exc
        finally:
            with self._lock:
                self.retired = True
                self._free()

    def _refused(self, exc: ServerError) -> TenureError:
        return self._context.pool.refused(
            exc,
            action=_ACTION,
            where=self._connection.where,
            write=False,
            since=self._since,
            deadline=Deadline(self._silence),
        )

    def _follow(self, connection: Connection) -> None:
        next_tick = 0.0
        while self._wanted():
            if monotonic() >= next_tick:
                next_tick = monotonic() + self._tick(connection)
            else:
                self._catch_up(connection)
            connection.wait_for_notification(next_tick - monotonic(), self._wake)
            with contextlib.suppress(BlockingIOError):
                os.eventfd_read(self._wake)

    def _wanted(self) -> bool:
        """Whether to read on. Without feeds no caller may be left to close the reader."""
        with self._lock:
            self.retired = self.retired or not self._hub
            return not self.retired

    def _tick(self, connection: Connection) -> float:
        """End leases, deliver, say how far the feeds are; answers after how many seconds to do it again."""
        due = self._due(connection)
        if due is not None and due <= 0:
            args = [encoding.bigint(int(self._silence * 900)), self._context.kept()]
            connection.ask(self._context.statements.tick, args, deadline=Deadline(self._silence))
            due = self._due(connection)
        self._catch_up(connection)
        self._hub.bookmark()
        # One that is still overdue is being refreshed by somebody at this moment: no use in asking at once.
        return self._poll if due is None or due <= 0 else min(self._poll, max(due, _SOONEST))

    def _due(self, connection: Connection) -> float | None:
        """After how many seconds the next lease is due."""
        rows = connection.ask(self._context.statements.due, deadline=Deadline(self._silence))
        if not rows:
            raise lost_row(_ACTION, connection.where)
        return None if rows[0][0] is None else encoding.number(rows[0][0]) / 1000

    def _catch_up(self, connection: Connection) -> None:
        """Deliver everything that the log has and some feed hasn't."""
        hub = self._hub
        while not self.retired:
            hub.admit()  # before reading alone: one that comes meanwhile may be ahead of the answer, or behind it
            places = hub.places()
            if not places:
                return
            page = self._read(connection, min(places))
            for position in [position for position in places if page.lacks(position)]:
                for feed in places.pop(position):
                    self._end(feed, missing(position, page.start, connection.where))
            for revision, entries in page.transactions:
                hub.offer(revision, entries)
            if page.complete:
                hub.reached(max((*places, *(revision for revision, _ in page.transactions)), default=page.start))
                return

    def _end(self, feed: HubFeed, error: TenureError) -> None:
        self._hub.end(feed, error)
        with self._lock:
            if not self._hub:
                self._retire()

    def _read(self, connection: Connection, after: int) -> _LogPage:
        args = [encoding.bigint(after), encoding.bigint(_ROWS), encoding.bigint(_BYTES)]
        deadline = Deadline(self._silence)
        rows = connection.ask(self._context.statements.log, args, deadline=deadline, renew=self._silence)
        if not rows:
            raise lost_row(_ACTION, connection.where)
        return _LogPage(after, rows)


class _LogPage:
    """What one statement said: the next transactions after a revision, and where the log begins and ends."""

    def __init__(self, after: int, rows: list[Row]) -> None:
        self.start = encoding.number(rows[0][1])
        self.transactions = [] if rows[0][3] is None else list(_transactions(rows))
        self._present = {self.start, encoding.number(rows[0][0]), *(revision for revision, _ in self.transactions)}
        if encoding.flag(rows[0][2]):
            self._present.add(after)
        self._last = self.transactions[-1][0] if self.transactions else after
        self.complete = self._last >= encoding.number(rows[0][0])

    def lacks(self, revision: int) -> bool:
        """Whether the log certainly doesn't have it. What comes after an incomplete page is for the next one."""
        return revision not in self._present and (self.complete or revision <= self._last)


def _transactions(rows: list[Row]) -> Iterator[tuple[int, list[KeyValue | Deleted]]]:
    for raw, group in groupby(rows, key=lambda row: row[3]):
        revision = encoding.number(raw)
        yield revision, [entry for row in group for entry in _entries(revision, row)]


def _entries(revision: int, row: Row) -> Iterator[KeyValue | Deleted]:
    """What one row says: a key that was put, or one or several that were deleted."""
    key, value, created, lease = row[4:8]
    if created is not None:
        owner = None if lease is None else lease.decode()
        yield KeyValue(encoding.word(key), value or b"", encoding.number(created), revision, owner)
    elif value is None:
        yield Deleted(encoding.word(key), revision)
    else:
        for one in json.loads(value):
            yield Deleted(one, revision)
