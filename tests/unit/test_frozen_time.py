"""Tools that freeze time for tests (freezegun, time-machine) make no deadline endless, and no lease last for ever.

They replace what the module `time` offers, and leave `clock_gettime` alone. So nothing here may read another clock.
"""

from __future__ import annotations

import ast
import time
from pathlib import Path

import pytest

import tenure
from tenure.plugin_kit import Deadline, monotonic, wall_clock

ROOT = Path(__file__).resolve().parents[2]
SOURCES = [ROOT / "core" / "tenure", ROOT / "backends", *sorted((ROOT / "contrib").glob("*/src"))]
FREEZABLE = {"monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns", "time", "time_ns"}
ALLOWED = ("core/tenure/conformance/",)
"""The suite measures real servers, and a test that freezes time has no reason to run it."""


def _reads_of_freezable_clocks(path: Path) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "time":
            if node.attr in FREEZABLE:
                found.append(f"{path.relative_to(ROOT)}:{node.lineno} time.{node.attr}")
        elif isinstance(node, ast.ImportFrom) and node.module == "time":
            found += [
                f"{path.relative_to(ROOT)}:{node.lineno} {name.name}" for name in node.names if name.name in FREEZABLE
            ]
    return found


@pytest.mark.skipif(not SOURCES[0].exists(), reason="the tests of an installed wheel have no sources beside them")
def test_no_module_reads_a_clock_that_tests_freeze():
    found = [
        line
        for folder in SOURCES
        for path in sorted(folder.rglob("*.py"))
        if not path.relative_to(ROOT).as_posix().startswith(ALLOWED)
        for line in _reads_of_freezable_clocks(path)
    ]
    assert found == [], "use tenure.plugin_kit.monotonic (in core: tenure._runtime.deadline), or wall_clock"


@pytest.fixture
def frozen(monkeypatch):
    """Every clock of the module `time` stands still, as freezegun makes it; `clock_gettime` and `sleep` don't."""
    for name in FREEZABLE:
        now = getattr(time, name)()
        monkeypatch.setattr(time, name, lambda now=now: now)


def test_a_deadline_passes_while_time_is_frozen(frozen):
    deadline = Deadline(0.02)
    began = monotonic()
    while not deadline.expired:
        assert monotonic() - began < 10
        time.sleep(0.001)
    assert abs(wall_clock() - time.clock_gettime(time.CLOCK_REALTIME)) < 5


@pytest.mark.parametrize("scheme", ["memory", "sqlite"])
def test_waits_end_and_leases_are_kept_while_time_is_frozen(frozen, scheme, tmp_path):
    url = "memory://" if scheme == "memory" else f"sqlite://{tmp_path}/store.db"
    with tenure.connect(url, timeout=5) as store, store.watch("") as watch:
        lease = store.lease(0.5)
        store.put("kept", b"", lease=lease)
        began = monotonic()
        while watch.next(0.05) is not None:
            assert monotonic() - began < 10
        with pytest.raises(AssertionError):
            until_real(lambda: not lease.alive, 1.2)
        assert store.get("kept") is not None


def until_real(condition, seconds):
    """Wait by a clock that runs."""
    ends = monotonic() + seconds
    while not condition():
        assert monotonic() < ends
        time.sleep(0.01)
