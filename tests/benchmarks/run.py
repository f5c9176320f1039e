"""Benchmarks: ``python tests/benchmarks/run.py [--quick] [--only WORD] [--json]``.

Prints a table with targets and verdicts; the exit code is 1 where a target is missed. ``noise`` as a verdict means
that the machine was too busy to tell: look at the control, and run again. What can't be measured here
(no server, no way to install the shipped etcd3) is said loudly and doesn't count. About five minutes, with ``--quick``
about one.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "support")]

import bench_consul  # noqa: E402 - found through the line above
import bench_core  # noqa: E402
import bench_etcd  # noqa: E402
import bench_observers  # noqa: E402
import bench_redis  # noqa: E402
import bench_registry  # noqa: E402
import bench_sqlite  # noqa: E402
import bench_zookeeper  # noqa: E402
from measure import Result  # noqa: E402

GROUPS: dict[str, Callable[[bool], Iterator[Result]]] = {
    "core": bench_core.run,
    "observers": bench_observers.run,
    "sqlite": bench_sqlite.run,
    "registry": bench_registry.run,
    "etcd": bench_etcd.run,
    "redis": bench_redis.run,
    "zookeeper": bench_zookeeper.run,
    "consul": bench_consul.run,
    "leases": bench_core.run_leases,
}


def line(result: Result) -> str:
    verdict = "noise" if result.undecided else {True: "ok", False: "MISSED", None: "-"}[result.passed]
    return (
        f"{result.name:<46} {result.measured:<22} {result.target:<13} {verdict:<7} {result.control:<18} {result.note}"
    )


def main(groups: dict[str, Callable[[bool], Iterator[Result]]] = GROUPS) -> int:
    parser = argparse.ArgumentParser(description="Tenure against the raw clients")
    parser.add_argument("--only", metavar="WORD", help=f"only groups with this in their name: {', '.join(groups)}")
    parser.add_argument("--quick", action="store_true", help="shorter, noisier")
    parser.add_argument("--json", action="store_true", help="machine-readable, all numbers")
    arguments = parser.parse_args()
    chosen = [name for name in groups if (arguments.only or "") in name]
    if not chosen:
        parser.error(f"--only {arguments.only}: there is {', '.join(groups)}")
    started = time.monotonic()
    results = []
    if not arguments.json:
        print(f"Python {platform.python_version()}, {platform.machine()}; medians (with 95 % confidence)")
        print(line(Result("", "measured", "target", control="A/A control")).replace(" - ", "   "))
    for name in chosen:
        for result in groups[name](arguments.quick):
            results.append(result)
            if not arguments.json:
                print(line(result), flush=True)
    if arguments.json:
        print(
            json.dumps(
                {"python": platform.python_version(), "results": [asdict(result) for result in results]}, indent=2
            )
        )
    else:
        missed = [result.name for result in results if result.passed is False]
        print(f"{time.monotonic() - started:.0f} s; {'missed: ' + ', '.join(missed) if missed else 'no target missed'}")
    return int(any(result.passed is False for result in results))


if __name__ == "__main__":
    sys.exit(main())
