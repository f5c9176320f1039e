"""Rules about locks, shared locks, permits and elections: who holds, who follows, and what a former holder can do.

No rule states that a lock always excludes other holders, since a holder may be paused for longer than its lease. Even
then tokens grow, and a resource that checks the token accepts no stale write.

Fair locks, shared ones and elections are queues, which need reads of the latest state. Their rules don't apply to a
store that declares less.
"""

from __future__ import annotations

from functools import partial

from tenure.conformance.checkers import by_name
from tenure.conformance.checkers.linearizability import search
from tenure.conformance.checkers.linearizability.models import Lock as LockModel
from tenure.conformance.checkers.linearizability.operations import to_json
from tenure.conformance.harness.assertions import EVENT_TIMEOUT, inconclusive
from tenure.conformance.harness.context import RuleContext
from tenure.conformance.harness.rule import Rules, parallel_safe, requires_capability
from tenure.conformance.workloads.leases import recorded
from tenure.conformance.workloads.lock_endings import Fencing, fence, observe_endings
from tenure.conformance.workloads.lock_turns import Turns, spans_as_json, take_turns
from tenure.conformance.workloads.long_queue import observe as observe_long_queue
from tenure.conformance.workloads.participants import Client, without_error
from tenure.conformance.workloads.sharing import share
from tenure.errors import Conflict
from tenure.recipes.fencing import Gate
from tenure.recipes.lock import Lock

_CLOCKS = 0.02
"""Seconds by which clocks may differ within the time of one lease."""


class HolderRules(Rules, area="recipes"):
    """Locks, shared locks, permits and elections."""

    # -- without faults: these inspect runs of workers that take turns --

    @requires_capability("linearizable")
    def test_recipes_fair_locks_exclude_each_other(self, context: RuleContext) -> None:
        """No two clients hold a fair lock at once, and the number that it protects loses no update."""
        self._excluded(context, context.run_once("turns", take_turns)["fair"])

    def test_recipes_unfair_locks_exclude_each_other(self, context: RuleContext) -> None:
        """No two clients hold an unfair lock at once, and the number that it protects loses no update."""
        self._excluded(context, context.run_once("turns", take_turns)["unfair"])

    def _excluded(self, context: RuleContext, turns: Turns) -> None:
        did, expected = f"{len(turns.spans)} times a worker took the lock", "one holder at a time"
        context.check.no_problems(context.evidence.check("exclusion", turns.as_json()), did, expected=expected)
        data = {"operations": to_json(turns.operations)}
        answer = search.check(turns.operations, LockModel).answer
        context.check.enough(answer is not search.Answer.UNKNOWN, 1, "a search for an order that came to an end")
        context.check.no_problems(context.evidence.check("locks", data), did, expected=expected)
        context.check.enough(turns.contended, len(turns.spans) // 2, "a worker waiting for the lock of another")
        if not context.capabilities.linearizable:
            return  # a worker may have read the number as it was before the last one's turn
        counted = {"start": 0, "acknowledged": len(turns.spans), "unknown": 0, "final": turns.number}
        problems = context.evidence.check("counter", counted)
        context.check.no_problems(problems, f"{did} and added one to a number", expected=f"{len(turns.spans)}")

    def test_recipes_tokens_grow(self, context: RuleContext) -> None:
        """A lock's token is the create revision that all clients read of its key, and each is greater than the last."""
        for turns in context.run_once("turns", take_turns).values():
            context.check.enough(len(turns.spans), turns.least, "a worker taking the lock")
            problems = context.evidence.check("fencing-tokens", turns.as_json())
            context.check.no_problems(
                problems, f"{len(turns.spans)} times a worker took the lock", expected="growing tokens"
            )
            if not context.capabilities.linearizable:
                continue  # other connections may read the key of a former holder
            others = [pair for pair in turns.created if pair[0] != pair[1]]
            did = "tokens that aren't the create revision another connection reads meanwhile"
            context.check.equal(others, [], did)

    @requires_capability("linearizable")
    def test_recipes_shared_holds_keep_their_limits(self, context: RuleContext) -> None:
        """Readers hold together and writers alone, permits keep their limit, and several locks are held as one."""
        shared = share(context)
        context.check.enough(shared.together, 1, "two readers at once, two permits at once")
        for what, (limit, spans) in shared.spans.items():
            context.check.enough(len(spans), shared.least, f"a hold of {what}")
            problems = context.evidence.check("permits", {"limit": limit, "spans": spans})
            did = f"{len(spans)} holds of {what} by clients that compete"
            context.check.no_problems(problems, did, expected=f"never more than {limit} at a time")

    @requires_capability("linearizable")
    def test_recipes_a_long_queue_keeps_its_order(self, context: RuleContext) -> None:
        """In a long queue a client waits for all who came before it, also for one whose clock is ahead."""
        seen = observe_long_queue(context)
        context.check.equal(seen.beside, False, f"{seen.did}; whether it held the lock beside the first one")

    # -- a lease ends under its holder --

    def test_recipes_guards_refuse_stale_holders(self, context: RuleContext) -> None:
        """What a holder writes with its guard or fence is refused if its lease was revoked and another holds since."""
        for fair in (True, False):
            self._fenced(context, fence(context, EVENT_TIMEOUT, expire=None, fair=fair))
        self._gated(context)

    @parallel_safe
    def test_recipes_guards_refuse_expired_holders(self, context: RuleContext) -> None:
        """What a holder writes with its guard is refused if its lease has expired and another holds since."""
        for seen in context.run_once("endings", observe_endings).expired:
            self._fenced(context, seen)

    def _fenced(self, context: RuleContext, seen: Fencing) -> None:
        did = f"wrote as a holder whose lease was {seen.how}, after another had taken the lock and written"
        data = {"writes": [write.as_json() for write in seen.guarded]}
        problems = context.evidence.check("fenced-writes", data)
        context.check.no_problems(problems, did, expected="the stale write is refused")
        context.check.true(seen.refused, did, expected="a Conflict", seen="the write was taken")
        if not by_name.check("fenced-writes", {"writes": [write.as_json() for write in seen.control]}):
            raise inconclusive(
                context.rule, "the same write without the guard did no damage, so the guard shows nothing"
            )
        context.evidence.count("stale write taken without the guard")

    def _gated(self, context: RuleContext) -> None:
        one, other = Client.connected(context), Client.connected(context)
        with without_error(context.check, "passed a gate with the fences of two holders", "the later one passes"):
            with context.make(Lock, one.store, "gated", session=one.session).hold(timeout=EVENT_TIMEOUT) as held:
                earlier = held.fence()
            with context.make(Lock, other.store, "gated", session=other.session).hold(timeout=EVENT_TIMEOUT) as held:
                later = held.fence()
            context.check.true(
                earlier < later, "took the fences of two holders", expected="growing", seen=[earlier, later]
            )
            gate = context.make(Gate, other.store, "gate")
            gate.guard(other.store.transaction().put("behind", b"later"), later).commit()

        def write_late() -> object:
            gate = context.make(Gate, one.store, "gate")
            return gate.guard(one.store.transaction().put("behind", b"earlier"), earlier).commit()

        context.check.raises(Conflict, write_late, "wrote behind the gate with the earlier holder's fence")

    def test_recipes_locks_are_released_by_their_owner_alone(self, context: RuleContext) -> None:
        """A holder that has lost its lock releases nothing of the next holder's; the owner's release works."""
        one, other = Client.connected(context), Client.connected(context)
        mine = context.make(Lock, one.store, "lock", session=one.session, fair=False)
        theirs = context.make(Lock, other.store, "lock", session=other.session, fair=False)
        with without_error(context.check, "took a lock, and released it for others", "each call works"):
            held = mine.acquire(timeout=EVENT_TIMEOUT)
            for wrong in (held.token - 1, held.token + 1):
                delete = partial(other.store.delete, held.key, revision=wrong)
                context.check.raises(Conflict, delete, "deleted the lock's key at another revision than its own")
            context.check.equal(theirs.try_acquire(), None, "another client tried to take the lock that is held")
            context.check.equal(held.release(), True, "the owner released the lock")
            context.check.equal(other.store.get(held.key), None, "the lock's key after its owner released it")
            held = mine.acquire(timeout=EVENT_TIMEOUT)
            other.store.delete(held.key)  # as an operator does
            taken = theirs.acquire(timeout=EVENT_TIMEOUT)
            context.check.equal(held.release(), False, "the former owner released the lock that another has by now")
            item = one.store.get(taken.key)
            context.check.equal(item and item.create_revision, taken.token, "the next owner's lock afterwards")

    @requires_capability("linearizable")
    def test_recipes_a_dead_waiter_blocks_nobody(self, context: RuleContext) -> None:
        """A dead waiter keeps its place in a fair lock's queue until its lease expires; then the next has its turn."""
        endings = context.run_once("endings", observe_endings)
        ending = endings.waiter
        did = "the second in a queue of three died, and the first left"
        problems = context.evidence.check("leases-not-early", recorded([ending], clocks=_CLOCKS))
        context.check.no_problems(problems, did, expected="the third waits as long as the second may live")
        latency = context.capabilities.max_watch_latency
        data = recorded([ending], seen_by=["watcher"], tolerance=endings.tolerance, latency=latency)
        problems = context.evidence.check("leases-in-time", data)
        context.check.no_problems(problems, did, expected="the third one's turn within the second one's worst case")

    def test_recipes_loss_is_found_in_time(self, context: RuleContext) -> None:
        """A leader that is cut off finds its loss by its own clock, within the TTL, before another can lead."""
        loss = context.run_once("endings", observe_endings).leaders.loss
        problems = context.evidence.check("loss-reported", loss.as_json())
        context.check.no_problems(
            problems, "checked repeatedly that a term on an unrefreshed lease is valid", expected="LeaseLost in time"
        )

    @requires_capability("linearizable")
    def test_recipes_leaders_follow_each_other(self, context: RuleContext) -> None:
        """No two candidates lead at once, each by its own clock, and who is handed the term leads next."""
        leaders = context.run_once("endings", observe_endings).leaders
        data = spans_as_json(leaders.terms)
        did = "let a leader's lease run out, another hand over to the last candidate, that one resign"
        context.check.no_problems(context.evidence.check("exclusion", data), did, expected="one leader at a time")
        context.check.no_problems(context.evidence.check("fencing-tokens", data), did, expected="growing tokens")
        order = [span.who for span in leaders.terms]
        context.check.equal(order, [f"candidate {number}" for number in (1, 2, 4, 3)], f"{did}; who led")
        told = [(leader.candidate, leader.token) for leader in leaders.observed if leader is not None]
        true = [(span.who, span.token) for span in leaders.terms]
        wrong = [each for each in told[:-1] if each not in true]
        context.check.equal(wrong, [], f"{did}; leaders that an observer was told of and that never led")
        growing = sorted(told, key=lambda each: each[1])
        context.check.equal(told, growing, f"{did}; the order in which an observer was told")
        seen = [each[0] for each in told[-1:]]
        context.check.equal(seen, ["the last"], f"{did}; the last leader that an observer was told of")
