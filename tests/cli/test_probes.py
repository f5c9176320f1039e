"""`tenure run --probe` and `tenure register --probe`: registered when healthy, draining while not."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import tenure
from tenure.registry import Registry, RegistryConfig

from .conftest import Run
from .processes import DEADLINE, Command

SLEEPER = [sys.executable, "-c", "import signal; signal.pause()"]


@pytest.fixture
def registry(file_url: str) -> Iterator[Registry]:
    with tenure.connect(file_url) as store, Registry(store, RegistryConfig()) as opened:
        yield opened


@pytest.fixture
def healthy(tmp_path: Path) -> Path:
    """The service is healthy while this file is there."""
    return tmp_path / "healthy"


def options(file: Path) -> tuple[str, ...]:
    pace = ("--probe-interval", "0.1", "--probe-fall", "2", "--probe-timeout", "30")
    return ("web", "--port", "8000", "--probe", f"exec:test -e {file}", *pace)


def test_run_starts_the_command_and_registers_it_when_it_is_healthy(
    file_url: str, registry: Registry, healthy: Path
) -> None:
    with Command("run", *options(healthy), "--json", "--", *SLEEPER, url=file_url) as command:
        assert "exit code 1" in command.err.record(type="unhealthy")["message"]
        assert "web" not in registry.get_services()
        healthy.touch()
        command.err.record(type="registered")
        registry.wait_for("web", 1, DEADLINE)
        healthy.unlink()
        command.err.record(type="unhealthy")
        healthy.touch()
        command.err.record(type="healthy")
        registry.wait_for("web", 1, DEADLINE)
        command.signal(signal.SIGTERM)
        assert command.wait() == 128 + signal.SIGTERM
        assert [json.loads(line)["type"] for line in command.err.rest()][-1] == "deregistered"


def test_run_that_never_was_healthy_ends_with_its_command(file_url: str, registry: Registry, healthy: Path) -> None:
    with Command("run", *options(healthy), "--", *SLEEPER, url=file_url) as command:
        command.err.with_text("unhealthy: not registered yet")
        command.signal(signal.SIGTERM)
        assert command.wait() == 128 + signal.SIGTERM
        assert not [line for line in command.err.rest() if "registered" in line and "not registered yet" not in line]
    assert not registry.get_services()


def test_run_whose_registration_is_refused_ends_its_command(file_url: str, registry: Registry, healthy: Path) -> None:
    healthy.touch()
    fixed = (*options(healthy), "--id", "one", "--host", "10.0.0.1")
    with Command("register", *fixed, url=file_url) as first:
        first.err.with_text("registered web/one")
        with Command("run", *fixed, "--", *SLEEPER, url=file_url) as second:
            assert second.wait() == 1
            assert any("can't be registered" in line for line in second.err.rest())
        first.signal(signal.SIGTERM)
        assert first.wait() == 128 + signal.SIGTERM


def test_register_ends_while_it_waits_for_health(file_url: str, healthy: Path) -> None:
    with Command("register", *options(healthy), url=file_url) as command:
        command.err.with_text("not registered yet")
        command.signal(signal.SIGTERM)
        assert command.wait() == 128 + signal.SIGTERM


def test_a_probe_that_is_none_is_a_usage_error(run: Run) -> None:
    result = run("register", "web", "--port", "1", "--probe", "ping")
    assert result.exit_code == 2
    assert "exec:COMMAND" in result.stderr
