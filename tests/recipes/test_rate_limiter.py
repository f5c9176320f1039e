"""A bucket keeps its rate whatever the wall clocks of its participants say, and starves none of them."""

from __future__ import annotations

import random
from typing import Any

import pytest

import tenure
from tenure._runtime.clock import TimeLimit
from tenure._steps.threads import perform, run
from tenure.errors import WaitTimeout
from tenure.recipes.rate_limiter import Bucket

RATE, BURST, SECONDS = 2.0, 5.0, 600.0


def _grants(offsets: tuple[float, ...], seed: int, chances: tuple[int, ...] | None = None) -> list[list[float]]:
    """Let participants with these wall clocks take what they can get. Returns when each of them got a permit."""
    source, clock = random.Random(seed), tenure.ManualClock()
    began = clock.now()
    with tenure.connect("memory://", clock=clock) as store:
        buckets = [
            Bucket(store, "bucket", "it", RATE, BURST, lambda offset=offset: clock.now() + offset)  # type: ignore[misc]
            for offset in offsets
        ]
        grants: list[list[float]] = [[] for _ in buckets]
        while clock.now() - began < SECONDS:
            (at,) = source.choices(range(len(buckets)), chances)
            if run(store, buckets[at].take(1.0, TimeLimit(clock, None), wait=False)):
                grants[at].append(clock.now() - began)
            clock.jump(source.choice((0.0, 0.01, 0.3)))
    return grants


def _most_above(grants: list[list[float]]) -> float:
    """Return by how much any stretch of time had more permits than the rate allows for it."""
    times = sorted(moment for one in grants for moment in one)
    worst = 0.0
    for first in range(0, len(times), 7):
        for last in range(first, len(times), 5):
            worst = max(worst, last - first + 1 - BURST - RATE * (times[last] - times[first]))
    return worst


@pytest.mark.parametrize("offsets", [(0.0,), (0.0, 0.0), (0.0, 30.0), (-30.0, 0.0), (-20.0, 0.0, 10.0)])
def test_no_stretch_of_time_has_more_permits_than_the_clocks_differ(offsets: tuple[float, ...]) -> None:
    for seed in range(3):
        grants = _grants(offsets, seed)
        assert _most_above(grants) <= RATE * (max(offsets) - min(offsets)) + 0.001
        assert sum(map(len, grants)) >= RATE * SECONDS * 0.95


def test_a_participant_whose_clock_is_behind_gets_permits() -> None:
    ahead, behind = _grants((3600.0, 0.0), 1, (1, 50))
    assert len(behind) > 5 * len(ahead) > 0


def test_a_bucket_whose_time_goes_back_gives_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: with times that go back, each change of hands gives the difference of the clocks again."""
    real = Bucket._present

    def present(self: Bucket, item: Any) -> tuple[float, float]:
        _, there = real(self, item)
        return self.wall(), there

    monkeypatch.setattr(Bucket, "_present", present)
    assert _most_above(_grants((0.0, 30.0), 1)) > 3 * RATE * 30


def test_a_bucket_that_forgets_what_it_has_seen_gives_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: the seconds that were seen have to become part of the bucket's time."""
    real = Bucket._change

    def change(self: Bucket, item: Any, now: float, there: float, limit: Any) -> Any:
        return real(self, item, max(self.wall(), now - 0.2), there, limit)

    monkeypatch.setattr(Bucket, "_change", change)
    assert _most_above(_grants((0.0, 30.0), 1, (50, 1))) > RATE * 30


def test_who_waits_is_served_in_advance_and_in_order() -> None:
    clock = tenure.ManualClock()
    with tenure.connect("memory://", clock=clock) as store:
        bucket = Bucket(store, "bucket", "it", 1.0, 1.0, clock.now)
        limit = TimeLimit(clock, None)
        assert run(store, bucket.take(1.0, limit))
        waits = []
        for _ in range(3):
            steps = bucket.take(1.0, limit)
            effect = next(steps)
            while type(effect).__name__ != "Sleep":
                effect = steps.send(perform(store, effect))
            waits.append(effect.seconds)  # type: ignore[attr-defined]
        assert waits == [1.0, 2.0, 3.0]
        with pytest.raises(WaitTimeout):
            run(store, bucket.take(1.0, TimeLimit(clock, 3.5)))
        assert not run(store, bucket.take(1.0, limit, wait=False))
