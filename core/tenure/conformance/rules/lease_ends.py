"""Rules about the ends of leases where several things happen at once: many ends, racing writes, somebody's revoke."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

from tenure._client.store import Store
from tenure.conformance.fault_injection.client_process import ClientProcess
from tenure.conformance.harness.assertions import EVENT_TIMEOUT, inconclusive
from tenure.conformance.harness.context import TIMEOUT, RuleContext
from tenure.conformance.harness.lateness import Lateness
from tenure.conformance.harness.rule import Rules, parallel_safe, requires_capability
from tenure.conformance.workloads.leases import CLOCK_TOLERANCE, seconds_of_a_put
from tenure.conformance.workloads.threads import Running, together
from tenure.errors import Conflict, LeaseLost, LeaseNotFound, OutcomeUnknown
from tenure.leases import Lease, LeaseState

_TOGETHER = 150
"""Leases that end together, unless the store is too slow to put their keys in a moment. A list shows each that is left,
so it finds a store whose calls end a hundred at a time."""
_FEWER = 60
"""The same for calls that look at one key or lease, in the quick profile."""
_FEWEST = 20
_CLIENTS = 6
_PLACING = 4.0
"""Seconds in which the keys of one group are put, about."""
_SPARE = 2.0
_GRACE = 0.5
"""Seconds after the declared end until a group is looked at."""
_GAP = 0.25
"""Seconds between the look at one group and the end of the next."""
_SLACK = 1.0
"""A store whose leases may end so many seconds late ends all groups together: one look is the first."""
_LATE = 0.05
_LONG_ENOUGH = 9.0
"""Seconds of a TTL of which a third is far from the whole, also on a slow machine."""

_RACES, _FEW_RACES = 12, 4
_SLOW = 0.05
"""Seconds; a store that takes longer for a put has fewer clients at a time."""
_PUTS_BEFORE = 4
"""Puts that each client can make before its lease ends."""
_ATTEMPTS = 4
_ROUNDS = 6
_PUTS = 15


class LeaseEndRules(Rules, area="leases"):
    """Leases that end while others act."""

    # -- many at once --

    def test_leases_ended_together_are_gone_at_the_first_look(self, context: RuleContext) -> None:
        """When many leases ended and no client looked, the first call of each kind sees none of their keys."""
        looks = _looks(context)
        names = tuple(looks)
        for _ in range(_ATTEMPTS):
            names = tuple(self._looked_at_late(context, looks, names))
            if not names:
                break
            context.store.delete_prefix("ends/")
        else:
            raise inconclusive(
                context.rule,
                f"this process was over {_LATE:g} s late in {_ATTEMPTS} looks ({', '.join(names)}), and the store may "
                "have been so, too",
            )
        context.check.equal(context.store.list("ends/").keys, (), "the list of their keys at the end")

    def _looked_at_late(
        self, context: RuleContext, looks: dict[str, Callable[[_Group], list[object]]], names: tuple[str, ...]
    ) -> Iterator[str]:
        """Look once at new groups. Yields the names of those of which something was seen, but this process was late.

        What ends leases in the store may have been as late. A second look at the same leases would not be the first.
        """
        for group in _groups(context, names):
            with Lateness() as lateness:
                while time.monotonic() < group.over:
                    time.sleep(0.01)
                seen = looks[group.name](group)
            if seen and lateness.longest > _LATE:
                yield group.name
                continue
            did = f"let {len(group.leases)} leases end unwatched, then the first {group.name}"
            context.check.equal(seen, [], f"{did}: what it showed of them")

    # -- writes that race with an end --

    @parallel_safe
    def test_leases_take_keys_put_at_their_very_end(self, context: RuleContext) -> None:
        """A put that races with the end of its lease is refused, or its key is removed with the lease."""
        store, one = context.connect(), seconds_of_a_put(context)
        races = _RACES if one < _SLOW else _FEW_RACES
        clients = [context.connect() for _ in range(races)]
        ttl = max(context.short_ttl, races * _PUTS_BEFORE * one)
        for attempt in range(_ATTEMPTS):
            leases = [store.lease(ttl, keep_alive=False) for _ in clients]
            limit = max(lease.max_lifetime_after_refresh for lease in leases) + CLOCK_TOLERANCE
            last = time.monotonic() + limit + EVENT_TIMEOUT
            counts = together(
                context.check,
                [
                    partial(_put_until_refused, client, lease, last)
                    for client, lease in zip(clients, leases, strict=True)
                ],
                "put keys on leases until they were refused",
                within=limit + 3 * EVENT_TIMEOUT,
            )
            if sum(counts) >= races or attempt == _ATTEMPTS - 1:
                break
            ttl = min(2 * ttl, context.capabilities.max_ttl)  # too short for clients that wait for each other
        context.check.enough(sum(counts), races, "a put on a lease that was about to end")
        time.sleep(CLOCK_TOLERANCE)  # what removes keys of dead leases may come after the refusal
        context.check.eventually(
            lambda: context.store.list("race/").keys,
            lambda keys: not keys,
            "put keys on leases until their end refused it",
            expected="no key of them is left",
            within=limit,
        )

    def test_leases_take_keys_put_during_a_revoke(self, context: RuleContext) -> None:
        """A put that races with the revoke of its lease is refused, or its key is removed with the lease."""
        putter, revoker = context.connect(), context.connect()
        last = time.monotonic() + EVENT_TIMEOUT
        for number in range(_RACES):
            lease = putter.lease(context.long_ttl, keep_alive=False)
            started = threading.Event()

            def revoke(lease: Lease = lease, started: threading.Event = started) -> int:
                started.wait(TIMEOUT)
                revoker.revoke_lease(lease.id)
                return 0

            puts = partial(_put_until_refused, putter, lease, last, started)
            racers: list[Callable[[], int]] = [puts, revoke]
            together(context.check, racers, "put keys on a lease while another client revoked it")
            left = context.store.list("race/").keys
            context.check.equal(left, (), f"keys of the lease number {number + 1} that was revoked during puts")
            if time.monotonic() > last:
                break

    # -- one key on several leases --

    def test_leases_racing_for_a_key_leave_one_truth(self, context: RuleContext) -> None:
        """Clients put one key with different leases and without one: it is always there, and goes as its item says."""
        with _puts_elsewhere(context) as putters:
            for number in range(_ROUNDS):
                _race_for_a_key(context, f"raced/{number}", putters)

    @requires_capability("multi_process")
    def test_leases_racing_in_several_processes_leave_one_truth(self, context: RuleContext) -> None:
        """Processes put one key with different leases and without one: it is always there, and goes as it says."""
        with _puts_elsewhere(context, processes=True) as putters:
            for number in range(_ROUNDS // 2):
                _race_for_a_key(context, f"raced/{number}", putters)

    # -- ends by somebody else --

    @parallel_safe
    def test_leases_revoked_elsewhere_are_lost_without_a_call(self, context: RuleContext) -> None:
        """A holder without a call learns from its next refresh, not at its deadline, that another revoked its lease."""
        lost: list[Lease] = []
        holder = context.connect()
        lease = holder.lease(max(context.short_ttl, _LONG_ENOUGH), on_lost=lost.append)
        first = lease.deadline
        context.check.eventually(
            lambda: lease.deadline,
            lambda deadline: deadline > first or lease.state is LeaseState.LOST,
            "kept a lease",
            expected="an automatic refresh",
            within=lease.ttl + EVENT_TIMEOUT,
        )
        try:
            context.store.revoke_lease(lease.id)
        except LeaseNotFound as exc:
            reason = "the lease ended before it was revoked, since no refresh came in time"
            raise inconclusive(context.rule, reason) from exc
        last = lease.deadline
        with Lateness() as lateness:
            context.check.eventually(
                lambda: (lease.state, len(lost)),
                lambda seen: seen == (LeaseState.LOST, 1),
                "revoked a lease by another client, and made no call with it",
                expected="the lease LOST, and on_lost called once",
                within=lease.ttl + EVENT_TIMEOUT,
            )
        left = lease.deadline - holder.clock.now()
        if left <= 0 and lateness.longest > lease.ttl / 3:
            raise inconclusive(context.rule, "the machine was too slow to tell the next refresh from the deadline")
        context.check.true(
            left > 0,
            "revoked a lease by another client, and waited for its holder to find out",
            expected=f"LOST after a third of its TTL of {lease.ttl:g} s",
            seen=f"LOST at its own deadline, for {lease.reason!r}",
        )
        context.check.true(
            lease.deadline <= last + lease.ttl / 2,
            "revoked a lease by another client",
            expected="no refresh of it succeeds afterwards",
            seen=f"its deadline moved by {lease.deadline - last:.2f} s",
        )


# -- many at once ------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Group:
    """Leases that end together, and the first look at them."""

    name: str
    leases: list[str] = field(default_factory=list)
    over: float = 0.0
    """When all of them must have ended."""

    def key(self, number: int) -> str:
        """The key of the lease with this number."""
        return f"ends/{self.name}/{number:04}"

    @property
    def keys(self) -> list[str]:
        """All keys, the last first: a store that ends leases one after another comes to it late."""
        return [self.key(number) for number in reversed(range(len(self.leases)))]


def _looks(context: RuleContext) -> dict[str, Callable[[_Group], list[object]]]:
    """The kinds of calls, each as a function that returns what it still sees of a group."""
    store = context.store
    backend = context.backend()

    def take(group: _Group) -> list[object]:
        key = group.keys[0]
        try:
            store.put_if_absent(key, b"taken")
        except Conflict:
            return [key]
        store.delete(key)
        return []

    def put(group: _Group) -> list[object]:
        try:
            store.put(group.keys[0], b"late", lease=group.leases[-1])
        except LeaseNotFound:
            return []
        return [group.leases[-1]]

    def refresh(group: _Group) -> list[object]:
        return list(backend.refresh(group.leases[::-1], timeout=TIMEOUT))

    def get_several(group: _Group) -> list[object]:
        most = store.capabilities.max_transaction_operations
        parts = [group.keys[start : start + most] for start in range(0, len(group.keys), most)]
        return [item.key for part in parts for item in store.get_many(part).items if item]

    return {
        "get": lambda group: [key for key in group.keys if store.get(key) is not None],
        "list": lambda group: list(store.list(f"ends/{group.name}/").keys),
        "get of several keys": get_several,
        "put_if_absent": take,
        "put on the lease": put,
        "refresh": refresh,
    }


def _seconds_of_a_lease(context: RuleContext, store: Store) -> float:
    """Take a lease, which may cost more than a put, and put a key on it."""
    started = time.monotonic()
    store.put("ends", b"", lease=store.lease(context.long_ttl, keep_alive=False).id)
    return time.monotonic() - started


def _groups(context: RuleContext, names: tuple[str, ...]) -> list[_Group]:
    """Put the keys of all groups; each ends a moment after the one before."""
    stores = [context.connect() for _ in range(_CLIENTS)]
    one = max(min(_seconds_of_a_lease(context, store) for store in stores[:3]), 1e-4)
    in_a_moment = int(max(_FEWEST, _PLACING / len(names) * _CLIENTS / (2 * one)))
    fewer = context.profile.pick(quick=_FEWER, full=_TOGETHER)
    counts = {name: min(_TOGETHER if name == "list" else fewer, in_a_moment) for name in names}
    slack = context.capabilities.max_lifetime_after_refresh(context.short_ttl) - context.short_ttl
    gap = 0.0 if slack > _SLACK else slack + _GRACE + max(_GAP, context.capabilities.ttl_granularity)
    groups = [_Group(name) for name in names]
    for attempt in range(3):
        placing = max(2 * one * sum(counts.values()) / _CLIENTS, context.short_ttl)
        ttl = min(context.short_ttl + _SPARE * placing * (1 + attempt), context.capabilities.max_ttl - gap * len(names))
        for group in groups:
            group.leases = [""] * counts[group.name]
        if _placed(context, stores, groups, ttl, gap):
            for store in stores:  # leases end without the client that took them
                store.close()
            return groups
        context.store.delete_prefix("ends/")
        # The machine is slower than the first lease was.
        counts = {name: max(_FEWEST, count // 2) for name, count in counts.items()}
    raise inconclusive(
        context.rule, "leases ended before their keys were put; the store may be too slow, or the machine overloaded"
    )


def _placed(context: RuleContext, stores: list[Store], groups: list[_Group], ttl: float, gap: float) -> bool:
    """Return whether the keys of every group were put before a lease can have ended."""
    began = time.monotonic()

    def place(client: int) -> None:
        for index, group in enumerate(groups):
            for number in range(client, len(group.leases), len(stores)):
                lease = stores[client].lease(ttl + index * gap, keep_alive=False)
                over = time.monotonic() + lease.max_lifetime_after_refresh + _GRACE
                group.leases[number] = lease.id
                group.over = max(group.over, over)
                stores[client].put(group.key(number), b"", lease=lease.id)
                lease.abandon()

    try:
        together(
            context.check,
            [partial(place, client) for client in range(len(stores))],
            "put keys on many leases",
            within=ttl + 3 * EVENT_TIMEOUT,
        )
    except LeaseNotFound:
        if time.monotonic() - began < ttl:
            raise
        return False
    return time.monotonic() - began < ttl


# -- races -------------------------------------------------------------------------------------------


def _put_until_refused(store: Store, lease: Lease, last: float, started: threading.Event | None = None) -> int:
    """Put keys on the lease by its id until the store refuses it; return the number that it took."""
    number = 0
    while time.monotonic() < last:
        try:
            store.put(f"race/{lease.id}/{number % 4}", b"", lease=lease.id)
        except LeaseNotFound:
            break
        except OutcomeUnknown:  # where a lease is a session, its end may break the connection of a put
            continue
        number += 1
        if started is not None and number > 1:
            started.set()
    if started is not None:
        started.set()
    return number


Putter = Callable[[str, str | None], list[int]]
"""Puts a key several times, with a lease or without one, and returns the revisions."""


@contextlib.contextmanager
def _puts_elsewhere(context: RuleContext, *, processes: bool = False) -> Iterator[list[Putter]]:
    """Three clients on connections of their own, or in processes."""
    with contextlib.ExitStack() as stack:
        putters: list[Putter] = []
        for number in range(3):
            value = f"{number}"
            if processes:
                client = stack.enter_context(ClientProcess(context))
                putters.append(partial(_puts_of_process, context, client, value))
            else:
                putters.append(partial(_puts_of_store, context.connect(), value))
        yield putters


def _puts_of_store(store: Store, value: str, key: str, lease: str | None) -> list[int]:
    return [store.put(key, value.encode(), lease=lease).revision for _ in range(_PUTS)]


def _puts_of_process(context: RuleContext, client: ClientProcess, value: str, key: str, lease: str | None) -> list[int]:
    answer = client.ask("puts", key=key, value=value, lease=lease, count=_PUTS)
    context.check.true("error" not in answer, "put a key repeatedly", expected="revisions", seen=answer)
    revisions: list[int] = answer["revisions"]
    return revisions


def _race_for_a_key(context: RuleContext, key: str, putters: list[Putter]) -> None:
    store = context.store
    leases = [store.lease(context.long_ttl) for _ in range(2)]
    owners: list[str | None] = [leases[0].id, leases[1].id, None]
    store.put(key, b"first", lease=leases[0])
    missing: list[str] = []
    done = threading.Event()

    def look() -> None:
        reader = context.connect()
        while not done.is_set():
            if key not in reader.list("raced/").keys:
                missing.append("a list")
            if reader.get(key) is None:
                missing.append("a get")

    looking = Running(context.check, [look], "read a key while clients put it")
    try:
        revisions = together(
            context.check,
            [partial(put, key, owner) for put, owner in zip(putters, owners, strict=True)],
            "clients put one key, with two leases and without one",
        )
    finally:
        done.set()
        looking.join()
    did = "clients put one key, with two leases and without one"
    context.check.equal(missing[:3], [], f"{did}: reads that showed no key")
    every = [revision for own in revisions for revision in own]
    last = max(range(3), key=lambda number: revisions[number][-1])
    item = store.get(key)
    seen = item and (item.value, item.lease_id, item.mod_revision)
    context.check.equal(seen, (f"{last}".encode(), owners[last], max(every)), f"{did}: the item afterwards")
    for number, lease in enumerate(leases):
        with contextlib.suppress(LeaseLost, LeaseNotFound):
            lease.revoke()
        gone = last < 2 and number >= last
        item = store.get(key)
        context.check.equal(item is None, gone, f"{did}, and revoked lease {number + 1}: whether the key is gone")
    store.delete(key)
    left = store.list("raced/").keys
    context.check.equal((store.get(key), left), (None, ()), f"{did}, revoked both leases and deleted it: get and list")
    store.put(key, b"again")
    context.check.equal(store.list("raced/").keys, (key,), f"{did}, deleted it and put it again: list")
    store.delete(key)
