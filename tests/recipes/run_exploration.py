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
from collections.abc import Callable
from dataclasses import dataclass

from tenure_testkit import counters_scenarios as counters
from tenure_testkit import gate_scenarios as gates
from tenure_testkit import meeting_scenarios as meeting
from tenure_testkit import recipe_scenarios as kinds
from tenure_testkit import work_scenarios as work
from tenure_testkit.exploration import Scenario, Violation, explore_all, explore_some


@dataclass(frozen=True)
class Case:
    """A scenario of a recipe that is explored."""

    name: str
    participants: int
    make: Callable[[], Scenario]


def _holders(kind: kinds.Kind) -> Case:
    return Case(kind.name, len(kind.values), lambda: kinds.Holders(kind))


SMALL = [
    _holders(kinds.lock()),
    _holders(kinds.unfair_lock()),
    _holders(kinds.election()),
    _holders(kinds.read_write_lock("read", "write")),
    _holders(kinds.read_write_lock("write", "read")),
    _holders(kinds.lock_beside_readers()),
    _holders(kinds.semaphore(2, limit=1)),
    _holders(kinds.long_lock(2)),
    _holders(kinds.long_read_write_lock("write", "read")),
    _holders(kinds.sharing(kinds.lock(2))),
    _holders(kinds.sharing(kinds.semaphore(2, limit=1))),
    *(Case(kind.name, 2, kind.small) for kind in counters.KINDS),
    Case("gate", 2, gates.Writers),
    Case("gate, admitted", 2, lambda: gates.Writers(admits=True)),
    Case("work queue, one item", 2, work.one_item),
    Case("work queue, an item each", 2, work.an_item_each),
    Case("work queue, put and claim", 2, work.put_and_claim),
    Case("partitioner", 2, work.partitioner),
    Case("rate limiter", 2, work.RateLimiter),
    Case("election, handed over", 2, kinds.HandsOver),
    Case("double barrier", 2, meeting.Meets),
    Case("double barrier, out of time", 2, lambda: meeting.Meets(2, hasty=1)),
    Case("latch", 3, meeting.CountsDown),
    Case("several locks", 2, meeting.LocksSeveral),
    Case("bus", 2, meeting.Publishes),
]
LARGE = [
    _holders(kinds.lock(3)),
    _holders(kinds.unfair_lock(3)),
    _holders(kinds.election(3)),
    _holders(kinds.read_write_lock("read", "write", "read")),
    _holders(kinds.lock_beside_readers(3)),
    _holders(kinds.semaphore(3, limit=2)),
    _holders(kinds.semaphore(3, limit=1)),
    _holders(kinds.semaphore(4, limit=2)),
    _holders(kinds.sharing(kinds.lock(3))),
    _holders(kinds.sharing(kinds.lock(3), opened=True)),
    _holders(kinds.sharing(kinds.lock(4), False, True, True)),
    _holders(kinds.sharing(kinds.semaphore(4, limit=2))),
    _holders(kinds.sharing(kinds.semaphore(4, limit=2), False, True, True)),
    _holders(kinds.sharing(kinds.read_write_lock("read", "write", "write"))),
    _holders(kinds.long_lock(3)),
    _holders(kinds.long_lock(4, page=2)),
    _holders(kinds.long_read_write_lock("write", "read", "write", page=1)),
    _holders(kinds.long_read_write_lock("read", "write", "read", "read", page=2)),
    *(Case(kind.name, 3, kind.large) for kind in counters.KINDS),
    Case("work queue", 3, work.many),
    Case("partitioner", 3, work.three_members),
    Case("rate limiter", 3, lambda: work.RateLimiter(takes=(2, 2, 2), burst=5)),
    Case("election, handed over", 3, lambda: kinds.HandsOver(3)),
    Case("double barrier", 3, lambda: meeting.Meets(3, hasty=1)),
    Case("bus", 3, lambda: meeting.Publishes(3, each=2, most=2)),
    Case("several locks", 3, lambda: meeting.LocksSeveral((("a", "b"), ("b", "c"), ("a", "c")))),
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
    for case in SMALL:
        failed += _report(case, lambda case=case: _all(case, options.most_runs), as_json=options.json)
    for case in LARGE:
        failed += _report(case, lambda case=case: _some(case, options.seconds, options.seed), as_json=options.json)
    return 1 if failed else 0


def _all(case: Case, most: int) -> tuple[int, bool]:
    result = explore_all(case.make, most_faults=1, most_runs=most)
    return result.runs, result.complete


def _some(case: Case, seconds: float, seed: int) -> tuple[int, bool]:
    runs, ends = 0, time.monotonic() + seconds
    while time.monotonic() < ends:
        runs += explore_some(case.make, runs=100, seed=seed + runs, most_faults=3).runs
    return runs, False


def _report(case: Case, explore: object, *, as_json: bool) -> int:
    started = time.monotonic()
    try:
        runs, complete = explore()  # type: ignore[operator]
        problem = ""
    except Violation as exc:
        runs, complete, problem = 0, False, str(exc)
    line = {
        "recipe": case.name,
        "participants": case.participants,
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
