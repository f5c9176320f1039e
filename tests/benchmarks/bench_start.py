"""What a program pays before its first line: an import, and a command that asks a store one thing.

Processor time of a process of its own, user and system together, beside an interpreter that does nothing. The targets
are ratios to that: 45 ms and 120 ms where the bare interpreter takes 13 ms.

``tenure services`` misses its aim. Nearly half of what it takes is spent outside of Tenure: on click, on pluggy and
importlib.metadata, which read a file of each installed distribution, and on the standard library. A quarter is spent on
making some sixty dataclasses, and on the modules that make them.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import bench_redis
from measure import Result, judge, shown
from server import with_server

import tenure

BARE = 13.0
IMPORT, SERVICES = 45.0 / BARE, 120.0 / BARE
NOTHING = ["-c", "pass"]
COMMAND = "from tenure.cli.entry import main; main()"


def run(quick: bool) -> Iterator[Result]:
    rounds = 15 if quick else 60
    yield _beside_nothing("start import tenure", ["-c", "import tenure"], IMPORT, rounds)
    yield _beside_nothing("start import tenure.registry", ["-c", "import tenure.registry"], None, rounds)
    yield _beside_nothing("start tenure --version", ["-c", COMMAND, "--version"], None, rounds)
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite://{Path(folder) / 'start.db'}"
        yield _beside_nothing(
            "start tenure services, sqlite", ["-c", COMMAND, "--url", url, "services"], SERVICES, rounds
        )


def run_redis(quick: bool) -> Iterator[Result]:
    def measure(store: tenure.Store, stack: contextlib.ExitStack) -> Iterator[Result]:
        command = ["-c", COMMAND, "--url", store.url, "services"]
        yield _beside_nothing("start tenure services, redis", command, SERVICES, 15 if quick else 60)

    yield from with_server("redis", bench_redis.container, measure)


def _beside_nothing(name: str, arguments: Sequence[str], target: float | None, rounds: int) -> Result:
    ratios, controls, bare, ours = [], [], [], []
    _cpu(arguments)  # writes what Python compiles
    for _ in range(rounds):
        first, own, second = _cpu(NOTHING), _cpu(arguments), _cpu(NOTHING)
        ratios.append(own * 2 / (first + second))
        controls.append(first / second)
        bare.append(first)
        ours.append(own)
    passed = judge(ratios, target)
    return Result(
        name,
        shown(ratios),
        "" if target is None else f"<= {target:.2f}",
        passed,
        target is not None and passed is None,
        shown(controls),
        f"{statistics.median(ours) * 1e3:.0f} ms of processor time against {statistics.median(bare) * 1e3:.0f} ms",
        {
            "ratio": statistics.median(ratios),
            "control": statistics.median(controls),
            "ms": statistics.median(ours) * 1e3,
            "bare_ms": statistics.median(bare) * 1e3,
        },
    )


def _cpu(arguments: Sequence[str]) -> float:
    """Processor time of one process. It keeps what Python compiles, as an installed program does."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    process = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.DEVNULL, env=environment)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, arguments
    return used.ru_utime + used.ru_stime
