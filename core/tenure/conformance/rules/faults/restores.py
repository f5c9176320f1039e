"""Rules about data that go back: an older state of the store is brought back under clients that know a later one."""

from __future__ import annotations

import time
from contextlib import ExitStack

from tenure._client.store import Store
from tenure.conformance.checkers import write_history
from tenure.conformance.fault_injection.faults import RECOVERY, retry_until_answered, works_again
from tenure.conformance.harness.assertions import EVENT_TIMEOUT
from tenure.conformance.harness.context import RuleContext
from tenure.conformance.harness.rule import Rules, requires_control
from tenure.conformance.workloads.recording_watcher import Follower
from tenure.errors import Compacted, Conflict, TenureError
from tenure.watch import Batch, BatchType, Watch

_WRITES = 15
_PREFIXES = ("quiet/", "busy/", "came/", "empty/")
"""Written before and after the backup; the same and written afterwards; written after the backup alone; never."""


class RestoreRules(Rules, area="restarts"):
    """A backup that is restored."""

    @requires_control("backup", "restore")
    def test_restarts_restored_data_reach_every_watch(self, context: RuleContext) -> None:
        """When older data come back, each watch ends with the true state and told the gap: quiet, busy or asleep."""
        store = context.store
        _write_the_old(store)
        context.controls.do("backup")
        works_again(context, store)
        watcher = context.connect()
        with ExitStack() as stack:
            followers = {p: stack.enter_context(Follower(context.check, watcher.watch(p))) for p in _PREFIXES}
            asleep = {p: stack.enter_context(watcher.watch(p)) for p in _PREFIXES}
            read = {prefix: _read_until_synced(context, watch) for prefix, watch in asleep.items()}
            for follower in followers.values():
                follower.wait_in_sync()
            later = _write_the_later(store)
            for prefix, revision in later.items():
                followers[prefix].wait_for(f"{prefix}last", revision, "wrote after the backup", within=RECOVERY)
                read[prefix] += _read_up_to(context, asleep[prefix], revision)
            # A store that was down has broken its watches, and one that shows every revision shows the gap.
            told = _bring_back(context) or context.capabilities.lossless_watch
            _write_beyond(store, max(later.values()))
            deadline = time.monotonic() + RECOVERY + context.capabilities.max_watch_failure_detection
            problems = []
            for prefix in _PREFIXES:
                waking = Follower(context.check, asleep[prefix])
                waking.batches[:0] = read[prefix]
                for which, watch in {"all the while": followers[prefix], "again later": waking}.items():
                    wrong = _wait_for_truth(context, prefix, watch.batches, deadline)
                    if told and not wrong and prefix != "empty/" and not watch.resyncs:
                        wrong = ["it told the difference without a RESYNC"]
                    problems += [f"the watch of {prefix!r} that was read {which}: {each}" for each in wrong]
        context.check.no_problems(
            problems, "brought older data back, and wrote beyond the revisions known before", expected="the true state"
        )

    @requires_control("backup", "restore")
    def test_restarts_restored_data_refuse_later_revisions(self, context: RuleContext) -> None:
        """When older data come back, preconditions and watches on a revision lost with the later ones are refused."""
        store = context.store
        store.put("key", b"old")
        context.controls.do("backup")
        works_again(context, store)
        lost = [store.put("key", b"lost").revision for _ in range(_WRITES)]
        _bring_back(context)
        other = context.connect()
        accepted = []
        for _ in range(2 * _WRITES):
            present = other.put("key", b"new", timeout=RECOVERY).revision
            for revision in {lost[-1], present} & {*lost}:
                try:
                    store.put_if_unchanged("key", b"stale", revision=revision, timeout=RECOVERY)
                except Conflict:
                    continue
                accepted.append(revision)
        context.check.equal(accepted, [], "lost revisions at which a client that knew them could replace the key")
        if context.capabilities.lossless_watch and context.capabilities.unique_revisions:

            def watch() -> object:
                with other.watch("", after=lost[-1]) as opened:
                    return opened.next(EVENT_TIMEOUT)

            context.check.raises(Compacted, watch, f"watch(after={lost[-1]}), lost with the data after the backup")


def _write_the_old(store: Store) -> None:
    for prefix in ("quiet/", "busy/"):
        for name in ("changed", "deleted", "same"):
            store.put(f"{prefix}{name}", b"old")


def _write_the_later(store: Store) -> dict[str, int]:
    """Return the last revision of each prefix that was written."""
    for prefix in ("quiet/", "busy/"):
        store.put(f"{prefix}changed", b"later")
        store.delete(f"{prefix}deleted")
    store.put("came/new", b"later")
    for number in range(_WRITES):
        store.put("busy/count", b"%d" % number)
    return {prefix: store.put(f"{prefix}last", b"later").revision for prefix in ("quiet/", "busy/", "came/")}


def _bring_back(context: RuleContext) -> bool:
    """Restore the backup, with the server down if it can be killed; return whether it was."""
    offline = context.controls.offers("kill") and context.controls.offers("start")
    context.store.put("gone", b"", timeout=RECOVERY)
    with context.evidence.fault("restored data") as window:
        window.what = "keys that are gone"
        if offline:
            context.controls.do("kill")
        try:
            context.controls.do("restore")
        finally:
            if offline:
                context.controls.do("start")
        works_again(context, context.store)
        window.effects = int(context.store.get("gone", timeout=RECOVERY) is None)
    context.check.enough(window.effects, 1, "a key lost with the data after the backup")
    return offline


def _write_beyond(store: Store, known: int) -> None:
    """Write the busy prefix until the store is beyond every revision known before; the others stay quiet."""
    deadline = time.monotonic() + RECOVERY
    for number in range(50 * _WRITES):
        written = 0

        def put(number: int = number) -> None:
            nonlocal written
            written = store.put("busy/after", b"%d" % number).revision

        retry_until_answered(put)
        if (written > known and number >= _WRITES) or time.monotonic() > deadline:
            return


def _read_until_synced(context: RuleContext, watch: Watch) -> list[Batch]:
    batches: list[Batch] = []
    while not batches or batches[-1].type is not BatchType.SYNCED:
        batches.append(_next(context, watch))
    return batches


def _read_up_to(context: RuleContext, watch: Watch, revision: int) -> list[Batch]:
    batches: list[Batch] = []
    while watch.revision < revision:
        batches.append(_next(context, watch))
    return batches


def _next(context: RuleContext, watch: Watch) -> Batch:
    batch = watch.next(EVENT_TIMEOUT)
    if batch is None:
        raise context.check.fail("read a watch", expected="the next batch", seen=f"nothing in {EVENT_TIMEOUT:g} s")
    return batch


def _wait_for_truth(context: RuleContext, prefix: str, batches: list[Batch], deadline: float) -> list[str]:
    """Return what is wrong with what a watch delivered, once it had time."""
    while True:
        try:
            wrong = write_history.check_convergence(list(batches), context.store.list(prefix, timeout=RECOVERY))
        except TenureError as exc:
            wrong = [f"list({prefix!r}): {exc}"]
        if not wrong or time.monotonic() > deadline:
            return wrong
        time.sleep(0.05)
