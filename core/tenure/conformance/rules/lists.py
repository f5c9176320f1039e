"""Rules about lists and scans: order, prefixes, limits, pages, points in time."""

from __future__ import annotations

import threading
import time
import zlib
from collections.abc import Iterator
from functools import partial

from tenure._client.store import Store
from tenure.conformance.harness.context import RuleContext
from tenure.conformance.harness.rule import Rules, requires_capability
from tenure.conformance.workloads.sample_keys import ODD_KEYS, in_order
from tenure.conformance.workloads.threads import Running
from tenure.errors import InvalidArgument
from tenure.spi import KeyValue

_MANY = 1200
"""Keys; more than the usual page of a store's own interface."""
_BESIDE = 5
"""Lists beside a transaction that are needed."""
_LONGEST = 10.0
"""Seconds in which so many have to come."""
_LARGE = 64 * 1024
_LARGE_LIST = 20 << 20
"""Bytes; more than a plugin reads at once, so that core has to put pages together."""


def fill(store: Store, keys: tuple[str, ...], value: bytes = b"", *, at_once: int = 100) -> None:
    """Put many keys, a transaction of at most ``at_once`` at a time, not in order."""
    size = min(at_once, store.capabilities.max_transaction_operations)
    shuffled = sorted(keys, key=lambda key: zlib.crc32(key.encode()))
    for start in range(0, len(shuffled), size):
        transaction = store.transaction()
        for key in shuffled[start : start + size]:
            transaction.put(key, value)
        transaction.commit()


class ListRules(Rules, area="lists"):
    """Keys that start with a prefix."""

    def test_lists_are_in_byte_order(self, context: RuleContext) -> None:
        """Lists come in the order of the keys' UTF-8 bytes, not of a locale, of UTF-16 or of creation."""
        fill(context.store, ODD_KEYS)
        context.check.equal(
            context.store.list("").keys, in_order(ODD_KEYS), "list('') of keys written in another order"
        )
        scanned = tuple(item.key for item in context.store.scan("", page_size=7))
        context.check.equal(scanned, in_order(ODD_KEYS), "scan('', page_size=7)")

    def test_lists_take_any_prefix_literally(self, context: RuleContext) -> None:
        """A prefix is a string, no pattern, path or folder: it matches the keys that start with it and no others."""
        fill(context.store, ODD_KEYS)
        prefixes = {key[:length] for key in ODD_KEYS for length in (1, 2, len(key))}
        for prefix in sorted(prefixes):
            expected = in_order(tuple(key for key in ODD_KEYS if key.startswith(prefix)))
            context.check.equal(context.store.list(prefix).keys, expected, f"list({prefix!r})")
        context.check.equal(context.store.list("no such").keys, (), "list('no such')")

    def test_lists_match_no_folder(self, context: RuleContext) -> None:
        """The prefix 'foo' matches 'foo', 'foo/x' and 'foobar' alike; 'foo/' matches 'foo/x' alone."""
        fill(context.store, ("fo", "foo", "foo/x", "foobar", "fop"))
        context.check.equal(context.store.list("foo").keys, ("foo", "foo/x", "foobar"), "list('foo')")
        context.check.equal(context.store.list("foo/").keys, ("foo/x",), "list('foo/')")

    def test_lists_carry_items_and_revision(self, context: RuleContext) -> None:
        """A list has every item as get would return it, and a revision not older than the last write."""
        for number in range(5):
            context.store.put(f"{number}", str(number).encode())
        last = context.store.put("2", b"new").revision
        listed = context.store.list("")
        for number in range(5):
            context.check.equal(
                listed[number], context.store.get(f"{number}"), f"item {number} of list('') against get"
            )
        context.check.true(
            listed.revision >= last, "list('') after a put", expected=f"{last} or more", seen=listed.revision
        )
        context.check.true(not listed.has_more, "list('') without a limit", expected="more=False", seen="more=True")

    def test_lists_respect_the_limit(self, context: RuleContext) -> None:
        """With limit=N a list returns the first N keys, and has_more is true exactly if there are others."""
        keys = tuple(f"{number:02}" for number in range(10))
        fill(context.store, keys)
        context.store.put("zz", b"")
        for limit in (1, 2, 9, 10, 11, 12, 100):
            listed = context.store.list("", limit=limit)
            expected = (*keys, "zz")[:limit]
            context.check.equal(
                (listed.keys, listed.has_more), (expected, limit < 11), f"list('', limit={limit}) of 11 keys"
            )
            listed = context.store.list("0", limit=limit)
            context.check.equal(
                (listed.keys, listed.has_more), (keys[:limit], limit < 10), f"list('0', limit={limit}) of 10"
            )
        for bad in (0, -1):
            context.check.raises(InvalidArgument, partial(context.store.list, "", limit=bad), f"list('', limit={bad})")

    def test_lists_of_many_keys_are_complete(self, context: RuleContext) -> None:
        """A list of more keys than a page of the store's own interface holds is complete and in order."""
        keys = tuple(f"k{number:05}" for number in range(_MANY))
        fill(context.store, keys)
        context.store.put("j", b"")
        context.store.put("l", b"")
        context.check.equal(context.store.list("k").keys, keys, f"list('k') of {_MANY} keys")

    def test_lists_of_many_bytes_are_complete(self, context: RuleContext) -> None:
        """A list of more bytes than a message of the store's own interface holds is complete."""
        value = b"x" * (128 * 1024)
        keys = tuple(f"{number:02}" for number in range(48))
        for key in keys:
            context.store.put(key, key.encode() + value)
        listed = context.store.list("")
        context.check.equal(listed.keys, keys, "the keys of a list of 6 MiB")
        wrong = [item.key for item in listed if item.value != item.key.encode() + value]
        context.check.equal(wrong, [], "keys of it with a wrong value")

    @requires_capability("consistent_list")
    def test_lists_of_many_keys_show_transactions_whole(self, context: RuleContext) -> None:
        """A list of more keys than a page of the store's own interface holds shows each transaction whole."""
        fill(context.store, tuple(f"k{number:05}" for number in range(_MANY)))
        self._ends_agree(context, f"{_MANY} keys", context.profile.pick(quick=40, full=200))

    @requires_capability("consistent_list")
    def test_lists_of_many_bytes_show_transactions_whole(self, context: RuleContext) -> None:
        """A list of more bytes than an answer of the store's own interface holds shows each transaction whole."""
        value = b"x" * min(_LARGE, context.capabilities.max_value_bytes)
        keys = range(_LARGE_LIST // len(value) + 1)
        for number in keys:
            context.store.put(f"k{number:05}", value)
        self._ends_agree(context, f"{_LARGE_LIST >> 20} MiB", context.profile.pick(quick=10, full=50))

    def test_lists_by_scan_equal_lists(self, context: RuleContext) -> None:
        """A scan with any page size returns what a list returns, while no client writes."""
        keys = tuple(f"k/{number:03}" for number in range(40))
        fill(context.store, (*keys, "j", "k", "k0"), b"v")
        expected = list(context.store.list("k/"))
        for size in (1, 3, 39, 40, 41, 500):
            scanned = list(context.store.scan("k/", page_size=size))
            context.check.equal(scanned, expected, f"scan('k/', page_size={size}) of 40 keys")

    def test_lists_by_scan_miss_nothing_that_stays(self, context: RuleContext) -> None:
        """A scan while other clients write returns no key twice, and every key that exists throughout."""
        stay = tuple(f"{number:03}s" for number in range(0, 60, 2))
        fill(context.store, stay)
        scanned = self._scan_beside_writes(context, context.store.scan("", page_size=5))
        context.check.equal(sorted(set(scanned)), sorted(scanned), "the keys of a scan while others write")
        missed = sorted(set(stay) - set(scanned))
        context.check.equal(missed, [], "keys that stayed all the while and were not seen")

    @requires_capability("consistent_pagination")
    def test_lists_by_scan_show_one_revision(self, context: RuleContext) -> None:
        """All pages of a scan show the state of its first page, whatever other clients write meanwhile."""
        keys = tuple(f"{number:03}s" for number in range(0, 60, 2))
        fill(context.store, keys)
        scanned = self._scan_beside_writes(context, context.store.scan("", page_size=5))
        context.check.equal(scanned, list(keys), "a scan while others put and delete keys: the keys of its first page")

    def _ends_agree(self, context: RuleContext, what: str, lists: int) -> None:
        """List keys that begin with ``k`` while transactions on the first and the last of them run."""
        reader = context.connect()
        stop = threading.Event()
        written = 0

        def write() -> None:
            nonlocal written
            while not stop.is_set():
                value = str(written + 1).encode()
                # At the two ends, so that no page has both.
                context.store.transaction().put("k", value).put("k99999", value).commit()
                written += 1

        writing = Running(context.check, [write], "transactions beside lists")
        done = beside = 0
        try:
            # Where a list takes no time, or the writer seldom gets a turn, many lists pass between two transactions.
            deadline = time.monotonic() + _LONGEST
            while done < lists or (beside < _BESIDE and time.monotonic() < deadline and not writing.failed):
                done += 1
                before = written
                listed = reader.list("k")
                beside += written > before
                ends = {item.key: item.value for item in (listed[0], listed[-1]) if item.key in ("k", "k99999")}
                context.check.true(
                    len(ends) in (0, 2) and len(set(ends.values())) <= 1,
                    f"list('k') of {what} while transactions on its first and last key run",
                    expected="both with the same value, or neither",
                    seen=ends,
                )
        finally:
            stop.set()
            writing.join()
        context.check.enough(beside, _BESIDE, "a list during which a transaction was committed")

    def _scan_beside_writes(self, context: RuleContext, scan: Iterator[KeyValue]) -> list[str]:
        """Take a key, then change something before and behind it, and so on."""
        scanned = []
        other = context.connect()
        for number, item in enumerate(scan):
            scanned.append(item.key)
            other.put(f"{(number * 7) % 60:03}t", b"new")
            other.delete(f"{(number * 11) % 60:03}t")
            other.put(scanned[number // 2], b"changed")
        return scanned
