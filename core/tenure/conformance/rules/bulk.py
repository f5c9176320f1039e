"""Rules about calls on many keys: lists without values, several keys at one revision, deleting a prefix."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

from tenure._client import multi_read
from tenure._client.store import Store
from tenure._runtime.deadline import Deadline
from tenure.conformance.harness.context import TIMEOUT, RuleContext
from tenure.conformance.harness.rule import SYNC, Rules, of_face, requires_capability
from tenure.conformance.rules.lists import fill
from tenure.conformance.rules.spi import Recorder
from tenure.conformance.workloads.recording_watcher import Follower
from tenure.conformance.workloads.sample_keys import ODD_KEYS, in_order
from tenure.conformance.workloads.threads import DEADLINE, Running
from tenure.errors import Unsupported
from tenure.spi import Deleted, KeyValue, MultiReadResult, WatchRequest
from tenure.watch import EventType

_NEIGHBOURS = tuple({*ODD_KEYS, "a.", "a/\x01", "a/\U0010ffff", "a/\U0010ffff\U0010ffff", "a0", "b"})
"""Keys that begin with ``a``, with ``a/``, and those next to them in byte order."""

_TOGETHER = ("t/1", "t/2", "t/3")
_ODD_ONLY = "t/odd"
_ALL = (*_TOGETHER, _ODD_ONLY)
_READS = 30
_LONGEST = 10.0
_LEAST_STATES = 5
_MOST = 10_000
"""Keys that are put in one transaction at most."""


class BulkRules(Rules, area="bulk"):
    """Many keys by one call, by the store itself or by core where the store has no such call."""

    @of_face(SYNC, because="the rule is about the plugin, below both interfaces")
    def test_bulk_calls_work_or_are_refused(self, context: RuleContext) -> None:
        """The backend's get_many and delete_prefix are Unsupported exactly where they are not declared."""
        backend = context.backend()
        revision = context.store.put("key", b"value").revision
        key = context.physical("key")
        read = partial(backend.get_many, [key], timeout=TIMEOUT)
        if context.capabilities.multi_get:
            found = [item and (item.key, item.value, item.mod_revision) for item in read().items]
            context.check.equal(found, [(key, b"value", revision)], "get_many of one key")
        else:
            context.check.raises(Unsupported, read, "get_many where multi_get isn't declared")
        delete = partial(backend.delete_prefix, key, timeout=TIMEOUT)
        if context.capabilities.prefix_delete:
            context.check.equal(delete().deleted, 1, "delete_prefix of one key")
        else:
            context.check.raises(Unsupported, delete, "delete_prefix where prefix_delete isn't declared")

    # -- lists without values --

    def test_bulk_keys_alone_are_those_of_the_list(self, context: RuleContext) -> None:
        """A list without values has the same items in the same order, each with an empty value."""
        fill(context.store, ODD_KEYS, b"value")
        context.store.put("a/empty", b"")
        for prefix in ("", "a", "a/", "%", "no such"):
            for limit in (None, 3):
                whole = context.store.list(prefix, limit=limit)
                alone = context.store.list(prefix, limit=limit, keys_only=True)
                did = f"list({prefix!r}, limit={limit}, keys_only=True)"
                context.check.equal(alone.keys, whole.keys, did)
                context.check.equal(alone.items, tuple(item._replace(value=b"") for item in whole.items), did)
                context.check.equal(alone.has_more, whole.has_more, f"has_more of {did}")

    # -- several keys at one revision --

    def test_bulk_several_keys_are_as_single_ones(self, context: RuleContext) -> None:
        """get_many returns one entry for each key in the order asked for, as get would, and None for a missing one."""
        fill(context.store, ODD_KEYS, b"value")
        revision = context.store.put("a/last", b"").revision
        asked = (*ODD_KEYS[::-5], "missing", "a/last", "a/missing")
        for keys in (asked, ("missing",)):
            found = context.store.get_many(keys)
            context.check.equal(found.items, tuple(map(context.store.get, keys)), f"get_many({keys!r})")
            context.check.true(
                found.revision >= revision, "get_many after a put", expected=f"{revision} or more", seen=found.revision
            )

    @requires_capability("multi_get")
    def test_bulk_several_keys_are_of_one_revision(self, context: RuleContext) -> None:
        """get_many shows whole transactions while others commit them, and none older than its revision."""
        self._reads_whole(context, partial(context.store.get_many, _ALL), "get_many")

    @of_face(SYNC, because="the rule is about the plugin, below both interfaces")
    def test_bulk_several_keys_read_by_core_are_of_one_revision(self, context: RuleContext) -> None:
        """Core's way to read several keys shows whole transactions, whether or not the store has one of its own."""
        backend = context.backend()

        def read() -> MultiReadResult:
            return multi_read.read_until_proven(
                lambda key, seconds: backend.get(key, timeout=seconds),
                lambda transaction, seconds: backend.commit(transaction, timeout=seconds),
                tuple(map(context.physical, _ALL)),
                Deadline(TIMEOUT),
            )

        self._reads_whole(context, read, "core's reading of several keys")

    def _reads_whole(self, context: RuleContext, read: Callable[[], MultiReadResult], did: str) -> None:
        """Read while another client commits transactions of all keys; each read shows one of them, and no old one."""
        writer = context.connect()
        revisions = {0: _commit(writer, 0)}
        started = time.monotonic()
        read()
        pause = 2 * (time.monotonic() - started)  # so that reads find a time in which no transaction comes
        done = False

        def write() -> None:
            while not done:
                number = len(revisions)
                revisions[number] = _commit(writer, number)
                time.sleep(pause)

        writing = Running(context.check, [write], "committed transactions of several keys")
        reads: list[MultiReadResult] = []
        states: set[KeyValue | None] = set()
        try:
            deadline = time.monotonic() + _LONGEST
            while time.monotonic() < deadline and not writing.failed:
                reads.append(read())
                states.add(reads[-1].items[0])
                # On a busy machine the writer may get its turns between few of the reads.
                if len(reads) >= _READS and len(revisions) >= _READS and len(states) >= _LEAST_STATES:
                    break
        finally:
            done = True
            writing.join()
        for found in reads:
            values = [None if item is None else int(item.value) for item in found.items]
            number = values[0] or 0
            expected = [number] * len(_TOGETHER) + [number if number % 2 else None]
            context.check.equal(values, expected, f"{did} beside transactions that put or delete all keys")
            newer = [other for other, revision in revisions.items() if number < other and revision <= found.revision]
            context.check.equal(newer, [], f"transactions up to the revision of {did} that it doesn't show")
        context.check.enough(len(states), _LEAST_STATES, f"another state seen by {did}")

    # -- deleting a prefix --

    def test_bulk_a_deleted_prefix_takes_no_neighbour(self, context: RuleContext) -> None:
        """delete_prefix deletes every key that starts with the prefix and no other, and counts them."""
        fill(context.store, _NEIGHBOURS)
        beside = context.connect(context.namespace + "0")
        beside.put("a/b", b"beside")
        left = in_order(_NEIGHBOURS)
        for prefix in ("a//", "a/", "no such", "a", "%", "\ue000", ""):
            gone = [key for key in left if key.startswith(prefix)]
            done = context.store.delete_prefix(prefix, allow_empty_prefix=True)
            context.check.equal(done.deleted, len(gone), f"deleted by delete_prefix({prefix!r})")
            left = tuple(key for key in left if key not in gone)
            context.check.equal(context.store.list("").keys, left, f"the keys after delete_prefix({prefix!r})")
        context.check.equal(beside.list("").keys, ("a/b",), "the keys of another namespace after delete_prefix('')")

    def test_bulk_a_prefix_of_many_keys_is_deleted(self, context: RuleContext) -> None:
        """delete_prefix deletes all keys of a prefix that has more than a transaction takes, and counts them."""
        count = min(context.capabilities.max_transaction_operations, _MOST) + 1
        fill(context.store, tuple(f"m/{number:05}" for number in range(count)), at_once=_MOST)
        done = context.store.delete_prefix("m/", timeout=DEADLINE)
        context.check.equal(done.deleted, count, f"deleted by delete_prefix of {count} keys")
        left = context.store.list("m/", limit=1, keys_only=True).keys
        context.check.equal(left, (), f"keys that are left after delete_prefix of {count} keys")

    def test_bulk_watchers_see_a_deleted_prefix(self, context: RuleContext) -> None:
        """A watcher sees a delete for each key of a prefix that was deleted, at its revision, and no other."""
        fill(context.store, _NEIGHBOURS)
        with Follower(context.check, context.connect().watch("")) as follower:
            follower.wait_in_sync()
            follower.wait_for("b", context.store.put("b", b"connected").revision, "put a key")
            done = context.store.delete_prefix("a/")
            follower.wait_for("b", context.store.put("b", b"last").revision, "put a key after delete_prefix('a/')")
            events = [event for batch in follower.batches for event in batch.events]
        deletes = [event for event in events if event.type is EventType.DELETE]
        gone = in_order(tuple(key for key in _NEIGHBOURS if key.startswith("a/")))
        seen = in_order(tuple(event.key for event in deletes))
        context.check.equal(seen, gone, "the deletes seen after delete_prefix('a/')")
        if context.capabilities.lossless_watch:
            latest = max(event.revision for event in deletes)
            context.check.equal(latest, done.revision, "the revision of the last delete, against delete_prefix's")

    @requires_capability("prefix_delete")
    @of_face(SYNC, because="the rule is about the plugin, below both interfaces")
    def test_bulk_a_prefix_is_deleted_as_one_transaction(self, context: RuleContext) -> None:
        """The deletes of one call of the backend's delete_prefix come at one revision, the one that it returns."""
        backend = context.backend()
        keys = tuple(f"p/{number}" for number in range(20))
        fill(context.store, keys)
        sink = Recorder()
        feed = backend.watch(WatchRequest(prefix=context.physical("p/")), sink=sink, timeout=TIMEOUT)
        try:
            connected = context.store.put("p/0", b"connected").revision
            sink.wait(context, lambda: sink.knows(context.physical("p/0"), connected), "put a key", "its change")
            done = backend.delete_prefix(context.physical("p/"), timeout=TIMEOUT)
            context.check.equal((done.deleted, done.has_more), (len(keys), False), "delete_prefix of twenty keys")
            last = context.store.put("p/last", b"").revision
            sink.wait(context, lambda: sink.knows(context.physical("p/last"), last), "put a key", "its change")
        finally:
            feed.close()
        revisions = {entry.revision for entry in sink.entries() if isinstance(entry, Deleted)}
        expected = {done.revision} if context.capabilities.lossless_watch else revisions
        context.check.equal(revisions, expected, "the revisions of the deletes, against delete_prefix's")


def _commit(store: Store, number: int) -> int:
    """Put the number to all keys; every second transaction deletes the one that only odd numbers have."""
    value = b"%d" % number
    transaction = store.transaction()
    for key in _TOGETHER:
        transaction.put(key, value)
    return (transaction.put(_ODD_ONLY, value) if number % 2 else transaction.delete(_ODD_ONLY)).commit().revision
