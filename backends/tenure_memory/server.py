"""The server: state, history, leases and feeds behind one lock, and the controls for tests.

Every operation does the same: take the lock, refuse if the server is paused, end the leases whose time has
come, do the work. So no reader ever sees a key of an ended lease, and every effect has one place in one order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice

from tenure.errors import ConfigError, OutcomeUnknown, TenureError, Unavailable
from tenure.plugin_kit import Deadline, Monitor, wall_clock
from tenure.spi import (
    Clock,
    CommitResult,
    Delete,
    Feed,
    KeyValue,
    LeaseGrant,
    LeaseId,
    LeaseInfo,
    MultiReadResult,
    Operation,
    Page,
    PrefixDeletion,
    Put,
    ReadResult,
    ServerInfo,
    Sink,
    Snapshot,
    SystemClock,
    Transaction,
    WatchRequest,
)
from tenure_memory.history import Change, History
from tenure_memory.lease_reaper import LeaseReaper
from tenure_memory.leases import Lease, LeaseTable
from tenure_memory.state import State
from tenure_memory.transactions import apply, check, plan
from tenure_memory.watch import Watches

DEFAULT_HISTORY = 10_000
_LOOK_EVERY = 1_000
"""Keys that are listed between two looks at the deadline."""
_MOST_DELETED = 10_000
"""Keys that one transaction deletes with their prefix, so that a call looks at its deadline now and then."""


@dataclass(frozen=True, slots=True)
class _Step:
    """What happens as a whole: a transaction, the end of a lease, or both."""

    change: Change | None
    lease: Lease | None


class MemoryServer:
    """What all openers of one ``memory://name`` share. Thread-safe.

    The public methods of the second half are for applications' tests; the first half serves the plugin.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._monitor = Monitor()
        self._clock: Clock | None = None
        self._limit: int | None = None
        self._openers: set[object] = set()
        self._paused = False
        self._unknown: list[bool] = []
        self._revision = 0
        self._begun: _Step | None = None
        self._state = State()
        self._leases = LeaseTable()
        self._history = History(DEFAULT_HISTORY)
        self._watches = Watches(DEFAULT_HISTORY // 10)
        self._reaper: LeaseReaper | None = None

    # -- opening and closing -----------------------------------------------------------------------

    def attach(self, opener: object, *, clock: Clock, history: int | None) -> None:
        """Let ``opener`` in. The first one decides on clock and history, ``ConfigError`` for one who differs."""
        with self._monitor.alone("opening the store"):
            if self._paused:
                raise self._paused_error()
            self._adopt_clock(clock)
            self._adopt_history(history)
            self._openers.add(opener)
            deadline = self._reap()
            if deadline is not None:
                self._reaping().ensure(deadline)

    def detach(self, opener: object) -> None:
        """End the opener's feeds; when nobody is left, the thread too. The data stays for the next one."""
        reaper = None
        with self._monitor.alone("closing the store"):
            self._watches.close(opener)
            self._openers.discard(opener)
            if not self._openers and self._reaper is not None:
                reaper = self._reaper
                reaper.stop()
        if reaper is not None:
            reaper.join()

    def _adopt_clock(self, clock: Clock) -> None:
        if self._clock is not None and not self._openers:
            self._reap()
        unused = not self._openers and not len(self._leases)
        if self._clock is None or unused:
            self._clock = clock
            self._reaper = LeaseReaper(self._monitor, clock, self._reap, name=f"tenure-memory-{self.name}")
        elif clock is not self._clock and not (isinstance(clock, SystemClock) and isinstance(self._clock, SystemClock)):
            raise ConfigError(
                f"memory://{self.name} is open with another clock ({type(self._clock).__name__}): "
                "pass the same clock object to every connect() of this name, or use another name"
            )

    def _adopt_history(self, history: int | None) -> None:
        if self._limit is None:
            self._limit = history or DEFAULT_HISTORY
            self._history = History(self._limit, start=self._revision)
            self._watches.bookmark_every = max(1, self._limit // 10)
        elif history not in (None, self._limit):
            raise ConfigError(
                f"memory://{self.name} keeps {self._limit} revisions, as its first opener asked, "
                f"not history={history}: leave the option out, or use another name"
            )

    # -- reading -----------------------------------------------------------------------------------

    def get(self, key: str) -> ReadResult:
        with self._monitor.alone("reading a key"):
            self._serve()
            return ReadResult(self._state.get(key), self._revision)

    def get_many(self, keys: Sequence[str]) -> MultiReadResult:
        with self._monitor.alone("reading several keys"):
            self._serve()
            return MultiReadResult(tuple(map(self._state.get, keys)), self._revision)

    def page(
        self,
        prefix: str,
        *,
        after: str | None,
        limit: int | None,
        revision: int | None,
        deadline: Deadline | None = None,
    ) -> Page:
        with self._monitor.alone("listing keys"):
            self._serve()
            if revision is None:
                items: list[KeyValue] = []
                present = self._state.under(prefix, after)
                while (limit is None or len(items) <= limit) and (found := list(islice(present, _LOOK_EVERY))):
                    items += found
                    if deadline is not None and len(found) == _LOOK_EVERY:
                        deadline.check(f"listing, {len(items)} keys had been read")
            else:
                items = self._past(prefix, after, revision)
            more = limit is not None and len(items) > limit
            return Page(tuple(items[:limit]), more, self._revision if revision is None else revision)

    def _past(self, prefix: str, after: str | None, revision: int) -> list[KeyValue]:
        """The items under ``prefix`` beyond ``after`` as they were at ``revision``."""
        past = self._history.at(revision, present=self._revision)
        items = [item for item in self._state.under(prefix, after) if item.key not in past]
        items += [
            item
            for key, item in past.items()
            if item is not None and key.startswith(prefix) and (after is None or key > after)
        ]
        return sorted(items)

    # -- writing -----------------------------------------------------------------------------------

    def commit(self, transaction: Transaction) -> CommitResult:
        return self._commit_made(lambda: transaction)

    def _commit_made(self, transaction: Callable[[], Transaction]) -> CommitResult:
        """Commit what ``transaction`` returns; it is called under the lock."""
        with self._monitor.alone("writing"):
            self._serve()
            if not self._unknown:
                return self._commit(transaction())
            if self._unknown.pop(0):
                with suppress(TenureError):  # a refusal gets lost on the way just as an answer does
                    self._commit(transaction())
            raise OutcomeUnknown(f"memory://{self.name} was set to lose the answer to this write")

    def _commit(self, transaction: Transaction) -> CommitResult:
        check(transaction.preconditions, self._state, self._revision)
        for operation in transaction.operations:
            if isinstance(operation, Put) and operation.lease_id is not None:
                self._leases.require(operation.lease_id)
        return self._write(transaction.operations)

    def _write(self, operations: Sequence[Operation]) -> CommitResult:
        """Apply the operations as one transaction: state, leases' keys, history and watchers."""
        change = plan(operations, self._state, self._revision + 1)
        if change is None:
            return CommitResult(self._revision)
        self._begin(_Step(change, None))
        return CommitResult(change.revision, sum(not isinstance(entry, KeyValue) for entry in change.entries))

    def delete_prefix(self, prefix: str) -> PrefixDeletion:
        more = False

        def deletes() -> Transaction:
            nonlocal more
            keys = [item.key for item in islice(self._state.under(prefix), _MOST_DELETED + 1)]
            more = len(keys) > _MOST_DELETED
            return Transaction((), tuple(map(Delete, keys[:_MOST_DELETED])))

        done = self._commit_made(deletes)
        return PrefixDeletion(deleted=done.deleted, revision=done.revision, has_more=more)

    def _begin(self, step: _Step) -> None:
        self._begun = step  # this is the commit: an interrupt before it takes back everything, one after it nothing
        self._finish()

    def _finish(self) -> None:
        """Do what was begun. An interrupt may have left it half done, so doing it twice does no harm."""
        step = self._begun
        if step is None:
            return
        if step.lease is not None:
            self._leases.end(step.lease)
        change = step.change
        if change is not None:
            self._revision = change.revision
            apply(change, self._state)
            self._move_between_leases(change)
            self._history.append(change)
            self._watches.offer(change)
        self._begun = None

    def _move_between_leases(self, change: Change) -> None:
        for entry, before in zip(change.entries, change.before, strict=True):
            if before is not None and before.lease_id is not None:
                left = self._leases.find(before.lease_id)
                if left is not None:
                    left.keys.discard(before.key)
            if isinstance(entry, KeyValue) and entry.lease_id is not None:
                self._leases.require(entry.lease_id).keys.add(entry.key)

    # -- leases ------------------------------------------------------------------------------------

    def grant(self, ttl: float) -> LeaseGrant:
        with self._monitor.alone("granting a lease"):
            now = self._serve()
            lease = self._leases.grant(ttl, now)
            self._reaping().ensure(lease.deadline)
            return LeaseGrant(lease.lease_id, ttl)

    def refresh(self, lease_ids: Sequence[LeaseId]) -> dict[LeaseId, float]:
        with self._monitor.alone("refreshing leases"):
            now = self._serve()
            alive = [lease for lease in map(self._leases.find, lease_ids) if lease is not None]
            for lease in alive:
                self._leases.refresh(lease, now)
            return {lease.lease_id: lease.ttl for lease in alive}

    def revoke(self, lease_ids: Sequence[LeaseId]) -> frozenset[LeaseId]:
        with self._monitor.alone("revoking leases"):
            self._serve()
            alive = [lease for lease in map(self._leases.find, dict.fromkeys(lease_ids)) if lease is not None]
            for lease in alive:
                self._end(lease)
            return frozenset(lease.lease_id for lease in alive)

    def leases(self, lease_id: LeaseId | None) -> tuple[LeaseInfo, ...]:
        with self._monitor.alone("listing leases"):
            now = self._serve()
            return tuple(
                LeaseInfo(lease.lease_id, lease.ttl, lease.deadline - now, tuple(sorted(lease.keys)))
                for lease in self._leases
                if lease_id is None or lease.lease_id == lease_id
            )

    def _end(self, lease: Lease) -> None:
        """The lease goes, and its keys in one transaction of their own."""
        change = plan([Delete(key) for key in sorted(lease.keys)], self._state, self._revision + 1)
        self._begin(_Step(change, lease))

    def _reap(self) -> float | None:
        """End every lease whose time has come; answers when the next one's does."""
        self._finish()
        if self._clock is None:
            return None
        now = self._clock.now()
        while (lease := self._leases.due(now)) is not None:
            self._end(lease)
        return self._leases.next_deadline()

    # -- watching and housekeeping -----------------------------------------------------------------

    def watch(self, opener: object, request: WatchRequest, *, sink: Sink) -> Feed:
        with self._monitor.alone("watching"):
            self._serve()
            feed = self._watches.new(opener, request, sink, position=self._revision)
            if request.after is None:
                feed.deliver(Snapshot(self._watched(request), self._revision))
            else:
                for change in self._history.since(request.after, present=self._revision):
                    feed.offer(change.revision, change.entries)
            self._watches.add(opener, feed, self._revision)
            return feed

    def _watched(self, request: WatchRequest) -> tuple[KeyValue, ...]:
        if not request.exact:
            return tuple(self._state.under(request.prefix))
        item = self._state.get(request.prefix)
        return () if item is None else (item,)

    def info(self) -> ServerInfo:
        with self._monitor.alone("asking the server about itself"):
            self._serve()
            return ServerInfo(
                product="tenure memory store",
                version="in process",
                revision=self._revision,
                clock=wall_clock() if isinstance(self._clock, SystemClock) else None,
                warnings=("nothing survives the end of this process",),
                details={
                    "keys": str(sum(1 for _ in self._state.under(""))),
                    "leases": str(len(self._leases)),
                    "oldest revision": str(self._history.start),
                    "clock": "system" if isinstance(self._clock, SystemClock) else "manual",
                },
            )

    def _serve(self) -> float:
        """Begin an operation, with the lock: finish what an interrupt left half done, end leases, tell the time."""
        if self._paused:
            raise self._paused_error()
        self._reap()
        return self._clock.now() if self._clock is not None else 0.0

    def _reaping(self) -> LeaseReaper:
        if self._reaper is None:
            raise ConfigError(f"memory://{self.name} isn't open: connect() to it first")
        return self._reaper

    def _paused_error(self) -> Unavailable:
        return Unavailable(f"memory://{self.name} is paused: its test has to call resume()")

    # -- controls for tests ------------------------------------------------------------------------

    def expire_lease(self, lease_id: LeaseId) -> None:
        """End the lease now, as if its time had run out: its keys go, watchers see it, refreshing fails.

        Raises ``LeaseNotFound`` if it isn't alive. Works while the server is paused.
        """
        with self._monitor.alone("ending a lease"):
            self._reap()
            self._end(self._leases.require(lease_id))

    def cut_watches(self) -> None:
        """Let every running watch lose its connection (``Unavailable``); resuming works at once."""
        with self._monitor.alone("cutting watches"):
            self._watches.fail(Unavailable(f"memory://{self.name} was set to cut its watches"))

    def compact(self) -> None:
        """Drop the history: resuming a watch or a paged list from before the present gets ``Compacted``."""
        with self._monitor.alone("compacting"):
            self._history.forget()

    def pause(self) -> None:
        """Begin an outage: all operations raise ``Unavailable``, running watches fail, the data stays.

        Time runs on, so leases end meanwhile.
        """
        with self._monitor.alone("pausing"):
            self._paused = True
            self._watches.fail(Unavailable(f"memory://{self.name} was paused"))

    def resume(self) -> None:
        """End the outage. Harmless if there is none."""
        with self._monitor.alone("resuming"):
            self._paused = False

    @contextmanager
    def outage(self) -> Iterator[None]:
        """:meth:`pause` on entry, :meth:`resume` on exit."""
        self.pause()
        try:
            yield
        finally:
            self.resume()

    def make_next_write_unknown(self, *, applied: bool) -> None:
        """Lose the answer of the next transaction (``OutcomeUnknown``), after applying it or instead of it.

        Lease operations aren't affected. Calling it again queues up for the write after.
        """
        with self._monitor.alone("preparing an unknown write"):
            self._unknown.append(applied)

    def lose_data(self) -> None:
        """Start over empty, as a server restarted without its disk: keys, leases and history are gone.

        Running watches fail, and resuming them gets ``Compacted``. Revisions go on from where they were, so
        that one of the lost data is never taken for one of the new.
        """
        with self._monitor.alone("losing data"):
            self._revision += 1
            self._state = State()
            self._leases = LeaseTable()
            self._history = History(self._limit or DEFAULT_HISTORY, start=self._revision)
            self._watches.fail(Unavailable(f"memory://{self.name} was restarted without its data"))
