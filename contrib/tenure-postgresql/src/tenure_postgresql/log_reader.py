"""The thread that reads the change log for all feeds of a backend, on a connection of its own.

    connect, LISTEN ──► loop:  read the log from the hindmost feed on, deliver
                               wait for a notification, a new feed, or the next tick
                               a tick: end leases, see that the store is the same and not behind a feed
    anything wrong ──► every feed fails, the thread ends; core opens the feeds again, which makes a new reader

**A notification is a hint and nothing else.** It has no content, and losing one costs time: the log is read at every
tick as well, at most ``poll`` seconds later. What is delivered comes from the log, where every revision is the last
one plus one. Anything else is a gap, and a gap is ``Compacted``.

A tick comes when the next lease is due, and at least every ``poll`` seconds, since a lease may be granted meanwhile.
So who watches sees leases end in time even if nobody else is there.

Connecting is done by who opens the first feed, who is told if that fails. A reader stops by itself with its last feed.
A retired one is never used again; a new feed gets a new reader.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from itertools import groupby

from tenure.errors import PluginError, TenureError, Unavailable
from tenure.plugin_kit import Deadline, Monitor, monotonic
from tenure.spi import Deleted, KeyValue
from tenure_postgresql import encoding
from tenure_postgresql.connection import Connection, ConnectionBroken, Row, ServerError
from tenure_postgresql.context import BackendContext, lost_row
from tenure_postgresql.errors import broken, refused
from tenure_postgresql.feed import PostgresqlFeed
from tenure_postgresql.history_position import HistoryPositions

_ROWS = 500
_BYTES = 8 << 20
_BOOKMARK_EVERY = 500
_SOONEST = 0.005
_ACTION = "watching"


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
        positions: HistoryPositions,
        connection: Connection,
        *,
        poll: float,
        silence: float,
    ) -> None:
        self._context = context
        self._positions = positions
        self._connection = connection
        self._poll = poll
        self._silence = silence
        self._lock = Monitor()
        self._feeds: dict[PostgresqlFeed, None] = {}
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._thread: threading.Thread | None = None
        self.retired = False
        self._since = monotonic()

    # -- called from any thread; no lock is held while a sink is called --

    def add(self, feed: PostgresqlFeed) -> bool:
        """Serve ``feed``, too; false if this reader has retired."""
        with self._lock:
            if self.retired:
                return False
            self._feeds[feed] = None
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="tenure-postgresql-watch", daemon=True)
                self._thread.start()
            else:
                os.eventfd_write(self._wake, 1)
            return True

    def remove(self, feed: PostgresqlFeed) -> None:
        """Serve ``feed`` no longer; without any the reader retires."""
        with self._lock:
            served = feed in self._feeds
            self._feeds.pop(feed, None)
            if served and not self._feeds:
                self._retire()

    def close(self) -> None:
        """Forget all feeds and wait until the thread is gone."""
        with self._lock:
            self._feeds.clear()
            self._retire()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(self._silence + 1.0)

    def _retire(self) -> None:
        if not self.retired:
            self.retired = True
            self._connection.interrupt()  # which also wakes the thread
            if self._thread is None:
                self._free()

    def _free(self) -> None:
        self._connection.close()
        os.close(self._wake)

    # -- the thread --

    def _run(self) -> None:
        error: TenureError = Unavailable("watching: the store was closed")
        try:
            self._follow(self._connection)
        except ConnectionBroken as exc:
            error = broken(exc, action=_ACTION, where=self._connection.where, write=False)
            error.__cause__ = exc
        except ServerError as exc:
            deadline = Deadline(self._silence)
            error = self._context.pool.refused(
                exc,
                action=_ACTION,
                where=self._connection.where,
                write=False,
                since=self._since,
                deadline=deadline,
            )
            error.__cause__ = exc
        except TenureError as exc:
            error = exc
        except Exception as exc:  # noqa: BLE001 - a bug must end the feeds loudly, whatever it raised
            error = PluginError(f"reading the change log failed with {type(exc).__name__}: {exc}")
            error.__cause__ = exc
        with self._lock:
            self.retired = True
            feeds, self._feeds = tuple(self._feeds), {}
            self._free()
        for feed in feeds:
            feed.fail(error)

    def _follow(self, connection: Connection) -> None:
        next_tick = 0.0
        while not self.retired:
            if monotonic() >= next_tick:
                next_tick = monotonic() + self._tick(connection)
            else:
                self._catch_up(connection)
            connection.wait_for_notification(next_tick - monotonic(), self._wake)
            with contextlib.suppress(BlockingIOError):
                os.eventfd_read(self._wake)

    def _tick(self, connection: Connection) -> float:
        """Look where the store is, end leases, deliver; answers after how many seconds to do it again."""
        due = self._check(connection)
        if due is not None and due <= 0:
            args = [encoding.bigint(int(self._silence * 900)), self._context.kept()]
            connection.ask(self._context.statements.tick, args, deadline=Deadline(self._silence))
            due = self._check(connection)
        self._catch_up(connection)
        for feed in self._served():
            feed.bookmark()
        # One that is still overdue is being refreshed by somebody at this moment: no use in asking at once.
        return self._poll if due is None or due <= 0 else min(self._poll, max(due, _SOONEST))

    def _check(self, connection: Connection) -> float | None:
        """See that the store is the one that is watched. Answers after how many seconds the next lease is due."""
        feeds = self._served()  # before asking: one that comes meanwhile may be ahead of the answer
        rows = connection.ask(self._context.statements.state, deadline=Deadline(self._silence))
        if not rows:
            raise lost_row(_ACTION, connection.where)
        revision, history, _, due = rows[0]
        for feed in feeds:
            if feed.position.history != history or feed.position.revision > encoding.number(revision):
                raise self._positions.replaced(feed.position)
        return None if due is None else encoding.number(due) / 1000

    def _catch_up(self, connection: Connection) -> None:
        """Deliver everything that the log has and some feed hasn't."""
        while feeds := self._served():
            for feed in feeds:
                feed.begin()
            hindmost = min(feed.position.revision for feed in feeds)
            args = [encoding.bigint(hindmost), encoding.bigint(_ROWS), encoding.bigint(_BYTES)]
            deadline = Deadline(self._silence)
            rows = connection.ask(self._context.statements.log, args, deadline=deadline, renew=self._silence)
            last = hindmost
            for revision, op, entries in _transactions(rows):
                last = revision
                for feed in feeds:
                    self._tell(feed, revision, op, entries)
            for feed in feeds:
                feed.bookmark(apart=_BOOKMARK_EVERY)
            if last == hindmost:
                return

    def _tell(self, feed: PostgresqlFeed, revision: int, op: bytes, entries: list[KeyValue | Deleted]) -> None:
        position = feed.position
        if revision == position.revision + 1:
            feed.offer(op, revision, entries)
        elif revision > position.revision:
            raise self._positions.trimmed(position.revision, revision - 1)
        elif revision == position.revision and position.op and op != position.op:
            raise self._positions.replaced(position)

    def _served(self) -> tuple[PostgresqlFeed, ...]:
        with self._lock:
            return tuple(self._feeds)


def _transactions(rows: list[Row]) -> Iterator[tuple[int, bytes, list[KeyValue | Deleted]]]:
    for raw, group in groupby(rows, key=lambda row: row[0]):
        revision = encoding.number(raw)
        changes = list(group)
        yield revision, changes[0][5] or b"", [_entry(revision, row) for row in changes]


def _entry(revision: int, row: Row) -> KeyValue | Deleted:
    _, key, value, created, lease, _ = row
    if created is None:
        return Deleted(encoding.word(key), revision)
    owner = None if lease is None else lease.decode()
    return KeyValue(encoding.word(key), value or b"", encoding.number(created), revision, owner)
