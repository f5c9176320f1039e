"""Connections to the one file: a pool of idle ones, closing all of them, and a file that was replaced.

A connection is used by one thread at a time: taken from the pool, given back after. Taking and giving are single
operations of a deque, which need no lock. Every connection waits only a moment for locks by itself; waiting
until the call's deadline is a loop here, so that deadlines cost nothing where nothing is locked.

**Replaced files.** An open connection goes on with a file that was removed or replaced, and so would lose what it
writes. :meth:`Database.check_file` compares the path with what was opened, drops the connections if they differ,
and counts a new *history*. A new file beside the old one's write-ahead log is refused: SQLite can't tell that they
don't belong together, and would mix them.

The same for the two files beside it, which SQLite keeps while a connection is open. Where somebody removes them, other
programs begin new ones, and two logs of one file know nothing of each other's writes. Closing the last connection moves
the removed log into the file, so nothing is lost that was acknowledged. It must not once others have written: then the
connections are never closed.
"""

from __future__ import annotations

import os
import random
import sqlite3
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar
from urllib.parse import quote

from tenure.errors import ConfigError, StoreClosed, TenureError, Unavailable, UsedAfterFork
from tenure.plugin_kit import monotonic
from tenure_sqlite import fork
from tenure_sqlite.errors import corrupted, described, is_busy, require_access, translate
from tenure_sqlite.lease_clock import LeaseTime
from tenure_sqlite.schema import create_if_empty, is_empty, is_without_tables, refuse_foreign_file, verify

_T = TypeVar("_T")

MOMENT = 0.1  # seconds that SQLite itself waits for a lock before the loop here looks at the deadline
_CLOSING = 2.0  # seconds that close() gives calls under way, after interrupting them
_FORKING = 1.0  # seconds that a fork waits for calls under way
_FILE_CHECK = 1.0  # seconds between looks at the path by those who can afford to look late
_OPENING = 0.5  # seconds after which another program that has the file open isn't just opening it
_RESTORING = 0.5  # seconds that a restore has between replacing the file and removing the log of the one before
_LOG_LENGTH = 16 * 1024 * 1024  # bytes of the -wal file from which writers wait for readers to begin it again
_BETWEEN_LOOKS = 0.5  # seconds
WAL_KEPT = 64 * 1024 * 1024  # bytes that the -wal file may keep after a burst of writes


class Connection(sqlite3.Connection):
    """A connection that knows which history of the path it was opened on."""

    history = 0


class Database:
    """One file as opened by one backend. Thread-safe."""

    def __init__(self, path: str, *, synchronous: str, lease_time: LeaseTime, timeout: float) -> None:
        self.path = path
        self.time = lease_time
        self.history_id = ""
        self.history = 0
        """Counts the files found at the path, so that no connection to an earlier one is used again."""
        self._synchronous = synchronous
        self._idle: deque[Connection] = deque()
        self._parked: deque[Connection] = deque(maxlen=1)
        self._all: weakref.WeakSet[Connection] = weakref.WeakSet()  # weak: an interrupt may lose one that was taken
        self._lock = threading.RLock()  # opening, closing, forking
        self._closed = False
        self._forked = False
        self._identity: tuple[int, int] | None = None
        self._log_identity: tuple[int, int] | None = None
        self._beside: tuple[tuple[int, int] | None, ...] | None = None
        """The files beside it that the open connections use; ``None`` while there are none."""
        self._time_base = ""
        self._agreed: set[str] = set()
        """Other time bases that this store has counted with, of programs that had the file open, too."""
        self._next_check = 0.0
        self._next_shortening = 0.0
        self._held_for_fork = False
        fork.remember(self)
        with self._lock:
            self._prepare(monotonic() + timeout)

    @property
    def closed(self) -> bool:
        return self._closed

    # -- using a connection ------------------------------------------------------------------------

    def take(self) -> Connection:
        if self._closed:
            raise self._closed_error()
        try:
            return self._idle.pop()
        except IndexError:
            return self._connect()

    def give(self, connection: Connection) -> None:
        self._idle.append(connection)
        if self._closed or connection.history != self.history:
            self._drain()

    def park(self, connection: Connection) -> None:
        """Give back a connection whose identity matters: :meth:`unpark` answers the same one or none."""
        self._parked.append(connection)
        if self._closed or connection.history != self.history:
            self._drain()

    def unpark(self) -> Connection | None:
        if self._closed:
            raise self._closed_error()
        try:
            return self._parked.pop()
        except IndexError:
            return None

    def run(self, work: Callable[[Connection], _T], *, timeout: float) -> _T:
        """``work`` on a connection, again and again while the file is locked; for reads."""
        deadline = monotonic() + timeout
        while True:
            connection = self.take()
            try:
                return work(connection)
            except sqlite3.Error as exc:
                if not is_busy(exc) or self._closed or monotonic() >= deadline:
                    raise self.failure(exc) from exc
            finally:
                if connection.in_transaction:
                    with suppress(sqlite3.Error):  # what went wrong before is told; the pool takes it back clean
                        connection.execute("ROLLBACK")
                self.give(connection)

    def failure(self, error: sqlite3.Error) -> TenureError:
        """What to raise for ``error``."""
        if self._closed:
            return Unavailable(f"{self.path}: the store was closed during the call")
        return translate(error, self.path)

    def shorten_log(self, connection: Connection) -> None:
        """After a commit: let SQLite begin a write-ahead log again that has become long.

        It does so by itself only at a moment without readers, which never comes where they follow each other closely.
        Here the writer waits a moment for those that read just now; later ones read the file.
        """
        now = monotonic()
        if now < self._next_shortening:
            return
        self._next_shortening = now + _BETWEEN_LOOKS
        with suppress(sqlite3.Error, OSError):
            if os.path.getsize(self.path + "-wal") > _LOG_LENGTH:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    # -- the file at the path ----------------------------------------------------------------------

    def check_file(self, *, timeout: float, now_and_then: bool = False) -> None:
        """See whether the path still names the opened file; if not, open the one it names.

        ``now_and_then``: look at most once a second.
        """
        if now_and_then:
            now = monotonic()
            if now < self._next_check:
                return
            self._next_check = now + _FILE_CHECK
        if not self._is_current():
            self._renew(timeout)

    @property
    def identity(self) -> tuple[str, str]:
        """The history, and what its leases' deadlines count from, of the state that this store was opened on."""
        return self.history_id, self._time_base

    def is_current_state(self, connection: Connection) -> bool:
        """Whether what ``connection`` reads has this store's :attr:`identity`, and is no restored backup of another."""
        found = described(connection.execute("SELECT history_id, time_base FROM store").fetchone())
        return found == self.identity

    def suspect(self) -> None:
        """The file was overwritten in place, by another history or an older state: open it as for the first time."""
        with self._lock:
            self._reopen(restored=True)

    def _reopen(self, *, restored: bool) -> None:
        self._leave_history()
        if restored:
            self._log_identity = None  # the log goes with the file
        self._prepare(monotonic() + MOMENT, restored=restored)

    def _renew(self, timeout: float) -> None:
        with self._lock:
            if self._closed or self._is_current():
                return
            self._leave_history()
            self._prepare(monotonic() + timeout)

    def _leave_history(self) -> None:
        if self._identity is None:
            return  # left before, and nothing usable was found since
        new = [
            now for now, ours in zip(self._found_beside(), self._beside or (), strict=False) if now not in (ours, None)
        ]
        if new and self._found() == self._identity:
            fork.leak(list(self._all))  # others have begun new files: see the head of this module
        self._identity = self._beside = None
        self.history += 1
        self._drain()

    def _is_current(self) -> bool:
        beside = self._beside
        if self._identity is None or self._found() != self._identity:
            return False
        return beside is None or self._found_beside() == beside or self._beside != beside

    def _found_beside(self) -> tuple[tuple[int, int] | None, ...]:
        return self._found("-wal"), self._found("-shm")

    def _found(self, suffix: str = "") -> tuple[int, int] | None:
        try:
            found = os.stat(self.path + suffix)
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def _prepare(self, deadline: float, *, restored: bool = False) -> None:
        """Make the file if there is none, check that it is ours, and agree on the leases' time base."""
        require_access(self.path)
        refuse_foreign_file(self.path)
        self._wait_for_own_log(deadline)
        if fork.is_distrusted(self._found()):
            raise UsedAfterFork(
                f"{self.path} was in use by another thread when this process was forked, so it can't be opened here: "
                "fork before opening the store or while it is idle, or start processes without forking ('spawn')"
            )
        accept_at = min(deadline, monotonic() + _OPENING)
        while (connection := self._try_to_prepare(deadline, restored=restored, accept_at=accept_at)) is None:
            time.sleep(random.uniform(0, MOMENT))  # noqa: S311 - two that open it at once must not meet again
        self._identity, self._log_identity = self._found(), self._found("-wal")
        self._beside = self._found_beside()
        self.give(connection)

    def _wait_for_own_log(self, deadline: float) -> None:
        """Refuse a file that has the log of the one before beside it: SQLite would undo the restore by that log.

        A restore replaces the file first and removes the log next, so it gets a moment for that.
        """
        until = min(deadline, monotonic() + _RESTORING)
        while not is_empty(self.path) and self._log_identity is not None and self._found("-wal") == self._log_identity:
            if monotonic() >= until:
                raise corrupted(self.path, "it was replaced while the -wal file of the one before is still beside it")
            time.sleep(MOMENT / 10)

    def _try_to_prepare(self, deadline: float, *, restored: bool, accept_at: float) -> Connection | None:
        """Return a connection to the file, which is initialised; ``None`` to try again."""
        connection: Connection | None = None
        done = False
        try:
            connection = self._connect(first=True)
            self._initialise(connection, restored=restored, accept_at=accept_at)
            done = True
        except _OtherTimeError as exc:
            if monotonic() >= deadline:
                raise self._other_time(exc.recorded) from None
        except sqlite3.Error as exc:
            if not is_busy(exc) or monotonic() >= deadline:
                raise translate(exc, self.path) from exc
        finally:
            if connection is not None and not done:
                self._discard(connection)
        return connection if done else None

    def _other_time(self, recorded: str) -> ConfigError:
        kinds = recorded.partition(":")[0], self.time.base.partition(":")[0]
        return ConfigError(
            f"opening {self.path}: another program has it open and counts the time of leases otherwise (by {kinds[0]}, "
            f"this one by {kinds[1]}); close that program, use the same clock in both, or name another file"
        )

    def _initialise(self, connection: Connection, *, restored: bool, accept_at: float) -> None:
        if is_without_tables(connection):  # new, or its maker died in the middle and SQLite has just cleared up
            connection.execute("BEGIN EXCLUSIVE")
            try:
                create_if_empty(connection, self.time.base)
                connection.execute("COMMIT")
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
        self.history_id = verify(connection, self.path)
        mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        if mode != "wal":
            raise ConfigError(
                f"{self.path}: its filesystem can't share memory between processes, which SQLite's write-ahead log "
                "needs: put the store on a local disk"
            )
        self._agree_on_time(connection, restored=restored, accept_at=accept_at)

    def _agree_on_time(self, connection: Connection, *, restored: bool, accept_at: float) -> None:
        """Let the leases' deadlines count from this store's time base, unless other programs count from another.

        Nothing rewrites the deadlines of leases whose holders may live: those have the file open. The exception is a
        state that was ``restored`` under the programs that have it open. The first of them to notice it sets its own
        time base. The others keep that one if they agreed on it before, else each would set its own again and again.
        """
        recorded = _time_base(connection)
        if not self.time.continues(recorded) and not (restored and recorded in self._agreed):
            if restored:
                connection.execute("BEGIN IMMEDIATE")
                self._rebase(connection)
            elif _lock_alone(connection):
                connection.execute("BEGIN EXCLUSIVE")
                self._rebase(connection)
                _unlock(connection)
            elif not self.time.counts_with(recorded) or monotonic() < accept_at:
                raise _OtherTimeError(recorded)  # perhaps the other program is just opening the file, too
            else:
                self._agreed.add(recorded)
        self._time_base = _time_base(connection)

    def _rebase(self, connection: Connection) -> None:
        connection.execute("UPDATE lease SET deadline = ? + ttl", (self.time.now(),))
        connection.execute("UPDATE store SET time_base = ?", (self.time.base,))
        connection.execute("COMMIT")

    # -- opening and closing -----------------------------------------------------------------------

    def _connect(self, *, first: bool = False) -> Connection:
        with self._lock:
            if self._closed:
                raise self._closed_error()
            if not first and not self._is_current():
                self._renew(MOMENT)
            mode = "rwc" if first else "rw"  # a file that was removed a moment ago must not come back empty
            connection: Connection | None = None
            try:
                connection = sqlite3.connect(
                    f"file:{quote(self.path)}?mode={mode}",
                    uri=True,
                    timeout=MOMENT,
                    isolation_level=None,
                    check_same_thread=False,
                    factory=Connection,
                )
                connection.history = self.history
                self._all.add(connection)
                connection.execute(f"PRAGMA synchronous = {self._synchronous}")
                connection.execute(f"PRAGMA journal_size_limit = {WAL_KEPT}")
                if not first and _time_base(connection) != self._time_base:  # reading it opens the write-ahead log
                    return self._connect_again(connection)
            except sqlite3.Error as exc:
                if connection is not None:  # the error refers to it: it would stay open as long as that
                    self._discard(connection)
                if first:
                    raise
                raise translate(exc, self.path) from exc
            if not first:
                self._log_identity = self._found("-wal")
                if self._beside is None:
                    self._beside = self._found_beside()
            return connection

    def _connect_again(self, connection: Connection) -> Connection:
        """The time base is another one than before: open the file as for the first time."""
        # Only a state that was restored can have changed it while this store had the file open.
        others = [each for each in self._all if each is not connection and each.history == self.history]
        self._discard(connection)
        self._reopen(restored=bool(others))
        return self._connect()

    def _discard(self, connection: Connection) -> None:
        with self._lock:
            self._all.discard(connection)
            if self._forked or fork.is_leaked(connection):
                return
            if not self._all:
                self._beside = None  # SQLite removes both files with the last connection
            with suppress(sqlite3.Error):
                # An interruption lasts until the next statement: it would keep the last one to close from moving
                # the write-ahead log into the file.
                connection.execute("SELECT 1")
            connection.close()

    def _drain(self) -> None:
        """Close the idle connections."""
        for pool in (self._parked, self._idle):
            with suppress(IndexError):
                while True:
                    self._discard(pool.pop())

    def close(self) -> None:
        """Close all connections; calls under way are interrupted. Idempotent, takes a moment at most."""
        if self._forked or self._closed:
            return
        with self._lock:
            self._closed = True
            for connection in list(self._all):
                connection.interrupt()
        self._wait_until_unused(_CLOSING)

    def _closed_error(self) -> TenureError:
        if self._forked:
            return UsedAfterFork(f"{self.path} was opened by the parent of this process: open it here again")
        return StoreClosed(f"this connection to {self.path} was closed")

    def _wait_until_unused(self, seconds: float) -> bool:
        """Close what is idle until nothing is in use any more. Those who use one don't tell, to be quick."""
        deadline = monotonic() + seconds
        self._drain()
        while self._all and monotonic() < deadline:
            time.sleep(0.001)
            self._drain()
        return not self._all

    # -- forking, see ``fork`` ----------------------------------------------------------------------

    def before_fork(self) -> None:
        self._held_for_fork = self._lock.acquire(timeout=_FORKING)
        if self._held_for_fork:
            self._wait_until_unused(_FORKING)

    def after_fork_in_parent(self) -> None:
        if self._held_for_fork:
            self._lock.release()

    def after_fork_in_child(self) -> None:
        self._forked = self._closed = True
        self._lock = threading.RLock()
        fork.leak(self._all)
        if self._all or not self._held_for_fork:
            fork.distrust(self._found())


class _OtherTimeError(Exception):
    """Another program has the file open, and its deadlines count from the time base ``recorded``."""

    def __init__(self, recorded: str) -> None:
        super().__init__(recorded)
        self.recorded = recorded


def _time_base(connection: Connection) -> str:
    return str(described(connection.execute("SELECT time_base FROM store").fetchone())[0])


def _lock_alone(connection: Connection) -> bool:
    """Lock the file against all other connections, if there is none, until :func:`_unlock`.

    Every program that has the file open holds a lock on it, and SQLite leaves the write-ahead log only without others.
    """
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    try:
        alone: bool = connection.execute("PRAGMA journal_mode = DELETE").fetchone()[0] == "delete"
    except sqlite3.OperationalError as exc:
        if not is_busy(exc):
            raise
        alone = False
    if not alone:
        connection.execute("PRAGMA locking_mode = NORMAL")
    return alone


def _unlock(connection: Connection) -> None:
    connection.execute("PRAGMA locking_mode = NORMAL")
    connection.execute("SELECT 1 FROM store").fetchone()  # only a use of the file releases the lock
    connection.execute("PRAGMA journal_mode = WAL")
