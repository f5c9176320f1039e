"""Tests of an application, as its author writes them: with the fixtures, and without pytest."""

from __future__ import annotations

from collections.abc import Callable
from typing import reveal_type

from leasehold import Store, Unavailable
from leasehold.testing import Faults, Sandbox, VirtualClock, wait_until


def test_with_fixtures(leasehold_store: Store, leasehold_faults: Faults, leasehold_clock: VirtualClock) -> None:
    lease = leasehold_store.lease(10)
    leasehold_faults.lose(lease, noticed=False)
    leasehold_clock.elapse(4)
    wait_until(lambda: not lease.alive)
    reveal_type(leasehold_faults.refuse(2, error=Unavailable, of="get").refused)  # reveals: int
    reveal_type(leasehold_faults.next_write_unknown(applied=False).arrive())  # reveals: leasehold.spi.values.Committed
    leasehold_faults.next_write_unknown()  # error: call-arg
    leasehold_faults.refuse(error=OSError)  # error: arg-type


def test_several(leasehold_connect: Callable[..., Store]) -> None:
    leasehold_connect(timeout=1.0)


def without_pytest() -> None:
    with Sandbox() as box:
        reveal_type(box.connect())  # reveals: leasehold.store.Store
        reveal_type(box.clock)  # reveals: leasehold.testing.clock.VirtualClock
        with box.faults.outage(), box.faults.freeze():
            pass
