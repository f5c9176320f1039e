"""Rules about watches: the contract of events, the beginning, resuming, slow consumers, callbacks, closing."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack
from functools import partial

from tenure.conformance.checkers import watches as watch_checker
from tenure.conformance.checkers import write_history
from tenure.conformance.harness.assertions import EVENT_TIMEOUT
from tenure.conformance.harness.context import RuleContext
from tenure.conformance.harness.rule import SYNC, Rules, of_face, requires_capability, requires_control
from tenure.conformance.workloads.recording_watcher import Follower
from tenure.conformance.workloads.watches import observe
from tenure.conformance.workloads.writers import LAST_KEY, Workload
from tenure.errors import Compacted, InvalidArgument, StoreClosed, TenureError, Unsupported
from tenure.watch import Batch, BatchType, EventType, Watch

_CLOCK_TOLERANCE = 0.5
"""Seconds by which this machine may be late, in addition to what the store declares."""


_BACKLOG = 40
"""Transactions, of many keys or of many bytes in turn: more than fits into a message or a page of the history."""


class WatchRules(Rules, area="watches"):
    """The state, then changes, as long as the watch is open."""

    def test_watches_of_one_key_see_that_key_alone(self, context: RuleContext) -> None:
        """An exact watch delivers the state and the changes of its key, and nothing of keys that start with it."""
        neighbours = ("a/", "a/b", "ab", "a\x01", "A", "b/")
        for key in ("a", *neighbours):
            context.store.put(key, b"old")
        open_watch = partial(context.connect().watch, exact=True)
        with (
            Follower(context.check, open_watch("a")) as present,
            Follower(context.check, open_watch("b")) as missing,
        ):
            present.wait_in_sync(), missing.wait_in_sync()
            for key in neighbours:
                context.store.put(key, b"new")
            context.store.delete("a/b")
            context.store.put("a", b"new")
            for follower, key in ((present, "a"), (missing, "b")):
                follower.wait_for(key, context.store.put(key, b"last").revision, "put the key of an exact watch")
            for follower, key in ((present, "a"), (missing, "b")):
                events = [event for batch in follower.batches for event in batch.events]
                context.check.equal({event.key for event in events}, {key}, f"the keys that watch({key!r}) delivered")
                kinds = [event.type for event in events]
                expected = [EventType.CREATE] + [EventType.UPDATE] * (len(kinds) - 1)
                context.check.equal(kinds, expected, f"the events that watch({key!r}, exact=True) delivered")
            began = [len(follower.batches[0].events) for follower in (present, missing)]
            context.check.equal(began, [1, 0], "the events that an exact watch of a key, and of none, began with")

    # -- the contract, checked against the write history of one concurrent run --

    def test_watches_revisions_only_grow_per_key(self, context: RuleContext) -> None:
        """The events of each key come in the order of their revisions, and none comes twice."""
        problems = self._problems(context, watch_checker.ORDER)
        context.check.no_problems(problems, "watched while three writers wrote", expected="growing revisions per key")

    def test_watches_nothing_is_invented(self, context: RuleContext) -> None:
        """Each event has a key, value and revision that a client wrote, and each delete was made."""
        problems = self._problems(context, watch_checker.TRUTH)
        context.check.no_problems(problems, "compared every event with the writes", expected="events that happened")

    def test_watches_watchers_converge(self, context: RuleContext) -> None:
        """Once writes stop, the state built from a watch's events equals a list; no delete is missed."""
        problems = self._problems(context, watch_checker.CONVERGENCE)
        context.check.no_problems(problems, "compared events with a list after the last write", expected="equality")

    def test_watches_a_gap_is_told(self, context: RuleContext) -> None:
        """The state comes first, then SYNCED, then changes; a gap comes only as a RESYNC with its reason."""
        problems = self._problems(context, watch_checker.SHAPE)
        context.check.no_problems(problems, "looked at the kinds of batches", expected="snapshot, synced, changes")

    def test_watches_events_know_what_they_are(self, context: RuleContext) -> None:
        """Events distinguish create, update and delete, and the previous value is what this watcher knew."""
        problems = self._problems(context, watch_checker.KINDS)
        context.check.no_problems(problems, "replayed the events of a watch(previous=True)", expected="right kinds")

    @requires_capability("lossless_watch")
    def test_watches_see_every_transaction_whole(self, context: RuleContext) -> None:
        """Every transaction is delivered as one batch, in order, and none is coalesced with another."""
        problems = self._problems(context, watch_checker.TRANSACTIONS)
        context.check.no_problems(problems, "compared batches with transactions", expected="one batch for each")

    def _problems(self, context: RuleContext, check: str) -> list[str]:
        """Run one check on the run that these rules share, and keep the data that the check needs."""
        seen = context.run_once("watches", observe)
        needs_writes = check in (watch_checker.TRUTH, watch_checker.TRANSACTIONS)
        data = watch_checker.record(
            [check],
            seen.all,
            timeline=seen.timeline if needs_writes else None,
            listed=seen.listed if check == watch_checker.CONVERGENCE else None,
            exact=seen.exact,
            previous=True,
            after=[batches[1].revision for batches in seen.all],
        )
        return context.evidence.check("watch", data)

    # -- the beginning --

    def test_watches_begin_with_the_present_state(self, context: RuleContext) -> None:
        """The first batch is the state as creates, in order; the second is SYNCED, at the same revision."""
        for key in ("w/b", "w/a", "w", "w0", "x"):
            context.store.put(key, key.encode())
        expected = context.store.list("w/")
        with context.store.watch("w/") as watch:
            first, second = watch.next(EVENT_TIMEOUT), watch.next(EVENT_TIMEOUT)
        if first is None or second is None:
            raise context.check.fail("watch('w/')", expected="two batches at once", seen=(first, second))
        context.check.equal((first.type, second.type), (BatchType.SNAPSHOT, BatchType.SYNCED), "the first two batches")
        delivered = tuple(event.item for event in first.events)
        context.check.equal(delivered, expected.items, "the items of the first batch, against a list")
        context.check.equal({event.type for event in first.events}, {EventType.CREATE}, "their kinds")
        context.check.true(
            second.revision >= expected.revision,
            "the revision of synced",
            expected=f"{expected.revision} or more",
            seen=second.revision,
        )

    def test_watches_begin_empty_where_nothing_is(self, context: RuleContext) -> None:
        """A watch of a prefix without keys is in sync at once, and then delivers the first key."""
        with Follower(context.check, context.store.watch("nothing/")) as follower:
            follower.wait_in_sync()
            context.check.equal(follower.batches[0].events, (), "the first batch of a watch of nothing")
            revision = context.store.put("nothing/no more", b"").revision
            follower.wait_for("nothing/no more", revision, "put the first key")

    # -- changes --

    def test_watches_tell_create_update_delete(self, context: RuleContext) -> None:
        """Put, put, delete and put are delivered as create, update, delete and create, with values before and after."""
        with Follower(context.check, context.store.watch("", previous=True)) as follower:
            follower.wait_in_sync()
            revisions = []
            for step in (b"1", b"2", None, b"3"):
                committed = context.store.delete("key") if step is None else context.store.put("key", step)
                follower.wait_for("key", committed.revision, "deleted the key" if step is None else f"put {step!r}")
                revisions.append(committed.revision)
            events = write_history.events_of(follower.batches)
            seen = [(e.type, e.item and e.item.value, e.previous and e.previous.value) for e in events]
            expected = [
                (EventType.CREATE, b"1", None),
                (EventType.UPDATE, b"2", b"1"),
                (EventType.DELETE, None, b"2"),
                (EventType.CREATE, b"3", None),
            ]
            context.check.equal(seen, expected, "put, put, delete, put, each waited for")
            if context.capabilities.lossless_watch:
                context.check.equal([event.revision for event in events], revisions, "the revisions of these events")

    def test_watches_tell_an_identical_put(self, context: RuleContext) -> None:
        """Writing the present value again is an update event."""
        context.store.put("key", b"same")
        with Follower(context.check, context.store.watch("")) as follower:
            follower.wait_in_sync()
            revision = context.store.put("key", b"same").revision
            follower.wait_for("key", revision, "put the same value again")

    def test_watches_keep_to_their_prefix(self, context: RuleContext) -> None:
        """A watch delivers keys that start with its prefix and no others; wildcards have no meaning."""
        with ExitStack() as stack:
            prefixes = ("a", "a/", "a%", "*", "")
            followers = {
                prefix: stack.enter_context(Follower(context.check, context.store.watch(prefix))) for prefix in prefixes
            }
            for follower in followers.values():
                follower.wait_in_sync()
            keys = ("a", "a/", "a/b", "a0", "a%", "a%b", "aXb", "b", "*", "*x", "A/x", "a\u00ff")
            transaction = context.store.transaction()
            for key in keys:
                context.store.put(key, b"1")
                transaction.put(key, b"2")
            transaction.put("a~", b"").put("a/~", b"").put("a%~", b"").put("*~", b"").put("~", b"")
            last = transaction.commit().revision
            for prefix, follower in followers.items():
                follower.wait_for(f"{prefix}~", last, "wrote a last key under each prefix")
                delivered = {event.key for event in write_history.events_of(follower.batches)} - {
                    "a~",
                    "a/~",
                    "a%~",
                    "*~",
                    "~",
                }
                expected = {key for key in keys if key.startswith(prefix)}
                context.check.equal(sorted(delivered), sorted(expected), f"the keys delivered to watch({prefix!r})")

    def test_watches_are_quick(self, context: RuleContext) -> None:
        """On an idle store most changes are delivered within the declared latency."""
        latency = context.capabilities.max_watch_latency
        late = []
        with Follower(context.check, context.connect().watch("")) as follower:
            follower.wait_in_sync()
            for number in range(9):
                revision = context.store.put(f"{number}", b"").revision
                acknowledged = time.monotonic()
                follower.wait_for(f"{number}", revision, "put a key")
                late.append((follower.moment(f"{number}", revision) or 0.0) - acknowledged)
        median = sorted(late)[len(late) // 2]
        context.check.true(
            median <= latency + _CLOCK_TOLERANCE / 2,
            "put nine keys, one after another, beside a watch",
            expected=f"half of them delivered within {latency:g} s (and {_CLOCK_TOLERANCE / 2:g} s for a busy machine)",
            seen=f"{median:.3f} s",
        )

    def test_watches_many_at_once_all_work(self, context: RuleContext) -> None:
        """A hundred watches on one store all deliver a change, and closing one stops no other."""
        watches = [context.store.watch(f"{number % 10}/") for number in range(100)]
        try:
            for watch in watches:
                if watch.next(EVENT_TIMEOUT) is None or watch.next(EVENT_TIMEOUT) is None:
                    raise context.check.fail(
                        "opened 100 watches", expected="SNAPSHOT and SYNCED of each", seen="nothing"
                    )
            for watch in watches[::2]:
                watch.close()
            for number in range(10):
                context.store.put(f"{number}/key", b"")
            for number, watch in list(enumerate(watches))[1::2]:
                batch = watch.next(EVENT_TIMEOUT)
                delivered = batch and [event.key for event in batch.events]
                context.check.equal(
                    delivered, [f"{number % 10}/key"], f"watch number {number} after a put under its prefix"
                )
        finally:
            for watch in watches:
                watch.close()

    # -- resuming --

    def test_watches_after_a_revision_work_or_are_refused(self, context: RuleContext) -> None:
        """watch(after=...) is Unsupported exactly where lossless_watch isn't declared."""
        revision = context.store.put("key", b"").revision
        if context.capabilities.lossless_watch:
            context.store.watch("", after=revision).close()
            both = partial(context.store.watch, "", after=revision, previous=True)
            context.check.raises(InvalidArgument, both, "watch(after=..., previous=True)")
        else:
            refused = partial(context.store.watch, "", after=revision)
            context.check.raises(Unsupported, refused, "watch(after=...) where lossless_watch isn't declared")

    @requires_capability("lossless_watch")
    def test_watches_resume_after_any_revision_exactly(self, context: RuleContext) -> None:
        """A watch after a revision delivers every transaction after it and none up to it, for every revision."""
        workload = Workload(context.check, [context.store, context.connect()], turns=75)
        last = workload.finish()
        timeline = workload.history.timeline().under("w/")
        revisions = [step.revision for step in timeline.steps[:-1]]
        chosen = [*revisions[:: max(1, len(revisions) // 12)], revisions[-1]]
        for after in chosen:
            with Follower(context.check, context.store.watch("w/", after=after)) as follower:
                follower.wait_for(LAST_KEY, last, f"watch(after={after})")
                problems = write_history.check_every_transaction(follower.batches, timeline, after=after)
                delivered = [event.revision for event in write_history.events_of(follower.batches)]
                problems += [f"the event at {early} isn't after {after}" for early in delivered if early <= after]
                context.check.no_problems(problems, f"watch(after={after})", expected="each transaction after it, once")

    @requires_capability("lossless_watch")
    def test_watches_resume_over_a_large_backlog(self, context: RuleContext) -> None:
        """A watch after a revision delivers every later transaction whole, however many keys and bytes they have."""
        limits = context.capabilities
        start = context.store.put("w/start", b"").revision
        many = min(200, limits.max_transaction_operations)
        value = b"x" * min(64 * 1024, limits.max_value_bytes, limits.max_transaction_bytes // 8)
        expected: dict[int, tuple[str, ...]] = {}
        for number in range(_BACKLOG):
            large = number % 2
            keys = tuple(f"w/{number:02}/{key:03}" for key in range(min(4, many) if large else many))
            transaction = context.store.transaction()
            for key in keys:
                transaction.put(key, value if large else b"")
            expected[transaction.commit().revision] = keys
        last = max(expected)
        with Follower(context.check, context.store.watch("w/", after=start)) as follower:
            follower.wait_for(expected[last][-1], last, f"watch(after={start})", within=3 * EVENT_TIMEOUT)
            batches = list(follower.batches)
        seen: dict[int, list[tuple[str, ...]]] = {}
        for batch in batches:
            parts: dict[int, list[str]] = {}
            for event in batch.events:
                parts.setdefault(event.revision, []).append(event.key)
            for revision, part in parts.items():
                seen.setdefault(revision, []).append(tuple(sorted(part)))
        problems = [
            f"the transaction at {revision} has {len(keys)} keys; {[len(part) for part in seen.get(revision, [])]} came"
            for revision, keys in expected.items()
            if seen.get(revision) != [keys]
        ]
        problems += [f"there was no transaction at {revision}" for revision in seen if revision not in expected]
        context.check.no_problems(problems, f"watch(after={start}) over a backlog", expected="each transaction, whole")

    @requires_capability("lossless_watch")
    def test_watches_resume_at_the_present(self, context: RuleContext) -> None:
        """A watch after the present revision delivers no earlier change and every later one."""
        context.store.put("w/old", b"")
        present = context.store.delete("w/old").revision
        with Follower(context.check, context.store.watch("w/", after=present)) as follower:
            first = context.store.put("w/new", b"1").revision
            second = context.store.put("w/new", b"2").revision
            follower.wait_for("w/new", second, "watched after the present revision, then put twice")
            delivered = [(event.key, event.revision) for event in write_history.events_of(follower.batches)]
            context.check.equal(delivered, [("w/new", first), ("w/new", second)], "the events delivered")

    @requires_capability("lossless_watch")
    def test_watches_resume_from_the_future_is_compacted(self, context: RuleContext) -> None:
        """A revision that the store hasn't reached is not part of its history: watching after it is Compacted."""
        future = context.store.put("key", b"").revision + 1_000_000

        def watch() -> object:
            with context.store.watch("", after=future) as opened:
                return opened.next(EVENT_TIMEOUT)

        context.check.raises(Compacted, watch, f"watch(after={future}), a million beyond the present")

    @requires_capability("lossless_watch")
    @requires_control("compact")
    def test_watches_resume_from_a_forgotten_revision_is_compacted(self, context: RuleContext) -> None:
        """Watching after a revision that the store dropped from its history is Compacted, never a silent gap."""
        old = context.store.put("key", b"1").revision
        following = [context.store.put("key", str(number).encode()).revision for number in range(5)]
        context.controls.do("compact")
        present = context.store.put("key", b"last").revision

        def watch() -> Batch | None:
            with context.store.watch("", after=old) as opened:
                delivered = opened.next(EVENT_TIMEOUT)
            if delivered is not None and [event.revision for event in delivered.events][:1] == following[:1]:
                context.check.enough(0, 1, "history dropped by the control 'compact'")
            return delivered

        context.check.raises(Compacted, watch, f"watch(after={old}) after the history up to {present} was dropped")

    # -- slow consumers, callbacks, closing --

    def test_watches_a_slow_consumer_is_resynced(self, context: RuleContext) -> None:
        """A consumer too slow for max_pending delays no other, gets a RESYNC, and ends with the true state."""
        slow = context.store.watch("w/", max_pending=10)
        first = [batch for batch in (slow.next(EVENT_TIMEOUT), slow.next(EVENT_TIMEOUT)) if batch is not None]
        with Follower(context.check, context.store.watch("w/")) as quick:
            quick.wait_in_sync()
            workload = Workload(context.check, [context.store], turns=180)
            last = workload.finish()
            quick.wait_for(LAST_KEY, last, "wrote beside an unread watch")
            context.check.equal(quick.resyncs, 0, "the number of gaps delivered to the quick consumer")
        with Follower(context.check, slow) as reader:
            reader.wait_for(LAST_KEY, last, "read a watch that had been left alone")
            batches = [*first, *reader.batches]
        problems = write_history.check_convergence(batches, context.store.list("w/"))
        timeline = workload.history.timeline().under("w/")
        problems += write_history.check_order(batches) + write_history.check_kinds(batches, previous=False)
        context.check.no_problems(problems, "read a watch that had been left alone", expected="the true state")
        complete = not write_history.check_every_transaction(batches, timeline, after=first[-1].revision)
        context.check.true(
            reader.resyncs > 0 or complete or not context.capabilities.lossless_watch,
            f"left {len(timeline.steps)} transactions unread, max_pending=10",
            expected="a RESYNC batch, or every transaction",
            seen=[batch.type for batch in batches][:20],
        )

    @requires_capability("lossless_watch")
    def test_watches_a_slow_resumed_watch_misses_nothing(self, context: RuleContext) -> None:
        """A watch after a revision whose consumer is too slow misses no transaction."""
        start = context.store.put("w", b"start").revision
        slow = context.store.watch("w/", after=start, max_pending=10)
        workload = Workload(context.check, [context.store], turns=180)
        last = workload.finish()
        with Follower(context.check, slow) as reader:
            reader.wait_for(LAST_KEY, last, "read a watch(after=...) that had been left alone")
            problems = write_history.check_every_transaction(
                reader.batches, workload.history.timeline().under("w/"), after=start
            )
        context.check.no_problems(problems, "read a watch(after=...) that had been left alone", expected="everything")

    @of_face(SYNC, because="callbacks run on the event loop, and await the store in a task of their own")
    def test_watches_callbacks_may_use_the_store(self, context: RuleContext) -> None:
        """A callback may read, write, transact, list, lease, watch and close its own watch without a deadlock."""
        store, done, errors = context.store, threading.Event(), list[BaseException]()
        opened: list[Watch] = []

        def callback(batch: Batch) -> None:
            if done.is_set() or not any(event.key == "w/go" for event in batch.events):
                return
            try:
                store.put("answer", b"1")
                store.transaction().if_exists("answer").put("more", b"2").commit()
                store.get("answer"), store.list("")
                store.lease(context.short_ttl).revoke()
                with store.watch("w/") as inner:
                    inner.next(EVENT_TIMEOUT)
                opened[0].close()
            except BaseException as exc:  # noqa: BLE001 - shown by the rule
                errors.append(exc)
            done.set()

        opened.append(store.watch("w/", callback=callback))
        store.put("w/go", b"")
        context.check.true(
            done.wait(EVENT_TIMEOUT), "called the store inside a callback", expected="an end", seen="still not done"
        )
        context.check.equal([repr(error) for error in errors], [], "errors raised inside the callback")
        answer = store.get("more")
        context.check.equal(answer and answer.value, b"2", "what the callback wrote")

    @of_face(SYNC, because="callbacks run on the event loop, and may not block it")
    def test_watches_a_blocked_callback_stalls_no_one(self, context: RuleContext) -> None:
        """A callback that doesn't return holds up no other watch, no read and no write."""
        release, entered = threading.Event(), threading.Event()

        def block(_: Batch) -> None:
            entered.set()
            release.wait(EVENT_TIMEOUT * 2)

        try:
            context.store.watch("", callback=block)
            context.check.true(entered.wait(EVENT_TIMEOUT), "watch(callback=...)", expected="a call", seen="none")
            with Follower(context.check, context.store.watch("")) as follower:
                follower.wait_in_sync()
                for number in range(20):
                    last = context.store.put("key", str(number).encode()).revision
                follower.wait_for("key", last, "watched beside a callback that blocks")
        finally:
            release.set()

    def test_watches_close_wakes_a_blocked_reader(self, context: RuleContext) -> None:
        """Closing a watch, or its store, wakes the thread that waits in next() at once."""
        for what in ("watch", "store"):
            store = context.connect()
            watch = store.watch("")
            watch.next(EVENT_TIMEOUT), watch.next(EVENT_TIMEOUT)
            waiting, ended = threading.Event(), list[object]()

            def read(watch: Watch = watch, waiting: threading.Event = waiting, ended: list[object] = ended) -> None:
                waiting.set()
                try:
                    ended.append(watch.next())
                except TenureError as exc:
                    ended.append(exc)

            thread = threading.Thread(target=read, daemon=True)
            thread.start()
            waiting.wait(EVENT_TIMEOUT)
            (watch if what == "watch" else store).close()
            thread.join(EVENT_TIMEOUT)
            back = bool(ended) and isinstance(ended[0], StoreClosed)
            did = f"closed the {what} while a thread waited in next()"
            context.check.true(back, did, expected="StoreClosed in that thread", seen=ended or "still waiting")
