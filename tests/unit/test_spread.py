"""A fleet comes back after an outage, on virtual time: no herd, no lease lost, and no long wait after a short break."""

from __future__ import annotations

import heapq
import itertools
import random
from collections import Counter

import pytest

from tenure import BatchType
from tenure._client.store import Store
from tenure._runtime.clock import Clock, ManualClock
from tenure._runtime.spread import FLEET, LONGEST, Share, Spread
from tenure.errors import Compacted, DeadlineExceeded, Unavailable
from tenure.leases.lease import Lease, LeaseState
from tenure.leases.machine import LeaseMachine
from tenure.spi import LeaseGrant, Snapshot
from tenure.watch.machine import WatchMachine, WatchSettings
from tenure_testkit.loops import face_of, run
from tenure_testkit.waiting import until

from .doubles import CAPABILITIES, ScriptedBackend, item

DOWN = 10.0
"""Seconds of the outage."""
LARGE = b"x" * 500_000
"""Two of them take a server 10 ms."""
CLIENTS = 1_000
CHANCES = [0.0, 0.37, 0.999999]


@pytest.fixture(autouse=True)
def _the_same_chances():
    state = random.getstate()
    random.seed(20)
    yield
    random.setstate(state)


class Client(Spread):
    """A spread of one share, which it keeps as a watch would."""

    def __init__(self, share: Share, chance: float) -> None:
        super().__init__(lambda: chance)
        self.share = share
        self.add(share)


def spread_of(keys, *, bytes_per_key=0.0, chance=0.5):
    share = Share()
    share.keys, share.bytes_per_key = keys, bytes_per_key
    return Client(share, chance)


# -- how long -----------------------------------------------------------------------------------------------


def test_the_window_grows_with_keys_and_with_bytes_up_to_a_limit():
    away = 1_000.0
    windows = [spread_of(keys).window(away) for keys in (0, 10, 1_000, 2_000, 10**6)]
    assert windows[0] == 0.0
    assert windows == sorted(windows)
    assert windows[3] == pytest.approx(2 * windows[2])
    assert windows[-1] == LONGEST
    assert spread_of(1_000, bytes_per_key=1_000).window(away) > 2 * windows[2]


@pytest.mark.parametrize("away", [0.0, 0.3, 1.0, 7.0])
def test_nobody_waits_longer_than_a_second_or_the_outage_itself(away):
    for chance in CHANCES:
        for first in (True, False):
            assert spread_of(10**6, chance=chance).before_reading(away, first=first) <= max(1.0, away)


def test_all_watches_of_a_client_count_together_until_they_end():
    spread, shares = Spread(), [Share() for _ in range(3)]
    for share in shares:
        share.keys = 500
        spread.add(share)
    together = spread.window(100.0)
    for share in shares[1:]:
        spread.remove(share)
    assert together == pytest.approx(3 * spread.window(100.0))
    spread.remove(shares[0])
    assert spread.window(100.0) == 0.0


def test_a_watch_that_was_dropped_counts_no_more():
    spread = Spread()
    for _ in range(1_000):
        share = Share()
        share.keys = 500
        spread.add(share)
    assert spread.window(100.0) == spread_of(500).window(100.0)
    assert len(spread._shares) < 100
    del share
    assert spread.window(100.0) == 0.0


# -- watches ------------------------------------------------------------------------------------------------


class Server:
    """One core that answers one read after the other. Work whose client has given up is done all the same."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.free_at = 0.0
        self.most_waiting = 0.0
        self.given_up = 0

    def answer_at(self, now: float) -> float:
        self.free_at = max(self.free_at, now) + self.seconds
        self.most_waiting = max(self.most_waiting, self.free_at - now)
        return self.free_at


def come_back(chance=random.random, *, lossless=False, down=DOWN):
    """Let a fleet lose its server, which is down for a while. Returns the server, and when each client is in sync."""
    capabilities = ScriptedBackend(lossless_watch=lossless).capabilities
    settings = WatchSettings("", exact=False, strip=0, previous=False, after=None, max_pending=10)
    state = Snapshot((item("a", 1, LARGE), item("b", 1, LARGE)), 1)
    server = Server(0.01)
    numbers, due, synced = itertools.count(), [], []

    def later(seconds, machine):
        heapq.heappush(due, (seconds, next(numbers), machine))

    for _ in range(CLIENTS):
        machine = WatchMachine(settings, capabilities, Spread(chance))
        machine.opened(machine.request(), 0.0)
        machine.take(state)
        machine.failed(Unavailable("down"), 0.0, 0.0)
        later(machine.pause(0.0), machine)
    while due:
        now, _, machine = heapq.heappop(due)
        request, attempt = machine.request(), machine.attempt
        if now < down:
            machine.not_opened(Unavailable("down"))
        elif request.after is not None:
            machine.not_opened(Compacted("history is gone"))
        else:
            ends = server.answer_at(now)
            if ends <= now + attempt:
                machine.opened(request, ends)
                machine.take(state)
                synced.append(ends)
                continue
            now += attempt
            server.given_up += 1
            machine.not_opened(DeadlineExceeded("too busy"))
        later(now + machine.pause(now), machine)
    assert len(synced) == CLIENTS
    return server, synced


def test_a_fleet_that_reads_again_comes_back_without_a_herd():
    herd, _ = come_back(lambda: 0.0)  # no spread: the paces of attempts alone, at most a second
    server, synced = come_back()
    work = CLIENTS * server.seconds
    assert herd.most_waiting > work * 2 / 3
    assert server.most_waiting < work / 3
    assert server.given_up == 0
    assert max(synced) - DOWN < 1.5 * work


def test_a_fleet_whose_history_is_gone_resumes_at_once_and_then_reads_apart():
    server, synced = come_back(lossless=True)
    assert server.given_up == 0
    assert max(synced) - DOWN < 1.5 * CLIENTS * server.seconds
    assert server.most_waiting < 2.0


def test_a_fleet_that_lost_its_server_for_a_moment_comes_back_at_once_and_apart():
    herd, herd_synced = come_back(lambda: 0.0, down=0.001)
    server, synced = come_back(down=0.001)
    assert min(synced) < 0.1
    assert server.given_up < herd.given_up
    assert max(synced) < max(herd_synced)


def test_a_watch_that_resumes_waits_no_longer_than_before():
    machine = WatchMachine(
        WatchSettings("", exact=False, strip=0, previous=False, after=None, max_pending=10), CAPABILITIES
    )
    machine.take(Snapshot((item("a", 1, LARGE),) * 10, 1))
    machine.failed(Unavailable("down"), 0.0, 0.0)
    assert machine.pause(100.0) <= 0.02


class Pauses(ManualClock):
    """Keeps what was to be waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []

    def pause(self, seconds: float) -> float:
        self.seconds.append(seconds)
        return super().pause(seconds)


STATE = tuple(item(f"k{number}", 1, LARGE) for number in range(8))


def test_a_watch_for_threads_waits_as_long_as_its_state_is_large(open_store):
    backend, clock = ScriptedBackend(lossless_watch=False), Pauses()
    with open_store(backend, clock=clock).watch() as watch:
        backend.feed(0).deliver(Snapshot(STATE, 1))
        assert watch.next().type is BatchType.SNAPSHOT
        backend.always("watch", Unavailable("down"))
        backend.feed(0).fail(Unavailable("down"))
        until(lambda: watch.next(0.01) is None and len(clock.seconds) > 3)
        clock.jump(DOWN)
        seen = len(clock.seconds)
        until(lambda: watch.next(0.01) is None and len(clock.seconds) > seen + 3)
    assert DOWN / 2 <= max(clock.seconds) <= DOWN


def test_a_watch_for_asyncio_waits_as_long_as_its_state_is_large():
    backend, clock = ScriptedBackend(lossless_watch=False), Pauses()

    async def main():
        face = await face_of(Store.from_backend(backend, url="double://", clock=clock))
        async with face as store, store.watch() as watch:
            backend.feed(0).deliver(Snapshot(STATE, 1))
            assert (await watch.next()).type is BatchType.SNAPSHOT
            backend.always("watch", Unavailable("down"))
            backend.feed(0).fail(Unavailable("down"))
            while await watch.next(0.01) or len(clock.seconds) <= 3:
                pass
            clock.jump(DOWN)
            seen = len(clock.seconds)
            while await watch.next(0.01) or len(clock.seconds) <= seen + 3:
                pass

    run(main)
    assert DOWN / 2 <= max(clock.seconds) <= DOWN


# -- leases -------------------------------------------------------------------------------------------------

TTL = 9.0


class Moved(Clock):
    time = 0.0

    def now(self):
        return self.time

    def wait(self, condition, seconds):
        raise AssertionError("a machine doesn't wait")


class Keeper:
    def lost(self, lease):
        pass

    def busy_since(self):
        return None

    def forget(self, lease):
        pass


def machine_with_lease(clock, chance=random.random):
    machine = LeaseMachine(chance)
    lease = Lease(
        LeaseGrant("1", TTL),
        requested_ttl=TTL,
        max_lifetime_after_refresh=TTL + 1,
        keep_alive=True,
        margin=0.0,
        started=clock.now(),
        clock=clock,
        keeper=Keeper(),
        on_lost=None,
    )
    machine.add(lease)
    return machine, lease


@pytest.mark.parametrize("chance", CHANCES)
def test_chance_only_makes_a_refresh_earlier(chance):
    clock = Moved()
    machine, lease = machine_with_lease(clock, lambda: chance)
    clock.time = machine.step(0.0).wait
    assert clock.time == pytest.approx(TTL / 3)
    for _ in range(4):
        batch = machine.step(clock.time).batch
        assert batch == (lease,)
        machine.failed(batch, sent=clock.time)
        wait = machine.step(clock.time).wait
        assert TTL / 20 <= wait <= TTL / 10
        clock.time += wait + 1e-9
    for most, least in [(TTL / 3, TTL / 6), (TTL / 3, TTL / 3), (TTL / 3, TTL / 3)]:
        batch = machine.step(clock.time).batch
        machine.answered(batch, {"1": TTL}, sent=clock.time, now=clock.time)
        wait = machine.step(clock.time).wait
        assert least - 1e-6 <= wait <= most + 1e-6
        clock.time += wait + 1e-9
    assert lease.state is LeaseState.ALIVE


def test_a_fleet_in_step_keeps_its_leases_and_comes_apart():
    """All clients began at the same moment, so their refreshes fail, and are tried again, at the same moments."""
    clock = Moved()
    fleet = [machine_with_lease(clock) for _ in range(CLIENTS)]
    down = range(2, 7)  # of TTL 9 seconds: from before the first refresh until after two thirds
    numbers, due = itertools.count(), []
    for machine, lease in fleet:
        heapq.heappush(due, (machine.step(0.0).wait, next(numbers), machine, lease))
    loads: Counter[int] = Counter()
    while due[0][0] < 60.0:
        clock.time, _, machine, lease = heapq.heappop(due)
        step = machine.step(clock.time)
        assert not step.overdue
        if step.batch:
            if down.start <= clock.time < down.stop:
                machine.failed(step.batch, sent=clock.time)
            else:
                loads[int(clock.time * 10)] += 1
                machine.answered(step.batch, {"1": TTL}, sent=clock.time, now=clock.time)
            step = machine.step(clock.time)
        heapq.heappush(due, (clock.time + step.wait + 1e-9, next(numbers), machine, lease))
    assert all(lease.state is LeaseState.ALIVE for _, lease in fleet)
    assert max(loads.values()) < CLIENTS / 2, "not all within the same tenth of a second"
    later = [count for tenth, count in loads.items() if tenth >= 120]
    assert max(later) < CLIENTS / 8
    assert FLEET == CLIENTS
