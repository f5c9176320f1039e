"""A link that is slow but sound: what is long still arrives, since progress counts and not the time it takes in all."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator

import pytest

from tenure import BatchType, Store
from tenure.conformance.network import Bandwidth, Network
from tenure_testkit.waiting import until

pytestmark = pytest.mark.faults

VALUE = 200_000
RATE = 400_000


@pytest.fixture(params=["etcd", "redis", "zookeeper", "consul"])
def slow(request: pytest.FixtureRequest, opened: Callable[..., Store]) -> Iterator[tuple[Store, Store, Network]]:
    """A store beside a slow link, one over it, and the link, which is fast at first."""
    url: str = request.getfixturevalue(f"{request.param}_own_url")
    if request.param == "redis":
        url += ("&" if "?" in url else "?") + "silence=1"
    network = Network.in_front_of(url)
    assert network is not None
    with network:
        yield opened(url, 30.0), opened(network.url, 30.0), network


def told(watch, count: int) -> int:
    """Read until so many keys have arrived."""
    seen = 0

    def more() -> bool:
        nonlocal seen
        batch = watch.next(timeout=1.0)
        seen += len(batch.events) if batch is not None else 0
        return seen >= count

    until(more, 90.0, f"{count} keys arrived")
    return seen


def test_a_watch_that_fell_behind_catches_up(slow) -> None:
    near, far, network = slow
    with far.watch("slow/") as watch:
        assert watch.next(10.0).type is BatchType.SNAPSHOT
        with contextlib.ExitStack() as stack:
            stack.enter_context(network.add(Bandwidth(rate=RATE)))
            for number in range(10):
                near.put(f"slow/{number}", os.urandom(VALUE))
            assert told(watch, 10) == 10


def test_a_long_state_arrives_for_a_watch_that_begins_again(slow) -> None:
    near, far, network = slow
    with far.watch("long/") as watch:
        assert watch.next(10.0).type is BatchType.SNAPSHOT
        with network.add(Bandwidth(rate=RATE)):
            for number in range(10):
                near.put(f"long/{number}", os.urandom(VALUE))
            network.cut()
            assert told(watch, 10) == 10


def test_a_long_list_arrives_within_the_time_given(slow) -> None:
    near, far, network = slow
    for number in range(10):
        near.put(f"list/{number}", os.urandom(VALUE))
    with network.add(Bandwidth(rate=RATE)):
        # Some stores can't go on with an attempt that took too long; the last one has most of the time.
        assert len(list(far.list("list/", timeout=30.0))) == 10
