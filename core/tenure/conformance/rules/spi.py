"""Rules about the plugin's own interface: feeds, deadlines, closing, what isn't declared, what it says of itself."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial

from tenure._client.opening import connect
from tenure.conformance.fault_injection.faults import cut
from tenure.conformance.harness.assertions import PATIENCE
from tenure.conformance.harness.context import World
from tenure.conformance.harness.rule import Rules, needs, requires
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
    Put,
    Snapshot,
    Transaction,
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

    def wait(self, world: World, until: Callable[[], bool], did: str, expected: str, within: float = PATIENCE) -> None:
        """Wait until the condition on what was delivered holds."""
        with self._changed:
            if not self._changed.wait_for(until, within):
                raise world.check.fail(did, expected=expected, seen=(self.items[-10:], self.errors))

    def knows(self, key: str, revision: int) -> bool:
        """Whether a change of the key at the revision or later, or a snapshot as late, was delivered."""
        for item in self.items:
            if isinstance(item, Snapshot) and item.revision >= revision:
                return True
        return any(entry.key == key and revision_of(entry) >= revision for entry in self.entries())


def revision_of(entry: KeyValue | Deleted) -> int:
    """The revision of a change."""
    return entry.revision if isinstance(entry, Deleted) else entry.mod_revision


class SpiRules(Rules, area="spi"):
    """What core relies on, asked of the plugin without core in between."""

    def test_spi_capabilities_make_sense(self, world: World) -> None:
        """Capabilities are complete, constant, of the right types, and their limits fit together."""
        caps = world.backend().capabilities
        world.check.true(isinstance(caps, Capabilities), "read capabilities", expected="Capabilities", seen=caps)
        world.check.equal(world.backend().capabilities, caps, "capabilities of another connection")
        for name, note in field_notes().items():
            value = getattr(caps, name)
            good = isinstance(value, bool) if isinstance(note, Guarantee) else isinstance(value, int | float)
            world.check.true(good, f"read capabilities.{name}", expected="a promise or a number", seen=value)
            if isinstance(note, Limit):
                world.check.true(value >= 0, f"read capabilities.{name}", expected="0 or more", seen=value)
        world.check.true(
            0 < caps.min_ttl <= caps.max_ttl and caps.expiry_factor >= 1.0 and caps.max_value_bytes >= 256 * 1024,
            "compared the limits",
            expected="0 < min_ttl <= max_ttl, expiry_factor >= 1, max_value_bytes >= 262144",
            seen=caps,
        )

    def test_spi_requirements_are_judged_by_what_is_declared(self, world: World) -> None:
        """connect(require=...) opens a store for each promise it declares and refuses it for each one it doesn't."""
        for name, note in field_notes().items():
            if isinstance(note, Guarantee):
                opening = partial(connect, world.url)
                if getattr(world.capabilities, name):
                    opening(require=[name]).close()
                else:
                    world.check.raises(Unsupported, partial(opening, require=[name]), f"connect(require=[{name!r}])")

    def test_spi_pages_at_a_revision_work_or_are_refused(self, world: World) -> None:
        """Listing at a past revision is Unsupported exactly where consistent_pagination isn't declared."""
        backend = world.backend()
        revision = world.store.put("key", b"old").revision
        world.store.put("key", b"new")
        ask = partial(backend.list, world.physical(""), after=None, limit=None, revision=revision, timeout=T)
        if world.capabilities.consistent_pagination:
            world.check.equal([item.value for item in ask().items], [b"old"], f"list at revision {revision}")
        else:
            world.check.raises(Unsupported, ask, "list at a revision where consistent_pagination isn't declared")

    def test_spi_servers_describe_themselves(self, world: World) -> None:
        """server_info names product and version, and a revision that isn't older than the last write."""
        revision = world.store.put("key", b"").revision
        info = world.backend().server_info(timeout=T)
        world.check.true(bool(info.product and info.version), "server_info", expected="product and version", seen=info)
        world.check.true(info.revision >= revision, "server_info", expected=f"{revision} or more", seen=info.revision)

    def test_spi_deadlines_are_kept(self, world: World) -> None:
        """Every call answers or raises an error of Tenure within its timeout, plus a moment."""
        backend = world.backend()
        key = world.physical("key")
        calls: dict[str, Callable[[float], object]] = {
            "get": lambda seconds: backend.get(key, timeout=seconds),
            "list": lambda seconds: backend.list(key, after=None, limit=None, revision=None, timeout=seconds),
            "commit": lambda seconds: backend.commit(Transaction((), (Put(key, b""),)), timeout=seconds),
            "grant": lambda seconds: backend.grant(world.short_ttl, timeout=seconds),
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
                    raise world.check.fail(did, expected="an answer or a TenureError", seen=repr(exc)) from exc
                took = time.monotonic() - started
                world.check.true(
                    took < seconds + 2.0, f"{name}(timeout={seconds})", expected="an end in time", seen=took
                )

    # -- feeds --

    def test_spi_feeds_begin_with_a_snapshot(self, world: World) -> None:
        """Feed rule 1: with after=None the first item is a snapshot of the prefix, and what came later follows."""
        backend = world.backend()
        for key in ("w/b", "w/a", "w", "x"):
            world.store.put(key, key.encode())
        sink = Recorder()
        feed = backend.watch(world.physical("w/"), after=None, sink=sink, timeout=T)
        try:
            sink.wait(world, lambda: bool(sink.items), "watched", "a first item")
            first = sink.items[0]
            if not isinstance(first, Snapshot):
                raise world.check.fail("watch(after=None)", expected="a Snapshot first", seen=first)
            page = backend.list(world.physical("w/"), after=None, limit=None, revision=None, timeout=T)
            world.check.equal(first.items, page.items, "the snapshot's items, against a list")
            revision = world.store.put("w/c", b"").revision
            key = world.physical("w/c")
            sink.wait(world, lambda: sink.knows(key, revision), "put a key", "its change")
        finally:
            feed.close()

    @requires("lossless_watch")
    def test_spi_feeds_resume_with_the_next_revision(self, world: World) -> None:
        """Feed rules 2 to 4: with after=R all later transactions come, whole, in order, none twice, no other."""
        backend = world.backend()
        committed = []
        for number in range(12):
            transaction = world.store.transaction().put("w/a", b"%d" % number).put("w/b", b"%d" % number)
            committed.append(
                (transaction.delete("w/c") if number % 2 else transaction.put("w/c", b"")).commit().revision
            )
        for position in (0, 5, 10):
            sink = Recorder()
            feed = backend.watch(world.physical("w/"), after=committed[position], sink=sink, timeout=T)
            try:
                key, last = world.physical("w/a"), committed[-1]
                sink.wait(world, partial(sink.knows, key, last), "resumed", "the last change")
                for item in sink.items:
                    if isinstance(item, Changes):
                        highest = max(revision_of(entry) for entry in item.entries)
                        world.check.equal(item.revision, highest, "the revision of a Changes item: its highest")
                told = [revision_of(entry) for entry in sink.entries()]
                expected = [revision for revision in committed[position + 1 :] for _ in range(3)]
                world.check.equal(told, expected, f"the revisions of changes after {committed[position]}")
            finally:
                feed.close()

    def test_spi_feeds_bookmark_nothing_too_early(self, world: World) -> None:
        """A bookmark at a revision means that no change up to it comes any more."""
        backend = world.backend()
        sink = Recorder()
        feed = backend.watch(world.physical("w/"), after=None, sink=sink, timeout=T)
        try:
            for number in range(60):
                last = world.store.put(f"w/{number % 3}" if number % 2 else f"other/{number}", b"").revision
            last = world.store.put("w/0", b"last").revision
            key = world.physical("w/0")
            sink.wait(world, lambda: sink.knows(key, last), "wrote", "the last change")
            marked = 0
            for item in sink.items:
                if isinstance(item, Bookmark):
                    marked = max(marked, item.revision)
                elif isinstance(item, Changes):
                    early = min(revision_of(entry) for entry in item.entries)
                    world.check.true(
                        early > marked, f"a change after a bookmark at {marked}", expected="a later one", seen=early
                    )
        finally:
            feed.close()

    def test_spi_feeds_close_in_bounded_time(self, world: World) -> None:
        """A feed's close returns soon, from any thread and more than once, and disturbs no other feed."""
        backend = world.backend()
        kept, sinks = Recorder(), [Recorder() for _ in range(10)]
        keep = backend.watch(world.physical(""), after=None, sink=kept, timeout=T)
        feeds = [backend.watch(world.physical(""), after=None, sink=sink, timeout=T) for sink in sinks]
        started = time.monotonic()
        threads = [threading.Thread(target=feed.close, daemon=True) for feed in feeds for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        took = time.monotonic() - started
        alive = sum(thread.is_alive() for thread in threads)
        world.check.true(
            not alive and took < PATIENCE, "closed ten feeds twice", expected="an end", seen=f"{alive} hang"
        )
        revision = world.store.put("key", b"").revision
        kept.wait(world, lambda: kept.knows(world.physical("key"), revision), "put a key", "the open feed tells it")
        keep.close()
        world.check.equal([sink.errors for sink in sinks if sink.errors], [], "fail() calls of feeds that were closed")

    @needs("cut")
    def test_spi_feeds_fail_once_when_cut(self, world: World) -> None:
        """Feed rule 5: a feed whose connection breaks ends once, by Unavailable, and doesn't reconnect by itself."""
        backend = world.backend()
        sink = Recorder()
        feed = backend.watch(world.physical(""), after=None, sink=sink, timeout=T)
        try:
            sink.wait(world, lambda: bool(sink.items), "watched", "a first item")
            # Its connection may be made after the first item was read by another one: an event shows that it stands.
            revision = world.store.put("before", b"").revision
            told = partial(sink.knows, world.physical("before"), revision)
            sink.wait(world, told, "put a key", "the open feed tells it")
            world.check.enough(cut(world), 1, "a connection that broke")
            limit = world.capabilities.max_watch_failure_detection + PATIENCE
            sink.wait(world, lambda: bool(sink.errors), "cut the connection", "fail()", within=limit)
            error = sink.errors[0]
            world.check.true(isinstance(error, Unavailable), "cut", expected="Unavailable", seen=repr(error))
            count = len(sink.items)
            world.store.put("key", b"")
            world.check.equal((len(sink.items), len(sink.errors)), (count, 1), "items and errors after a write since")
        finally:
            feed.close()

    def test_spi_close_ends_everything(self, world: World) -> None:
        """After close, which may be called again, feeds end without fail() and every call is StoreClosed."""
        backend = world.backend()
        sink = Recorder()
        backend.watch(world.physical(""), after=None, sink=sink, timeout=T)
        sink.wait(world, lambda: bool(sink.items), "watched", "a first item")
        backend.close()
        backend.close()
        key = world.physical("key")
        for name, call in {
            "get": lambda: backend.get(key, timeout=T),
            "commit": lambda: backend.commit(Transaction((), (Delete(key),)), timeout=T),
            "grant": lambda: backend.grant(world.short_ttl, timeout=T),
            "watch": lambda: backend.watch(key, after=None, sink=Recorder(), timeout=T),
        }.items():
            world.check.raises(StoreClosed, call, f"the backend's {name} after close")
        world.check.equal(sink.errors, [], "fail() calls of a feed whose backend was closed")
