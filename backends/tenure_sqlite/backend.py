"""The ten methods of the SPI on one SQLite file."""

from __future__ import annotations

from collections.abc import Sequence

from tenure.errors import DeadlineExceeded, PermissionDenied, StoreFull, TenureError, Unsupported
from tenure.plugin_kit import Deadline, monotonic
from tenure.spi import (
    Backend,
    Capabilities,
    CommitResult,
    Feed,
    Finding,
    LeaseGrant,
    LeaseId,
    LeaseInfo,
    ListRequest,
    MultiReadResult,
    OpenRequest,
    Page,
    PrefixDeletion,
    ReadResult,
    ServerInfo,
    Sink,
    Snapshot,
    Transaction,
    WatchRequest,
)
from tenure_sqlite import change_log, diagnosis, leases, reads, server_info
from tenure_sqlite.capabilities import declare, effective_ttl
from tenure_sqlite.database import Connection, Database
from tenure_sqlite.errors import described
from tenure_sqlite.file_location import locate, make_private
from tenure_sqlite.lease_clock import lease_time
from tenure_sqlite.transactions import Writer, Writing
from tenure_sqlite.watch import Watches, cut_off


def open_backend(request: OpenRequest) -> Backend:
    """Open the file, or make it. Raises what ``file_location``, ``schema`` and ``errors`` of this package describe."""
    return SqliteBackend(request)


class SqliteBackend(Backend):
    """One opened file."""

    def __init__(self, request: OpenRequest) -> None:
        options = request.options
        self._capabilities = declare(poll=options["poll"])
        self._time = lease_time(request.clock)
        file = locate(request.path)
        if not request.path:
            make_private(file)
        self._database = database = Database(
            file,
            synchronous=options["synchronous"],
            lease_time=self._time,
            timeout=request.timeout,
        )
        self._watches = Watches(
            database, clock=request.clock, poll=options["poll"], history=options["history"], reap=self._reap
        )
        self._writing = Writing(
            database,
            history=options["history"],
            reap=lambda writer: leases.reap(writer, self._time.now()),
            wake=self._watches.wake,
        )
        self._check_at = 0.0

    @property
    def capabilities(self) -> Capabilities:
        return self._capabilities

    # -- reading -----------------------------------------------------------------------------------

    def get(self, key: str, *, timeout: float) -> ReadResult:
        database = self._database
        if monotonic() > self._check_at:  # a reader must notice a replaced file too, but needn't look each time
            self._check_at = monotonic() + 1.0
            database.check_file(timeout=timeout)
        return reads.get(database, key, reap=self._could_reap, timeout=timeout)

    def list(self, request: ListRequest, *, timeout: float) -> Page:
        if request.revision is not None:
            raise Unsupported(
                "this store can't list a past revision (its capabilities declare consistent_pagination=False)"
            )
        return reads.list_page(self._database, request, reap=self._could_reap, timeout=timeout)

    def get_many(self, keys: Sequence[str], *, timeout: float) -> MultiReadResult:
        return reads.get_many(self._database, keys, reap=self._could_reap, timeout=timeout)

    def _could_reap(self, timeout: float) -> bool:
        """End the leases whose time has come, so that a read shows that at a revision of its own.

        False where nothing can be written now: the reader then leaves their keys out by itself.
        """
        try:
            self._reap(timeout / 2)
        except (StoreFull, PermissionDenied, DeadlineExceeded):
            return False
        return True

    # -- writing -----------------------------------------------------------------------------------

    def commit(self, transaction: Transaction, *, timeout: float) -> CommitResult:
        outcome = self._writing.run(lambda writer: writer.commit(transaction), timeout=timeout)
        if isinstance(outcome, TenureError):  # raised here, where the leases that ended before are committed
            raise outcome
        return outcome

    def delete_prefix(self, prefix: str, *, timeout: float) -> PrefixDeletion:
        return self._writing.run(lambda writer: writer.delete_prefix(prefix), timeout=timeout)

    def _reap(self, timeout: float) -> None:
        self._writing.run(lambda writer: None, timeout=timeout)  # every writer ends the leases whose time has come

    # -- leases ------------------------------------------------------------------------------------

    def grant(self, ttl: float, *, timeout: float) -> LeaseGrant:
        ttl = effective_ttl(ttl)

        def give(writer: Writer) -> tuple[LeaseId, float]:
            # The time is taken under the lock: waiting for it must not eat into the ttl.
            now = self._time.now()
            return leases.grant(writer, ttl, now), now + ttl

        lease_id, ends = self._writing.run(give, timeout=timeout)
        self._watches.granted(ends)
        return LeaseGrant(lease_id, ttl)

    def refresh(self, lease_ids: Sequence[LeaseId], *, timeout: float) -> dict[LeaseId, float]:
        return self._writing.run(lambda writer: leases.refresh(writer, lease_ids, self._time.now()), timeout=timeout)

    def revoke(self, lease_ids: Sequence[LeaseId], *, timeout: float) -> frozenset[LeaseId]:
        return self._writing.run(lambda writer: leases.revoke(writer, lease_ids), timeout=timeout)

    def leases(self, lease_id: LeaseId | None, *, timeout: float) -> tuple[LeaseInfo, ...]:
        def read(connection: Connection) -> tuple[LeaseInfo, ...] | None:
            connection.execute("BEGIN")
            if not self._database.is_current_state(connection):
                return None
            return leases.listing(connection, lease_id, self._time.now())

        deadline = Deadline(timeout)
        self._database.check_file(timeout=timeout)
        while (found := self._database.run(read, timeout=deadline.remaining())) is None:
            deadline.check("listing leases, the file was overwritten again and again")
            self._database.suspect()
        return found

    # -- watching and housekeeping -----------------------------------------------------------------

    def watch(self, request: WatchRequest, *, sink: Sink, timeout: float) -> Feed:
        self._database.check_file(timeout=timeout)
        if request.after is None:
            snapshot = self._snapshot(request, timeout)
            sink.deliver(snapshot)
            after = snapshot.revision
        else:
            after = request.after
            self._require_history(after, timeout=timeout)
        return self._watches.feed(request, sink, position=after)

    def _snapshot(self, request: WatchRequest, timeout: float) -> Snapshot:
        if request.exact:
            (item,), revision = self.get_many((request.prefix,), timeout=timeout)
            return Snapshot(() if item is None else (item,), revision)
        page = self.list(ListRequest(prefix=request.prefix), timeout=timeout)
        return Snapshot(page.items, page.revision)

    def _require_history(self, revision: int, *, timeout: float) -> None:
        def look(connection: Connection) -> tuple[int, int, bool]:
            connection.execute("BEGIN")
            present, start = described(connection.execute("SELECT revision, log_start FROM store").fetchone())
            return present, start, change_log.has(connection, revision, start=start, present=present)

        present, start, found = self._database.run(look, timeout=timeout)
        if not found:
            raise cut_off(self._database.path, revision, start=start, present=present)

    def server_info(self, *, timeout: float) -> ServerInfo:
        self._database.check_file(timeout=timeout)
        return self._database.run(lambda connection: server_info.describe(connection, self._database), timeout=timeout)

    def diagnose(self, *, timeout: float) -> tuple[Finding, ...]:
        return diagnosis.examine(self._database.path, self.server_info(timeout=timeout))

    def close(self) -> None:
        self._watches.close()
        self._database.close()
