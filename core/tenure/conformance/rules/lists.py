"""Rules about lists and scans: order, prefixes, limits, pages, points in time."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from functools import partial

from tenure._client.store import Store
from tenure.conformance.harness.context import World
from tenure.conformance.harness.rule import Rules, requires
from tenure.conformance.workloads.sample_keys import ODD_KEYS, in_order
from tenure.errors import InvalidArgument
from tenure.spi import KeyValue

_MANY = 1200
"""Keys; more than the usual page of a store's own interface."""


def fill(store: Store, keys: tuple[str, ...], value: bytes = b"") -> None:
    """Put many keys, a transaction at a time, not in order."""
    size = min(100, store.capabilities.max_transaction_operations)
    shuffled = sorted(keys, key=lambda key: zlib.crc32(key.encode()))
    for start in range(0, len(shuffled), size):
        transaction = store.transaction()
        for key in shuffled[start : start + size]:
            transaction.put(key, value)
        transaction.commit()


class ListRules(Rules, area="lists"):
    """What starts with a prefix."""

    def test_lists_are_in_byte_order(self, world: World) -> None:
        """Lists come in the order of the keys' UTF-8 bytes, not of a locale, of UTF-16 or of creation."""
        fill(world.store, ODD_KEYS)
        world.check.equal(world.store.list("").keys, in_order(ODD_KEYS), "list('') of keys written in another order")
        scanned = tuple(item.key for item in world.store.scan("", page_size=7))
        world.check.equal(scanned, in_order(ODD_KEYS), "scan('', page_size=7)")

    def test_lists_take_any_prefix_literally(self, world: World) -> None:
        """A prefix is a string: no pattern, no path, no folder; it matches what starts with it and nothing else."""
        fill(world.store, ODD_KEYS)
        prefixes = {key[:length] for key in ODD_KEYS for length in (1, 2, len(key))}
        for prefix in sorted(prefixes):
            expected = in_order(tuple(key for key in ODD_KEYS if key.startswith(prefix)))
            world.check.equal(world.store.list(prefix).keys, expected, f"list({prefix!r})")
        world.check.equal(world.store.list("no such").keys, (), "list('no such')")

    def test_lists_match_no_folder(self, world: World) -> None:
        """The prefix 'foo' matches 'foo', 'foo/x' and 'foobar' alike; 'foo/' matches 'foo/x' alone."""
        fill(world.store, ("fo", "foo", "foo/x", "foobar", "fop"))
        world.check.equal(world.store.list("foo").keys, ("foo", "foo/x", "foobar"), "list('foo')")
        world.check.equal(world.store.list("foo/").keys, ("foo/x",), "list('foo/')")

    def test_lists_carry_items_and_revision(self, world: World) -> None:
        """A list has every item as get would answer it, and a revision that isn't older than the last write."""
        for number in range(5):
            world.store.put(f"{number}", str(number).encode())
        last = world.store.put("2", b"new").revision
        listed = world.store.list("")
        for number in range(5):
            world.check.equal(listed[number], world.store.get(f"{number}"), f"item {number} of list('') against get")
        world.check.true(
            listed.revision >= last, "list('') after a put", expected=f"{last} or more", seen=listed.revision
        )
        world.check.true(not listed.has_more, "list('') without a limit", expected="more=False", seen="more=True")

    def test_lists_respect_the_limit(self, world: World) -> None:
        """With a limit the first so many keys come, and 'more' tells truly whether there are others."""
        keys = tuple(f"{number:02}" for number in range(10))
        fill(world.store, keys)
        world.store.put("zz", b"")
        for limit in (1, 2, 9, 10, 11, 12, 100):
            listed = world.store.list("", limit=limit)
            expected = (*keys, "zz")[:limit]
            world.check.equal(
                (listed.keys, listed.has_more), (expected, limit < 11), f"list('', limit={limit}) of 11 keys"
            )
            listed = world.store.list("0", limit=limit)
            world.check.equal(
                (listed.keys, listed.has_more), (keys[:limit], limit < 10), f"list('0', limit={limit}) of 10"
            )
        for bad in (0, -1):
            world.check.raises(InvalidArgument, partial(world.store.list, "", limit=bad), f"list('', limit={bad})")

    def test_lists_of_many_keys_are_complete(self, world: World) -> None:
        """A list of more keys than a page of the store's own interface holds is complete and in order."""
        keys = tuple(f"k{number:05}" for number in range(_MANY))
        fill(world.store, keys)
        world.store.put("j", b"")
        world.store.put("l", b"")
        world.check.equal(world.store.list("k").keys, keys, f"list('k') of {_MANY} keys")

    def test_lists_of_many_bytes_are_complete(self, world: World) -> None:
        """A list of more bytes than a message of the store's own interface holds is complete."""
        value = b"x" * (128 * 1024)
        keys = tuple(f"{number:02}" for number in range(48))
        for key in keys:
            world.store.put(key, key.encode() + value)
        listed = world.store.list("")
        world.check.equal(listed.keys, keys, "the keys of a list of 6 MiB")
        wrong = [item.key for item in listed if item.value != item.key.encode() + value]
        world.check.equal(wrong, [], "keys of it with a wrong value")

    def test_lists_by_scan_equal_lists(self, world: World) -> None:
        """A scan, with whatever page size, gives what a list gives while nobody writes."""
        keys = tuple(f"k/{number:03}" for number in range(40))
        fill(world.store, (*keys, "j", "k", "k0"), b"v")
        expected = list(world.store.list("k/"))
        for size in (1, 3, 39, 40, 41, 500):
            scanned = list(world.store.scan("k/", page_size=size))
            world.check.equal(scanned, expected, f"scan('k/', page_size={size}) of 40 keys")

    def test_lists_by_scan_miss_nothing_that_stays(self, world: World) -> None:
        """A scan while others write sees no key twice, and every key that exists all the while."""
        stay = tuple(f"{number:03}s" for number in range(0, 60, 2))
        fill(world.store, stay)
        scanned = self._scan_beside_writes(world, world.store.scan("", page_size=5))
        world.check.equal(sorted(set(scanned)), sorted(scanned), "the keys of a scan while others write")
        missed = sorted(set(stay) - set(scanned))
        world.check.equal(missed, [], "keys that stayed all the while and were not seen")

    @requires("consistent_pagination")
    def test_lists_by_scan_show_one_revision(self, world: World) -> None:
        """All pages of a scan show the state of its first page, whatever is written meanwhile."""
        keys = tuple(f"{number:03}s" for number in range(0, 60, 2))
        fill(world.store, keys)
        scanned = self._scan_beside_writes(world, world.store.scan("", page_size=5))
        world.check.equal(scanned, list(keys), "a scan while others put and delete keys: the keys of its first page")

    def _scan_beside_writes(self, world: World, scan: Iterator[KeyValue]) -> list[str]:
        """Take a key, then change something before and behind it, and so on."""
        scanned = []
        other = world.connect()
        for number, item in enumerate(scan):
            scanned.append(item.key)
            other.put(f"{(number * 7) % 60:03}t", b"new")
            other.delete(f"{(number * 11) % 60:03}t")
        return scanned
