"""Rules about answers that come late, or byte by byte, and about a connection that was quiet for long."""

from __future__ import annotations

import contextlib
import random
import time
import uuid
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from tenure._client.store import Store
from tenure.conformance.checkers import write_history
from tenure.conformance.fault_injection.faults import (
    FAILS,
    RECOVERY,
    SHORT,
    fails_in_time,
    fault,
    outage,
    visible,
    wait_for_effects,
    works_again,
)
from tenure.conformance.harness.assertions import EVENT_TIMEOUT, inconclusive
from tenure.conformance.harness.context import TIMEOUT, RuleContext
from tenure.conformance.harness.rule import Rules, parallel_safe, requires_control
from tenure.conformance.network import Direction, Late, Latency, Network, Slicer
from tenure.conformance.workloads.leases import CLOCK_TOLERANCE
from tenure.conformance.workloads.recording_watcher import Follower
from tenure.conformance.workloads.threads import together
from tenure.errors import Conflict, LeaseLost, LeaseNotFound, OutcomeUnknown
from tenure.leases import Lease, LeaseState

_LATE = 0.4
"""Part of the TTL by which an answer is late."""
_LATE_IN_BACKGROUND = 0.15
"""The same for a refresh in the background, which has half of the remaining time for each attempt."""
_CLOCKS = 0.02
_TRIES = 4
_TRICKLE = 0.05
"""Seconds between two bytes."""
_BYTES = 300
_LONGEST_QUIET = 20.0


class LateAnswerRules(Rules, area="faults"):
    """Answers that come late."""

    @parallel_safe
    @requires_control("network")
    def test_faults_a_late_answer_lengthens_no_lease(self, context: RuleContext) -> None:
        """A holder counts from when it asked, however late the answer, and finds its loss before others benefit."""
        longest = context.capabilities.max_lifetime_after_refresh(context.short_ttl * _TRIES)
        ways = (_granted, _refreshed, _refreshed_in_background)
        together(
            context.check,
            [partial(_late_answer, context, way) for way in ways],
            "three holders whose answers come late",
            within=2 * longest * _TRIES + 3 * EVENT_TIMEOUT,
        )

    @requires_control("network")
    def test_faults_an_acknowledged_write_is_applied_once(self, context: RuleContext) -> None:
        """A write that was acknowledged isn't applied again when an earlier request for it arrives late."""
        store = context.connect()
        recognised = visible(context, store, uuid.uuid4().hex.encode())
        kept = 0
        for name, write in _ACKNOWLEDGED.items():
            value = uuid.uuid4().hex.encode()
            acknowledged = False
            needle = value if recognised else b""
            with context.evidence.fault("a late request") as window:
                window.what = "requests kept back, and their answers"
                with context.network.add(Late(needle=needle), Direction.UP) as late:
                    with contextlib.suppress(*FAILS):
                        write(store, name, value)
                        acknowledged = True
                    works_again(context, store)
                    after = store.put(name, b"after").revision
                kept += late.effects
                wait_for_effects(late, 2, EVENT_TIMEOUT if acknowledged and late.effects else 0.0)
                window.effects = late.effects
            item = store.get(name)
            if acknowledged:
                seen = item and (item.value, item.mod_revision)
                did = f"a {name} was acknowledged and its key put again, before the first request for it arrived"
                context.check.equal(seen, (b"after", after), did)
        context.check.enough(kept, 1, "a request that was kept back")

    @requires_control("network")
    def test_faults_trickling_answers_keep_deadlines(self, context: RuleContext) -> None:
        """A call whose answer comes byte by byte ends by its timeout, which counts for the whole answer."""
        store, direct = context.connect(), context.connect(direct=True)
        value = random.Random(context.profile.seed).randbytes(_BYTES)  # noqa: S311 - can't be compressed
        for number in range(3):
            direct.put(f"long/{number}", value)
        store.get("long/0")
        calls: dict[str, Callable[[], object]] = {
            "get": lambda: store.get("long/0", timeout=SHORT),
            "get of several keys": lambda: store.get_many(["long/0", "long/1"], timeout=SHORT),
            "list": lambda: store.list("long/", timeout=SHORT),
        }
        for name, call in calls.items():
            trickle = partial(context.network.add, Slicer(size=1, delay=_TRICKLE), Direction.DOWN)
            with fault(context, "byte by byte", trickle, "pieces made"):
                fails_in_time(context, f"{name} with an answer that comes byte by byte", call)
            context.network.cut()  # what is on its way would go on trickling
            works_again(context, store)
            item = store.get("long/0", timeout=RECOVERY)
            context.check.equal(item and item.value, value, f"a value after a {name} that ran out of time")

    @requires_control("pause", "resume")
    def test_faults_a_quiet_watch_notices_a_frozen_server_in_time(self, context: RuleContext) -> None:
        """A watch that had nothing to tell for long notices a frozen server as soon as any other does."""
        declared = context.capabilities.max_watch_failure_detection
        store = context.connect()
        with Follower(context.check, store.watch("w/", previous=True)) as follower:
            follower.wait_in_sync()
            first = context.store.put("w/before", b"").revision
            follower.wait_for("w/before", first, "put a key that is watched")
            time.sleep(min(1.2 * declared, _LONGEST_QUIET))  # nothing happens: that is the point
            context.check.equal(follower.watch.staleness, 0.0, "the staleness of a watch that was quiet")
            with outage(context, "pause", "resume"):
                context.check.eventually(
                    lambda: follower.watch.staleness,
                    lambda staleness: staleness > 0.0,
                    "froze the server of a watch that was quiet for long",
                    expected=f"staleness above 0 within {declared:g} s",
                    within=declared + CLOCK_TOLERANCE,
                )
            last = context.store.put("w/after", b"", timeout=RECOVERY).revision
            follower.wait_for("w/after", last, "wrote after the server was frozen", within=RECOVERY)
            problems = write_history.check_convergence(list(follower.batches), context.store.list("w/"))
        context.check.no_problems(problems, "watched a server that was frozen", expected="the true state")


# -- requests -----------------------------------------------------------------------------------------

_ACKNOWLEDGED: dict[str, Callable[[Store, str, bytes], object]] = {
    "put": lambda store, key, value: store.put(key, value),
    "put_if_absent": lambda store, key, value: store.put_if_absent(key, value),
}
"""Writes of a key that doesn't exist."""


# -- holders ------------------------------------------------------------------------------------------


class _Clients(NamedTuple):
    """Who takes part: a holder behind a network of its own, and a contender."""

    network: Network
    holder: Store
    contender: Store


Way = Callable[[RuleContext, _Clients, str, float], Lease | None]
"""Holds a key on a lease of a TTL whose last grant or refresh was answered late; ``None`` if the lease ended before."""


def _late_answer(context: RuleContext, way: Way) -> None:
    name = way.__name__.strip("_").replace("_", " ")
    network, contender = context.another_network(), context.connect(direct=True)
    holder = context.connect(through=network, timeout=TIMEOUT + 2 * context.short_ttl)
    for number in range(_TRIES):
        key = f"late/{name}/{number}"
        lease = way(context, _Clients(network, holder, contender), key, context.short_ttl * (number + 1))
        if lease is None:
            continue
        with network.black_hole():  # a holder that makes no call sends nothing, so there may be nothing to hold back
            taken = _take(context, contender, key, 2 * lease.max_lifetime_after_refresh + EVENT_TIMEOUT)
            state = lease.state
        did = f"a holder's lease was {name}, the answer came late, and then the holder was cut off"
        seen = f"the key was taken {lease.deadline - taken:.3f} s before"
        context.check.true(lease.deadline <= taken + _CLOCKS, did, expected="after the lease was lost", seen=seen)
        context.check.equal(state, LeaseState.LOST, f"{did}; the state of its lease")
        return
    raise inconclusive(
        context.rule,
        f"{_TRIES} leases ended before the late answer to what {name} them; the machine may be overloaded",
    )


def _granted(context: RuleContext, clients: _Clients, key: str, ttl: float) -> Lease | None:
    delay = _LATE * context.short_ttl
    with _late(context, clients.network, delay):
        lease = clients.holder.lease(ttl, keep_alive=False)
        answered = clients.holder.clock.now()
    _counts_from_the_question(context, lease, answered - delay, "granted a lease")
    try:
        _put_on(clients.contender, key, lease)
    except LeaseNotFound:
        return None
    return lease


def _refreshed(context: RuleContext, clients: _Clients, key: str, ttl: float) -> Lease | None:
    delay = _LATE * context.short_ttl
    lease = clients.holder.lease(ttl, keep_alive=False)
    try:
        _put_on(clients.contender, key, lease)
        with _late(context, clients.network, delay):
            lease.refresh()
            answered = clients.holder.clock.now()
    except (LeaseLost, LeaseNotFound):
        return None
    _counts_from_the_question(context, lease, answered - delay, "refreshed a lease")
    return lease


def _refreshed_in_background(context: RuleContext, clients: _Clients, key: str, ttl: float) -> Lease | None:
    delay = _LATE_IN_BACKGROUND * context.short_ttl
    try:
        with _late(context, clients.network, delay):
            lease = clients.holder.lease(ttl)
            _put_on(clients.contender, key, lease)
            first = lease.deadline
            while lease.deadline == first:
                if lease.state is LeaseState.LOST:
                    return None
                time.sleep(0.002)
            answered = clients.holder.clock.now()
    except (LeaseLost, LeaseNotFound):
        return None
    _counts_from_the_question(context, lease, answered - delay, "refreshed a lease in the background")
    return lease


def _put_on(contender: Store, key: str, lease: Lease) -> None:
    """Put the holder's key. Where a lease is a session that moves between servers, the put may lose its answer."""
    while True:
        try:
            contender.put_if_absent(key, b"holder", lease=lease.id)
        except OutcomeUnknown:
            continue  # until it is there, or the lease has ended
        except Conflict:
            return
        else:
            return


def _late(context: RuleContext, network: Network, delay: float) -> contextlib.AbstractContextManager[object]:
    """Let every answer come so many seconds late while the block runs."""
    late = partial(network.add, Latency(latency=delay), Direction.DOWN)
    return fault(context, "late answers", late, "pieces delayed")


def _counts_from_the_question(context: RuleContext, lease: Lease, sent: float, did: str) -> None:
    """Check the deadline of a lease whose answer came; it was asked for at ``sent`` or before."""
    late = lease.deadline - lease.ttl - sent
    context.check.true(
        late <= _CLOCKS,
        f"{did}, and the answer came late",
        expected="the lease's time counts from the question",
        seen=f"it counts from {late:.3f} s after it",
    )


def _take(context: RuleContext, contender: Store, key: str, within: float) -> float:
    """Take the key as soon as the store allows it; return when."""
    deadline = time.monotonic() + within
    while True:
        try:
            contender.put_if_absent(key, b"contender")
            return contender.clock.now()
        except Conflict:
            if time.monotonic() > deadline:
                raise context.check.fail(
                    "cut the holder of a lease off", expected=f"its key free within {within:g} s", seen="still there"
                ) from None
        time.sleep(0.005)
