"""Configuration and delays."""

from __future__ import annotations

import os

import pytest

from tenure.errors import ConfigError
from tenure.registry import RegistryConfig
from tenure.registry.lifecycle.backoff import FibonacciBackoff
from tenure.registry.warm.sealed import SealedFile


def test_defaults_are_those_of_the_original():
    config = RegistryConfig()
    assert (config.key_prefix, config.heartbeat, config.max_retry) == ("/registry/default/", 10.0, 20)
    assert RegistryConfig("prod").key_prefix == "/registry/prod/"
    assert RegistryConfig(prefix="my:").key_prefix == "my:"


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""},
        {"name": "a/b"},
        {"name": "a\0"},
        {"prefix": "x" * 1025},
        {"heartbeat": 0},
        {"heartbeat": float("inf")},
        {"heartbeat": "10"},
        {"max_retry": -1},
        {"max_retry": 1.5},
        {"wait": -1},
        {"jitter": 1.1},
        {"retry_first": 40.0},
    ],
)
def test_nonsense_is_refused(wrong):
    with pytest.raises(ConfigError):
        RegistryConfig(**wrong)


def test_delays_grow_in_fibonacci_steps_up_to_the_longest():
    backoff = FibonacciBackoff(first=3.0, longest=30.0, jitter=0.0)
    assert [backoff.delay() for _ in range(8)] == [3, 6, 9, 15, 24, 30, 30, 30]
    backoff.reset()
    assert backoff.delay() == 3
    assert backoff.first(1.0) == 0.0


def test_jitter_takes_off_its_part_at_most():
    delays = []
    for _ in range(200):
        backoff = FibonacciBackoff(first=4.0, longest=30.0, jitter=0.5)
        delays.append(backoff.delay())
        assert 0.0 <= backoff.first(1.0) <= 0.5
    assert all(2.0 <= delay <= 4.0 for delay in delays)
    assert max(delays) - min(delays) > 0.5


def test_a_warm_file_takes_the_place_of_a_file_alone(tmp_path):
    """A new file would take the place of ``/dev/null`` as well, if the user may do that."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (pipe, tmp_path, "/dev/null"):
        with pytest.raises(ConfigError, match="a folder, a device or a pipe; name a file"):
            RegistryConfig(warm_file=path)
    with pytest.raises(OSError, match="a folder, a device or a pipe is there"):
        SealedFile(pipe, name="n", version=1, of={}).write([], 0.0)
    assert os.listdir(tmp_path) == ["pipe"]
