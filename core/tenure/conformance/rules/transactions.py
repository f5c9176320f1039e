"""Rules about transactions: preconditions, all or nothing, one revision, races with exactly one winner."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial

from tenure._client.store import Store
from tenure._client.transaction import TransactionBuilder
from tenure.conformance.harness.context import RuleContext
from tenure.conformance.harness.rule import Rules, requires_capability
from tenure.conformance.workloads.threads import DEADLINE, Running, together
from tenure.errors import Conflict, InvalidArgument, LeaseNotFound, LimitExceeded

_BUSY = 5
_LEASES_TRIED = 4
_LARGEST_TRIED = 64 * 1024 * 1024

Build = Callable[[TransactionBuilder], TransactionBuilder]


class TransactionRules(Rules, area="transactions"):
    """Several keys at a time."""

    def test_transactions_apply_everything_at_one_revision(self, context: RuleContext) -> None:
        """All operations of a transaction are applied, and every key put has the transaction's revision."""
        context.store.put("gone", b"x")
        create = context.store.put("old", b"1").revision
        transaction = context.store.transaction().if_exists("old").if_absent("new").if_exists("gone")
        committed = transaction.put("new", b"n").put("old", b"2").delete("gone").put("other", b"o").commit()
        revision = committed.revision
        context.check.equal(committed.deleted, 1, "the number of keys deleted by a transaction with one delete")
        context.check.equal(
            list(context.store.list("")),
            [
                ("new", b"n", revision, revision, None),
                ("old", b"2", create, revision, None),
                ("other", b"o", revision, revision, None),
            ],
            "list('') after a transaction of three puts and a delete",
        )

    def test_transactions_with_a_precondition_that_fails_change_nothing(self, context: RuleContext) -> None:
        """If one precondition of several fails, the transaction is a Conflict and no operation is applied."""
        item = context.store.put("there", b"1")
        stale = item.revision
        present = context.store.put("there", b"2").revision
        failing: dict[str, Build] = {
            "absent, of a key that exists": lambda t: t.if_absent("there"),
            "exists, of a missing key": lambda t: t.if_exists("missing"),
            "unchanged, at an earlier revision": lambda t: t.if_unchanged("there", revision=stale),
            "unchanged, at a later revision": lambda t: t.if_unchanged("there", revision=present + 1000),
            "unchanged, of a missing key": lambda t: t.if_unchanged("missing", revision=present),
            "unchanged at 0, of a missing key": lambda t: t.if_unchanged("missing", revision=0),
            "first of three": lambda t: t.if_absent("there").if_exists("there").if_unchanged("there", revision=present),
            "last of three": lambda t: t.if_exists("there").if_unchanged("there", revision=present).if_absent("there"),
        }
        before = list(context.store.list(""))
        for name, precondition in failing.items():
            transaction = (
                precondition(context.store.transaction()).put("new", b"x").put("there", b"x").put("missing", b"x")
            )
            context.check.raises(Conflict, transaction.commit, f"a transaction whose precondition fails ({name})")
            context.check.equal(list(context.store.list("")), before, f"list('') afterwards ({name})")

    def test_transactions_with_preconditions_that_hold_are_applied(self, context: RuleContext) -> None:
        """A transaction is applied if all its preconditions hold, on any keys and several on one key."""
        revision = context.store.put("there", b"1").revision
        holding: dict[str, Build] = {
            "absent": lambda t: t.if_absent("missing"),
            "exists": lambda t: t.if_exists("there"),
            "unchanged": lambda t: t.if_unchanged("there", revision=revision),
            "two on one key": lambda t: t.if_exists("there").if_unchanged("there", revision=revision),
            "none": lambda t: t,
        }
        for name, precondition in holding.items():
            transaction = precondition(context.store.transaction()).put(f"done/{name}", b"x")
            try:
                transaction.commit()
            except Conflict as exc:
                did = f"a transaction whose preconditions hold ({name})"
                raise context.check.fail(did, expected="it is applied", seen=f"Conflict: {exc}") from exc
        expected = tuple(sorted(f"done/{name}" for name in holding))
        context.check.equal(
            context.store.list("done/").keys, expected, "list after transactions whose preconditions hold"
        )

    def test_transactions_refused_make_no_revision(self, context: RuleContext) -> None:
        """A refused transaction leaves even the store's revision as it was."""
        context.store.put("there", b"")
        for _ in range(_BUSY):
            before = context.store.get_with_revision("there").revision
            transaction = context.store.transaction().if_absent("there").put("x", b"1").delete("there")
            context.check.raises(Conflict, transaction.commit, "a transaction whose precondition fails")
            if context.store.get_with_revision("there").revision == before:
                return
        raise context.check.fail(
            f"{_BUSY} times: read, a refused transaction, read",
            expected="the same revision before and after, at least once",
            seen="the revision grew each time",
        )

    def test_transactions_notice_delete_and_recreate(self, context: RuleContext) -> None:
        """A precondition on a revision fails if the key was deleted and written again, even with the same value."""
        revision = context.store.put("key", b"same").revision
        context.store.delete("key")
        context.store.put("key", b"same")
        transaction = context.store.transaction().if_unchanged("key", revision=revision).put("won", b"")
        context.check.raises(Conflict, transaction.commit, "a precondition on the revision of the key's earlier life")

    def test_transactions_notice_what_others_delete_and_recreate(self, context: RuleContext) -> None:
        """A precondition on a revision fails if others made the key again, with as many puts and the same value."""
        other = context.connect()
        for number in range(4):
            key = f"folder/{number}/key"
            # The client that puts a key may remember it, and so may the one that reads it.
            for knows, client in (("put", context.store), ("read", context.connect())):
                for _ in range(number + 1):
                    revision = (context.store if knows == "put" else other).put(key, b"same").revision
                if knows == "read":
                    client.get(key)
                other.delete(key)
                for _ in range(number + 1):
                    other.put(key, b"same")
                did = f"after others deleted the key that it {knows} and made it again by {number + 1} puts"
                replace = partial(client.put_if_unchanged, key, b"lost", revision=revision)
                context.check.raises(Conflict, replace, f"put_if_unchanged {did}")
                transaction = client.transaction().if_unchanged(key, revision=revision).put(f"{key}/won", b"")
                context.check.raises(Conflict, transaction.commit, f"a transaction on its revision {did}")
                context.check.raises(
                    Conflict, partial(client.delete, key, revision=revision), f"delete(revision=...) {did}"
                )

    def test_transactions_without_operations_are_checks(self, context: RuleContext) -> None:
        """A transaction of preconditions alone changes nothing: it returns a revision, or is a Conflict."""
        revision = context.store.put("there", b"").revision
        for _ in range(_BUSY):
            before = context.store.get_with_revision("there").revision
            held = context.store.transaction().if_unchanged("there", revision=revision).if_absent("missing").commit()
            context.check.true(
                held.revision >= revision, "a check that holds", expected=f"{revision} or more", seen=held.revision
            )
            refused = context.store.transaction().if_absent("there")
            context.check.raises(Conflict, refused.commit, "a check that fails")
            if context.store.get_with_revision("there").revision == before:
                return
        raise context.check.fail(
            f"{_BUSY} times: read, checks, read", expected="the same revision", seen="the revision grew each time"
        )

    def test_transactions_count_only_what_they_deleted(self, context: RuleContext) -> None:
        """The result counts the keys that existed and were deleted."""
        context.store.put("a", b"")
        context.store.put("b", b"")
        committed = context.store.transaction().delete("a").delete("missing").delete("b").put("c", b"").commit()
        context.check.equal(committed.deleted, 2, "deletes of two keys that exist and one that doesn't")

    def test_transactions_write_each_key_once(self, context: RuleContext) -> None:
        """Writing a key twice in one transaction is an InvalidArgument, and nothing is applied."""
        transaction = context.store.transaction().put("a", b"1").put("b", b"1").delete("a")
        context.check.raises(InvalidArgument, transaction.commit, "put and delete of one key in one transaction")
        context.check.equal(context.store.list("").keys, (), "list('') afterwards")

    def test_transactions_up_to_the_declared_size_work(self, context: RuleContext) -> None:
        """A transaction of as many operations as declared is applied; one more is LimitExceeded and changes nothing."""
        limit = context.capabilities.max_transaction_operations
        context.check.true(
            limit >= 8, "read capabilities.max_transaction_operations", expected="at least 8", seen=limit
        )
        full = context.store.transaction().if_absent("absent")
        for number in range(limit - 1):
            full.put(f"{number:06}", b"x")
        full.commit(timeout=60.0)
        beyond = context.store.transaction().if_absent("absent").put("one", b"y")
        for number in range(limit - 1):
            beyond.put(f"{number:06}", b"y")
        context.check.raises(LimitExceeded, beyond.commit, f"a transaction of {limit + 1} preconditions and operations")
        listed = context.store.list("", timeout=60.0)
        context.check.equal(len(listed), limit - 1, f"the number of keys after a transaction of {limit - 1} puts")
        context.check.equal({item.value for item in listed}, {b"x"}, "their values")
        context.check.equal(len({item.mod_revision for item in listed}), 1, "the number of revisions they have")

    def test_transactions_up_to_the_declared_bytes_work(self, context: RuleContext) -> None:
        """A transaction of as many bytes as declared is applied; more is LimitExceeded and changes nothing."""
        limits = context.capabilities
        room = min(limits.max_transaction_bytes, _LARGEST_TRIED)
        count = max(2, -(-room // limits.max_value_bytes))
        size = room // count - len("0000")
        transaction = context.store.transaction()
        for number in range(count):
            transaction.put(f"{number:04}", b"%04d" % number + b"x" * (size - 4))
        transaction.commit(timeout=60.0)
        for number in range(count):
            item = context.store.get(f"{number:04}", timeout=60.0)
            found = item and (len(item.value), item.value[:4])
            context.check.equal(found, (size, b"%04d" % number), f"value {number} of {count} in {room} bytes")
        if limits.max_transaction_bytes <= _LARGEST_TRIED:
            value = b"y" * min(limits.max_value_bytes, limits.max_transaction_bytes)
            beyond = context.store.transaction()
            for number in range(limits.max_transaction_bytes // len(value) + 1):
                beyond.put(f"{number:04}", value)
            context.check.raises(LimitExceeded, beyond.commit, "a transaction of more bytes than declared")

    def test_transactions_take_the_declared_number_of_leases(self, context: RuleContext) -> None:
        """A transaction can use as many different leases as declared; with one more it is LimitExceeded."""
        limit = context.capabilities.max_transaction_leases
        context.check.true(limit >= 1, "read capabilities.max_transaction_leases", expected="at least 1", seen=limit)
        tried = min(limit, _LEASES_TRIED)
        leases = [context.store.lease(context.long_ttl) for _ in range(tried + 1)]
        within = context.store.transaction()
        for number, lease in enumerate(leases[:tried]):
            within.put(f"within{number}", b"", lease=lease)
        within.commit()
        held = {item.key: item.lease_id for item in context.store.list("within")}
        expected = {f"within{number}": lease.id for number, lease in enumerate(leases[:tried])}
        context.check.equal(held, expected, f"the leases of {tried} keys put in one transaction")
        if tried == limit:
            beyond = context.store.transaction()
            for number, lease in enumerate(leases):
                beyond.put(f"beyond{number}", b"", lease=lease)
            context.check.raises(LimitExceeded, beyond.commit, f"a transaction on {tried + 1} leases")
            context.check.equal(context.store.list("beyond").keys, (), "the keys of the refused transaction")

    def test_transactions_on_an_ended_lease_change_nothing(self, context: RuleContext) -> None:
        """A transaction that puts a key on an ended lease is LeaseNotFound, and changes nothing."""
        lease = context.store.lease(context.short_ttl)
        lease.revoke()
        context.store.put("keep", b"1")
        transaction = context.store.transaction().put("a", b"").put("b", b"", lease=lease.id).delete("keep")
        context.check.raises(LeaseNotFound, transaction.commit, "a transaction with a put on a revoked lease")
        context.check.equal(context.store.list("").keys, ("keep",), "list('') afterwards")

    # -- races --

    def test_transactions_racing_for_a_key_have_one_winner(self, context: RuleContext) -> None:
        """Of many callers that put one absent key at the same time exactly one succeeds, and its value stays."""
        racers = 6
        stores = [context.store] + [context.connect() for _ in range(2)]

        def race(number: int, key: str) -> bool:
            try:
                stores[number % len(stores)].put_if_absent(key, str(number).encode())
            except Conflict:
                return False
            return True

        for turn in range(15):
            key = f"key{turn}"
            won = together(context.check, [partial(race, number, key) for number in range(racers)], "a race")
            context.check.equal(won.count(True), 1, f"the number of winners of {racers} put_if_absent({key!r})")
            item = context.store.get(key)
            context.check.equal(
                item and item.value, str(won.index(True)).encode(), "the value afterwards: the winner's"
            )

    def test_transactions_racing_on_a_revision_have_one_winner(self, context: RuleContext) -> None:
        """Of many callers that replace a key at the same revision exactly one succeeds, and its value stays."""
        racers = 6
        stores = [context.store] + [context.connect() for _ in range(2)]
        revision = context.store.put("key", b"start").revision

        def race(number: int) -> int:
            try:
                return (
                    stores[number % len(stores)]
                    .put_if_unchanged("key", str(number).encode(), revision=revision)
                    .revision
                )
            except Conflict:
                return 0

        for _ in range(15):
            won = together(context.check, [partial(race, number) for number in range(racers)], "a race")
            winners = [number for number, answer in enumerate(won) if answer]
            context.check.equal(len(winners), 1, f"the number of winners of {racers} replace() at revision {revision}")
            item = context.store.get("key")
            context.check.equal(item and item.value, str(winners[0]).encode(), "the value afterwards: the winner's")
            revision = won[winners[0]]

    def test_transactions_count_exactly(self, context: RuleContext) -> None:
        """A counter kept by compare-and-set from several threads and connections ends at the number of successes."""
        threads, each = 4, 20
        stores = [context.store, context.connect()]
        context.store.put("counter", b"0")
        start = threading.Barrier(threads)

        def count(number: int) -> int:
            store, conflicts = stores[number % 2], 0
            for turn in range(each):
                while True:
                    item = store.get("counter")
                    if item is None:
                        raise context.check.fail("get('counter')", expected="the counter", seen=None)
                    if turn == 0 and conflicts == 0:
                        start.wait(DEADLINE)  # all have read the same: conflicts are certain
                    try:
                        store.put_if_unchanged("counter", str(int(item.value) + 1).encode(), revision=item.mod_revision)
                        break
                    except Conflict:
                        conflicts += 1
            return conflicts

        conflicts = together(context.check, [partial(count, number) for number in range(threads)], "counting")
        item = context.store.get("counter")
        data = {"start": 0, "acknowledged": threads * each, "unknown": 0, "final": item and int(item.value)}
        context.check.no_problems(
            context.evidence.check("counter", data),
            f"{threads} threads adding one {each} times each",
            expected=f"{threads * each}",
        )
        context.check.enough(sum(conflicts), threads - 1, "a conflict between threads")

    def test_transactions_keep_an_invariant(self, context: RuleContext) -> None:
        """Conditional transfers between keys from several threads keep the sum of their values."""
        keys = [f"account{number}" for number in range(4)]
        opening = context.store.transaction()
        for key in keys:
            opening.put(key, b"100")
        opening.commit()
        stores = [context.store, context.connect()]
        all_have_read = threading.Barrier(len(keys))

        def transfer(number: int) -> int:
            moved = 0
            for turn in range(15):
                source, target = keys[(number + turn) % 4], keys[(number + 2 * turn + 1) % 4]
                if source != target:
                    amount = 1 + 15 * number + turn
                    _transfer(context, stores[number % 2], source, target, amount, all_have_read=all_have_read)
                    moved += 1
            return moved

        moved = together(context.check, [partial(transfer, number) for number in range(4)], "transfers")
        balances = [int(item.value) for item in context.store.list("account")]
        context.check.equal(sum(balances), 400, f"the sum of the four accounts {balances} after conditional transfers")
        context.check.enough(sum(moved), 30, "a transfer")

    @requires_capability("consistent_list")
    def test_transactions_are_whole_in_every_list(self, context: RuleContext) -> None:
        """A list during transactions on several keys shows each transaction as a whole or not at all."""
        keys, enough = 6, 40
        broken = threading.Event()
        readers = [context.connect() for _ in range(2)]
        seen: list[set[int]] = [set() for _ in readers]

        def write() -> None:
            number = 0
            while any(len(each) < enough for each in seen) and not reading.failed:
                _write_all(context.store, keys, number)
                number += 1

        def read(number: int) -> None:
            while len(seen[number]) < enough and not broken.is_set():
                listed = readers[number].list("")
                values = {item.value for item in listed}
                whole = len(listed) in (0, keys) and len(values) <= 1
                if not whole:
                    broken.set()
                context.check.true(
                    whole,
                    f"list while transactions of {keys} keys run",
                    expected="all keys with the same value, or no key",
                    seen={item.key: item.value for item in listed},
                )
                seen[number].update(map(int, values))

        _write_all(context.store, keys, 0)
        reading = Running(context.check, [partial(read, number) for number in range(2)], "lists beside transactions")
        writing = Running(context.check, [write], "transactions beside lists")
        writing.join()
        reading.join()
        for each in seen:
            context.check.enough(len(each), enough, "a list seeing another transaction")


def _transfer(
    context: RuleContext, store: Store, source: str, target: str, amount: int, *, all_have_read: threading.Barrier
) -> None:
    """Move ``amount`` from one account to another, with as many tries as that takes.

    Before the first try all threads wait for each other, so that there are conflicts on either account.
    """
    first = True
    while True:
        one, two = store.get(source), store.get(target)
        if one is None or two is None:
            raise context.check.fail("get of an account", expected="an item", seen=None)
        if first:
            all_have_read.wait(DEADLINE)
            first = False
        move = store.transaction().if_unchanged(source, revision=one.mod_revision)
        move.if_unchanged(target, revision=two.mod_revision)
        move.put(source, str(int(one.value) - amount).encode()).put(target, str(int(two.value) + amount).encode())
        try:
            move.commit()
        except Conflict:
            continue
        return


def _write_all(store: Store, keys: int, number: int) -> None:
    """Write all keys in one transaction. In turn: keys come, change and go together."""
    transaction = store.transaction()
    for key in range(keys):
        if number % 5 == 4:
            transaction.delete(f"{key}")
        else:
            transaction.put(f"{key}", str(number).encode())
    transaction.commit()
