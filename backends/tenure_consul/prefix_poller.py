"""One thread that follows one prefix, or one key, by long polls, for all feeds on it.

Theory of operation. A read of the prefix answers its whole content and an index. A blocking read with that index
answers when something below the prefix has changed, or when its time is up. What the thread knows is the identity of
each key's last put (``history_evidence``); the difference to the next answer is what it delivers. Only this thread
reads and delivers::

    READ (at once) ──► tell: snapshots to feeds that joined before it, the difference to the others
      ▲                  │
      │                  ▼
      └── changed ◄── BLOCK ── joined, last feed closed: its connection is shut from outside
                         │
                         └──── silent beyond its time, broken, refused: all feeds fail, the thread ends

A prefix of many keys blocks on a listing of names instead, folded at slashes: as the answer to a poll in which nothing
happened comes every few seconds, it had better be short. After a change there, the thread rests for as long as the read
took it, so that a busy prefix takes no more than half of a processor.

The connection may outlive the servers' data: a backup is restored into running servers, or a client agent stays while
its servers are replaced. Then an index may go back, stay as it was, or grow as if nothing had happened. So an answer
counts as unchanged only if its bytes are. For a listing of names, the newest key is read too. Feeds get the difference
if every revision that is still shown stands for the put that it stood for, else a snapshot: core compares that by
content. An index also goes back where Consul forgets when keys were deleted.

A poll that an unimportant change has answered is followed by a short rest. Consul answers the poll of a prefix
without keys, and of a key that doesn't exist, after every change in the store.
"""

from __future__ import annotations

from collections.abc import Iterable
from operator import attrgetter, itemgetter
from typing import NamedTuple

from tenure.errors import StoreClosed, TenureError, Unavailable
from tenure.plugin_kit import Deadline, FeedHub, HubFeed, Monitor, ProgressDeadline, Worker, monotonic
from tenure.spi.feed import Changes, Deleted, Snapshot
from tenure.spi.types import KeyValue
from tenure_consul import reads
from tenure_consul.access import Access
from tenure_consul.capabilities import MARGIN, poll_limit
from tenure_consul.connection import Answer, Connection, ConnectionBroken
from tenure_consul.errors import ERRORS, refused
from tenure_consul.history_evidence import contradict, identity_of, revision_of
from tenure_consul.keys import Layout, url_path
from tenure_consul.pool import Pool
from tenure_consul.revisions import Revisions

_MANY = 500
_LONGEST_REST = 1.0
_SHORTEST_REST = 0.02
_CONNECT = 5.0
_JOIN = 5.0
_BY_REVISION = attrgetter("mod_revision")
_IDENTITY = itemgetter(1)


class Watched(NamedTuple):
    """What a poller follows: a prefix, or the only key."""

    prefix: str
    exact: bool


class PrefixPoller:
    """Polls ``watched`` from when its first feed joins until its last one leaves or a poll fails."""

    def __init__(
        self, pool: Pool, layout: Layout, revisions: Revisions, access: Access, watched: Watched, *, wait: float
    ) -> None:
        self.watched = watched
        self._pool = pool
        self._layout = layout
        self._revisions = revisions
        self._access = access
        self._wait = wait
        self._path = reads.list_path(layout, watched.prefix)
        self._listing = "" if watched.exact else "recurse"
        self._action = "watching"
        self._changed = Monitor()
        self._hub = FeedHub()
        self._connection: Connection | None = None
        self._blocking = False
        self.ended = False
        """Whether it takes no more feeds."""
        self._known: dict[str, int] = {}
        self._index = 0
        self._content = self._names = 0
        self._went_back = False
        self._cost = 0.0
        self._worker = Worker(self._run, name=f"tenure-consul-watch-{watched.prefix[:40]}", on_error=self._fail)

    # -- for feeds, from any thread --

    def join(self, feed: HubFeed) -> bool:
        """Let the feed in; ``False`` if this poller has ended."""
        with self._changed:
            if self.ended:
                return False
            self._hub.add(feed)
            # Also where another feed had it started: that call may have been interrupted before.
            self._worker.start(self._action)
            if self._blocking:
                self._shut()
            self._changed.notify_all()
            return True

    def leave(self, feed: HubFeed) -> bool:
        """Deliver nothing more to the feed; whether no feed is left, and the poller has ended."""
        with self._changed:
            self._hub.remove(feed)
            if self._hub:
                return False
            self._end()
            return True

    def stop(self) -> None:
        """End without telling the feeds. Doesn't wait."""
        with self._changed:
            self._hub.clear()
            self._end()

    def wait_ended(self) -> None:
        """Wait for the thread, in bounded time."""
        self._worker.join(_JOIN)

    def _end(self) -> None:
        self.ended = True
        self._worker.stop()
        self._shut()
        self._changed.notify_all()

    def _shut(self) -> None:
        if self._connection is not None:
            self._connection.interrupt()

    # -- the thread --

    def _run(self) -> None:
        try:
            while not self.ended:
                with self._pool.connection(Deadline(_CONNECT), self._action, fresh=True) as connection:
                    self._follow(connection)
        except StoreClosed:
            self.stop()

    def _wanted(self) -> bool:
        """Whether to go on. The call that took the last feed away may have been interrupted."""
        if not self._hub:
            self._end()
        return not self.ended

    def _follow(self, connection: Connection) -> None:
        """READ and BLOCK on one connection, until it is shut or no feed is left."""
        with self._changed:
            self._connection = connection
        while not connection.spent:
            with self._changed:
                if not self._wanted():
                    return
                self._hub.admit()
            present = self._present() if self._hub.apart or self._went_back else 0
            self._went_back = False
            answer = self._ask(connection, self._listing, self._wait + MARGIN)
            if answer is None:
                return
            self._tell(answer, present)
            self._names = 0
            while (answer := self._block(connection)) is not None:
                if not self._tell(answer, 0):
                    self._pause(_SHORTEST_REST)

    def _block(self, connection: Connection) -> Answer | None:
        """Wait for a change, and return the new content; ``None``: read it at once, or on a new connection."""
        many = len(self._known) > _MANY
        listing = "keys&separator=%2F" if many else self._listing
        query = f"{listing}&index={max(self._index, 1)}&wait={int(self._wait * 1000)}ms".lstrip("&")
        while not connection.spent:
            if many:
                self._pause(min(max(self._cost, _SHORTEST_REST), _LONGEST_REST))
            with self._changed:
                if not self._wanted() or self._hub.waiting:
                    return None
                self._blocking = True
            answer = self._ask(connection, query, poll_limit(self._wait))
            with self._changed:
                self._blocking = False
            if answer is None:
                return None
            index = reads.index_of(answer)
            self._went_back = index < self._index
            if many:
                if not self._is_silent(connection, answer):
                    return None
            elif self._went_back:
                return None
            elif index > self._index or hash(answer.body) != self._content:
                return answer
        return None

    def _is_silent(self, connection: Connection, names: Answer) -> bool:
        """Whether a listing of names shows that nothing has changed: not the index, the names, nor the newest key."""
        listed = hash(names.body)
        known, self._names = self._names or listed, listed
        if reads.index_of(names) != self._index or listed != known:
            return False
        newest, expected = max(self._known.items(), key=_IDENTITY)
        path = f"/v1/kv/{url_path(self._layout.path(newest))}"
        answer = self._exchange(connection, path, "", self._wait + MARGIN)
        return answer is not None and answer.status == 200 and identity_of(reads.only_entry(answer)) == expected

    def _pause(self, seconds: float) -> None:
        """Rest, unless a feed joins or the last one leaves."""
        with self._changed:
            self._changed.wait_for(lambda: self.ended or self._hub.waiting, seconds)

    def _present(self) -> int:
        """How far the store is, which the prefix's own index doesn't show; 0 where the next read may be of before."""
        if not self._revisions.following:
            return 0
        return reads.present(self._pool, self._layout, self._revisions, timeout=self._wait + MARGIN)

    def _ask(self, connection: Connection, query: str, limit: float) -> Answer | None:
        """The answer to a read of what is watched; ``None`` if the connection was shut from this side."""
        return self._exchange(connection, self._path, query, limit)

    def _exchange(self, connection: Connection, path: str, query: str, limit: float) -> Answer | None:
        deadline = ProgressDeadline(limit)
        try:
            answer = connection.exchange("GET", self._pool.target(path, query, read=True), None, deadline)
        except ConnectionBroken as exc:
            if connection.spent:
                return None
            self._pool.turn(connection.where)
            raise ERRORS.unanswered(
                str(exc), action=self._action, where=connection.where, write=False, late=exc.late
            ) from exc
        if answer.status not in (200, 404):
            if answer.status >= 500:
                self._pool.turn(connection.where)
            if self._pool.token_renewed(answer, connection.login):
                raise Unavailable(f"{self._action}: the ACL token was replaced; connecting again with the new one")
            raise refused(answer.status, answer.body, action=self._action, where=connection.where, write=False)
        return answer

    def _tell(self, answer: Answer, present: int) -> bool:
        """Deliver what is new: a snapshot to who has just joined, changes to the others. Whether something was new.

        ``present``: the store's revision before the answer, at which what it shows was true as well.
        """
        started = monotonic()
        found = self._found(answer)
        now = reads.index_of(answer, found.entries)
        fresh = found.identities()
        known = self._known
        changed = {key: last for key, last in fresh.items() if known.get(key) != last}
        gone = [key for key in known if key not in fresh]
        if self._hub.apart or gone:
            self._check_complete(answer)
        index, self._known, self._index, self._content = self._index, fresh, now, hash(answer.body)
        replaced = False
        if changed or gone:
            self._revisions.history.note_all(changed)
            replaced = now < index or self._is_replaced(known, changed)
        # Items are made of those alone that a feed gets.
        whole = Snapshot(tuple(found.items()), max(now, present)) if replaced or self._hub.apart else None
        news: Changes | Snapshot | None = whole if replaced else None
        if news is None and (changed or gone) and self._hub.level:
            news = _difference(found.among(changed), gone, now)
        with self._changed:
            if news is not None:
                self._hub.tell(news)
            if whole is not None:
                self._hub.begin(whole)
            else:
                self._hub.reached(max(now, present))
        self._cost = monotonic() - started
        return bool(changed or gone)

    def _found(self, answer: Answer) -> reads.Listed:
        if not self.watched.exact:
            return reads.by_key(self._layout, answer)
        if answer.status == 404:
            return reads.Listed([], [])
        return reads.Listed([self.watched.prefix], [reads.only_entry(answer)])

    def _check_complete(self, answer: Answer) -> None:
        """Raise ``PermissionDenied`` rather than deliver deletes where a right was taken away."""
        if not self.watched.exact:
            path = self._layout.path(self.watched.prefix)
            self._access.check(self._pool, path, answer, action=self._action, deadline=Deadline(self._wait + MARGIN))

    def _is_replaced(self, known: dict[str, int], changed: dict[str, int]) -> bool:
        """Whether a key shows that the data were replaced. Reads by any server may go back without that."""
        both = [(known[key], last) for key, last in changed.items() if key in known]
        if any(contradict(before, last) for before, last in both):
            self._revisions.history.replaced()
            return True
        went_back = any(revision_of(last) < revision_of(before) for before, last in both)
        if went_back and self._revisions.following:
            self._revisions.history.replaced()
        return went_back

    def _fail(self, error: TenureError) -> None:
        with self._changed:
            self._end()
            if self._pool.closed:
                self._hub.clear()
            self._hub.fail(error)


def _difference(changed: reads.Listed, gone: Iterable[str], index: int) -> Changes:
    """What has changed, in the order of revisions. Consul doesn't tell when a key was deleted: no later than now."""
    entries: list[KeyValue | Deleted] = list(changed.items())
    entries.sort(key=_BY_REVISION)
    entries.extend(Deleted(key, index) for key in gone)
    return Changes(tuple(entries), index)
