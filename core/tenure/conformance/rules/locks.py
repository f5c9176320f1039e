"""Rules about locks, queues and elections; :mod:`tenure.conformance.workloads.lock_recipe` builds them.

No rule states that a lock always excludes other holders, since a holder may be paused for longer than its lease. Even
then tokens grow, and a resource that checks the token accepts no stale write.
"""

from __future__ import annotations

from functools import partial

from tenure.conformance.checkers import by_name
from tenure.conformance.checkers.linearizability import search
from tenure.conformance.checkers.linearizability.models import Lock
from tenure.conformance.checkers.linearizability.operations import to_json
from tenure.conformance.harness.assertions import EVENT_TIMEOUT, inconclusive
from tenure.conformance.harness.context import RuleContext
from tenure.conformance.harness.rule import Rules, parallel_safe
from tenure.conformance.workloads.leases import CLOCK_TOLERANCE, recorded
from tenure.conformance.workloads.lock_recipe import acquire, release
from tenure.conformance.workloads.locks import Fencing, fence, observe_endings, spans_as_json, take_turns
from tenure.errors import Conflict

_CLOCKS = 0.02
"""Seconds by which clocks may differ within the time of one lease."""


class LockRules(Rules, area="locks"):
    """Locks, queues and elections."""

    # -- without faults: these inspect one run of workers that take turns --

    def test_locks_exclude_each_other(self, context: RuleContext) -> None:
        """No two workers hold a lock at once, and the number that it protects loses no update."""
        run = context.run_once("turns", take_turns)
        context.check.enough(run.contended, len(run.spans) // 2, "a worker waiting for the lock of another")
        did, expected = f"{len(run.spans)} times a worker took the lock", "one holder at a time"
        context.check.no_problems(context.evidence.check("exclusion", run.as_json()), did, expected=expected)
        data = {"operations": to_json(run.operations)}
        answer = search.check(run.operations, Lock).answer
        context.check.enough(answer is not search.Answer.UNKNOWN, 1, "a search for an order that came to an end")
        context.check.no_problems(context.evidence.check("locks", data), did, expected=expected)
        if not context.capabilities.linearizable:
            return  # a worker may have read the number as it was before the last one's turn
        counted = {"start": 0, "acknowledged": len(run.spans), "unknown": 0, "final": run.shared}
        problems = context.evidence.check("counter", counted)
        context.check.no_problems(problems, f"{did} and added one to a number", expected=f"{len(run.spans)}")

    def test_locks_tokens_grow(self, context: RuleContext) -> None:
        """A lock's create revision is its fencing token: all clients read it, and each is greater than the last."""
        run = context.run_once("turns", take_turns)
        context.check.enough(len(run.spans), run.least, "a worker taking the lock")
        problems = context.evidence.check("fencing-tokens", run.as_json())
        context.check.no_problems(problems, f"{len(run.spans)} times a worker took the lock", expected="growing tokens")
        if not context.capabilities.linearizable:
            return  # other connections may read the key of a former holder
        others = [pair for pair in run.created if pair[0] != pair[1]]
        context.check.equal(others, [], "tokens that aren't the create revision another connection reads meanwhile")

    # -- a lease ends under its holder --

    def test_locks_guard_against_stale_holders(self, context: RuleContext) -> None:
        """A write conditional on the lock's revision is refused if its writer's lease was revoked."""
        self._fenced(context, fence(context, EVENT_TIMEOUT, expire=None))

    @parallel_safe
    def test_locks_guard_against_expired_holders(self, context: RuleContext) -> None:
        """A write conditional on the lock's revision is refused if its writer's lease has expired."""
        self._fenced(context, context.run_once("endings", observe_endings).expired)

    def _fenced(self, context: RuleContext, seen: Fencing) -> None:
        did = f"wrote as a holder whose lease was {seen.how}, after another had taken the lock and written"
        data = {"writes": [write.as_json() for write in seen.conditional]}
        problems = context.evidence.check("fenced-writes", data)
        context.check.no_problems(problems, did, expected="the stale write is refused")
        context.check.true(seen.refused, did, expected="a Conflict", seen="the write was taken")
        if not by_name.check("fenced-writes", {"writes": [write.as_json() for write in seen.control]}):
            raise inconclusive(
                context.rule,
                "the same write without the precondition did no damage, so the precondition shows nothing",
            )
        context.evidence.count("stale write taken without the precondition")

    def test_locks_are_released_by_their_owner_alone(self, context: RuleContext) -> None:
        """Deleting a lock at another revision than its own is a Conflict for all clients; its owner's release works."""
        holder, other = context.connect(), context.connect()
        first, second = holder.lease(context.long_ttl), other.lease(context.long_ttl)
        old = acquire(context.check, holder, "lock", "the owner", first, within=EVENT_TIMEOUT)
        for wrong in (old - 1, old + 1):
            context.check.raises(Conflict, partial(release, other, "lock", wrong), "released another's lock")
        item = holder.get("lock")
        context.check.equal(item and item.create_revision, old, "the lock's create revision afterwards")
        release(holder, "lock", old)
        context.check.equal(holder.get("lock"), None, "the lock after its owner released it")
        new = acquire(context.check, other, "lock", "the next owner", second, within=EVENT_TIMEOUT)
        context.check.raises(Conflict, lambda: release(holder, "lock", old), "the former owner released once more")
        item = other.get("lock")
        context.check.equal(item and item.create_revision, new, "the next owner's lock afterwards")

    def test_locks_a_dead_waiter_blocks_nobody(self, context: RuleContext) -> None:
        """A dead waiter keeps its place in a queue until its lease expires; then the next waiter has its turn."""
        ending = context.run_once("endings", observe_endings).waiter
        did = "the second in a queue of three died, and the first left"
        problems = context.evidence.check("leases-not-early", recorded([ending], clocks=_CLOCKS))
        context.check.no_problems(problems, did, expected="the third waits as long as the second may live")
        latency = context.capabilities.max_watch_latency
        data = recorded([ending], seen_by=["watcher"], tolerance=CLOCK_TOLERANCE, latency=latency)
        problems = context.evidence.check("leases-in-time", data)
        context.check.no_problems(problems, did, expected="the third one's turn within the second one's worst case")

    def test_locks_loss_is_found_in_time(self, context: RuleContext) -> None:
        """A holder that is cut off finds its loss by its own clock, within the TTL, before another has the lock."""
        loss = context.run_once("endings", observe_endings).loss
        problems = context.evidence.check("loss-reported", loss.as_json())
        context.check.no_problems(
            problems,
            "checked repeatedly that an unrefreshed lease is valid",
            expected="LeaseLost in time",
        )

    def test_locks_leaders_follow_each_other(self, context: RuleContext) -> None:
        """Of candidates for an election no two are leaders at the same time, each by its own clock."""
        leaders = context.run_once("endings", observe_endings).leaders
        data = spans_as_json(leaders)
        did = "let a leader's lease run out, another resign, a third revoke its lease"
        context.check.no_problems(context.evidence.check("exclusion", data), did, expected="one leader at a time")
        context.check.no_problems(context.evidence.check("fencing-tokens", data), did, expected="growing tokens")
