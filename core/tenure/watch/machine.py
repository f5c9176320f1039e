"""What a watch knows and decides, without I/O, threads or a clock: items in, batches out, and what to open next.

``TRANSITIONS`` has the states and what leads from one to another; the tests hold every change of a state to it.

How the feed is opened again decides what the watch delivers:

* after the last delivered revision, on a store that shows every revision: no change was missed, and the next
  batch is CHANGES as if there had been no break;
* otherwise, or if that revision has left the store's history or belongs to another one, or if the consumer was too
  slow: from a fresh snapshot. The difference to the delivered state is one RESYNC batch with the reason.

An attempt that reads a snapshot again waits longer the more there is to read (:mod:`tenure._runtime.spread`), so that
the clients of a store that comes back don't read all at once.

A right, a password or a certificate that the store refuses ends a watch that has not begun. Once it has begun, the
operator may give the right back: the refusal is an outage like another.

An exception may interrupt the caller at any line (a time limit, Ctrl-C). So an item is worked out first and recorded in
one assignment; what follows from it may be done again from the start, and an item that is taken twice delivers nothing
twice.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from tenure._runtime.retry import FIRST_ATTEMPT, Backoff
from tenure._runtime.spread import Share, Spread
from tenure.errors import (
    AuthenticationFailed,
    Compacted,
    ConfigError,
    DeadlineExceeded,
    HistoryReplaced,
    InvalidArgument,
    OutcomeUnknown,
    PermissionDenied,
    StoreFull,
    TenureError,
    Unavailable,
)
from tenure.spi.capabilities import Capabilities
from tenure.spi.feed import Away, Bookmark, Changes, FeedItem, Snapshot
from tenure.spi.types import KeyValue, WatchRequest
from tenure.watch.buffer import MAX_BYTES
from tenure.watch.diff import ClientState, Difference, PassThrough
from tenure.watch.events import Batch, BatchType

_TRANSIENT = (Unavailable, OutcomeUnknown, StoreFull)
_REFUSALS = (AuthenticationFailed, PermissionDenied, ConfigError)
"""What the operator can mend while the watch runs: rights, passwords, files of certificates."""
_LONGEST_ATTEMPT = 30.0
_LONGEST_SLOW_ATTEMPT = 3600.0
_SAMPLE = 1_000
"""Keys of an item whose size is looked at."""


class WatchState(StrEnum):
    """The state of a watch between its store and its consumer."""

    OPENING = "opening"
    """Nothing has arrived yet: an error that no outage causes ends the watch."""
    CONNECTED = "connected"
    RESUMING = "resuming"
    """No connection; the next feed begins after what was delivered."""
    RESYNCING = "resyncing"
    """No connection; the next feed begins with a snapshot, and the difference is delivered."""
    ENDED = "ended"


TRANSITIONS: Mapping[WatchState, Mapping[WatchState, str]] = {
    WatchState.OPENING: {
        WatchState.CONNECTED: "the first item, or the store accepts to resume",
        WatchState.ENDED: "a refusal, or the history lacks what after= asks for",
    },
    WatchState.CONNECTED: {
        WatchState.RESUMING: "the connection is lost; the store shows every revision",
        WatchState.RESYNCING: "connection lost without history, slow consumer, or history replaced",
        WatchState.ENDED: "an error that no outage causes",
    },
    WatchState.RESUMING: {
        WatchState.CONNECTED: "the store accepts to resume",
        WatchState.RESYNCING: "history compacted or replaced",
        WatchState.ENDED: "history gone, and the watch began with after=; or an error that no outage causes",
    },
    WatchState.RESYNCING: {
        WatchState.CONNECTED: "a snapshot arrives: RESYNC",
        WatchState.ENDED: "an error that no outage causes",
    },
    WatchState.ENDED: {},
}
"""State -> state that may follow -> what causes the change. ``close()`` ends a watch in every state."""


@dataclass(frozen=True, slots=True)
class WatchSettings:
    """The arguments of a watch. ``prefix`` is complete: the namespace is in front, and ``strip`` is its length.

    ``exact``: only the key that equals ``prefix``.
    """

    prefix: str
    exact: bool
    strip: int
    previous: bool
    after: int | None
    max_pending: int


class _Step(NamedTuple):
    """What follows from one item: everything that has to be recorded, as it will be afterwards."""

    batches: tuple[Batch, ...]
    revision: int
    mark: str
    snapshot_delivered: bool
    resync_reason: str
    difference: Difference | None = None


class WatchMachine:
    """One watch between its feed and its consumer. Not thread-safe; times are seconds of the store's clock."""

    def __init__(self, settings: WatchSettings, capabilities: Capabilities, spread: Spread | None = None) -> None:
        self._settings = settings
        self._spread = Spread() if spread is None else spread
        self._share = Share()
        self._reads_tried = False
        self._spread.add(self._share)
        self._lossless = capabilities.lossless_watch
        self._detection = capabilities.max_watch_failure_detection
        self.resumes_only = settings.after is not None
        """Whether the watch began after a revision: it knows no state, so it can't begin with a snapshot."""
        self._state: ClientState | PassThrough
        if settings.after is not None:
            self._state = PassThrough(strip=settings.strip, after=settings.after)
        else:
            self._state = ClientState(
                strip=settings.strip,
                previous=settings.previous,
                lossless=self._lossless,
                unique=capabilities.unique_revisions,
            )
        self._pending: _Step | None = None
        self._batches: deque[Batch] = deque()
        self._mark = ""
        self._snapshot_delivered = False
        self._resync_reason = ""
        self.resync_cause = ""
        """Why the next RESYNC batch is, or the last one was, in one word."""
        self._outage_since: float | None = None
        self._away_since: float | None = None
        self._opened_at = 0.0
        self._begun = False
        self.revision = settings.after or 0
        """Up to which all changes are delivered, or ready to be."""
        self.disconnected_at: float | None = None
        """Since when there is no connection; ``None`` while there is one."""
        self.error: TenureError | None = None
        """What has ended the watch."""
        self.outage: TenureError | None = None
        """Why there is no connection: a refusal, or what an attempt to connect again has failed with."""
        self.attempt = FIRST_ATTEMPT
        """Seconds that the next attempt to open a feed may take."""
        self.backoff = Backoff()
        """How long to wait before an attempt that resumes; see :meth:`pause`."""

    @property
    def state(self) -> WatchState:
        """The state, as :data:`TRANSITIONS` has them."""
        if self.error is not None:
            return WatchState.ENDED
        if not self._begun:
            return WatchState.OPENING
        if self.disconnected_at is None:
            return WatchState.CONNECTED
        return WatchState.RESYNCING if self._resync_reason else WatchState.RESUMING

    # -- opening a feed --

    def request(self, patience: float = _LONGEST_SLOW_ATTEMPT) -> WatchRequest:
        """What to open next: resume after what was delivered, or begin with a snapshot, within ``patience`` seconds."""
        resume = self._resumes
        return WatchRequest(
            prefix=self._settings.prefix,
            exact=self._settings.exact,
            after=self.revision if resume else None,
            mark=self._mark if resume else "",
            patience=patience,
            begun=self._snapshot_delivered,
        )

    @property
    def _resumes(self) -> bool:
        return self._lossless and not self._resync_reason and (self._snapshot_delivered or self.resumes_only)

    def pause(self, now: float) -> float:
        """Return how many seconds to wait at ``now`` before the next attempt; what it has to read makes it longer."""
        delay = self.backoff.delay()
        if self._resumes or not self._begun:
            return delay
        away = 0.0 if self.disconnected_at is None else max(0.0, now - self.disconnected_at)
        first, self._reads_tried = not self._reads_tried, True
        return max(delay, self._spread.before_reading(away, first=first))

    def ended(self) -> None:
        """The watch has ended, and reads nothing again."""
        self._spread.remove(self._share)

    def opened(self, request: WatchRequest, now: float) -> None:
        """A feed was opened by ``request``. One that begins with a snapshot is connected once that has arrived."""
        if request.after is not None:
            if self._away_since is None:  # otherwise the feed's first item says whether its source is back
                self.disconnected_at = self.outage = None
            self._begun = True
        self._opened_at = now
        self.attempt = FIRST_ATTEMPT

    def not_opened(self, error: TenureError) -> None:
        """The attempt has failed; the next one may take twice as long.

        Where the time wasn't enough, a longer attempt may be: the state may be long, and the link slow. A server that
        can't be reached gets no longer ones, for it may be back at any moment.
        """
        longest = _LONGEST_SLOW_ATTEMPT if isinstance(error, DeadlineExceeded) else _LONGEST_ATTEMPT
        self.attempt = min(self.attempt * 2, longest)
        self.outage = error
        self._decide(error)

    # -- what the feed delivers --

    def take(self, item: FeedItem, now: float = 0.0) -> None:
        """Work out what follows from an item. May be interrupted, and called again with the same item.

        ``now`` is for an item that says how old it is.
        """
        if self._pending is not None:
            self._finish()
        self._pending = self._step(item)
        # Only an item proves the feed good: a feed that opens and fails at once is opened again with a delay.
        self.backoff.reset()
        self._outage_since = None
        if not isinstance(item, Changes):
            self._hear(item.away, now)
        elif self._away_since is None:
            self.disconnected_at = self.outage = None
        self._begun = True
        self._reads_tried = False
        self._finish()
        self._weigh(item)

    def _weigh(self, item: FeedItem) -> None:
        """Estimate what reading everything again would cost: all keys, as large as those of the state on average."""
        entries = item.items if isinstance(item, Snapshot) else item.entries if isinstance(item, Changes) else ()
        share = self._share
        share.keys = len(self._state)
        if entries and (isinstance(item, Snapshot) or not share.bytes_per_key):
            some = entries[:: 1 + len(entries) // _SAMPLE]
            sizes = [len(entry.key) + len(entry.value) for entry in some if isinstance(entry, KeyValue)]
            share.bytes_per_key = sum(sizes) / len(sizes) if sizes else 0.0

    def _hear(self, away: Away | None, now: float) -> None:
        """The feed says whether its source reaches the store: if not, all is as old as the source says."""
        self._away_since = self.disconnected_at = None if away is None else now - away.age
        self.outage = None if away is None else away.error

    def overflowed(self, entries: int, now: float) -> str:
        """The consumer was too slow, and the feed was dropped. Returns the reason, as text."""
        limit = self._settings.max_pending
        most = MAX_BYTES >> 20
        reason = f"the consumer was too slow: {entries} changes waited, max_pending is {limit} and at most {most} MiB"
        self.backoff.reset()
        self._outage_since = None
        self.disconnected_at = now if self._away_since is None else self._away_since
        if not self.resumes_only:
            # Resuming in the history would let a slow consumer fall behind further; the difference is short.
            self.resync_cause = "slow_consumer"
            self._resync_reason = reason
        return reason

    def failed(self, error: TenureError, failed_at: float, alive_at: float) -> None:
        """The feed has ended. One that was opened and failed before it delivered anything has not ended the outage.

        A silent break began when the last sign of life came, ``alive_at``, at most the time of detection ago.
        """
        again = self._outage_since is not None
        failed_at = self.broken_since(error, failed_at, alive_at)
        if not again or failed_at - self._opened_at > self._detection:
            self._outage_since = failed_at if self._away_since is None else self._away_since
        self.disconnected_at = self._outage_since
        if again or isinstance(error, _REFUSALS):  # a connection that is made again at once is no news
            self.outage = error
        self._decide(error)

    def broken_since(self, error: TenureError, failed_at: float, alive_at: float) -> float:
        """Since when nothing came for certain. A connection that was closed had delivered everything until then."""
        if isinstance(error, DeadlineExceeded):
            return min(failed_at, max(alive_at, failed_at - self._detection))
        return failed_at

    def _decide(self, error: TenureError) -> None:
        """What follows an error: resume, begin with a snapshot, or end the watch."""
        if isinstance(error, Compacted):
            self.backoff.reset()  # whoever answers that is there, and has the state
        if isinstance(error, HistoryReplaced) and not self.resumes_only:
            self._resync_reason = f"the store's history was replaced after revision {self.revision}: {error}"
            self.resync_cause = "history_replaced"
        elif isinstance(error, Compacted) and not self.resumes_only:
            self._resync_reason = f"the store no longer has the changes after revision {self.revision}: {error}"
            self.resync_cause = "compacted"
        elif isinstance(error, _TRANSIENT) or (self._begun and isinstance(error, _REFUSALS)):
            if not self._lossless:
                if not self._resync_reason:
                    self.resync_cause = "connection_lost"
                self._resync_reason = self._resync_reason or f"the connection was lost: {error}"
        else:
            self.error = error

    # -- what the consumer gets --

    def first_batch(self) -> Batch | None:
        """The next batch, which stays the next one until :meth:`deliver`."""
        if self._pending is not None:
            self._finish()
        return self._batches[0] if self._batches else None

    def deliver(self) -> Batch:
        """Take the next batch out: from now on it counts as delivered.

        Raises ``InvalidArgument`` if there is none, since another thread has just taken it.
        """
        try:
            batch = self._batches[0]
            # Not popleft(): after a call the interpreter looks for signals, and the batch would be lost by one.
            del self._batches[0]
            return batch
        except IndexError:
            raise InvalidArgument(
                f"reading the watch of {self._settings.prefix!r}: another thread has just taken the batch, and a watch "
                "has one consumer at a time; open one watch per thread"
            ) from None

    # -- one item --

    def _finish(self) -> None:
        """Record the pending step. Doing it again changes nothing, so an interrupt at any line loses nothing."""
        step = self._pending
        if step is None:
            return
        if step.difference is not None:
            self._state.record(step.difference)
        self.revision = step.revision
        # What proves the history belongs to what was delivered, not to what the feed has seen beyond it.
        self._mark = step.mark
        self._snapshot_delivered = step.snapshot_delivered
        self._resync_reason = step.resync_reason
        # No batch is left here: the next item is taken once all are delivered.
        self._batches = deque(step.batches)
        self._pending = None

    def _step(self, item: FeedItem) -> _Step:
        if isinstance(item, Snapshot):
            return self._snapshot(item)
        if isinstance(item, Changes):
            return self._changes(item)
        return self._bookmark(item)

    def _bookmark(self, item: Bookmark) -> _Step:
        revision = max(self.revision, item.revision)
        return _Step((), revision, item.mark, self._snapshot_delivered, self._resync_reason)

    def _snapshot(self, item: Snapshot) -> _Step:
        # Even a watch after a revision may get one, from a store that can't resume; it has no state to compare with.
        difference = self._state.snapshot(self._only_watched_items(item))
        events, reason = difference.events, self._resync_reason
        batches: tuple[Batch, ...] = ()
        if not self._snapshot_delivered:
            batches = (
                Batch(BatchType.SNAPSHOT, events, item.revision),
                Batch(BatchType.SYNCED, (), item.revision),
            )
        elif reason:
            batches = (Batch(BatchType.RESYNC, events, item.revision, reason),)
        elif events:
            batches = (Batch(BatchType.CHANGES, events, item.revision),)
        return _Step(batches, item.revision, item.mark, True, "", difference)

    def _changes(self, item: Changes) -> _Step:
        difference = self._state.changes(self._only_watched_entries(item))
        # A store that looks at one key after the other may tell of an earlier revision later.
        revision = max(self.revision, item.revision)
        batches = (Batch(BatchType.CHANGES, difference.events, revision),) if difference.events else ()
        return _Step(batches, revision, item.mark, self._snapshot_delivered, self._resync_reason, difference)

    def _only_watched_items(self, item: Snapshot) -> Snapshot:
        if not self._settings.exact:
            return item
        key = self._settings.prefix
        return Snapshot(tuple(entry for entry in item.items if entry.key == key), item.revision)

    def _only_watched_entries(self, item: Changes) -> Changes:
        if not self._settings.exact:
            return item
        key = self._settings.prefix
        return Changes(tuple(entry for entry in item.entries if entry.key == key), item.revision)
