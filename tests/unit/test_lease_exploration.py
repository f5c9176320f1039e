"""The lease machine and the leases in every order of what may happen to them, compared with what a holder may rely on.

A run is a sequence of events from :data:`EVENTS`. All runs up to a length are made, but none is continued from a state
that another run has reached. The world drives the machine as the keep-alive does, and every step of a driver is an
event of its own: so a driver may be late, an answer may come after a jump of the clock, and a call of the application
may be cut off by an interrupt between any two of its steps.
"""

from __future__ import annotations

import threading
from collections import Counter

import pytest

from tenure._runtime.clock import Clock
from tenure.leases.lease import Lease, LeaseState
from tenure.leases.machine import LeaseMachine
from tenure.spi import LeaseGrant

TTL = 9.0
BY_NUMBER = (0, 1)
"""The leases that the application's calls are about; one more may be added during a run."""


class _Clock(Clock):
    def __init__(self) -> None:
        self.time = 0.0

    def now(self) -> float:
        return self.time

    def wait(self, condition: threading.Condition, seconds: float | None) -> None:
        raise AssertionError("the machine doesn't wait")


class World:
    """The machine, its leases, the calls under way, and what a holder may rely on."""

    def __init__(self, keep_alive: tuple[bool, ...]) -> None:
        self.clock = _Clock()
        self.machine = LeaseMachine(lambda: 1.0)  # runs are repeated exactly
        self.leases: list[Lease] = []
        self.told: Counter[str] = Counter()
        self.good_until: dict[str, float] = {}
        """When each lease ends in the store at the earliest, by the answers that its holder has seen."""
        self.over: set[str] = set()
        self.batch: tuple[tuple[Lease, ...], float] | None = None
        self.explicit: dict[str, float] = {}
        self.cut_off = False
        self.least = len(keep_alive)
        for each in keep_alive:
            self.add(keep_alive=each)

    # -- the keeper's side, as keepalive.py has it --

    def lost(self, lease: Lease) -> None:
        if self.cut_off:
            return  # an interrupt between the mark and what follows from it
        if lease.tells("on_lost"):
            self.told[lease.id] += 1
        self.machine.forget(lease)

    def busy_since(self) -> float | None:
        return None

    def forget(self, lease: Lease) -> None:
        if not self.cut_off:
            self.machine.forget(lease)

    def end(self, overdue: tuple[Lease, ...]) -> None:
        for lease in overdue:
            state = lease.state
            if lease.ended and self.machine.holds(lease):
                (self.lost if state is LeaseState.LOST else self.forget)(lease)

    # -- events: each returns whether it was possible --

    def add(self, *, keep_alive: bool = True) -> bool:
        if len(self.leases) > self.least:
            return False
        number = str(len(self.leases))
        lease = Lease(
            LeaseGrant(number, TTL),
            requested_ttl=TTL,
            max_lifetime_after_refresh=TTL + 1,
            keep_alive=keep_alive,
            margin=0.0,
            started=self.clock.time,
            clock=self.clock,
            keeper=self,  # type: ignore[arg-type]  # without the calls to a store
            on_lost=None,
        )
        self.leases.append(lease)
        self.good_until[number] = self.clock.time + TTL
        self.machine.add(lease)
        return True

    def passes(self, seconds: float) -> bool:
        self.clock.time += seconds
        self.over |= {name for name, until in self.good_until.items() if self.clock.time >= until}
        return True

    def step(self) -> bool:
        step = self.machine.step(self.clock.time)
        assert self.batch is None or not step.batch, "two batches at a time"
        self.end(step.overdue)
        if step.batch:
            assert all(lease.state in (LeaseState.ALIVE, LeaseState.AT_RISK) for lease in step.batch), "a dead one sent"
            self.batch = step.batch, self.clock.time
        return True

    def answer(self, *, gone: bool = False) -> bool:
        if self.batch is None:
            return False
        (batch, sent), self.batch = self.batch, None
        answer = {lease.id: TTL for lease in batch[1 if gone else 0 :]}
        for lease_id in answer:
            self._good_answer(lease_id, sent)
        for lease in self.machine.answered(batch, answer, sent=sent, now=self.clock.time):
            self.over.add(lease.id)
            lease.mark_lost("gone")
        return True

    def unknown(self) -> bool:
        if self.batch is None:
            return False
        (batch, sent), self.batch = self.batch, None
        self.machine.failed(batch, sent=sent)
        return True

    def ask(self, number: int) -> bool:
        """The application's own refresh is sent."""
        lease = self.leases[number]
        if lease.id in self.explicit or lease.ended:
            return False
        self.explicit[lease.id] = self.clock.time
        return True

    def told_so(self, number: int) -> bool:
        lease = self.leases[number]
        if lease.id not in self.explicit:
            return False
        sent = self.explicit.pop(lease.id)
        self._good_answer(lease.id, sent)
        lease.mark_refreshed(sent, TTL, self.clock.time)
        return True

    def revoke(self, number: int, *, interrupted: bool = False) -> bool:
        lease = self.leases[number]
        if lease.ended:
            return False
        self.over.add(lease.id)
        self.cut_off = interrupted
        if lease.mark_revoked():
            self.forget(lease)
        self.cut_off = False
        return True

    def refused(self, number: int, *, interrupted: bool = False) -> bool:
        """A put was refused, since the store no longer has the lease."""
        lease = self.leases[number]
        if lease.ended:
            return False
        self.over.add(lease.id)
        self.cut_off = interrupted
        lease.mark_lost("refused")
        self.cut_off = False
        return True

    def _good_answer(self, lease_id: str, sent: float) -> None:
        if lease_id not in self.over:
            self.good_until[lease_id] = max(self.good_until[lease_id], sent + TTL)

    # -- what holds at any time --

    def check(self) -> None:
        for lease in self.leases:
            alive = lease.state in (LeaseState.ALIVE, LeaseState.AT_RISK)
            assert not alive or self.clock.time < self.good_until[lease.id], "alive past its deadline"
            assert not (alive and lease.id in self.over), "a dead one is alive again"
            assert not alive or lease.deadline == self.good_until[lease.id], "time was taken from the holder"
            assert self.told[lease.id] <= 1, "told twice"
            assert self.told[lease.id] == 0 or lease.state is LeaseState.LOST, "told of a loss that was none"

    def settle(self) -> None:
        """From here on the driver is punctual and the store answers at once: everything has to come right."""
        self.unknown()
        alive = [lease for lease in self.leases if lease.keep_alive and lease.alive]
        end = self.clock.time + 3 * TTL
        while self.clock.time < end:
            self.step()
            if not self.answer():
                wait = self.machine.step(self.clock.time).wait
                self.answer()
                self.passes(max(0.001, min(wait, end - self.clock.time)))
            self.check()
        assert all(lease.state is LeaseState.ALIVE for lease in alive), "a live one wasn't refreshed in time"
        for lease in self.leases:
            assert self.told[lease.id] == (lease.state is LeaseState.LOST), "a loss that was not told"
            assert self.machine.holds(lease) == lease.alive
            lease.abandon()
        assert len(self.machine) == 0, "something is left in the books"

    def signature(self) -> tuple[object, ...]:
        """What decides the future, with times relative to now."""
        now = self.clock.time

        def heap(entries: list[tuple[float, int, Lease]]) -> tuple[object, ...]:
            return tuple(sorted((round(when - now, 3), lease.id) for when, _, lease in entries))

        return (
            tuple(
                (lease.keep_alive, lease._end, round(lease.deadline - now, 3), self.machine.holds(lease))
                for lease in self.leases
            ),
            tuple(sorted(self.told.items())),
            heap(self.machine._due),
            heap(self.machine._deadlines),
            self.batch and (tuple(lease.id for lease in self.batch[0]), round(self.batch[1] - now, 3)),
            tuple((name, round(sent - now, 3)) for name, sent in sorted(self.explicit.items())),
        )


EVENTS = {
    "the driver's step": World.step,
    "a second passes": lambda world: world.passes(1.0),
    "a third of the TTL passes": lambda world: world.passes(3.0),
    "the clock jumps": lambda world: world.passes(30.0),
    "answered": World.answer,
    "answered, the first is gone": lambda world: world.answer(gone=True),
    "no answer": World.unknown,
    "another lease": World.add,
    **{
        name.format(number): call
        for number in BY_NUMBER
        for name, call in {
            "refresh {} is sent": lambda world, number=number: world.ask(number),
            "refresh {} is answered": lambda world, number=number: world.told_so(number),
            "revoke {}": lambda world, number=number: world.revoke(number),
            "revoke {}, interrupted": lambda world, number=number: world.revoke(number, interrupted=True),
            "a put under {} is refused": lambda world, number=number: world.refused(number),
            "a put under {} is refused, interrupted": lambda world, number=number: world.refused(
                number, interrupted=True
            ),
        }.items()
        if number == 0 or name.startswith(("refresh", "revoke {}"))
    },
}


def run(keep_alive: tuple[bool, ...], events: tuple[str, ...]) -> World | None:
    """The world after ``events``; ``None`` if the last one wasn't possible.

    Looking at a lease changes it once its deadline has passed. So nothing looks before the last event.
    """
    world = World(keep_alive)
    for event in events:
        if not EVENTS[event](world):
            return None
    return world


@pytest.mark.parametrize(
    ("keep_alive", "depth", "states"),
    [
        pytest.param((True,), 5, 2_000, id="one lease"),
        pytest.param((True, True), 4, 1_500, id="two leases"),
        pytest.param((True, False), 4, 1_500, id="two leases, one refreshed by hand"),
    ],
)
def test_in_every_order_of_events_a_lease_is_what_its_holder_may_rely_on(keep_alive, depth, states):
    possible = [event for event in EVENTS if len(keep_alive) > 1 or " 1" not in event]
    seen: set[tuple[object, ...]] = set()
    frontier: list[tuple[str, ...]] = [()]
    for _ in range(depth):
        longer = []
        for events in frontier:
            for event in possible:
                sequence = (*events, event)
                try:
                    world = run(keep_alive, sequence)
                    if world is None or (signature := world.signature()) in seen:
                        continue
                    seen.add(signature)
                    world.check()
                    world.settle()
                except AssertionError as exc:
                    raise AssertionError(f"{exc}, after: {'; '.join(sequence)}") from exc
                longer.append(sequence)
        frontier = longer
    assert len(seen) > states, "the exploration has become shallow"
