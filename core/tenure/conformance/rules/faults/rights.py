"""Rules about rights that are taken away and given back while clients hold leases and watch."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

from tenure._client.store import Store
from tenure.conformance.checkers import write_history
from tenure.conformance.fault_injection.faults import RECOVERY
from tenure.conformance.harness.assertions import EVENT_TIMEOUT
from tenure.conformance.harness.context import RuleContext
from tenure.conformance.harness.rule import Rules, requires_control
from tenure.conformance.workloads.leases import CLOCK_TOLERANCE
from tenure.conformance.workloads.recording_watcher import Follower
from tenure.errors import LeaseLost, PermissionDenied, TenureError
from tenure.watch import EventType


class RightRules(Rules, area="faults"):
    """Rights that go and come back."""

    @requires_control("restrict", "permit")
    def test_faults_missing_rights_are_told_and_never_empty(self, context: RuleContext) -> None:
        """Without rights every read and write is PermissionDenied and changes nothing; no read leaves keys out."""
        store = context.store
        for number in range(3):
            store.put(f"key{number}", b"1")
        with context.evidence.fault("rights taken away") as window:
            window.what = "calls refused"
            context.controls.do("restrict")
            try:
                calls: dict[str, Callable[[], object]] = {
                    "get": partial(store.get, "key0"),
                    "get of a missing key": partial(store.get, "missing"),
                    "get of several keys": partial(store.get_many, ["key0", "key1"]),
                    "list": partial(store.list, ""),
                    "list without values": partial(store.list, "", keys_only=True),
                    "put": partial(store.put, "key0", b"2"),
                    "put_if_absent": partial(store.put_if_absent, "new", b"2"),
                    "delete": partial(store.delete, "key1"),
                    "delete_prefix": partial(store.delete_prefix, "key"),
                }
                if _still_served(store, "key0", b"1"):
                    return  # nothing was taken away
                for name, call in calls.items():
                    context.check.raises(PermissionDenied, call, f"{name} without rights")
                    window.effects += 1
            finally:
                context.controls.do("permit")
        seen = {item.key: item.value for item in store.list("", timeout=RECOVERY)}
        context.check.equal(seen, {f"key{number}": b"1" for number in range(3)}, "the keys after the rights came back")

    @requires_control("restrict", "permit")
    def test_faults_rights_that_come_back_heal_watches_and_leases(self, context: RuleContext) -> None:
        """While rights are missing a watch tells no delete that was not made, and goes on when they are back."""
        store = context.connect()
        for number in range(3):
            context.store.put(f"w/{number}", b"1")
        lease = store.lease(context.short_ttl)
        store.put("held", b"", lease=lease)
        limit = context.capabilities.max_watch_failure_detection + CLOCK_TOLERANCE
        with Follower(context.check, store.watch("w/", previous=True)) as follower:
            follower.wait_in_sync()
            context.store.put("w/0", b"2")
            with context.evidence.fault("rights taken away") as window:
                window.what = "calls refused"
                context.controls.do("restrict")
                try:
                    if _still_served(store, "w/0", b"2"):
                        return  # nothing was taken away
                    context.check.raises(PermissionDenied, partial(store.get, "w/0"), "get without rights")
                    window.effects += 1
                    # A watch may need this long to notice; what it tells wrongly it tells by then.
                    time.sleep(min(limit, EVENT_TIMEOUT))
                finally:
                    context.controls.do("permit")
            last = context.store.put("w/last", b"", timeout=RECOVERY).revision
            did = "took the rights away under a watch, gave them back, and put a key"
            follower.wait_for("w/last", last, did, within=RECOVERY + limit)
            batches = list(follower.batches)
        problems = write_history.check_convergence(batches, context.store.list("w/"))
        context.check.no_problems(problems, did, expected="the true state")
        deletes = [event.key for event in write_history.events_of(batches) if event.type is EventType.DELETE]
        context.check.equal(deletes, [], f"{did}: the deletes that the watch told, none of which was made")
        try:
            lease.refresh(timeout=RECOVERY)
        except LeaseLost:
            pass
        except TenureError as exc:
            raise context.check.fail(did, expected="a refresh, or LeaseLost", seen=exc) from exc
        if lease.alive:
            context.check.true(
                store.get("held", timeout=RECOVERY) is not None, did, expected="a living lease has its key", seen=None
            )


def _still_served(store: Store, key: str, value: bytes) -> bool:
    """Whether a get finds what is there, as if no right were missing."""
    try:
        item = store.get(key)
    except PermissionDenied:
        return False
    return item is not None and item.value == value
