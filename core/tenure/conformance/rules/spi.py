"""Rules about the SPI: feeds, deadlines, closing, undeclared capabilities, the server's description."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial

from tenure._client.opening import connect
from tenure.conformance.fault_injection.faults import cut
from tenure.conformance.harness.assertions import EVENT_TIMEOUT
from tenure.conformance.harness.context import RuleContext
from tenure.conformance.harness.rule import SYNC, Rules, requires_capability, requires_control
from tenure.errors import StoreClosed, TenureError, Unavailable, Unsupported
from tenure.spi import (
    Bookmark,
    Capabilities,
    Changes,
    Delete,
    Deleted,
    FeedItem,
    Guarantee,
    KeyValue,
    Limit,
    ListRequest,
    Put,
    Snapshot,
    Transaction,
    WatchRequest,
    field_notes,
)

T = 10.0


class Recorder:
    """A sink that keeps what it is given."""

    def __init__(self) -> None:
        self.items: list[FeedItem] = []
        self.errors: list[TenureError] = []
        self._changed = threading.Condition()

    def deliver(self, item: FeedItem, /) -> None:
        with self._changed:
            self.items.append(item)
            self._changed.notify_all()

    def fail(self, error: TenureError, /) -> None:
        with self._changed:
            self.errors.append(error)
            self._changed.notify_all()

    def entries(self) -> list[KeyValue | Deleted]:
        """All puts and deletes that came as changes."""
        return [entry for item in self.items if isinstance(item, Changes) for entry in item.entries]

    def wait(
        self, context: RuleContext, until: Callable[[], bool], did: str, expected: str, within: float = EVENT_TIMEOUT
    ) -> None:
        """Wait until the condition on what was delivered holds."""
        with self._changed:
            if not self._changed.wait_for(until, within):
                raise context.check.fail(did, expected=expected, seen=(self.items[-10:], self.errors))

    def knows(self, key: str, revision: int) -> bool:
        """Whether a change of the key at the revision or later, or a snapshot as late, was delivered."""
        for item in self.items:
            if isinstance(item, Snapshot) and item.revision >= revision:
                return True
        return any(entry.key == key and revision_of(entry) >= revision for entry in self.entries())


def revision_of(entry: KeyValue | Deleted) -> int:
    """The revision of a change."""
    return entry.revision if isinstance(entry, Deleted) else entry.mod_revision


class SpiRules(Rules, area="spi", face=(SYNC, "the rule is about the plugin, below both interfaces")):
    """What core relies on, checked on the plugin without core in between."""

    def test_spi_capabilities_make_sense(self, context: RuleContext) -> None:
        """Capabilities are complete, constant, of the right types, and their limits fit together."""
        caps = context.backend().capabilities
        context.check.true(isinstance(caps, Capabilities), "read capabilities", expected="Capabilities", seen=caps)
        context.check.equal(context.backend().capabilities, caps, "capabilities of another connection")
        for name, note in field_notes().items():
            value = getattr(caps, name)
            good = isinstance(value, bool) if isinstance(note, Guarantee) else isinstance(value, int | float)
            context.check.true(good, f"read capabilities.{name}", expected="a guarantee or a number", seen=value)
            if isinstance(note, Limit):
                context.check.true(value >= 0, f"read capabilities.{name}", expected="0 or more", seen=value)
        context.check.true(
            0 < caps.min_ttl <= caps.max_ttl and caps.expiry_factor >= 1.0 and caps.max_value_bytes >= 256 * 1024,
            "compared the limits",
            expected="0 < min_ttl <= max_ttl, expiry_factor >= 1, max_value_bytes >= 262144",
            seen=caps,
        )

    def test_spi_requirements_are_checked_by_what_is_declared(self, context: RuleContext) -> None:
        """connect(require=[name]) opens the store if it declares that guarantee, and refuses it if it doesn't."""
        for name, note in field_notes().items():
            if isinstance(note, Guarantee):
                opening = partial(connect, context.url)
                if getattr(context.capabilities, name):
                    opening(require=[name]).close()
                else:
                    context.check.raises(Unsupported, partial(opening, require=[name]), f"connect(require=[{name!r}])")

    def test_spi_pages_at_a_revision_work_or_are_refused(self, context: RuleContext) -> None:
        """Listing at a past revision is Unsupported exactly where consistent_pagination isn't declared."""
        backend = context.backend()
        revision = context.store.put("key", b"old").revision
        context.store.put("key", b"new")
        ask = partial(backend.list, ListRequest(prefix=context.physical(""), revision=revision), timeout=T)
        if context.capabilities.consistent_pagination:
            context.check.equal([item.value for item in ask().items], [b"old"], f"list at revision {revision}")
        else:
            context.check.raises(Unsupported, ask, "list at a revision where consistent_pagination isn't declared")

    def test_spi_servers_describe_themselves(self, context: RuleContext) -> None:
        """server_info names product and version, and a revision that isn't older than the last write."""
        revision = context.store.put("key", b"").revision
        info = context.backend().server_info(timeout=T)
        context.check.true(
            bool(info.product and info.version), "server_info", expected="product and version", seen=info
        )
        context.check.true(info.revision >= revision, "server_info", expected=f"{revision} or more", seen=info.revision)

    def test_spi_deadlines_are_kept(self, context: RuleContext) -> None:
        """Every call returns, or raises an error of Tenure, within its timeout and a tolerance."""
        backend = context.backend()
        key = context.physical("key")
        calls: dict[str, Callable[[float], object]] = {
            "get": lambda seconds: backend.get(key, timeout=seconds),
            "list": lambda seconds: backend.list(ListRequest(prefix=key), timeout=seconds),
            "commit": lambda seconds: backend.commit(Transaction((), (Put(key, b""),)), timeout=seconds),
            "grant": lambda seconds: backend.grant(context.short_ttl, timeout=seconds),
            "refresh": lambda seconds: backend.refresh(["1"], timeout=seconds),
            "revoke": lambda seconds: backend.revoke(["1"], timeout=seconds),
            "server_info": lambda seconds: backend.server_info(timeout=seconds),
        }
        for name, call in calls.items():
            for seconds in (0.000_001, 0.001, 0.05):
                started = time.monotonic()
                try:
                    call(seconds)
                except TenureError:
                    pass
                except Exception as exc:
                    did = f"{name}(timeout={seconds})"
                    raise context.check.fail(did, expected="a result or a TenureError", seen=repr(exc)) from exc
                took = time.monotonic() - started
                context.check.true(
                    took < seconds + 2.0, f"{name}(timeout={seconds})", expected="an end in time", seen=took
                )

    # -- feeds --

    def test_spi_feeds_begin_with_a_snapshot(self, context: RuleContext) -> None:
        """Feed rule 1: with after=None the first item is a snapshot of the prefix, and what came later follows."""
        backend = context.backend()
        for key in ("w/b", "w/a", "w", "x"):
            context.store.put(key, key.encode())
        sink = Recorder()
        feed = backend.watch(WatchRequest(prefix=context.physical("w/")), sink=sink, timeout=T)
        try:
            sink.wait(context, lambda: bool(sink.items), "watched", "a first item")
            first = sink.items[0]
            if not isinstance(first, Snapshot):
                raise context.check.fail("watch(after=None)", expected="a Snapshot first", seen=first)
            page = backend.list(ListRequest(prefix=context.physical("w/")), timeout=T)
            context.check.equal(first.items, page.items, "the snapshot's items, against a list")
            revision = context.store.put("w/c", b"").revision
            key = context.physical("w/c")
            sink.wait(context, lambda: sink.knows(key, revision), "put a key", "its change")
        finally:
            feed.close()

    @requires_capability("lossless_watch")
    def test_spi_feeds_resume_with_the_next_revision(self, context: RuleContext) -> None:
        """Feed rules 2 to 4: with after=R all later transactions come, whole, in order, none twice, no other."""
        backend = context.backend()
        committed = []
        for number in range(12):
            transaction = context.store.transaction().put("w/a", b"%d" % number).put("w/b", b"%d" % number)
            committed.append(
                (transaction.delete("w/c") if number % 2 else transaction.put("w/c", b"")).commit().revision
            )
        for position in (0, 5, 10):
            sink = Recorder()
            feed = backend.watch(
                WatchRequest(prefix=context.physical("w/"), after=committed[position]), sink=sink, timeout=T
            )
            try:
                key, last = context.physical("w/a"), committed[-1]
                sink.wait(context, partial(sink.knows, key, last), "resumed", "the last change")
                for item in sink.items:
                    if isinstance(item, Changes):
                        highest = max(revision_of(entry) for entry in item.entries)
                        context.check.equal(item.revision, highest, "the revision of a Changes item: its highest")
                revisions = [revision_of(entry) for entry in sink.entries()]
                expected = [revision for revision in committed[position + 1 :] for _ in range(3)]
                context.check.equal(revisions, expected, f"the revisions of changes after {committed[position]}")
            finally:
                feed.close()

    def test_spi_feeds_bookmark_nothing_too_early(self, context: RuleContext) -> None:
        """A bookmark at a revision means that no change up to it comes any more."""
        backend = context.backend()
        sink = Recorder()
        feed = backend.watch(WatchRequest(prefix=context.physical("w/")), sink=sink, timeout=T)
        try:
            for number in range(60):
                last = context.store.put(f"w/{number % 3}" if number % 2 else f"other/{number}", b"").revision
            last = context.store.put("w/0", b"last").revision
            key = context.physical("w/0")
            sink.wait(context, lambda: sink.knows(key, last), "wrote", "the last change")
            marked = 0
            for item in sink.items:
                if isinstance(item, Bookmark):
                    marked = max(marked, item.revision)
                elif isinstance(item, Changes):
                    early = min(revision_of(entry) for entry in item.entries)
                    context.check.true(
                        early > marked, f"a change after a bookmark at {marked}", expected="a later one", seen=early
                    )
        finally:
            feed.close()

    def test_spi_feeds_close_in_bounded_time(self, context: RuleContext) -> None:
        """A feed's close returns soon, from any thread and more than once, and disturbs no other feed."""
        backend = context.backend()
        kept, sinks = Recorder(), [Recorder() for _ in range(10)]
        keep = backend.watch(WatchRequest(prefix=context.physical("")), sink=kept, timeout=T)
        feeds = [backend.watch(WatchRequest(prefix=context.physical("")), sink=sink, timeout=T) for sink in sinks]
        started = time.monotonic()
        threads = [threading.Thread(target=feed.close, daemon=True) for feed in feeds for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(EVENT_TIMEOUT)
        took = time.monotonic() - started
        alive = sum(thread.is_alive() for thread in threads)
        context.check.true(
            not alive and took < EVENT_TIMEOUT, "closed ten feeds twice", expected="an end", seen=f"{alive} hang"
        )
        revision = context.store.put("key", b"").revision
        kept.wait(
            context, lambda: kept.knows(context.physical("key"), revision), "put a key", "the open feed delivers it"
        )
        keep.close()
        context.check.equal(
            [sink.errors for sink in sinks if sink.errors], [], "fail() calls of feeds that were closed"
        )

    @requires_control("cut")
    def test_spi_feeds_fail_once_when_cut(self, context: RuleContext) -> None:
        """Feed rule 5: a feed whose connection breaks ends once, by Unavailable, and doesn't reconnect."""
        backend = context.backend()
        sink = Recorder()
        feed = backend.watch(WatchRequest(prefix=context.physical("")), sink=sink, timeout=T)
        try:
            sink.wait(context, lambda: bool(sink.items), "watched", "a first item")
            # The feed may connect after another connection read the first item: an event shows that it is connected.
            revision = context.store.put("before", b"").revision
            delivered = partial(sink.knows, context.physical("before"), revision)
            sink.wait(context, delivered, "put a key", "the open feed delivers it")
            context.check.enough(cut(context), 1, "a connection that broke")
            limit = context.capabilities.max_watch_failure_detection + EVENT_TIMEOUT
            sink.wait(context, lambda: bool(sink.errors), "cut the connection", "fail()", within=limit)
            error = sink.errors[0]
            context.check.true(isinstance(error, Unavailable), "cut", expected="Unavailable", seen=repr(error))
            count = len(sink.items)
            context.store.put("key", b"")
            context.check.equal((len(sink.items), len(sink.errors)), (count, 1), "items and errors after a write since")
        finally:
            feed.close()

    def test_spi_close_ends_everything(self, context: RuleContext) -> None:
        """After close, which may be called again, feeds end without fail(), and every call raises StoreClosed."""
        backend = context.backend()
        sink = Recorder()
        backend.watch(WatchRequest(prefix=context.physical("")), sink=sink, timeout=T)
        sink.wait(context, lambda: bool(sink.items), "watched", "a first item")
        backend.close()
        backend.close()
        key = context.physical("key")
        for name, call in {
            "get": lambda: backend.get(key, timeout=T),
            "commit": lambda: backend.commit(Transaction((), (Delete(key),)), timeout=T),
            "grant": lambda: backend.grant(context.short_ttl, timeout=T),
            "watch": lambda: backend.watch(WatchRequest(prefix=key), sink=Recorder(), timeout=T),
        }.items():
            context.check.raises(StoreClosed, call, f"the backend's {name} after close")
        context.check.equal(sink.errors, [], "fail() calls of a feed whose backend was closed")
