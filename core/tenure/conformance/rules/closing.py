"""Rules about closing: what close leaves behind, and what the calls of a closed store raise."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial

from tenure.conformance.harness.assertions import EVENT_TIMEOUT
from tenure.conformance.harness.context import RuleContext
from tenure.conformance.harness.rule import Rules
from tenure.conformance.workloads.recording_watcher import Follower
from tenure.errors import StoreClosed
from tenure.watch import Batch, Watch


class ClosingRules(Rules, area="closing"):
    """Close leaves nothing behind."""

    def test_closing_leaves_no_thread(self, context: RuleContext) -> None:
        """After close no thread of the store, its leases, watches and callbacks is left."""
        before = set(threading.enumerate())
        store = context.connect()
        called = threading.Event()

        def callback(_: Batch) -> None:
            called.set()

        store.watch("", callback=callback)
        watches = [store.watch(f"{number}/") for number in range(5)]
        lease = store.lease(context.short_ttl)
        store.put("key", b"", lease=lease)
        called.wait(10.0)
        watches[0].close()
        store.close()
        context.check.eventually(
            lambda: [thread.name for thread in threading.enumerate() if thread not in before],
            lambda left: not left,
            "opened a store with a lease, watches and a callback, and closed it",
            expected="no thread more than before",
        )

    def test_closing_revokes_leases(self, context: RuleContext) -> None:
        """Closing a store revokes its leases at once: their keys are removed, and watchers receive the deletes."""
        holder = context.connect()
        lease = holder.lease(context.long_ttl)
        for key in ("a", "b"):
            holder.put(key, b"", lease=lease)
        with Follower(context.check, context.store.watch("")) as follower:
            revision = follower.wait_in_sync()
            holder.close()
            context.check.equal(
                context.store.list("").keys, (), "list('') by another after the holder of a lease closed"
            )
            for key in ("a", "b"):
                follower.wait_for(key, revision + 1, "closed the store that held the lease")

    def test_closing_is_final(self, context: RuleContext) -> None:
        """After close, which may be called again, every call raises StoreClosed."""
        store = context.connect()
        watch = store.watch("")
        store.close()
        store.close()
        calls: dict[str, Callable[[], object]] = {
            "get": partial(store.get, "key"),
            "list": partial(store.list, ""),
            "put": partial(store.put, "key", b""),
            "delete": partial(store.delete, "key"),
            "lease": partial(store.lease, context.short_ttl),
            "watch": partial(store.watch, ""),
            "transaction": store.transaction,
            "server_info": store.server_info,
            "next of its watch": partial(_drain, watch),
        }
        for name, call in calls.items():
            context.check.raises(StoreClosed, call, f"{name} after close")

    def test_closing_one_leaves_the_others(self, context: RuleContext) -> None:
        """Closing one connection disturbs no other connection: neither its watches nor its leases nor its keys."""
        one, two = context.connect(), context.connect()
        lease = two.lease(context.long_ttl)
        two.put("kept", b"", lease=lease)
        one.put("stays", b"")
        with Follower(context.check, two.watch("")) as follower:
            follower.wait_in_sync()
            one.close()
            revision = two.put("after", b"").revision
            follower.wait_for("after", revision, "put after another connection was closed")
            context.check.equal(follower.resyncs, 0, "gaps reported by the watch of the open connection")
        context.check.equal(two.list("").keys, ("after", "kept", "stays"), "list('') afterwards")
        lease.refresh()


def _drain(watch: Watch) -> None:
    """Read until the watch raises; return if it never does."""
    deadline = time.monotonic() + EVENT_TIMEOUT
    while time.monotonic() < deadline:
        watch.next(0.1)
