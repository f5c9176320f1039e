"""What the fleet's program makes of a server's counters, and what it judges."""

from __future__ import annotations

import pytest

from tenure_testkit.fleet.fleet import Return, described
from tenure_testkit.fleet.load import Load, Reading, load_between


def reading(at, requests, cpu=None):
    return Reading(at, requests, 0.0, 0.0, at if cpu is None else cpu)


def test_a_peak_is_the_most_of_one_second():
    tenths = [reading(tenth / 10, 10.0 * tenth) for tenth in range(11)]
    burst = [reading(1.0 + tenth / 10, 100.0 + 50.0 * tenth) for tenth in range(1, 6)]
    rest = [reading(1.5 + tenth / 10, 350.0) for tenth in range(1, 20)]
    load = load_between([*tenths, *burst, *rest], 0.0, 100.0)
    assert load.requests == 350.0
    assert load.peak_requests == pytest.approx(300.0)


def test_a_peak_is_no_higher_because_a_busy_server_answered_late():
    load = load_between([reading(0.0, 0.0), reading(4.0, 400.0)], 0.0, 100.0)
    assert load.peak_requests == 100.0


def test_a_server_that_started_again_counts_from_nothing():
    readings = [reading(0.0, 900.0, cpu=9.0), reading(0.1, 910.0, cpu=9.1), reading(5.0, 30.0, cpu=0.1)]
    load = load_between(readings, 0.0, 100.0)
    assert (load.requests, load.peak_requests) == (40.0, 30.0)


def test_a_lease_that_was_lost_and_a_key_that_is_gone_are_problems():
    load = Load(*(0.0,) * 8)
    came = Return("kept", True, 5.0, 1.0, 1.0, 1.0, load, 0, ("no refresh succeeded",), 2)
    assert came.problems == ["a lease was lost: no refresh succeeded", "2 clients have lost their key"]
    assert "1 leases lost" in described(came)
