"""`tenure lock` on real stores: the next holder's command starts after the last one is dead, and a control sees if not.

`tests/recipes/run_guardian_trials.py` has many more of these trials.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tenure_testkit.guardian_trials import HARMS, Trial, run_trial

TRIALS = 3
TTL = 4.0


def trials(url: str, harm: str, folder: Path, *, naive: bool = False) -> list[Trial]:
    with ThreadPoolExecutor(TRIALS) as pool:
        return list(pool.map(lambda _: run_trial(url, harm, folder, ttl=TTL, naive=naive), range(TRIALS)))


@pytest.mark.parametrize("harm", ["stopped", "killed"])
def test_the_first_command_is_dead_before_the_second_starts_on_sqlite(harm: str, file_url: str, tmp_path: Path) -> None:
    assert all(trial.passed for trial in trials(file_url, harm, tmp_path))


@pytest.mark.parametrize("harm", HARMS)
def test_the_first_command_is_dead_before_the_second_starts_on_redis(
    harm: str, redis_own_url: str, tmp_path: Path
) -> None:
    assert all(trial.passed for trial in trials(redis_own_url, harm, tmp_path))


def test_without_a_guardian_the_first_command_is_still_alive(file_url: str, tmp_path: Path) -> None:
    assert not any(trial.passed for trial in trials(file_url, "stopped", tmp_path, naive=True))
