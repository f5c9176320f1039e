"""Tests of an application, as its author writes them: with the fixtures, and without pytest."""

from __future__ import annotations

from collections.abc import Callable
from typing import reveal_type

from tenure import Store, Unavailable
from tenure.testing import Faults, Sandbox, VirtualClock, wait_until


def test_with_fixtures(tenure_store: Store, tenure_faults: Faults, tenure_clock: VirtualClock) -> None:
    lease = tenure_store.lease(10)
    tenure_faults.expire_lease(lease, notify_holder=False)
    tenure_clock.advance(4)
    wait_until(lambda: not lease.alive)
    reveal_type(tenure_faults.fail_calls(2, error=Unavailable, kinds="get").refused)  # reveals: int
    lost = tenure_faults.next_write_unknown(applied=False)
    reveal_type(lost.deliver_late())  # reveals: tenure.spi.types.CommitResult
    tenure_faults.next_write_unknown()  # error: call-arg
    tenure_faults.fail_calls(error=OSError)  # error: arg-type


def test_several(tenure_connect: Callable[..., Store]) -> None:
    tenure_connect(timeout=1.0)


def without_pytest() -> None:
    with Sandbox() as box:
        reveal_type(box.connect())  # reveals: tenure._client.store.Store
        reveal_type(box.clock)  # reveals: tenure.testing.clock.VirtualClock
        with box.faults.outage(), box.faults.hang():
            pass
