"""Results that are kept: one file for each recorded commit, and what has become slower since the last one.

Another machine gives other times, and much the same ratios. A record says how long this machine takes for a fixed loop
of Python, so that one can tell what its times mean. Only ratios and exponents are compared.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from measure import Result

FOLDER = Path(__file__).parent / "results"
SLOWER = 1.15
"""A ratio is slower once its whole interval lies above that of the record by this factor."""
STEEPER = 0.15


@dataclass(frozen=True)
class Record:
    """What was measured at one commit: by the name of the benchmark its numbers."""

    commit: str
    subject: str
    at: str
    machine: dict[str, float | str]
    numbers: dict[str, dict[str, float]]


def load() -> list[Record]:
    """All records, the oldest first."""
    found = [Record(**json.loads(path.read_text())) for path in FOLDER.glob("*.json")]
    return sorted(found, key=lambda record: record.at)


def newest(records: Iterable[Record], name: str) -> Record | None:
    """The last record that has the benchmark ``name``: a run may be of some groups alone."""
    return next((record for record in reversed(list(records)) if name in record.numbers), None)


def save(results: Iterable[Result]) -> Path:
    """Keep ``results`` for the present commit; those of an earlier run of the same commit stay beside them."""
    commit, subject, at = _git("log", "-1", "--format=%H%n%s%n%cI").split("\n")
    path = FOLDER / f"{at[:10]}-{commit[:10]}.json"
    numbers = json.loads(path.read_text())["numbers"] if path.exists() else {}
    numbers |= {result.name: result.numbers for result in results if result.numbers}
    record = {"commit": commit, "subject": subject, "at": at, "machine": machine(), "numbers": numbers}
    FOLDER.mkdir(exist_ok=True)
    path.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")
    return path


def machine() -> dict[str, float | str]:
    """What the times depend on besides the code."""
    times = []
    for _ in range(5):
        started, total = time.process_time(), 0
        for number in range(1_000_000):
            total += number & 7
        times.append(time.process_time() - started)
    return {
        "python": platform.python_version(),
        "architecture": platform.machine(),
        "cores": float(os.cpu_count() or 1),
        "load": round(os.getloadavg()[0], 1),
        "loop_ms": round(min(times) * 1e3, 1),
    }


def slower(result: Result, record: Record | None) -> str:
    """Say how much slower ``result`` is than the record; empty if it isn't, or if there is nothing to compare."""
    before = {} if record is None else record.numbers.get(result.name, {})
    now = result.numbers
    if "low" in now and "high" in before and now["low"] > SLOWER * before["high"]:
        return f"slower than recorded: {now['ratio']:.2f} against {before['ratio']:.2f}"
    if "exponent" not in now or "exponent" not in before or _sizes(now) != _sizes(before):
        return ""  # an exponent between other sizes is another number
    if now["exponent"] > before["exponent"] + STEEPER:
        return f"steeper than recorded: {now['exponent']:.2f} against {before['exponent']:.2f}"
    return ""


def _sizes(numbers: dict[str, float]) -> set[str]:
    return {name for name in numbers if name.isdigit()}


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=FOLDER.parent, capture_output=True, text=True, check=True)
    return done.stdout.rstrip("\n")
