"""Explores the recipes as far as time allows: ``tox -e explore``, or ``python tests/recipes/run_exploration.py``.

Every order of two participants with one fault at any step is tried completely, then orders of three participants with
up to three faults by seed. Each kind gets the same time. The program exits with 1 if a run broke a promise; its message
has the trace that repeats it.
"""

from __future__ import annotations

import argparse
import json
import sys
import time

from tenure_testkit import gate_scenarios as gates
from tenure_testkit import recipe_scenarios as kinds
from tenure_testkit.exploration import Violation, explore_all, explore_some

SMALL = [
    kinds.lock(),
    kinds.unfair_lock(),
    kinds.election(),
    kinds.read_write_lock("read", "write"),
    kinds.read_write_lock("write", "read"),
    kinds.semaphore(2, limit=1),
]
LARGE = [
    kinds.lock(3),
    kinds.unfair_lock(3),
    kinds.election(3),
    kinds.read_write_lock("read", "write", "read"),
    kinds.semaphore(3, limit=2),
]


def main() -> int:
    """Explore, print a line for each kind, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--most-runs", type=int, default=100_000, help="runs of each kind of two participants")
    parser.add_argument("--seconds", type=float, default=60.0, help="seconds for each kind of three participants")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="print one JSON object for each kind")
    options = parser.parse_args()
    failed = 0
    for kind in SMALL:
        failed += _report(kind, lambda kind=kind: _all(kind, options.most_runs), as_json=options.json)
    for kind in LARGE:
        failed += _report(kind, lambda kind=kind: _some(kind, options.seconds, options.seed), as_json=options.json)
    for writers in (gates.Writers(), gates.Writers(admits=True)):
        failed += _report(
            writers, lambda writers=writers: _all_at_gate(writers, options.most_runs), as_json=options.json
        )
    return 1 if failed else 0


def _all(kind: kinds.Kind, most: int) -> tuple[int, bool]:
    result = explore_all(lambda: kinds.Holders(kind), most_faults=1, most_runs=most)
    return result.runs, result.complete


def _all_at_gate(writers: gates.Writers, most: int) -> tuple[int, bool]:
    result = explore_all(lambda: gates.Writers(writers.fences, writers.admits), most_faults=2, most_runs=most)
    return result.runs, result.complete


def _some(kind: kinds.Kind, seconds: float, seed: int) -> tuple[int, bool]:
    runs, ends = 0, time.monotonic() + seconds
    while time.monotonic() < ends:
        runs += explore_some(lambda: kinds.Holders(kind), runs=100, seed=seed + runs, most_faults=3).runs
    return runs, False


def _report(kind: kinds.Kind | gates.Writers, explore: object, *, as_json: bool) -> int:
    started = time.monotonic()
    try:
        runs, complete = explore()  # type: ignore[operator]
        problem = ""
    except Violation as exc:
        runs, complete, problem = 0, False, str(exc)
    line = {
        "recipe": kind.name,
        "participants": len(kind.values),
        "orders": runs,
        "complete": complete,
        "seconds": round(time.monotonic() - started, 1),
        "violation": problem,
    }
    print(json.dumps(line) if as_json else "  ".join(f"{name}: {value}" for name, value in line.items() if value != ""))
    sys.stdout.flush()
    return int(bool(problem))


if __name__ == "__main__":
    sys.exit(main())
