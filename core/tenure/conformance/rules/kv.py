"""Rules about single keys: reading, writing, deleting, names that look alike, limits, namespaces."""

from __future__ import annotations

from functools import partial
from typing import Any

from tenure.conformance.harness.context import RuleContext
from tenure.conformance.harness.rule import Rules, requires_capability
from tenure.conformance.workloads.sample_keys import BINARY_VALUES, ODD_KEYS, in_order
from tenure.conformance.workloads.threads import Running, together
from tenure.errors import Conflict, InvalidArgument, InvalidKey, LimitExceeded
from tenure.spi.keys import MAX_KEY_BYTES

GUARANTEED_VALUE_BYTES = 256 * 1024
"""Every store accepts a value of this size."""

_BUSY = 5
"""Attempts to read an unchanged revision on a store that other clients use, too."""


class KvRules(Rules, area="kv"):
    """One key at a time."""

    def test_kv_a_written_value_is_read_back(self, context: RuleContext) -> None:
        """A value written is the value read, with the write's revision as its create and mod revision."""
        committed = context.store.put("key", b"value")
        item = context.store.get("key")
        context.check.equal(
            item, ("key", b"value", committed.revision, committed.revision, None), "get('key') after put('key', ...)"
        )

    def test_kv_a_missing_key_reads_as_none(self, context: RuleContext) -> None:
        """A key that was never written, or was deleted, reads as None, with a revision at which that was true."""
        context.check.equal(context.store.get("never"), None, "get('never'), which was never written")
        context.store.put("gone", b"x")
        committed = context.store.delete("gone")
        found = context.store.get_with_revision("gone")
        context.check.equal(found.item, None, "read('gone') after put and delete")
        context.check.true(
            found.revision >= committed.revision,
            "read('gone') after its delete",
            expected=f"a revision of at least the delete's, {committed.revision}",
            seen=found.revision,
        )

    def test_kv_an_empty_value_is_not_a_missing_key(self, context: RuleContext) -> None:
        """A key with an empty value exists: it is read, listed, checked and deleted like any other."""
        context.store.put("empty", b"")
        item = context.store.get("empty")
        context.check.true(item is not None, "get('empty') after put('empty', b'')", expected="an item", seen=item)
        context.check.equal(item.value if item else None, b"", "the value of 'empty'")
        context.check.equal(context.store.list("").keys, ("empty",), "list('') after put('empty', b'')")
        context.check.raises(
            Conflict, lambda: context.store.put_if_absent("empty", b"x"), "put_if_absent('empty', ...)"
        )
        context.check.equal(context.store.delete("empty").deleted, 1, "delete('empty').deleted")

    def test_kv_values_are_binary_safe(self, context: RuleContext) -> None:
        """Every byte string is read as it was written: zeros, invalid UTF-8, the empty string."""
        for number, value in enumerate(BINARY_VALUES):
            context.store.put(f"{number:02}", value)
        for number, value in enumerate(BINARY_VALUES):
            item = context.store.get(f"{number:02}")
            context.check.equal(item and item.value, value, f"get after put of {value[:40]!r} ({len(value)} bytes)")
        listed = tuple(item.value for item in context.store.list(""))
        context.check.equal(listed, BINARY_VALUES, "the values of list('')")

    def test_kv_odd_keys_are_all_different(self, context: RuleContext) -> None:
        """Keys are not normalised: keys that look alike to a path, a pattern or a human are different keys."""
        for key in ODD_KEYS:
            context.store.put(key, key.encode())
        for key in ODD_KEYS:
            item = context.store.get(key)
            context.check.equal(item and (item.key, item.value), (key, key.encode()), f"get({key!r})")
        context.check.equal(context.store.list("").keys, in_order(ODD_KEYS), "the keys of list('')")
        for key in ODD_KEYS:
            context.check.equal(
                context.store.delete(key).deleted, 1, f"delete({key!r}).deleted, the others deleted before"
            )
        context.check.equal(context.store.list("").keys, (), "list('') after all were deleted")

    def test_kv_a_key_with_a_value_can_have_keys_below(self, context: RuleContext) -> None:
        """'a', 'a/' and 'a/b' hold values at the same time, and deleting one leaves the others."""
        for key in ("a", "a/", "a/b", "a/b/c"):
            context.store.put(key, key.encode())
        context.store.delete("a")
        context.check.equal(context.store.list("").keys, ("a/", "a/b", "a/b/c"), "list('') after delete('a')")
        context.store.delete("a/b")
        context.check.equal(context.store.list("").keys, ("a/", "a/b/c"), "list('') after delete('a/b')")

    def test_kv_put_replaces_and_keeps_the_create_revision(self, context: RuleContext) -> None:
        """A second put changes value and mod revision, and keeps the create revision of the key's life."""
        first, second = context.store.put("key", b"1"), context.store.put("key", b"2")
        context.check.equal(
            context.store.get("key"), ("key", b"2", first.revision, second.revision, None), "get after two puts"
        )

    def test_kv_a_deleted_key_begins_a_new_life(self, context: RuleContext) -> None:
        """A key written again after a delete has a new create revision."""
        context.store.put("key", b"1")
        deleted = context.store.delete("key")
        second = context.store.put("key", b"1")
        context.check.equal(
            context.store.get("key"),
            ("key", b"1", second.revision, second.revision, None),
            "get after put, delete, put",
        )
        context.check.true(
            second.revision > deleted.revision,
            "delete, then put",
            expected=f"a revision above the delete's, {deleted.revision}",
            seen=second.revision,
        )

    def test_kv_an_identical_put_is_a_change(self, context: RuleContext) -> None:
        """Writing the present value again makes a new revision."""
        first, second = context.store.put("key", b"same"), context.store.put("key", b"same")
        item = context.store.get("key")
        context.check.true(
            second.revision > first.revision,
            "put twice with the same value",
            expected=f"a second revision above {first.revision}",
            seen=second.revision,
        )
        context.check.equal(item and item.mod_revision, second.revision, "the mod_revision after the second put")

    def test_kv_revisions_only_grow(self, context: RuleContext) -> None:
        """Every change has a greater revision than all before, store-wide, and every read shows one not older."""
        other = context.connect()
        last = context.store.put("old", b"").revision
        for number in range(20):
            store = other if number % 2 else context.store
            committed = store.delete(f"{number - 5}") if number % 4 == 3 else store.put(f"{number}", b"")
            if committed.deleted or number % 4 != 3:
                context.check.true(
                    committed.revision > last,
                    f"change number {number}",
                    expected=f"a revision above {last}",
                    seen=committed.revision,
                )
            last = max(last, committed.revision)
            # What was written long ago is read at the present revision as well.
            reads = {
                "a get of a missing key": store.get_with_revision("nothing").revision,
                "a get": store.get_with_revision("old").revision,
                "a list": store.list("old").revision,
                "a get of several keys": store.get_many(["old"]).revision,
            }
            for what, read in reads.items():
                context.check.true(
                    read >= last, f"{what} after a write", expected=f"a revision of at least {last}", seen=read
                )

    def test_kv_deleting_nothing_changes_nothing(self, context: RuleContext) -> None:
        """Deleting a missing key returns that nothing was deleted, and makes no revision."""
        for _ in range(_BUSY):
            before = context.store.get_with_revision("x").revision
            committed = context.store.delete("x")
            context.check.equal(committed.deleted, 0, "delete('x').deleted, 'x' doesn't exist")
            if context.store.get_with_revision("x").revision == before:
                return
        raise context.check.fail(
            f"{_BUSY} times: read, delete('x') which doesn't exist, read",
            expected="the same revision before and after, at least once",
            seen="the revision grew each time",
        )

    def test_kv_put_if_absent_needs_absence(self, context: RuleContext) -> None:
        """put_if_absent writes a key that doesn't exist, and is a Conflict without effect on one that does."""
        first = context.store.put_if_absent("key", b"1")
        context.check.raises(Conflict, lambda: context.store.put_if_absent("key", b"2"), "a second put_if_absent")
        item = context.store.get("key")
        context.check.equal(item, ("key", b"1", first.revision, first.revision, None), "get after the Conflict")

    def test_kv_replace_needs_the_revision(self, context: RuleContext) -> None:
        """replace writes only if the key was last put at the given revision, else it is a Conflict without effect."""
        first = context.store.put("key", b"1")
        second = context.store.put_if_unchanged("key", b"2", revision=first.revision)
        context.check.raises(
            Conflict,
            lambda: context.store.put_if_unchanged("key", b"3", revision=first.revision),
            "replace at a revision that has passed",
        )
        context.check.raises(
            Conflict,
            lambda: context.store.put_if_unchanged("missing", b"3", revision=second.revision),
            "replace of a missing key",
        )
        context.check.raises(
            Conflict,
            lambda: context.store.put_if_unchanged("key", b"3", revision=second.revision + 1000),
            "replace at a future revision",
        )
        context.check.equal(
            context.store.get("key"), ("key", b"2", first.revision, second.revision, None), "get after the Conflicts"
        )

    def test_kv_delete_at_a_revision_needs_it(self, context: RuleContext) -> None:
        """delete with a revision deletes only if the key was last put at it, else it is a Conflict without effect."""
        first, second = context.store.put("key", b"1"), context.store.put("key", b"2")
        context.check.raises(
            Conflict,
            lambda: context.store.delete("key", revision=first.revision),
            "delete at a revision that has passed",
        )
        context.check.true(
            context.store.get("key") is not None, "get after the Conflict", expected="the item", seen="no item"
        )
        context.check.equal(
            context.store.delete("key", revision=second.revision).deleted, 1, "delete at the present revision"
        )

    def test_kv_delete_prefix_deletes_the_prefix_alone(self, context: RuleContext) -> None:
        """delete_prefix deletes the keys that start with the string, returns their number, and leaves other keys."""
        for key in ("a", "a/", "a/1", "a/2", "a/2/x", "a0", "b", "%", "a%", "A/1"):
            context.store.put(key, b"")
        context.check.equal(context.store.delete_prefix("a/").deleted, 4, "delete_prefix('a/')")
        context.check.equal(context.store.list("").keys, in_order(("a", "a0", "b", "%", "a%", "A/1")), "what is left")
        context.check.equal(context.store.delete_prefix("%").deleted, 1, "delete_prefix('%')")
        context.check.equal(context.store.delete_prefix("nothing/").deleted, 0, "delete_prefix of what isn't there")

    def test_kv_illegal_keys_are_refused(self, context: RuleContext) -> None:
        """An empty key, one with NUL, with a lone surrogate or too long is an InvalidKey, and nothing is written."""
        for key in ("", "a\0b", "\ud800", "k" * (MAX_KEY_BYTES + 1), "\u00e9" * (MAX_KEY_BYTES // 2 + 1)):
            shown = ascii(key[:20])
            context.check.raises(InvalidKey, partial(context.store.put, key, b""), f"put({shown}, ...)")
            context.check.raises(InvalidKey, partial(context.store.get, key), f"get({shown})")
        text: Any = "text"
        context.check.raises(InvalidArgument, lambda: context.store.put("text", text), "put with a str as its value")
        context.check.equal(context.store.list("").keys, (), "list('') after all of these")

    def test_kv_the_longest_key_works(self, context: RuleContext) -> None:
        """A key of 1,024 bytes is written, read, listed, watched and deleted, in a long namespace too."""
        store = context.connect(context.namespace + "-" + "n" * 200)
        for key in ("k" * MAX_KEY_BYTES, "\u00e9" * (MAX_KEY_BYTES // 2)):
            with store.watch("") as watch:
                watch.next(), watch.next()
                store.put(key, b"long")
                batch = watch.next(10.0)
            context.check.equal(batch and [event.key for event in batch.events], [key], "the watch of a long key")
            item = store.get(key)
            context.check.equal(item and item.key, key, "get of a key of 1,024 bytes")
            context.check.equal(store.list(key[:-1]).keys, (key,), "list of a prefix one character shorter")
            context.check.equal(store.delete(key).deleted, 1, "delete of a key of 1,024 bytes")

    def test_kv_the_largest_value_works_and_more_is_refused(self, context: RuleContext) -> None:
        """A value of the declared size, at least 256 KiB, is accepted; a byte more is LimitExceeded without effect."""
        limit = context.capabilities.max_value_bytes
        context.check.true(
            limit >= GUARANTEED_VALUE_BYTES,
            "read capabilities.max_value_bytes",
            expected=f"at least {GUARANTEED_VALUE_BYTES}",
            seen=limit,
        )
        value = bytes(range(251)) * (limit // 251 + 1)
        context.store.put("large", value[:limit])
        item = context.store.get("large")
        seen = item is not None and item.value == value[:limit]
        context.check.true(seen, f"put and get of {limit} bytes", expected="the same bytes", seen="others")
        context.check.raises(
            LimitExceeded, lambda: context.store.put("large", value[: limit + 1]), f"put of {limit + 1}"
        )
        again = context.store.get("large")
        context.check.equal(again and again.mod_revision, item and item.mod_revision, "the mod_revision afterwards")

    def test_kv_connections_see_the_same_store(self, context: RuleContext) -> None:
        """What one connection wrote, another connection to the same URL reads."""
        other = context.connect()
        context.store.put("key", b"1")
        read = partial(other.get, "key")
        context.check.eventually(
            read, lambda item: item is not None and item.value == b"1", "put by one, get by another", expected="b'1'"
        )

    @requires_capability("linearizable")
    def test_kv_a_read_sees_every_acknowledged_write(self, context: RuleContext) -> None:
        """A read that starts after a write was acknowledged sees it, whichever connection made it."""
        stores = [context.store, context.connect(), context.connect()]
        for number in range(100):
            # All read, so that none has just written itself: that would renew what it may have kept of an earlier read.
            committed = stores[number % 3].put("key", str(number).encode())
            for reader in stores:
                found = reader.get_with_revision("key")
                context.check.equal(
                    found.item and (found.item.value, found.item.mod_revision),
                    (str(number).encode(), committed.revision),
                    f"put number {number} by one of three connections, then read by each",
                )

    @requires_capability("linearizable")
    def test_kv_concurrent_reads_never_go_back(self, context: RuleContext) -> None:
        """While others write, the revisions that one reader sees of a key never go back."""
        context.store.put("key", b"0")
        readers = [context.connect() for _ in range(2)]
        enough = 30
        seen: list[set[int]] = [set() for _ in readers]

        def read(number: int) -> None:
            last = 0
            while len(seen[number]) < enough and not writing.failed:
                item = readers[number].get("key")
                revision = item.mod_revision if item else 0
                context.check.true(
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
                context.store.put("key", str(number).encode())

        reading: Running
        writing = reading = Running(context.check, (), "no one yet")
        reading = Running(
            context.check, [partial(read, number) for number in range(2)], "two connections reading a key"
        )
        writing = Running(context.check, [write], "one connection writing a key")
        writing.join()
        reading.join()
        for each in seen:
            context.check.enough(len(each), enough, "a reader seeing a new revision")

    def test_kv_writes_from_many_threads_all_arrive(self, context: RuleContext) -> None:
        """One store used by many threads at once loses no write and mixes up no results."""

        def work(thread: int) -> set[int]:
            revisions = set()
            for number in range(20):
                key, value = f"{thread}/{number}", f"{thread}-{number}".encode()
                revisions.add(context.store.put(key, value).revision)
                item = context.store.get(key)
                context.check.equal(item and (item.key, item.value), (key, value), f"get({key!r}) after its put")
            return revisions

        answers = together(context.check, [partial(work, thread) for thread in range(8)], "8 threads, 20 puts each")
        context.check.equal(len(set().union(*answers)), 160, "the number of different revisions of 160 puts")
        context.check.equal(len(context.store.list("")), 160, "the number of keys afterwards")


class NamespaceRules(Rules, area="namespaces"):
    """Several applications in one store."""

    def test_namespaces_isolate(self, context: RuleContext) -> None:
        """Namespaces with neighbouring names don't see, list, watch or delete each other's keys."""
        base = context.namespace
        names = [base, base + "0", base + "/", base + "/b", base + "-", base + "%2F", base + "x", base + "x/y"]
        stores = {name: context.connect(name) for name in names}
        for name, store in stores.items():
            for key in ("key", "0", "/", "b/key", "x"):
                store.put(key, name.encode())
        for name, store in stores.items():
            listed = store.list("")
            context.check.equal(listed.keys, in_order(("key", "0", "/", "b/key", "x")), f"list('') in {name!r}")
            context.check.equal({item.value for item in listed}, {name.encode()}, f"the values of list('') in {name!r}")
        with stores[base].watch("") as watch:
            watch.next(), watch.next()
            for name in names[1:]:
                stores[name].put("key", b"seen?")
            stores[base].put("last", b"")
            batch = watch.next(10.0)
            context.check.equal(batch and [event.key for event in batch.events], ["last"], "watch('') in the first")
        context.check.equal(
            stores[base].delete_prefix("", allow_empty_prefix=True).deleted, 6, "delete everything in the first"
        )
        for name in names[1:]:
            context.check.equal(len(stores[name].list("")), 5, f"the keys of {name!r} afterwards")

    def test_namespaces_with_shorter_names_are_separate(self, context: RuleContext) -> None:
        """A namespace doesn't see the keys of one whose name is one character longer, nor the other way round."""
        shorter, longer = context.connect(context.namespace + "-n"), context.connect(context.namespace + "-nn")
        longer.put("key", b"longer")
        context.check.equal(shorter.list("").keys, (), "list('') in the shorter")
        context.check.equal(shorter.get("n/key"), None, "get('n/key') in the shorter")
        shorter.put("n/key", b"shorter")
        context.check.equal([item.value for item in longer.list("")], [b"longer"], "list('') in the longer")

    def test_namespaces_are_readable_from_the_root(self, context: RuleContext) -> None:
        """Without a namespace the store shows every key with its namespace in front, under the name one expects."""
        context.store.put("key", b"value")
        root = context.connect_root()
        physical = context.physical("key")
        context.check.equal(physical, f"{context.namespace}/key", "where a namespace puts its keys")
        item = root.get(physical)
        context.check.equal(item and item.value, b"value", f"get({physical!r}) without a namespace")
        context.check.equal(root.list(context.namespace + "/").keys, (physical,), "list without a namespace")

    def test_namespaces_share_the_revision(self, context: RuleContext) -> None:
        """Revisions are store-wide: a change in one namespace has a greater one than an earlier change in another."""
        other = context.connect(context.namespace + "-other")
        first = context.store.put("key", b"").revision
        second = other.put("key", b"").revision
        third = context.store.put("key", b"").revision
        context.check.true(
            first < second < third, "puts in turn in two namespaces", expected="growing", seen=(first, second, third)
        )
