"""Benchmarks: ``python tests/benchmarks/run.py [--quick] [--only WORD] [--json] [--record]``.

Prints a table with targets and verdicts; the exit code is 1 where a target is missed. ``noise`` as a verdict means
that the machine was too busy to tell: look at the control, and run again. What can't be measured here
(no server, no way to install the shipped etcd3) is said loudly and doesn't count. About ten minutes, with ``--quick``
about two.

``slower`` means: slower than the last record under ``results``, by more than the noise; the exit code is 1, too.
``--record`` keeps the results for the present commit, and draws ``results/index.html`` again.
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

import bench_aio  # noqa: E402 - found through the line above
import bench_consul  # noqa: E402
import bench_core  # noqa: E402
import bench_etcd  # noqa: E402
import bench_growth  # noqa: E402
import bench_leases  # noqa: E402
import bench_observers  # noqa: E402
import bench_redis  # noqa: E402
import bench_registry  # noqa: E402
import bench_sqlite  # noqa: E402
import bench_start  # noqa: E402
import bench_watches  # noqa: E402
import bench_zookeeper  # noqa: E402
import draw  # noqa: E402
import record  # noqa: E402
from measure import Result  # noqa: E402

GROUPS: dict[str, Callable[[bool], Iterator[Result]]] = {
    "core": bench_core.run,
    "observers": bench_observers.run,
    "sqlite": bench_sqlite.run,
    "registry": bench_registry.run,
    "etcd": bench_etcd.run,
    "redis": bench_redis.run,
    "aio-redis": bench_aio.run,
    "aio-etcd": bench_aio.run_etcd,
    "zookeeper": bench_zookeeper.run,
    "consul": bench_consul.run,
    "leases": bench_core.run_leases,
    "leases-etcd": bench_leases.run_etcd,
    "leases-redis": bench_leases.run_redis,
    "watches": bench_watches.run,
    "watches-etcd": bench_watches.run_etcd,
    "watches-redis": bench_watches.run_redis,
    "start": bench_start.run,
    "start-redis": bench_start.run_redis,
    "growth-sqlite": bench_growth.run,
    "growth-etcd": bench_growth.run_etcd,
    "growth-redis": bench_growth.run_redis,
}


def line(result: Result, last: record.Record | None) -> str:
    verdict = "noise" if result.undecided else {True: "ok", False: "MISSED", None: "-"}[result.passed]
    worse = record.slower(result, last)
    note = f"SLOWER: {worse}; {result.note}" if worse else result.note
    return f"{result.name:<46} {result.measured:<22} {result.target:<13} {verdict:<7} {result.control:<18} {note}"


def main(groups: dict[str, Callable[[bool], Iterator[Result]]] = GROUPS) -> int:
    parser = argparse.ArgumentParser(description="Tenure against the raw clients")
    parser.add_argument("--only", metavar="WORD", help=f"only groups with this in their name: {', '.join(groups)}")
    parser.add_argument("--quick", action="store_true", help="shorter, noisier")
    parser.add_argument("--record", action="store_true", help="keep the results for this commit, and draw the page")
    parser.add_argument("--json", action="store_true", help="machine-readable, all numbers")
    arguments = parser.parse_args()
    chosen = [name for name in groups if (arguments.only or "") in name]
    if not chosen:
        parser.error(f"--only {arguments.only}: there is {', '.join(groups)}")
    started = time.monotonic()
    records = record.load()
    results = []
    if not arguments.json:
        print(f"Python {platform.python_version()}, {platform.machine()}; medians (with 95 % confidence)")
        print(line(Result("", "measured", "target", control="A/A control"), None).replace(" - ", "   "))
    for name in chosen:
        for result in groups[name](arguments.quick):
            results.append(result)
            if not arguments.json:
                print(line(result, record.newest(records, result.name)), flush=True)
    worse = [result.name for result in results if record.slower(result, record.newest(records, result.name))]
    if arguments.record:
        record.save(results)
        (record.FOLDER / "index.html").write_text(draw.page(record.load()))
    if arguments.json:
        print(
            json.dumps(
                {"python": platform.python_version(), "results": [asdict(result) for result in results]}, indent=2
            )
        )
    else:
        missed = [result.name for result in results if result.passed is False]
        print(f"{time.monotonic() - started:.0f} s; {'missed: ' + ', '.join(missed) if missed else 'no target missed'}")
        print(f"slower than recorded: {', '.join(worse) or 'nothing'}")
    return int(bool(worse) or any(result.passed is False for result in results))


if __name__ == "__main__":
    sys.exit(main())
