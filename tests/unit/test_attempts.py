"""How the time of one call is divided among its attempts."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as some

from tenure._runtime.retry import FIRST_ATTEMPT, longer_attempt


def attempts(timeout: float) -> list[float]:
    """Seconds of each attempt of a call whose every attempt takes all that it may, and that waits between none."""
    given_to = [min(FIRST_ATTEMPT, timeout)]
    left = timeout - given_to[0]
    while left > 1e-9:
        given_to.append(min(longer_attempt(given_to[-1], left, timeout), left))
        left -= given_to[-1]
    return given_to


@given(some.floats(0.01, 10_000.0))
def test_one_attempt_has_half_of_the_time(timeout: float) -> None:
    found = attempts(timeout)
    assert abs(sum(found) - timeout) < 1e-6 * timeout
    assert max(found) >= timeout / 2 - 1e-6 * timeout


@given(some.floats(2 * FIRST_ATTEMPT, 10_000.0))
def test_the_last_attempt_has_half_of_the_time_and_none_is_shorter_than_the_one_before(timeout: float) -> None:
    found = attempts(timeout)
    assert found[-1] >= timeout / 2 - 1e-6 * timeout
    assert all(later >= earlier - 1e-6 * timeout for earlier, later in pairwise(found))


def test_a_call_of_twenty_seconds_asks_a_fourth_time_after_ten() -> None:
    assert attempts(20.0) == [2.0, 4.0, 4.0, 10.0]
