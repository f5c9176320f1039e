"""Writing: one SQLite transaction that ends leases whose time has come and then does what the caller asked.

Each Tenure transaction in it (one per ended lease, one for the caller) has a revision of its own, which follows the
clock, so that no restored backup uses one again. All of it is refused until COMMIT. When COMMIT fails SQLite has taken
everything back; only after an input/output error can't that be relied on, because the log on disk may be complete: that
is the one ``OutcomeUnknown`` of this store.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TypeVar

from tenure.errors import Conflict, DeadlineExceeded, LeaseNotFound, OutcomeUnknown, TenureError
from tenure.plugin_kit import Monitor, monotonic, next_revision
from tenure.spi import (
    CommitResult,
    Delete,
    KeyAbsent,
    LeaseId,
    Operation,
    Precondition,
    PrefixDeletion,
    Put,
    RevisionEquals,
    Transaction,
)
from tenure_sqlite import change_log, schema
from tenure_sqlite.database import Connection, Database
from tenure_sqlite.errors import described, is_busy
from tenure_sqlite.keys import condition

_T = TypeVar("_T")

_IOERR = 10
_NO_LEASE = -1
MOST_DELETED = 10_000
"""Keys that one transaction deletes by their prefix, so that other writers get their turn."""

_PRESENT = "SELECT modified, lease, id FROM item LEFT JOIN lease ON id = item.lease WHERE key = ?"
_PUT = """
INSERT INTO item VALUES (?, ?, ?, ?, ?)
ON CONFLICT (key) DO UPDATE SET value = excluded.value, modified = excluded.modified, lease = excluded.lease
"""
_STATE = """
SELECT revision, log_start, log_bytes, (SELECT min(deadline) FROM lease), history_id, time_base FROM store
"""


class Writer:
    """The SQLite transaction under way.

    ``revision`` is the last one given. ``next_deadline`` is when the first lease ends, in the time of ``identity``.

    ``known`` are a revision and the number of its transaction, which need not be asked for if it is still the last one.
    """

    def __init__(self, connection: Connection, known: tuple[int, int]) -> None:
        self.connection = connection
        state = described(connection.execute(_STATE).fetchone())
        self.revision, self._log_start, self._log_bytes, self.next_deadline = state[:4]
        self.identity = state[4:]
        revision, number = known
        self._number = number if revision == self.revision else change_log.number_of(connection, self.revision)
        self._first_number = self._number

    def commit(self, transaction: Transaction) -> CommitResult | Conflict | LeaseNotFound:
        """Apply the transaction, or answer why not: an error to raise once the ended leases are committed."""
        return (
            self._check(transaction.preconditions)
            or self._check_leases(transaction.operations)
            or self.write(transaction.operations)
        )

    def write(self, operations: Iterable[Operation]) -> CommitResult:
        """Apply operations as one revision, or none if they change nothing."""
        revision = next_revision(self.revision)
        puts: list[tuple[str, bytes, int, int, int | None]] = []
        put_at: list[tuple[int, str]] = []
        deletes: list[change_log.Row] = []
        size = 0
        for position, operation in enumerate(operations, change_log.first_position(self._number + 1)):
            key = operation.key
            if isinstance(operation, Put):
                lease = None if operation.lease_id is None else parse_lease_id(operation.lease_id)
                puts.append((key, operation.value, revision, revision, lease))
                put_at.append((position, key))
                size += len(key) + len(operation.value)
            elif self.connection.execute("DELETE FROM item WHERE key = ?", (key,)).rowcount:
                deletes.append((revision, position, key, None, None, None))
                size += len(key)
        if puts:
            self.connection.executemany(_PUT, puts)
            change_log.append_puts(self.connection, put_at)
        if deletes:
            change_log.append(self.connection, deletes)
        if not puts and not deletes:
            return CommitResult(self.revision)
        self._added(revision, size)
        return CommitResult(revision, len(deletes))

    def delete_prefix(self, prefix: str) -> PrefixDeletion:
        """Delete the first ``MOST_DELETED`` keys under ``prefix`` as one revision."""
        within, bounds = condition(prefix, None)
        last = self.connection.execute(
            f"SELECT key FROM item WHERE {within} ORDER BY key LIMIT 1 OFFSET ?",  # noqa: S608 - question marks only
            (*bounds, MOST_DELETED - 1),
        ).fetchone()
        if last is not None:
            within, bounds = condition(prefix, None, upto=last[0])
        revision = next_revision(self.revision)
        position = change_log.first_position(self._number + 1)
        size = change_log.append_deletes(self.connection, within, bounds, revision=revision, position=position)
        deleted = self.connection.execute(f"DELETE FROM item WHERE {within}", bounds).rowcount  # noqa: S608 - as above
        if not deleted:
            return PrefixDeletion(deleted=0, revision=self.revision)
        schema.adopt_version(self.connection)
        self._added(revision, size)
        return PrefixDeletion(deleted=deleted, revision=revision, has_more=last is not None)

    @property
    def last(self) -> tuple[int, int]:
        """The last revision and the number of its transaction, for the next writer."""
        return self.revision, self._number

    def _added(self, revision: int, size: int) -> None:
        self.revision = revision
        self._number += 1
        self._log_bytes += size

    def finish(self, history: int) -> bool:
        """Note the new revision and trim the log; answers whether there is anything for watchers."""
        if self._number == self._first_number:
            return False
        self._log_start, self._log_bytes = change_log.trim(
            self.connection,
            start=self._log_start,
            present=self.revision,
            numbers=range(self._first_number + 1, self._number + 1),
            size=self._log_bytes,
            history=history,
        )
        self.connection.execute(
            "UPDATE store SET revision = ?, log_start = ?, log_bytes = ?",
            (self.revision, self._log_start, self._log_bytes),
        )
        return True

    def _check(self, preconditions: Iterable[Precondition]) -> Conflict | None:
        for precondition in preconditions:
            row = self._present(precondition.key)
            if isinstance(precondition, KeyAbsent):
                found = row and f"exists (revision {row[0]}) and should not"
            elif row is None:
                found = "doesn't exist"
            elif isinstance(precondition, RevisionEquals) and row[0] != precondition.revision:
                found = f"is at revision {row[0]}, not {precondition.revision}"
            else:
                continue
            if found:
                return Conflict(f"{found}; nothing was changed", keys=[precondition.key], revision=self.revision)
        return None

    def _present(self, key: str) -> tuple[int] | None:
        """The revision of a key, if it is there. Keys of a lease that another program removed go now."""
        row = self.connection.execute(_PRESENT, (key,)).fetchone()
        if row is not None and row[1] is not None and row[2] is None:
            self.end_keys(row[1])
            return None
        return row[:1] if row is not None else None

    def end_keys(self, lease: int) -> None:
        """Delete the keys of a lease, as one revision."""
        rows = self.connection.execute("SELECT key FROM item WHERE lease = ? ORDER BY key", (lease,)).fetchall()
        self.write([Delete(key) for (key,) in rows])

    def _check_leases(self, operations: Iterable[Operation]) -> LeaseNotFound | None:
        named = {operation.lease_id for operation in operations if isinstance(operation, Put)} - {None}
        for lease_id in named:
            number = parse_lease_id(lease_id or "")
            if self.connection.execute("SELECT 1 FROM lease WHERE id = ?", (number,)).fetchone() is None:
                return LeaseNotFound(f"the lease {lease_id!r} isn't alive: it ended, was revoked or never was")
        return None


class Writing:
    """How this backend writes: its threads one after the other, then against other processes.

    ``reap`` ends the leases whose time has come; ``wake`` is called after a commit that watchers should see.
    """

    def __init__(
        self, database: Database, *, history: int, reap: Callable[[Writer], None], wake: Callable[[], None]
    ) -> None:
        self._database = database
        self._history = history
        self._reap = reap
        self._wake = wake
        self._last = (-1, 0)
        self._turn = Monitor()  # SQLite's own waiting is polling; threads of one process needn't

    def run(self, work: Callable[[Writer], _T], *, timeout: float) -> _T:
        """Commit what ``work`` does with a writer, and take it back if it raises. Returns what ``work`` returned.

        Raises ``CallInterrupted`` for a signal handler that interrupted a writer: the file would wait for its own
        process.
        """
        turn = self._turn.alone(f"{self._database.path}: writing")
        deadline = monotonic() + timeout
        try:
            if not turn.acquire(timeout=timeout):
                raise DeadlineExceeded(f"{self._database.path}: other threads of this process wrote for the whole time")
            while True:
                with suppress(_Overwritten):
                    return self._run(work, timeout, deadline)
                self._database.suspect()
                if monotonic() >= deadline:
                    raise DeadlineExceeded(f"{self._database.path}: the file was overwritten again and again")
        finally:
            try:
                turn.leave()
            finally:
                turn.leave()

    def _run(self, work: Callable[[Writer], _T], timeout: float, deadline: float) -> _T:
        database = self._database
        database.check_file(timeout=timeout)
        connection = database.take()
        try:
            self._begin(connection, deadline)
            writer = Writer(connection, self._last)
            if writer.identity != database.identity:  # before its leases end by another clock than theirs
                raise _Overwritten
            self._reap(writer)
            result = work(writer)
            changed = writer.finish(self._history)
        except sqlite3.Error as exc:
            raise database.failure(exc) from exc
        else:
            self._commit(connection)
            self._last = writer.last
            database.shorten_log(connection)
        finally:
            if connection.in_transaction:
                with suppress(sqlite3.Error):  # what went wrong before is being raised
                    connection.execute("ROLLBACK")
            database.give(connection)
        if changed:
            self._wake()
        return result

    def _begin(self, connection: Connection, deadline: float) -> None:
        while True:
            try:
                connection.execute("BEGIN IMMEDIATE")
                return
            except sqlite3.Error as exc:
                if not is_busy(exc) or self._database.closed or monotonic() >= deadline:
                    raise

    def _commit(self, connection: Connection) -> None:
        try:
            connection.execute("COMMIT")
        except sqlite3.Error as exc:
            error: TenureError = self._database.failure(exc)
            if not connection.in_transaction and (getattr(exc, "sqlite_errorcode", 0) or 0) & 0xFF == _IOERR:
                error = OutcomeUnknown(f"{self._database.path}: writing to the disk failed in the last step ({exc})")
            raise error from exc


class _Overwritten(Exception):
    """A restored backup took the place of the state that this store was opened on."""


def parse_lease_id(lease_id: LeaseId) -> int:
    """The number of a lease; of text that isn't an id, a number that no lease has."""
    try:
        number = int(lease_id, 16)
    except ValueError:
        return _NO_LEASE
    return number if 0 <= number < 2**63 and format(number, "x") == lease_id else _NO_LEASE
