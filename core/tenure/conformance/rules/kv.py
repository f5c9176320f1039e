"""Rules about single keys: reading, writing, deleting, names that look alike, limits, namespaces."""

from __future__ import annotations

from functools import partial
from typing import Any

from tenure.conformance.harness.context import World
from tenure.conformance.harness.rule import Rules, requires
from tenure.conformance.workloads.sample_keys import BINARY_VALUES, ODD_KEYS, in_order
from tenure.conformance.workloads.threads import Running, together
from tenure.errors import Conflict, InvalidArgument, InvalidKey, LimitExceeded
from tenure.spi.keys import MAX_KEY_BYTES

GUARANTEED_VALUE_BYTES = 256 * 1024
"""A value of this size is taken by every store."""

_BUSY = 5
"""How often a look at the revision of a store that others use as well is tried again."""


class KvRules(Rules, area="kv"):
    """One key at a time."""

    def test_kv_a_written_value_is_read_back(self, world: World) -> None:
        """A value written is the value read, with the write's revision as its create and mod revision."""
        committed = world.store.put("key", b"value")
        item = world.store.get("key")
        world.check.equal(
            item, ("key", b"value", committed.revision, committed.revision, None), "get('key') after put('key', ...)"
        )

    def test_kv_a_missing_key_reads_as_none(self, world: World) -> None:
        """A key that was never written, or was deleted, reads as None, with a revision at which that was true."""
        world.check.equal(world.store.get("never"), None, "get('never'), which was never written")
        world.store.put("gone", b"x")
        committed = world.store.delete("gone")
        found = world.store.get_with_revision("gone")
        world.check.equal(found.item, None, "read('gone') after put and delete")
        world.check.true(
            found.revision >= committed.revision,
            "read('gone') after its delete",
            expected=f"a revision of at least the delete's, {committed.revision}",
            seen=found.revision,
        )

    def test_kv_an_empty_value_is_not_a_missing_key(self, world: World) -> None:
        """A key with an empty value exists: it is read, listed, guarded and deleted like any other."""
        world.store.put("empty", b"")
        item = world.store.get("empty")
        world.check.true(item is not None, "get('empty') after put('empty', b'')", expected="an item", seen=item)
        world.check.equal(item.value if item else None, b"", "the value of 'empty'")
        world.check.equal(world.store.list("").keys, ("empty",), "list('') after put('empty', b'')")
        world.check.raises(Conflict, lambda: world.store.put_if_absent("empty", b"x"), "put_if_absent('empty', ...)")
        world.check.equal(world.store.delete("empty").deleted, 1, "delete('empty').deleted")

    def test_kv_values_are_binary_safe(self, world: World) -> None:
        """Every byte string comes back as it was written: zeros, invalid UTF-8, nothing at all."""
        for number, value in enumerate(BINARY_VALUES):
            world.store.put(f"{number:02}", value)
        for number, value in enumerate(BINARY_VALUES):
            item = world.store.get(f"{number:02}")
            world.check.equal(item and item.value, value, f"get after put of {value[:40]!r} ({len(value)} bytes)")
        listed = tuple(item.value for item in world.store.list(""))
        world.check.equal(listed, BINARY_VALUES, "the values of list('')")

    def test_kv_odd_keys_are_all_different(self, world: World) -> None:
        """Keys are not normalised: whatever looks alike to a path, a pattern or a human is a key of its own."""
        for key in ODD_KEYS:
            world.store.put(key, key.encode())
        for key in ODD_KEYS:
            item = world.store.get(key)
            world.check.equal(item and (item.key, item.value), (key, key.encode()), f"get({key!r})")
        world.check.equal(world.store.list("").keys, in_order(ODD_KEYS), "the keys of list('')")
        for key in ODD_KEYS:
            world.check.equal(world.store.delete(key).deleted, 1, f"delete({key!r}).deleted, the others deleted before")
        world.check.equal(world.store.list("").keys, (), "list('') after all were deleted")

    def test_kv_a_key_with_a_value_can_have_keys_below(self, world: World) -> None:
        """'a', 'a/' and 'a/b' hold values at the same time, and deleting one leaves the others."""
        for key in ("a", "a/", "a/b", "a/b/c"):
            world.store.put(key, key.encode())
        world.store.delete("a")
        world.check.equal(world.store.list("").keys, ("a/", "a/b", "a/b/c"), "list('') after delete('a')")
        world.store.delete("a/b")
        world.check.equal(world.store.list("").keys, ("a/", "a/b/c"), "list('') after delete('a/b')")

    def test_kv_put_replaces_and_keeps_the_create_revision(self, world: World) -> None:
        """A second put changes value and mod revision, and keeps the create revision of the key's life."""
        first, second = world.store.put("key", b"1"), world.store.put("key", b"2")
        world.check.equal(
            world.store.get("key"), ("key", b"2", first.revision, second.revision, None), "get after two puts"
        )

    def test_kv_a_deleted_key_begins_a_new_life(self, world: World) -> None:
        """A key written again after a delete has a new create revision."""
        world.store.put("key", b"1")
        deleted = world.store.delete("key")
        second = world.store.put("key", b"1")
        world.check.equal(
            world.store.get("key"), ("key", b"1", second.revision, second.revision, None), "get after put, delete, put"
        )
        world.check.true(
            second.revision > deleted.revision,
            "delete, then put",
            expected=f"a revision above the delete's, {deleted.revision}",
            seen=second.revision,
        )

    def test_kv_an_identical_put_is_a_change(self, world: World) -> None:
        """Writing the value that is there already makes a new revision."""
        first, second = world.store.put("key", b"same"), world.store.put("key", b"same")
        item = world.store.get("key")
        world.check.true(
            second.revision > first.revision,
            "put twice with the same value",
            expected=f"a second revision above {first.revision}",
            seen=second.revision,
        )
        world.check.equal(item and item.mod_revision, second.revision, "the mod_revision after the second put")

    def test_kv_revisions_only_grow(self, world: World) -> None:
        """Every change has a greater revision than all before, store-wide, and every read shows one not older."""
        other = world.connect()
        last = 0
        for number in range(20):
            store = other if number % 2 else world.store
            committed = store.delete(f"{number - 5}") if number % 4 == 3 else store.put(f"{number}", b"")
            if committed.deleted or number % 4 != 3:
                world.check.true(
                    committed.revision > last,
                    f"change number {number}",
                    expected=f"a revision above {last}",
                    seen=committed.revision,
                )
            last = max(last, committed.revision)
            read = store.get_with_revision("nothing").revision
            world.check.true(read >= last, "a read after a write", expected=f"a revision of at least {last}", seen=read)

    def test_kv_deleting_nothing_changes_nothing(self, world: World) -> None:
        """Deleting a key that isn't there answers that nothing was deleted and makes no revision."""
        for _ in range(_BUSY):
            before = world.store.get_with_revision("x").revision
            committed = world.store.delete("x")
            world.check.equal(committed.deleted, 0, "delete('x').deleted, 'x' doesn't exist")
            if world.store.get_with_revision("x").revision == before:
                return
        raise world.check.fail(
            f"{_BUSY} times: read, delete('x') which doesn't exist, read",
            expected="the same revision before and after, at least once",
            seen="the revision grew each time",
        )

    def test_kv_put_if_absent_needs_absence(self, world: World) -> None:
        """put_if_absent writes a key that doesn't exist, and is a Conflict without effect on one that does."""
        first = world.store.put_if_absent("key", b"1")
        world.check.raises(Conflict, lambda: world.store.put_if_absent("key", b"2"), "a second put_if_absent")
        item = world.store.get("key")
        world.check.equal(item, ("key", b"1", first.revision, first.revision, None), "get after the Conflict")

    def test_kv_replace_needs_the_revision(self, world: World) -> None:
        """replace writes only if the key was last put at the given revision, else it is a Conflict without effect."""
        first = world.store.put("key", b"1")
        second = world.store.put_if_unchanged("key", b"2", revision=first.revision)
        world.check.raises(
            Conflict,
            lambda: world.store.put_if_unchanged("key", b"3", revision=first.revision),
            "replace at a revision that has passed",
        )
        world.check.raises(
            Conflict,
            lambda: world.store.put_if_unchanged("missing", b"3", revision=second.revision),
            "replace of a missing key",
        )
        world.check.raises(
            Conflict,
            lambda: world.store.put_if_unchanged("key", b"3", revision=second.revision + 1000),
            "replace at a future revision",
        )
        world.check.equal(
            world.store.get("key"), ("key", b"2", first.revision, second.revision, None), "get after the Conflicts"
        )

    def test_kv_delete_at_a_revision_needs_it(self, world: World) -> None:
        """delete with a revision deletes only if the key was last put at it, else it is a Conflict without effect."""
        first, second = world.store.put("key", b"1"), world.store.put("key", b"2")
        world.check.raises(
            Conflict, lambda: world.store.delete("key", revision=first.revision), "delete at a revision that has passed"
        )
        world.check.true(
            world.store.get("key") is not None, "get after the Conflict", expected="the item", seen="no item"
        )
        world.check.equal(
            world.store.delete("key", revision=second.revision).deleted, 1, "delete at the present revision"
        )

    def test_kv_delete_prefix_deletes_the_prefix_alone(self, world: World) -> None:
        """delete_prefix deletes what starts with the string, says how many, and leaves the neighbours."""
        for key in ("a", "a/", "a/1", "a/2", "a/2/x", "a0", "b", "%", "a%", "A/1"):
            world.store.put(key, b"")
        world.check.equal(world.store.delete_prefix("a/").deleted, 4, "delete_prefix('a/')")
        world.check.equal(world.store.list("").keys, in_order(("a", "a0", "b", "%", "a%", "A/1")), "what is left")
        world.check.equal(world.store.delete_prefix("%").deleted, 1, "delete_prefix('%')")
        world.check.equal(world.store.delete_prefix("nothing/").deleted, 0, "delete_prefix of what isn't there")

    def test_kv_illegal_keys_are_refused(self, world: World) -> None:
        """An empty key, one with NUL, with a lone surrogate or too long is an InvalidKey, and nothing is written."""
        for key in ("", "a\0b", "\ud800", "k" * (MAX_KEY_BYTES + 1), "\u00e9" * (MAX_KEY_BYTES // 2 + 1)):
            shown = ascii(key[:20])
            world.check.raises(InvalidKey, partial(world.store.put, key, b""), f"put({shown}, ...)")
            world.check.raises(InvalidKey, partial(world.store.get, key), f"get({shown})")
        text: Any = "text"
        world.check.raises(InvalidArgument, lambda: world.store.put("text", text), "put with a str as its value")
        world.check.equal(world.store.list("").keys, (), "list('') after all of these")

    def test_kv_the_longest_key_works(self, world: World) -> None:
        """A key of 1,024 bytes is written, read, listed, watched and deleted, in a long namespace too."""
        store = world.connect(world.namespace + "-" + "n" * 200)
        for key in ("k" * MAX_KEY_BYTES, "\u00e9" * (MAX_KEY_BYTES // 2)):
            with store.watch("") as watch:
                watch.next(), watch.next()
                store.put(key, b"long")
                batch = watch.next(10.0)
            world.check.equal(batch and [event.key for event in batch.events], [key], "the watch of a long key")
            item = store.get(key)
            world.check.equal(item and item.key, key, "get of a key of 1,024 bytes")
            world.check.equal(store.list(key[:-1]).keys, (key,), "list of a prefix one character shorter")
            world.check.equal(store.delete(key).deleted, 1, "delete of a key of 1,024 bytes")

    def test_kv_the_largest_value_works_and_more_is_refused(self, world: World) -> None:
        """A value of the declared size, 256 KiB at least, is taken; a byte more is LimitExceeded without effect."""
        limit = world.capabilities.max_value_bytes
        world.check.true(
            limit >= GUARANTEED_VALUE_BYTES,
            "read capabilities.max_value_bytes",
            expected=f"at least {GUARANTEED_VALUE_BYTES}",
            seen=limit,
        )
        value = bytes(range(251)) * (limit // 251 + 1)
        world.store.put("large", value[:limit])
        item = world.store.get("large")
        seen = item is not None and item.value == value[:limit]
        world.check.true(seen, f"put and get of {limit} bytes", expected="the same bytes", seen="others")
        world.check.raises(LimitExceeded, lambda: world.store.put("large", value[: limit + 1]), f"put of {limit + 1}")
        again = world.store.get("large")
        world.check.equal(again and again.mod_revision, item and item.mod_revision, "the mod_revision afterwards")

    def test_kv_connections_see_the_same_store(self, world: World) -> None:
        """What one connection wrote, another connection to the same URL reads."""
        other = world.connect()
        world.store.put("key", b"1")
        read = partial(other.get, "key")
        world.check.eventually(
            read, lambda item: item is not None and item.value == b"1", "put by one, get by another", expected="b'1'"
        )

    @requires("linearizable")
    def test_kv_a_read_sees_every_acknowledged_write(self, world: World) -> None:
        """A read that starts after a write was acknowledged sees it, whichever connection made it."""
        stores = [world.store, world.connect(), world.connect()]
        for number in range(100):
            # All read, so that none has just written itself: that would renew what it may have kept of an earlier read.
            committed = stores[number % 3].put("key", str(number).encode())
            for reader in stores:
                found = reader.get_with_revision("key")
                world.check.equal(
                    found.item and (found.item.value, found.item.mod_revision),
                    (str(number).encode(), committed.revision),
                    f"put number {number} by one of three connections, then read by each",
                )

    @requires("linearizable")
    def test_kv_concurrent_reads_never_go_back(self, world: World) -> None:
        """While others write, the revisions that one reader sees of a key never go back."""
        world.store.put("key", b"0")
        readers = [world.connect() for _ in range(2)]
        enough = 30
        seen: list[set[int]] = [set() for _ in readers]

        def read(number: int) -> None:
            last = 0
            while len(seen[number]) < enough and not writing.failed:
                item = readers[number].get("key")
                revision = item.mod_revision if item else 0
                world.check.true(
                    revision >= last,
                    "get, again and again",
                    expected=f"a mod_revision of {last} or more",
                    seen=revision,
                )
                last = revision
                seen[number].add(revision)

        def write() -> None:
            for number in range(100_000):
                if all(len(each) >= enough for each in seen) or reading.failed:
                    return
                world.store.put("key", str(number).encode())

        reading: Running
        writing = reading = Running(world.check, (), "no one yet")
        reading = Running(world.check, [partial(read, number) for number in range(2)], "two connections reading a key")
        writing = Running(world.check, [write], "one connection writing a key")
        writing.join()
        reading.join()
        for each in seen:
            world.check.enough(len(each), enough, "a reader seeing a new revision")

    def test_kv_writes_from_many_threads_all_arrive(self, world: World) -> None:
        """One store used by many threads at once loses no write and mixes up no answer."""

        def work(thread: int) -> set[int]:
            revisions = set()
            for number in range(20):
                key, value = f"{thread}/{number}", f"{thread}-{number}".encode()
                revisions.add(world.store.put(key, value).revision)
                item = world.store.get(key)
                world.check.equal(item and (item.key, item.value), (key, value), f"get({key!r}) after its put")
            return revisions

        answers = together(world.check, [partial(work, thread) for thread in range(8)], "8 threads, 20 puts each")
        world.check.equal(len(set().union(*answers)), 160, "the number of different revisions of 160 puts")
        world.check.equal(len(world.store.list("")), 160, "the number of keys afterwards")


class NamespaceRules(Rules, area="namespaces"):
    """Several applications in one store."""

    def test_namespaces_isolate(self, world: World) -> None:
        """Namespaces with neighbouring names don't see, list, watch or delete each other's keys."""
        base = world.namespace
        names = [base, base + "0", base + "/", base + "/b", base + "-", base + "%2F", base + "x", base + "x/y"]
        stores = {name: world.connect(name) for name in names}
        for name, store in stores.items():
            for key in ("key", "0", "/", "b/key", "x"):
                store.put(key, name.encode())
        for name, store in stores.items():
            listed = store.list("")
            world.check.equal(listed.keys, in_order(("key", "0", "/", "b/key", "x")), f"list('') in {name!r}")
            world.check.equal({item.value for item in listed}, {name.encode()}, f"the values of list('') in {name!r}")
        with stores[base].watch("") as watch:
            watch.next(), watch.next()
            for name in names[1:]:
                stores[name].put("key", b"seen?")
            stores[base].put("last", b"")
            batch = watch.next(10.0)
            world.check.equal(batch and [event.key for event in batch.events], ["last"], "watch('') in the first")
        world.check.equal(
            stores[base].delete_prefix("", allow_empty_prefix=True).deleted, 6, "delete everything in the first"
        )
        for name in names[1:]:
            world.check.equal(len(stores[name].list("")), 5, f"the keys of {name!r} afterwards")

    def test_namespaces_of_shorter_name_are_others(self, world: World) -> None:
        """A namespace doesn't see the keys of one whose name is one character longer, nor the other way round."""
        shorter, longer = world.connect(world.namespace + "-n"), world.connect(world.namespace + "-nn")
        longer.put("key", b"longer")
        world.check.equal(shorter.list("").keys, (), "list('') in the shorter")
        world.check.equal(shorter.get("n/key"), None, "get('n/key') in the shorter")
        shorter.put("n/key", b"shorter")
        world.check.equal([item.value for item in longer.list("")], [b"longer"], "list('') in the longer")

    def test_namespaces_are_readable_from_the_root(self, world: World) -> None:
        """Without a namespace the store shows every key with its namespace in front, under the name one expects."""
        world.store.put("key", b"value")
        root = world.connect_root()
        physical = world.physical("key")
        world.check.equal(physical, f"{world.namespace}/key", "where a namespace puts its keys")
        item = root.get(physical)
        world.check.equal(item and item.value, b"value", f"get({physical!r}) without a namespace")
        world.check.equal(root.list(world.namespace + "/").keys, (physical,), "list without a namespace")

    def test_namespaces_share_the_revision(self, world: World) -> None:
        """Revisions are store-wide: a change in one namespace has a greater one than an earlier change in another."""
        other = world.connect(world.namespace + "-other")
        first = world.store.put("key", b"").revision
        second = other.put("key", b"").revision
        third = world.store.put("key", b"").revision
        world.check.true(
            first < second < third, "puts in turn in two namespaces", expected="growing", seen=(first, second, third)
        )
