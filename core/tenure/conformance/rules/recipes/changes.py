"""Rules about recipes that change something exactly once: counters, transactions, runs that are done once, queues."""

from __future__ import annotations

import contextlib
import threading
from collections import Counter as Multiset
from functools import partial

from tenure._client.store import Store
from tenure._runtime.clock import TimeLimit
from tenure.conformance.harness.assertions import EVENT_TIMEOUT
from tenure.conformance.harness.context import RuleContext
from tenure.conformance.harness.rule import Rules, requires_capability
from tenure.conformance.workloads.leases import seconds_of_a_put
from tenure.conformance.workloads.lock_turns import SLOW
from tenure.conformance.workloads.participants import Client, without_error
from tenure.conformance.workloads.threads import DEADLINE, together
from tenure.errors import Conflict
from tenure.recipes._holding import Held
from tenure.recipes._patience import over
from tenure.recipes.atomic_value import AtomicValue
from tenure.recipes.counter import Counter
from tenure.recipes.id_block import IdBlock
from tenure.recipes.once import once
from tenure.recipes.rate_limiter import RateLimiter
from tenure.recipes.session import Session
from tenure.recipes.transact import TransactView, transact
from tenure.recipes.work_queue import WorkQueue

_CLIENTS = 3
_STEPS, _FEW_STEPS = 8, 3
_DAY = 86_400.0
_PERMITS = 5
_BAD = b"always fails"
_MEETING = 1.0
"""Seconds that a client waits for the other one to have read, too."""
_LOOK = 0.3
"""Seconds after which a consumer looks whether all is done."""


class ChangeRules(Rules, area="recipes"):
    """What clients count, change and do exactly once."""

    # -- numbers --

    def test_recipes_numbers_are_given_once(self, context: RuleContext) -> None:
        """Counts, ids, permits, values and transactions of clients at the same time lose nothing and repeat nothing."""
        self._leave_one_on_duty(context)
        stores = [context.connect() for _ in range(_CLIENTS)]
        steps = self._steps(context)
        did = f"{_CLIENTS} clients at the same time, {steps} times each"
        counted: list[int] = []
        ids: list[int] = []
        permits: list[bool] = []

        def work(number: int, store: Store) -> None:
            counter, block = context.make(Counter, store, "visits"), context.make(IdBlock, store, "orders", size=2)
            value = context.make(AtomicValue, store, "letters")
            limiter = context.make(RateLimiter, store, "calls", rate=_PERMITS, per=_DAY)
            letter = bytes([ord("a") + number])
            with without_error(context.check, f"counted, took an id and a permit, changed a value, {did}", "no error"):
                for _ in range(steps):
                    counted.append(counter.add(timeout=DEADLINE))
                    ids.append(block.next(timeout=DEADLINE))
                    value.update(lambda before: (before or b"") + letter, timeout=DEADLINE)
                    permits.append(limiter.try_acquire(timeout=DEADLINE))

        together(context.check, [partial(work, *each) for each in enumerate(stores)], f"counted and changed, {did}")
        total = _CLIENTS * steps
        final = context.make(Counter, context.store, "visits").value()
        data = {"start": 0, "acknowledged": total, "unknown": 0, "final": final}
        context.check.no_problems(context.evidence.check("counter", data), f"added 1, {did}", expected=f"{total}")
        whole = list(range(1, total + 1))
        context.check.equal(sorted(counted), whole, f"added 1, {did}; the sums that the additions returned")
        twice = sorted(number for number, times in Multiset(ids).items() if times > 1)
        context.check.equal(twice, [], f"took ids, {did}; those given twice")
        letters = Multiset((context.make(AtomicValue, context.store, "letters").get() or b"").decode())
        expected = {chr(ord("a") + number): steps for number in range(_CLIENTS)}
        context.check.equal(dict(letters), expected, f"appended a letter of one's own to a value, {did}")
        context.check.equal(permits.count(True), min(_PERMITS, total), f"took permits, {did}; {_PERMITS} a day")

    def _leave_one_on_duty(self, context: RuleContext) -> None:
        """Let two clients go off duty, each unless the other has: both read both keys before either writes its own."""
        stores = [context.connect(alone=True) for _ in range(2)]
        meetings = [threading.Barrier(2) for _ in range(self._steps(context))]
        met: list[int] = []

        def meet(at: int, calls: list[int]) -> None:
            """Wait for the other client once."""
            if not calls:
                calls.append(at)
                with contextlib.suppress(threading.BrokenBarrierError):
                    meetings[at].wait(_MEETING)
                    met.append(at)

        def leave(number: int, at: int) -> None:
            mine, other = f"off duty/{at}/{number}", f"off duty/{at}/{1 - number}"
            calls: list[int] = []

            def change(view: TransactView) -> None:
                if (view.get(mine), view.get(other)) == (None, None):
                    meet(at, calls)
                    view.put(mine, b"")

            context.make(transact, stores[number], change, timeout=DEADLINE)

        def work(number: int) -> None:
            with without_error(
                context.check, "went off duty unless the other client had, in a transaction", "no error"
            ):
                for at in range(len(meetings)):
                    leave(number, at)

        together(
            context.check, [partial(work, number) for number in range(2)], "two clients that change what both read"
        )
        context.check.enough(len(met) // 2, len(meetings) // 2, "two clients reading before either writes")
        keys = context.store.list("off duty/", keys_only=True).keys
        both = [at for at in range(len(meetings)) if {f"off duty/{at}/{number}" for number in range(2)} <= {*keys}]
        did = (
            f"{len(meetings)} times two clients went off duty, each in a transaction that does so unless the other has"
        )
        context.check.equal(both, [], f"{did}; times when both are off")

    # -- work --

    @requires_capability("linearizable")
    def test_recipes_a_run_is_done_once(self, context: RuleContext) -> None:
        """Of clients that call a function once, one at a time runs it, the next if it fails, and all get one result."""
        clients = [Client.connected(context) for _ in range(_CLIENTS)]
        inside = threading.Lock()
        runs: list[int] = []
        alone: list[bool] = []
        results: list[bytes] = []

        class Failed(Exception):
            pass

        def call(number: int) -> None:
            client = clients[number]

            def function(held: Held) -> bytes:
                alone.append(inside.acquire(blocking=False))
                try:
                    held.guard(client.store.transaction().put("installed by", str(number).encode())).commit()
                    runs.append(number)
                    if len(runs) == 1:
                        self._wait_for_clients(context)
                        raise Failed
                    return f"by {number}".encode()
                finally:
                    if alone[-1]:
                        inside.release()

            body = context.face.body(function)
            with without_error(
                context.check, f"{_CLIENTS} clients called a function once, and its first run failed", "no error"
            ):
                try:
                    results.append(
                        context.make(once, client.store, "install", body, timeout=EVENT_TIMEOUT, session=client.session)
                    )
                except Failed:
                    return

        together(context.check, [partial(call, number) for number in range(_CLIENTS)], "clients that do something once")
        did = f"{_CLIENTS} clients called a function once; its first run failed"
        context.check.equal(alone, [True, True], f"{did}; runs, and whether each was the only one at its time")
        later = context.make(once, context.store, "install", lambda _: b"again", timeout=EVENT_TIMEOUT)
        expected = [f"by {runs[-1]}".encode()] * _CLIENTS
        context.check.equal([*results, later], expected, f"{did}; results of the others, and of one that called later")

    def _wait_for_clients(self, context: RuleContext) -> None:
        did, expected = f"{_CLIENTS} clients called a function once", "a key of each"
        look = partial(context.store.list, "tenure/once/", keys_only=True)
        context.check.eventually(lambda: len(look().keys), lambda keys: keys >= _CLIENTS, did, expected=expected)

    def test_recipes_work_is_done_and_none_is_lost(self, context: RuleContext) -> None:
        """Each item of a queue is done once, also if a consumer dies, and one that always fails is a dead letter."""
        clients = [Client.connected(context) for _ in range(_CLIENTS)]
        queue = context.make(WorkQueue, context.store, "jobs", max_attempts=2)
        values = [f"job {number}".encode() for number in range(2 * self._steps(context))]
        did = f"{len(values)} items, {_CLIENTS} consumers, one that died with an item, an item that always fails"
        done: list[bytes] = []
        with without_error(context.check, f"put and claimed; {did}", "no error"):
            for value in values:
                queue.put(value)
            self._claim_and_die(context)
            queue.put(_BAD, priority=1)

        def consume(client: Client) -> None:
            mine = context.make(WorkQueue, client.store, "jobs", session=client.session)
            patience = TimeLimit(client.store.clock, EVENT_TIMEOUT)
            with without_error(
                context.check, f"claimed and acknowledged; {did}", "each is claimed and acknowledged once"
            ):
                while len(done) < len(values) and not over(patience):
                    claim = mine.claim(timeout=_LOOK)
                    if claim is None:
                        continue
                    if claim.value == _BAD:
                        claim.release()
                        continue
                    key = f"done/{claim.value.decode()}"
                    claim.ack(client.store.transaction().if_absent(key).put(key, b""))
                    done.append(claim.value)
                    patience = TimeLimit(client.store.clock, EVENT_TIMEOUT)

        together(context.check, [partial(consume, client) for client in clients], "consumers of a queue")
        context.check.equal(sorted(done), sorted(values), f"{did}; those that were acknowledged")
        with without_error(context.check, f"read the dead letters; {did}", "no error"):
            while (claim := queue.try_claim()) is not None:
                claim.release()
            letters = queue.dead()
            found = [(letter.value, letter.attempts) for letter in letters]
            context.check.equal(found, [(_BAD, 2)], f"{did}; dead letters with their attempts")
            context.check.equal(queue.drop_dead(letters[0]), True, f"{did}; dropped the dead letter")
        left = context.store.list("tenure/queue/", keys_only=True).keys
        context.check.equal(left, (), f"{did}; keys that are left of the queue")

    def _claim_and_die(self, context: RuleContext) -> None:
        """Claim an item on a session that another client then revokes; what was guarded by the claim is refused."""
        store = context.connect()
        session = context.make(Session.open, store, ttl=context.long_ttl)
        claim = context.make(WorkQueue, store, "jobs", session=session).claim(timeout=EVENT_TIMEOUT)
        did = "claimed an item of a queue on a lease that another client revoked afterwards"
        if claim is None:
            raise context.check.fail(did, expected="an item", seen="none")
        late = claim.guard(store.transaction().put("late", b""))
        context.store.revoke_lease(session.lease.id)
        context.check.raises(Conflict, late.commit, f"{did}, and wrote with the guard of the claim")

    def _steps(self, context: RuleContext) -> int:
        return _FEW_STEPS if seconds_of_a_put(context) > SLOW else context.profile.pick(quick=_STEPS, full=4 * _STEPS)
