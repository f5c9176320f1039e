"""Tools that freeze time for tests (freezegun, time-machine) make no deadline endless, and no lease last for ever.

They replace what the module `time` offers, and leave `clock_gettime` alone. So nothing here may read another clock.
"""

from __future__ import annotations

import ast
import time
from pathlib import Path

import pytest

from tenure.plugin_kit import Deadline, monotonic, wall_clock
from tenure_testkit.probes import frozen_time

ROOT = Path(__file__).resolve().parents[2]
SOURCES = [ROOT / "core" / "tenure", ROOT / "backends", *sorted((ROOT / "contrib").glob("*/src"))]
ALLOWED = ("core/tenure/conformance/",)
"""The suite measures real servers, and a test that freezes time has no reason to run it."""


def _reads_of_freezable_clocks(path: Path) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "time":
            if node.attr in frozen_time.FREEZABLE:
                found.append(f"{path.relative_to(ROOT)}:{node.lineno} time.{node.attr}")
        elif isinstance(node, ast.ImportFrom) and node.module == "time":
            found += [
                f"{path.relative_to(ROOT)}:{node.lineno} {name.name}"
                for name in node.names
                if name.name in frozen_time.FREEZABLE
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


def test_a_deadline_passes_while_time_is_frozen():
    with frozen_time.frozen():
        deadline = Deadline(0.02)
        began = monotonic()
        while not deadline.expired:
            assert monotonic() - began < 10
            time.sleep(0.001)
        assert abs(wall_clock() - time.clock_gettime(time.CLOCK_REALTIME)) < 5
