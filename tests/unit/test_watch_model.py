"""Watches against a store that does everything wrong that stores do: a state machine and a model.

The model store keeps its complete history. Feeds of it lag, are cut, fail to open, deliver twice, fall behind a
compaction, are found behind a store that lost its data; the consumer reads when it likes, with a small buffer.
Whatever happens, the watcher's events must have happened, be in order, leave no gap unannounced, and end at the
store's state.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from tenure import Store
from tenure._runtime.spread import Spread
from tenure.errors import Compacted, StoreFull, Unavailable
from tenure.spi import Bookmark, Changes, Deleted, Feed, FeedItem, KeyValue, Sink, Snapshot
from tenure.watch import BatchType, EventType

from .doubles import ScriptedBackend

KEYS = st.sampled_from(["p/a", "p/b", "p/c", "p/d"])
PASSING = st.sampled_from([Unavailable("cut"), StoreFull("no room")])


class History:
    """A store's state and how it came about."""

    def __init__(self):
        self.revision = 0
        self.state: dict[str, KeyValue] = {}
        self.transactions: dict[int, tuple[KeyValue | Deleted, ...]] = {}
        self.oldest_revision = 0
        self.ever: set[tuple[str, bytes, int]] = set()

    def commit(self, puts, deletes):
        deletes = [key for key in deletes if key in self.state and key not in puts]
        if not puts and not deletes:
            return
        self.revision += 1
        entries = []
        for key in puts:
            old = self.state.get(key)
            created = self.revision if old is None else old.create_revision
            self.state[key] = new = KeyValue(key, b"%d" % self.revision, created, self.revision)
            self.ever.add((key, new.value, self.revision))
            entries.append(new)
        for key in deletes:
            del self.state[key]
            entries.append(Deleted(key, self.revision))
        self.transactions[self.revision] = tuple(entries)


@dataclass(eq=False)
class LaggingFeed(Feed):
    """Holds back what it has to say until the machine lets it."""

    sink: Sink
    pending: list[FeedItem] = field(default_factory=list)
    closed: bool = False
    begun: tuple[int, dict[str, KeyValue]] | None = None

    def close(self):
        self.closed = True


class ChaoticBackend(ScriptedBackend):
    def __init__(self, history: History, *, exact: bool) -> None:
        super().__init__(lossless_watch=exact, consistent_list=exact, consistent_pagination=exact)
        self.past = history
        self.exact = exact
        self.live: list[LaggingFeed] = []
        self.failing: list[Exception] = []
        self.compacted_late = False

    def watch(self, request, *, sink, timeout):
        if self.failing:
            raise self.failing.pop()
        feed = LaggingFeed(sink)
        now = self.past.revision
        if not self.exact or request.after is None:
            feed.begun = (now, dict(self.past.state))
        elif request.after < self.past.oldest_revision or request.after > now:
            error = Compacted("gone", oldest_revision=self.past.oldest_revision)
            if not self.compacted_late:
                raise error
            sink.fail(error)
            return feed
        else:
            feed.pending += [Changes(self.past.transactions[r], r) for r in range(request.after + 1, now + 1)]
        self.live.append(feed)
        return feed

    def begin(self, feed: LaggingFeed) -> None:
        """Take the snapshot. Where lists aren't one point in time, some keys are as of now, all after its revision."""
        if feed.begun is None:
            return
        (revision, state), feed.begun = feed.begun, None
        if not self.exact:
            for key in ("p/b", "p/d"):
                state.pop(key, None)
                if key in self.past.state:
                    state[key] = self.past.state[key]
        feed.pending.insert(0, Snapshot(tuple(state[key] for key in sorted(state)), revision))

    def committed(self, revision: int) -> None:
        for feed in self.live:
            feed.pending.append(Changes(self.past.transactions[revision], revision))

    def cut(self, error) -> None:
        for feed in self.live:
            feed.pending.clear()
            feed.sink.fail(error)
        self.live.clear()

    def deliver(self, number: int) -> None:
        self.live = [feed for feed in self.live if not feed.closed]
        for feed in self.live:
            self.begin(feed)
            for item in feed.pending[:number]:
                feed.sink.deliver(item)
            del feed.pending[:number]


class NoDelay:
    def delay(self):
        return 0.0

    def reset(self):
        pass


class WatchMachine(RuleBasedStateMachine):
    exact = True

    @initialize(keys=st.sets(KEYS))
    def open(self, keys):
        self.past = History()
        self.past.commit(sorted(keys), [])
        self.backend = ChaoticBackend(self.past, exact=self.exact)
        self.store = Store.from_backend(self.backend, url="double://")
        self.watch = self.store.watch("p/", previous=True, max_pending=6)
        self.watch._machine.backoff = NoDelay()
        self.watch._machine._spread = Spread()  # an empty one: nothing to wait for
        self.view: dict[str, KeyValue] = {}
        self.last: dict[str, int] = {}
        self.told = 0
        self.kinds: list[BatchType] = []

    # -- the world --

    @rule(puts=st.sets(KEYS), deletes=st.sets(KEYS))
    def commit(self, puts, deletes):
        before = self.past.revision
        self.past.commit(sorted(puts), sorted(deletes))
        if self.past.revision > before:
            self.backend.committed(self.past.revision)

    @rule(key=KEYS)
    def put_and_delete(self, key):
        self.commit({key}, set())
        self.commit(set(), {key})

    @rule(number=st.integers(1, 20))
    def deliver(self, number):
        self.backend.deliver(number)

    @rule(back=st.integers(0, 3))
    def deliver_again(self, back):
        if self.exact:
            for feed in self.backend.live:
                revision = self.watch.revision - back
                if feed.begun is None and revision in self.past.transactions:
                    feed.sink.deliver(Changes(self.past.transactions[revision], revision))

    @rule()
    def bookmark(self):
        for feed in self.backend.live:
            if feed.begun is None and not feed.pending:
                feed.sink.deliver(Bookmark(self.past.revision))

    @rule(error=PASSING)
    def cut(self, error):
        self.backend.cut(error)

    @rule(error=PASSING, number=st.integers(1, 3))
    def outage(self, error, number):
        self.backend.failing = [error] * number
        self.backend.cut(error)

    @rule(late=st.booleans())
    def compact(self, late):
        self.past.oldest_revision = self.past.revision
        self.backend.compacted_late = late

    @rule(late=st.booleans())
    def lose_data(self, late):
        self.past.state.clear()
        self.past.revision += 1
        self.compact(late)
        self.backend.cut(Unavailable("restarted empty"))

    # -- the consumer --

    @rule(number=st.integers(1, 10))
    def consume(self, number):
        for _ in range(number):
            batch = self.watch.next(timeout=0)
            if batch is None:
                return
            self.check(batch)

    def check(self, batch):
        self.kinds.append(batch.type)
        assert (batch.type is BatchType.SNAPSHOT) == (len(self.kinds) == 1)
        assert (batch.type is BatchType.SYNCED) == (len(self.kinds) == 2)
        assert bool(batch.reason) == (batch.type is BatchType.RESYNC)
        if batch.type is BatchType.CHANGES and self.exact:
            skipped = [r for r in range(self.told + 1, batch.revision) if r in self.past.transactions]
            assert not skipped, "a gap without a word"
            told = {(event.key, event.item) for event in batch.events}
            done = {
                (entry.key, entry if isinstance(entry, KeyValue) else None)
                for entry in self.past.transactions[batch.revision]
            }
            assert told == done, "a transaction in parts"
        for event in batch.events:
            known = self.view.pop(event.key, None)
            assert event.previous == known
            assert event.revision > self.last.get(event.key, 0), "backwards or twice"
            self.last[event.key] = event.revision
            if event.type is EventType.DELETE:
                assert known is not None
                assert event.item is None
                continue
            assert (event.type is EventType.CREATE) == (known is None)
            assert event.item is not None
            assert (event.key, event.item.value, event.item.mod_revision) in self.past.ever, "invented"
            self.view[event.key] = event.item
        self.told = max(self.told, batch.revision)

    @rule()
    def settle(self):
        """No more faults, no more writes: the watcher arrives at the store's state."""
        self.backend.failing.clear()
        quiet = 0
        while quiet < 3:
            waiting = any(feed.pending or feed.begun for feed in self.backend.live if not feed.closed)
            self.backend.deliver(3)
            batches = len(self.kinds)
            self.consume(10)
            quiet = 0 if waiting or len(self.kinds) > batches else quiet + 1
        assert self.view == self.past.state

    def teardown(self):
        if hasattr(self, "watch"):
            self.settle()
            self.store.close()
            assert not [feed for feed in self.backend.live if not feed.closed]


class CoalescingMachine(WatchMachine):
    """A store without a history to resume from, whose lists aren't one point in time."""

    exact = False


TestWatchWithHistory = WatchMachine.TestCase
TestWatchWithoutHistory = CoalescingMachine.TestCase
TestWatchWithHistory.settings = TestWatchWithoutHistory.settings = settings(
    max_examples=50, stateful_step_count=40, deadline=None
)
