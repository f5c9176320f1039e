"""Time that stands still for Python, as tools that freeze it for tests make it: `clock_gettime` and `sleep` go on."""

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

import tenure
from tenure.plugin_kit import monotonic
from tenure_testkit.probes.network import one_that_returns
from tenure_testkit.probes.relay import Relay
from tenure_testkit.waiting import PATIENCE

FREEZABLE = ("monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns", "time", "time_ns")
"""What such tools replace in the module `time`."""
A_YEAR = 365 * 86_400
SHORT = 0.3


@contextmanager
def frozen() -> Iterator[None]:
    """Every clock of the module `time` stands still, a year ago."""
    with pytest.MonkeyPatch.context() as patch:
        for name in FREEZABLE:
            year = A_YEAR * (1_000_000_000 if name.endswith("_ns") else 1)
            now = getattr(time, name)() - (year if name.startswith("time") else 0)
            patch.setattr(time, name, lambda now=now: now)
        yield


def wait_really(seconds: float) -> None:
    """Wait by a clock that runs."""
    ends = monotonic() + seconds
    while monotonic() < ends:
        time.sleep(0.01)


def waits_end_and_leases_are_kept(url: str, ttl: float) -> None:
    """A lease outlives its ``ttl``, and a wait for a change that never comes ends."""
    with frozen(), tenure.connect(url, timeout=PATIENCE / 3) as store, store.watch("a") as watch:
        lease = store.lease(ttl)
        store.put("kept", b"", lease=lease)
        while watch.next(0.05) is not None:
            pass
        wait_really(lease.ttl * 1.3)
        assert lease.alive
        assert store.get("kept") is not None
        store.put("a", b"")
        assert watch.next(PATIENCE) is not None


def calls_end_in_time(url: str, port: int) -> None:
    """A call to a server that says nothing any more ends with its timeout."""
    with (
        frozen(),
        closing(Relay(port)) as relay,
        tenure.connect(url.replace(f":{port}", f":{relay.port}"), timeout=PATIENCE / 3) as store,
    ):
        store.get("a")
        relay.forget()
        assert one_that_returns(lambda: store.get("a", timeout=SHORT), PATIENCE) is not None
        relay.cut()
