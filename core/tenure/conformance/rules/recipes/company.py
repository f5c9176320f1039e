"""Rules about recipes that let clients know of each other: members, barriers, views, messages; and what they leave."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial

from tenure._client.store import Store
from tenure.conformance.fault_injection.recipe_attempts import Attempts
from tenure.conformance.harness.assertions import EVENT_TIMEOUT
from tenure.conformance.harness.context import RuleContext
from tenure.conformance.harness.rule import Rules, parallel_safe, requires_control
from tenure.conformance.network import CutPoint
from tenure.conformance.workloads.leases import seconds_of_a_put
from tenure.conformance.workloads.lock_turns import SLOW
from tenure.conformance.workloads.participants import IN_VAIN, Client, in_vain, without_error
from tenure.conformance.workloads.threads import together
from tenure.errors import Conflict
from tenure.recipes.barrier import Barrier
from tenure.recipes.bus import Bus
from tenure.recipes.cached_prefix import CachedPrefix
from tenure.recipes.codec import TEXT
from tenure.recipes.count_down_latch import CountDownLatch
from tenure.recipes.counter import Counter
from tenure.recipes.double_barrier import DoubleBarrier
from tenure.recipes.group import Group
from tenure.recipes.lock import Lock
from tenure.recipes.partitioner import Partitioner
from tenure.recipes.persistent_key import PersistentKey
from tenure.recipes.semaphore import Semaphore
from tenure.recipes.work_queue import WorkQueue

_MEMBERS = 3
_PARTITIONS = 6
_MESSAGES, _FEW = 6, 2


class CompanyRules(Rules, area="recipes"):
    """Members, barriers, views and messages."""

    def test_recipes_members_share_partitions(self, context: RuleContext) -> None:
        """Members know who is there, and share partitions evenly, each at one owner, also after one was lost."""
        self._know_each_other(context, [Client.connected(context) for _ in range(_MEMBERS)])
        clients = [Client.connected(context) for _ in range(_MEMBERS)]
        members = [
            context.make(
                Partitioner,
                client.store,
                "shards",
                partitions=_PARTITIONS,
                member=f"member {number}",
                session=client.session,
            )
            for number, client in enumerate(clients)
        ]
        for number in range(_MEMBERS):
            self._settle(context, members[: number + 1], f"member {number} came")
        owned = [number for member in members for number in member.owned]
        did = f"{_MEMBERS} members shared {_PARTITIONS} partitions"
        context.check.equal(sorted(owned), list(range(_PARTITIONS)), f"{did}; what they own together")
        before = {number: held.token for member in members for number, held in member.owned.items()}
        lost = list(members[0].owned)
        late = members[0].guard(clients[0].store.transaction().put("late", b""), lost[0])
        context.store.revoke_lease(clients[0].session.lease.id)
        self._settle(context, members[1:], "the first member's lease was revoked")
        context.check.raises(Conflict, late.commit, "the lost member wrote with the guard of a partition")
        after = {number: held.token for member in members[1:] for number, held in member.owned.items()}
        context.check.equal(sorted(after), list(range(_PARTITIONS)), f"{did}, then one was lost; what the others own")
        same = [number for number in lost if after[number] <= before[number]]
        context.check.equal(
            same, [], f"{did}, then one was lost; partitions whose token did not grow with the new owner"
        )

    def _settle(self, context: RuleContext, members: list[Partitioner], did: str) -> None:
        """Let each member give and take until all have an even share."""
        share = _PARTITIONS // len(members)

        def look() -> list[int]:
            for member in members:
                member.update()
            return [len(member.owned) for member in members]

        with without_error(context.check, did, "each member takes its share"):
            context.check.eventually(
                look, lambda sizes: sizes == [share] * len(members), did, expected=f"{share} partitions each"
            )

    def _know_each_other(self, context: RuleContext, clients: list[Client]) -> None:
        """Let members of a group join, be lost, and leave; an observer is told."""
        names = [f"member {number}" for number in range(_MEMBERS)]
        with context.make(Group, context.connect(), "crew").watch() as changes:
            told: list[tuple[str, ...]] = []

            def hear(expected: list[str], did: str) -> None:
                with without_error(context.check, did, f"an observer is told {expected}"):
                    while not told or told[-1] != tuple(expected):
                        told.append(tuple(member.name for member in changes.next(EVENT_TIMEOUT)))

            joined = []
            for client, name in zip(clients, names, strict=True):
                with without_error(context.check, f"{name} joined", "no error"):
                    joined.append(context.make(Group, client.store, "crew", session=client.session).join(member=name))
            hear(names, "three members joined a group")
            found = [member.name for member in context.make(Group, context.store, "crew").members()]
            context.check.equal(found, names, "three members joined; what another client reads")
            context.store.revoke_lease(clients[1].session.lease.id)
            hear([names[0], names[2]], "the second member's lease was revoked")
            joined[0].release()
            hear([names[2]], "the first member left")

    def test_recipes_waiters_go_on_together(self, context: RuleContext) -> None:
        """Who waits at a barrier or latch goes on when it opens and not before; members begin and end together."""
        stores = [context.connect() for _ in range(_MEMBERS)]
        barrier = context.make(Barrier, context.store, "gate")
        latch = context.make(CountDownLatch, context.store, "parts", count=_MEMBERS)
        barrier.close()
        at_work, came = threading.Semaphore(0), threading.Semaphore(0)
        early: list[str] = []
        inside: list[int] = []

        def member(number: int, store: Store) -> None:
            mine = context.make(DoubleBarrier, store, "round", count=_MEMBERS)
            did = f"client {number} of {_MEMBERS} waited at a barrier, entered and left a round, and counted down"
            with without_error(context.check, did, "it goes on when the others have come"):
                came.release()
                context.make(Barrier, store, "gate").wait(timeout=EVENT_TIMEOUT)
                at_work.release()
                mine.enter(timeout=EVENT_TIMEOUT)
                inside.append(number)
                mine.leave(timeout=EVENT_TIMEOUT)
                if len(inside) < _MEMBERS:
                    early.append(f"client {number} left a round before all were inside")
                context.make(CountDownLatch, store, "parts", count=_MEMBERS).count_down()

        def open_all() -> None:
            for _ in stores:
                came.acquire()
            if at_work.acquire(timeout=2 * seconds_of_a_put(context)):
                early.append("a client passed a closed barrier")
            if latch.remaining() != _MEMBERS:
                early.append("a latch was counted down before its clients had come")
            barrier.open()
            with without_error(context.check, f"waited at a latch that {_MEMBERS} clients count down", "it opens"):
                latch.wait(timeout=EVENT_TIMEOUT)

        parts: list[Callable[[], None]] = [open_all, *(partial(member, *each) for each in enumerate(stores))]
        together(context.check, parts, "clients that wait for each other")
        context.check.equal(early, [], "let clients wait for each other; who went on too early")

    @parallel_safe
    def test_recipes_views_follow_the_store(self, context: RuleContext) -> None:
        """Views show own writes at once and those of others soon, and a key that was lost with its lease comes back."""
        stores = [context.connect() for _ in range(2)]
        views = [context.make(CachedPrefix, store, "settings/", codec=TEXT) for store in stores]
        try:
            self._follow_each_other(context, views)
            self._come_back(context, stores[0], views[1])
        finally:
            for view in views:
                view.close()

    def _follow_each_other(self, context: RuleContext, views: list[CachedPrefix[str]]) -> None:
        for number in range(_MESSAGES):
            for at, view in enumerate(views):
                view.set(f"{at}/{number % 2}", str(number))
                context.check.equal(
                    view.get(f"{at}/{number % 2}"), str(number), "read from the view what was set by it"
                )
        views[0].delete("0/0")
        context.check.equal(views[0].get("0/0"), None, "read from the view what was deleted by it")
        context.store.put("settings/others", b"1")
        context.store.delete("settings/1/1")
        last = str(_MESSAGES - 1)
        expected = {"0/1": last, "1/0": str(_MESSAGES - 2), "others": "1"}
        for view in views:
            did = "set and deleted keys by two views and a third client; what a view shows in the end"
            context.check.eventually(view.snapshot, lambda seen: seen == expected, did, expected=expected)

    def _come_back(self, context: RuleContext, store: Store, view: CachedPrefix[str]) -> None:
        """Another client revokes the lease of a persistent key: the next refresh finds that, and it is put again."""
        ttl = context.short_ttl
        within = context.capabilities.max_lifetime_after_refresh(ttl) + EVENT_TIMEOUT
        with context.make(PersistentKey, store, "settings/node", b"up", ttl=ttl):
            did = "kept a key on a lease that another client revoked"
            context.check.eventually(
                lambda: view.get("node"), lambda seen: seen == "up", did, expected="a view shows it"
            )
            item = context.store.get("settings/node")
            before = item and item.lease_id
            if before is not None:
                context.store.revoke_lease(before)

            def lease() -> object:
                found = context.store.get("settings/node")
                return found and found.lease_id

            expected = "the key again, on another lease"
            context.check.eventually(
                lease, lambda seen: seen not in (None, before), did, expected=expected, within=within
            )
        gone = "the view shows it no longer"
        context.check.eventually(
            lambda: view.get("node"), lambda seen: seen is None, "closed a persistent key", expected=gone
        )

    def test_recipes_messages_reach_all_in_one_order(self, context: RuleContext) -> None:
        """Each consumer of a bus gets each message once and in one order, also one that goes on from a position."""
        stores = [context.connect() for _ in range(_MEMBERS)]
        buses = [context.make(Bus, store, "news", codec=TEXT) for store in stores]
        each = _FEW if seconds_of_a_put(context) > SLOW else context.profile.pick(quick=_MESSAGES, full=8 * _MESSAGES)
        total = each * len(buses)
        did = f"{len(buses)} clients published {each} messages each at the same time"

        def publish(number: int) -> None:
            with without_error(context.check, did, "no error"):
                for at in range(each):
                    buses[number].publish(f"{number}/{at}", timeout=EVENT_TIMEOUT)

        with buses[0].subscribe() as one, buses[1].subscribe() as other:
            together(context.check, [partial(publish, number) for number in range(len(buses))], did)
            with without_error(context.check, f"{did}; read them all", f"{total} messages"):
                first = [one.next(EVENT_TIMEOUT) for _ in range(total)]
                second = [other.next(EVENT_TIMEOUT) for _ in range(total)]
        published = sorted(f"{number}/{at}" for number in range(len(buses)) for at in range(each))
        context.check.equal(sorted(message.value for message in first), published, f"{did}; what a consumer got")
        context.check.equal(second, first, f"{did}; what another consumer got")
        middle = total // 2
        with (
            buses[2].subscribe(after=first[middle].position) as late,
            without_error(context.check, f"{did}; went on after a kept position", f"{total - middle - 1} messages"),
        ):
            rest = [late.next(EVENT_TIMEOUT) for _ in first[middle + 1 :]]
        context.check.equal(rest, first[middle + 1 :], f"{did}; what a consumer got that went on from a kept position")

    # -- faults, and what is left --

    @requires_control("network")
    @parallel_safe
    def test_recipes_lost_answers_are_cleared_up(self, context: RuleContext) -> None:
        """Counters, queues, latches and locks are exact although answers are lost, and leave nothing behind."""
        attempts = Attempts(context, Client.connected(context))
        for point in [CutPoint.AFTER_REQUEST, CutPoint.AFTER_REPLY] * context.profile.pick(quick=2, full=10):
            with context.evidence.fault(f"cut {point.replace('_', ' ')}") as window:
                window.what = "requests whose connection was broken"
                window.effects = attempts.make(point)
            context.check.enough(window.effects, attempts.cuts // 2, f"a request cut {point.replace('_', ' ')}")
        with context.evidence.fault("lost answer, then an outage") as window:
            window.what = "requests whose connection was broken"
            window.effects = attempts.give_up()
        context.check.enough(window.effects, 1, "a lost answer to a client that asked for a lock")
        attempts.judge(context.connect(direct=True))

    def test_recipes_leave_nothing_behind(self, context: RuleContext) -> None:
        """After holders released, waits ran out of time and clients closed, no key of a recipe is left in the store."""
        clients = [Client.connected(context) for _ in range(2)]
        did = "took and released locks and permits, waited in vain, closed the clients"
        with without_error(context.check, did, "no error"):
            for client in clients:
                store, session = client.store, client.session
                for fair in (True, False):
                    for _ in range(3):
                        lock = context.make(Lock, store, f"lock {fair}", session=session, fair=fair)
                        with lock.hold(timeout=EVENT_TIMEOUT):
                            pass
                held = context.make(Semaphore, store, "seats", limit=1, session=session).acquire(timeout=EVENT_TIMEOUT)
                for waiter in clients:
                    waiting = context.make(Semaphore, waiter.store, "seats", limit=1, session=waiter.session)
                    wait = partial(waiting.acquire, timeout=in_vain(context))
                    context.check.raises(IN_VAIN, wait, "waited for a permit that another client held all the time")
                held.release()
                context.make(Group, store, "crew", session=session).join()
                claimed = context.make(WorkQueue, store, "jobs")
                claimed.put(b"")
                claim = claimed.claim(timeout=EVENT_TIMEOUT)
                if claim is not None:
                    claim.ack()
                context.make(Counter, store, "visits").add()
        for client in clients:
            client.store.close()
        kept = context.make(Counter, context.store, "visits").key
        context.check.eventually(
            lambda: [key for key in context.store.list("tenure/", keys_only=True).keys if key != kept],
            lambda keys: keys == [],
            f"{did}; keys that are left beside the counter's number",
            expected=[],
        )
