"""A store in an SQLite file, written as an outsider would: from the page on backends and ``tenure.spi`` alone.

It is small on purpose. Each step is a method of its own, so that ``broken`` can get one of them wrong.
"""

from __future__ import annotations

import sqlite3
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from tenure.errors import Conflict, LeaseNotFound, StoreClosed, StoreCorrupted, Unavailable, Unsupported
from tenure.plugin_kit import next_revision
from tenure.spi import (
    Backend,
    Capabilities,
    CommitResult,
    Feed,
    KeyAbsent,
    KeyExists,
    KeyValue,
    LeaseGrant,
    LeaseId,
    ListRequest,
    Operation,
    Page,
    PollingFeed,
    Precondition,
    Put,
    ReadResult,
    ServerInfo,
    Sink,
    Snapshot,
    Transaction,
    WatchRequest,
)

_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS meta (revision INTEGER NOT NULL, boot TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS leases (id TEXT PRIMARY KEY, ttl REAL NOT NULL, deadline REAL NOT NULL)",
    "CREATE TABLE IF NOT EXISTS keys (key BLOB PRIMARY KEY, value BLOB, made INTEGER, changed INTEGER, lease TEXT)",
    "CREATE INDEX IF NOT EXISTS by_lease ON keys (lease)",
    "CREATE INDEX IF NOT EXISTS by_deadline ON leases (deadline)",
)
_COLUMNS = "key, value, made, changed, lease"
_LIMIT = 1000
_POLL = 0.05
_OPENING = 10.0
_TURNS: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
"""Writers of one process take turns, whoever opened the file: SQLite's own waiting may starve one of many."""


class Ledger(Backend):
    """One opener of the file."""

    commit_seconds = 0.0
    """How much longer a commit takes, inside its transaction; for versions that are right and slow."""

    def __init__(self, path: str, *, timeout: float = _OPENING) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._writing = _TURNS[path]
        self._idle: list[sqlite3.Connection] = []
        self._feeds: list[Feed] = []
        self._closed = False
        with self._transaction("IMMEDIATE", timeout) as db:
            for statement in _SCHEMA:
                db.execute(statement)
            self._start_over(db)

    @property
    def capabilities(self) -> Capabilities:
        late = 0.25 + 8 * self.commit_seconds
        return Capabilities(
            durable=True,
            linearizable=True,
            multi_process=True,
            consistent_list=True,
            consistent_pagination=False,
            lossless_watch=False,
            list_leases=False,
            unique_revisions=True,
            max_value_bytes=256 * 1024,
            max_transaction_operations=_LIMIT,
            max_transaction_leases=_LIMIT,
            max_transaction_bytes=4 * 1024 * 1024,
            min_ttl=0.5,
            max_ttl=86_400.0,
            ttl_granularity=0.001,
            expiry_factor=1.0,
            expiry_slack=0.25,
            max_watch_latency=_POLL + late,
            max_watch_failure_detection=_POLL + late,
        )

    # -- connections and transactions --

    def _take(self) -> sqlite3.Connection:
        with self._lock:
            if self._closed:
                raise StoreClosed("this connection to the ledger was closed")
            if self._idle:
                return self._idle.pop()
        db = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        return db

    def _give_back(self, db: sqlite3.Connection) -> None:
        with self._lock:
            if not self._closed:
                self._idle.append(db)
                return
        db.close()

    @contextmanager
    def _transaction(self, kind: str, timeout: float) -> Iterator[sqlite3.Connection]:
        """A transaction that is committed at the end of the block. Writers of this process take turns."""
        deadline = time.monotonic() + timeout
        writes = kind != "DEFERRED"
        if writes and not self._writing.acquire(timeout=timeout):
            raise Unavailable("the ledger is busy: another writer has it")
        try:
            db = self._take()
            try:
                left = max(deadline - time.monotonic(), 0.001)
                db.execute(f"PRAGMA busy_timeout = {int(left * 1000)}")
                db.execute(f"BEGIN {kind}")
                yield db
                db.execute("COMMIT")
            except sqlite3.OperationalError as exc:
                raise Unavailable(f"the ledger doesn't answer: {exc}") from exc
            except sqlite3.DatabaseError as exc:
                raise StoreCorrupted(f"{self._path} is no ledger: {exc}") from exc
            finally:
                if db.in_transaction:
                    with suppress(sqlite3.Error):
                        db.execute("ROLLBACK")
                self._give_back(db)
        finally:
            if writes:
                self._writing.release()

    @contextmanager
    def _writer(self, timeout: float) -> Iterator[sqlite3.Connection]:
        """A transaction in which no ended lease is left."""
        with self._transaction("IMMEDIATE", timeout) as db:
            self._end_overdue(db)
            yield db

    @contextmanager
    def _reader(self, timeout: float) -> Iterator[sqlite3.Connection]:
        """The same for reading. Ends what is overdue first."""
        while True:
            with self._transaction("DEFERRED", timeout) as db:
                if not self._overdue(db):
                    yield db
                    return
            with self._writer(timeout):
                pass

    # -- time --

    def _now(self) -> float:
        """Seconds since the machine's start, the same in all its processes."""
        return time.monotonic()

    def _start_over(self, db: sqlite3.Connection) -> None:
        """After a restart of the machine its clock begins anew: every lease gets its full time again."""
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            boot = file.read().strip()
        row = db.execute("SELECT boot FROM meta").fetchone()
        if row is None:
            db.execute("INSERT INTO meta VALUES (0, ?)", (boot,))
        elif row[0] != boot:
            db.execute("UPDATE meta SET boot = ?", (boot,))
            db.execute("UPDATE leases SET deadline = ? + ttl", (self._now(),))

    # -- reading --

    def _revision(self, db: sqlite3.Connection) -> int:
        revision: int = db.execute("SELECT revision FROM meta").fetchone()[0]
        return revision

    def _item(self, row: tuple[bytes, bytes, int, int, str | None]) -> KeyValue:
        key, value, made, changed, lease = row
        return KeyValue(key.decode(), value, made, changed, lease)

    def _find(self, db: sqlite3.Connection, key: str) -> KeyValue | None:
        row = db.execute(f"SELECT {_COLUMNS} FROM keys WHERE key = ?", (key.encode(),)).fetchone()
        return None if row is None else self._item(row)

    def _under(self, db: sqlite3.Connection, prefix: str, after: str | None, limit: int | None) -> list[KeyValue]:
        """The items under a prefix, in byte order; no byte of UTF-8 is 255."""
        first = prefix.encode()
        query = f"SELECT {_COLUMNS} FROM keys WHERE key >= ? AND key < ? AND key > ? ORDER BY key LIMIT ?"
        words = (first, first + b"\xff", b"" if after is None else after.encode(), -1 if limit is None else limit)
        return [self._item(row) for row in db.execute(query, words)]

    def get(self, key: str, *, timeout: float) -> ReadResult:
        with self._reader(timeout) as db:
            return ReadResult(self._find(db, key), self._revision(db))

    def list(self, request: ListRequest, *, timeout: float) -> Page:
        limit = request.limit
        if request.revision is not None:
            raise Unsupported("the ledger keeps no past states, so it can't list at a revision")
        with self._reader(timeout) as db:
            items = self._under(db, request.prefix, request.after, None if limit is None else limit + 1)
            more = limit is not None and len(items) > limit
            return Page(tuple(items[:limit]), more, self._revision(db))

    # -- writing --

    def _holds(self, db: sqlite3.Connection, precondition: Precondition) -> bool:
        item = self._find(db, precondition.key)
        if isinstance(precondition, KeyAbsent):
            return item is None
        if isinstance(precondition, KeyExists):
            return item is not None
        return item is not None and item.mod_revision == precondition.revision

    def _check(self, db: sqlite3.Connection, transaction: Transaction) -> None:
        for precondition in transaction.preconditions:
            if not self._holds(db, precondition):
                raise Conflict("a precondition fails", keys=[precondition.key], revision=self._revision(db))
        for operation in transaction.operations:
            if isinstance(operation, Put) and operation.lease_id is not None:
                self._require(db, operation.lease_id)

    def _require(self, db: sqlite3.Connection, lease_id: LeaseId) -> None:
        if db.execute("SELECT 1 FROM leases WHERE id = ?", (lease_id,)).fetchone() is None:
            raise LeaseNotFound(f"the lease {lease_id} isn't alive")

    def _next(self, db: sqlite3.Connection) -> int:
        return next_revision(self._revision(db))

    def _put(self, db: sqlite3.Connection, put: Put, revision: int) -> None:
        before = self._find(db, put.key)
        made = revision if before is None else before.create_revision
        db.execute(
            "INSERT OR REPLACE INTO keys VALUES (?, ?, ?, ?, ?)",
            (put.key.encode(), put.value, made, revision, put.lease_id),
        )

    def _apply(self, db: sqlite3.Connection, operations: Sequence[Operation]) -> CommitResult:
        puts = [each for each in operations if isinstance(each, Put)]
        gone = [each.key for each in operations if not isinstance(each, Put) and self._find(db, each.key) is not None]
        if not puts and not gone:
            return CommitResult(self._revision(db))
        revision = self._next(db)
        for put in puts:
            self._put(db, put, revision)
        for key in gone:
            db.execute("DELETE FROM keys WHERE key = ?", (key.encode(),))
        db.execute("UPDATE meta SET revision = ?", (revision,))
        return CommitResult(revision, len(gone))

    def commit(self, transaction: Transaction, *, timeout: float) -> CommitResult:
        with self._writer(timeout) as db:
            self._check(db, transaction)
            done = self._apply(db, transaction.operations)
            time.sleep(self.commit_seconds)
            return done

    # -- leases --

    def _overdue(self, db: sqlite3.Connection) -> Sequence[LeaseId]:
        return [row[0] for row in db.execute("SELECT id FROM leases WHERE deadline <= ?", (self._now(),))]

    def _end_overdue(self, db: sqlite3.Connection) -> None:
        for lease_id in self._overdue(db):
            self._end(db, lease_id)

    def _end(self, db: sqlite3.Connection, lease_id: LeaseId) -> None:
        """The lease goes, and its keys at one revision."""
        db.execute("DELETE FROM leases WHERE id = ?", (lease_id,))
        if db.execute("DELETE FROM keys WHERE lease = ?", (lease_id,)).rowcount:
            db.execute("UPDATE meta SET revision = ?", (self._next(db),))

    def _alive(self, db: sqlite3.Connection, lease_ids: Sequence[LeaseId]) -> dict[LeaseId, float]:
        found = {}
        for lease_id in lease_ids:
            row = db.execute("SELECT ttl FROM leases WHERE id = ?", (lease_id,)).fetchone()
            if row is not None:
                found[lease_id] = row[0]
        return found

    def grant(self, ttl: float, *, timeout: float) -> LeaseGrant:
        given = max(ttl, self.capabilities.min_ttl)
        with self._writer(timeout) as db:
            lease_id = uuid.uuid4().hex
            db.execute("INSERT INTO leases VALUES (?, ?, ?)", (lease_id, given, self._now() + given))
            return LeaseGrant(lease_id, given)

    def refresh(self, lease_ids: Sequence[LeaseId], *, timeout: float) -> dict[LeaseId, float]:
        with self._writer(timeout) as db:
            alive = self._alive(db, lease_ids)
            for lease_id, ttl in alive.items():
                db.execute("UPDATE leases SET deadline = ? WHERE id = ?", (self._now() + ttl, lease_id))
            return alive

    def revoke(self, lease_ids: Sequence[LeaseId], *, timeout: float) -> frozenset[LeaseId]:
        with self._writer(timeout) as db:
            alive = self._alive(db, lease_ids)
            for lease_id in alive:
                self._end(db, lease_id)
            return frozenset(alive)

    # -- watching, and the rest --

    def _look(self, prefix: str) -> Snapshot:
        with self._reader(_OPENING) as db:
            return Snapshot(tuple(self._under(db, prefix, None, None)), self._revision(db))

    def watch(self, request: WatchRequest, *, sink: Sink, timeout: float) -> Feed:
        with self._reader(timeout):
            pass
        feed = PollingFeed(lambda: self._look(request.prefix), sink, interval=_POLL, name="ledger")
        with self._lock:
            self._feeds.append(feed)
        return feed

    def server_info(self, *, timeout: float) -> ServerInfo:
        with self._reader(timeout) as db:
            return ServerInfo("ledger", sqlite3.sqlite_version, self._revision(db))

    def close(self) -> None:
        with self._lock:
            self._closed = True
            feeds, idle = self._feeds, self._idle
            self._feeds, self._idle = [], []
        for feed in feeds:
            feed.close()
        for db in idle:
            db.close()
