"""Recipes beside those of the clients' own and of tooz: ``python tests/benchmarks/recipes.py [--quick] [--json]``.

Each pair runs on one server, in processes of the same kind, in slices as in :mod:`measure`: the peer, ours, the peer
again, in random order. The measures are ratios of ours to the peer's:

* ``mean`` and ``p50``: seconds of an acquire and a release without a rival, on a session that exists; ``CPU``: the
  client's seconds for it.
* ``contended``: seconds for a cycle of 20 threads in 4 processes on one lock together; ``CPU`` as before.

* ``handover``: seconds from one holder to the next while 10, 100 or 1,000 wait, and what 1,000 waiters take against 10.

For these 20 threads also Jain's index of how many cycles each got, and the longest wait against the mean one. A peer
that isn't installed is left out: ``pip install tooz etcd3gw kazoo redis``; etcd3 gets an environment of its own.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import bench_etcd
import bench_redis
import bench_zookeeper
from measure import Result, judge, shown
from run import main

PROCESSES, THREADS = 4, 5
WAITERS = 10, 100, 1000
GROWTH = 3.0
"""A handover among 1,000 waiters takes at most so many times one among 10."""
JAIN, LONGEST = 0.98, 2.0


@dataclass(frozen=True)
class Pair:
    """One recipe of ours and one of a peer. The targets are the largest ratios allowed."""

    ours: str
    client: str
    theirs: str = "lock"
    cycle: float | None = None
    cpu: float | None = None
    contended: float | None = None
    """The target of seconds for a contended cycle; 0 if it isn't measured."""


_QUEUES = "fair lock", "unfair lock", "read-write lock", "semaphore", "election"
PAIRS = {
    "redis": [
        Pair("unfair lock", "redis-py", cycle=1.3),
        Pair("fair lock", "redis-py", cycle=1.6, contended=1.0),
        Pair("fair lock", "tooz", contended=1.0),
    ],
    "etcd": [
        Pair("unfair lock", "tooz", cycle=0.6),
        Pair("fair lock", "tooz", cycle=0.6, contended=1.0),
        Pair("fair lock", "etcd3"),
    ],
    "zookeeper": [
        Pair("unfair lock", "kazoo", cycle=1.2, cpu=1.3),
        Pair("fair lock", "kazoo", cycle=1.6, cpu=1.3, contended=1.0),
        Pair("fair lock", "tooz", contended=1.0),
        Pair("semaphore", "kazoo", "semaphore", contended=0),
        Pair("election", "kazoo", "election", contended=0),
    ],
}
GROWING = {
    "redis": [*(("tenure", kind) for kind in _QUEUES)],
    "etcd": [("tenure", "fair lock")],
    "zookeeper": [*(("tenure", kind) for kind in _QUEUES), ("kazoo", "lock")],
}
"""Whose handovers are measured while many wait."""
CONTAINERS: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "redis": bench_redis.container,
    "etcd": bench_etcd.container,
    "zookeeper": bench_zookeeper._container,
}


class Failed(Exception):
    """A client couldn't do what it was asked for."""


class Workers:
    """The processes of one client."""

    def __init__(self, client: str, url: str) -> None:
        python = bench_etcd.shipped_python() if client == "etcd3" else Path(sys.executable)
        server = urlsplit(url)
        command = [python, Path(__file__).with_name("recipes_worker.py"), client]
        command += [server.hostname or "127.0.0.1", str(server.port), url]
        self._processes = [
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            for _ in range(PROCESSES)
        ]
        said = [self._answer(process) for process in self._processes]
        self.missing = "" if said[0] == "ready" else said[0]

    def alone(self, kind: str, number: int) -> dict[str, Any]:
        """Cycles in one process."""
        return self._ask(self._processes[:1], kind, 0, number)[0]

    def contend(self, kind: str, seconds: float) -> list[dict[str, Any]]:
        """Cycles in all of them; what each thread found."""
        return list(itertools.chain(*self._ask(self._processes, kind, THREADS, seconds)))

    def drain(self, kind: str, waiters: int) -> dict[str, float]:
        """Handovers in one process; the seconds of one."""
        found: dict[str, float] = self._ask(self._processes[:1], kind, -waiters, 0)[0]
        return found

    def close(self) -> None:
        for process in self._processes:
            process.communicate()

    def _ask(self, processes: list[subprocess.Popen[str]], kind: str, threads: int, number: float) -> list[Any]:
        for process in processes:
            assert process.stdin is not None
            process.stdin.write(json.dumps([kind, threads, number, time.time() + 0.2]) + "\n")
            process.stdin.flush()
        answers = [self._answer(process) for process in processes]
        for answer in answers:
            if isinstance(answer, str):
                raise Failed(answer)
        return answers

    @staticmethod
    def _answer(process: subprocess.Popen[str]) -> Any:
        assert process.stdout is not None
        line = process.stdout.readline()
        return json.loads(line) if line else "it ended, see above"


Measure = Callable[[], dict[str, float]]
"""One slice: what it measured, by name."""


def compare(
    name: str, ours: Measure, theirs: Measure, targets: dict[str, float | None], *, seconds: float, rounds: int
) -> Iterator[Result]:
    """A line for each of ``targets``: ours against theirs, as :func:`measure.compare` does it with one measure."""
    taken: dict[str, list[dict[str, float]]] = {"first": [], "ours": [], "second": []}
    until = time.monotonic() + seconds
    while time.monotonic() < until or len(taken["ours"]) < rounds:
        slices: list[tuple[str, Measure]] = [("first", theirs), ("ours", ours), ("second", theirs)]
        random.shuffle(slices)
        for label, run in slices:
            taken[label].append(run())
    for measure, target in targets.items():
        first, mine, second = ([one[measure] for one in taken[label]] for label in ("first", "ours", "second"))
        ratios = [2 * m / (f + s) for f, m, s in zip(first, mine, second, strict=True)]
        controls = [f / s for f, s in zip(first, second, strict=True)]
        passed = judge(ratios, target)
        numbers = {"ratio": statistics.median(ratios), "control": statistics.median(controls)}
        us, raw = statistics.median(mine) * 1e6, statistics.median(first + second) * 1e6
        yield Result(
            f"{name}, {measure}",
            shown(ratios),
            "" if target is None else f"<= {target:.2f}",
            passed,
            target is not None and passed is None,
            shown(controls),
            f"{us:.0f} us against {raw:.0f} us",
            {**numbers, "ours_us": us, "raw_us": raw},
        )


def _alone(workers: Workers, kind: str) -> Measure:
    workers.alone(kind, 5)
    number = max(3, int(0.03 / statistics.median(workers.alone(kind, 5)["walls"])))

    def run() -> dict[str, float]:
        found = workers.alone(kind, number)
        walls = found["walls"]
        return {"mean": statistics.fmean(walls), "p50": statistics.median(walls), "CPU": found["cpu"]}

    return run


def _contended(workers: Workers, kind: str, seconds: float) -> Measure:
    def run() -> dict[str, float]:
        threads = workers.contend(kind, seconds)
        cycles = [one["cycles"] for one in threads]
        done, late = sum(cycles), sum(one["late"] for one in threads)
        waits = list(itertools.chain(*(one["waits"] for one in threads)))
        return {
            "cycle": seconds / max(1, done),
            "CPU": sum(one["cpu"] for one in threads) / (done + late),
            "Jain's index": done**2 / (len(cycles) * sum(number**2 for number in cycles)) if done else 0.0,
            "longest wait": max(waits) / statistics.fmean(waits),
        }

    return run


def _fairness(name: str, runs: list[dict[str, float]], *, judged: bool) -> Iterator[Result]:
    for measure, target, sign in (("Jain's index", JAIN, -1), ("longest wait", LONGEST, 1)):
        values = [run[measure] for run in runs]
        passed = judge([sign * value for value in values], sign * target) if judged else None
        shown_target = f"{'>=' if sign < 0 else '<='} {target:.2f}" if judged else ""
        note = "of the mean wait" if sign > 0 else ""
        numbers = {"value": statistics.median(values)}
        yield Result(
            f"{name}, {measure}", shown(values), shown_target, passed, judged and passed is None, "", note, numbers
        )


def _measure(scheme: str, quick: bool) -> Iterator[Result]:
    with contextlib.ExitStack() as stack:
        try:
            url = os.environ.get(f"TENURE_{scheme.upper()}_URL") or str(stack.enter_context(CONTAINERS[scheme]()).url)
        except Exception as exc:  # noqa: BLE001 - whatever keeps the engine from running, the others can be measured
            yield Result(scheme, "NOT MEASURED", note=f"no server ({type(exc).__name__}: {exc})")
            return
        clients = {name: Workers(name, url) for name in dict.fromkeys(["tenure", *(p.client for p in PAIRS[scheme])])}
        for workers in clients.values():
            stack.callback(workers.close)
        for name, workers in clients.items():
            if workers.missing:
                yield Result(f"{scheme} {name}", "NOT MEASURED", note=workers.missing)
        pairs = [pair for pair in PAIRS[scheme] if not clients[pair.client].missing]
        for pair in pairs:
            try:
                yield from _pair(scheme, pair, clients["tenure"], clients[pair.client], quick=quick)
            except Failed as exc:
                yield Result(f"{scheme} {pair.ours} / {pair.client}", "NOT MEASURED", note=str(exc))
        for client, kind in GROWING[scheme]:
            if not clients[client].missing:
                yield from _growth(scheme, kind, client, clients[client], quick=quick)


def _pair(scheme: str, pair: Pair, ours: Workers, theirs: Workers, *, quick: bool) -> Iterator[Result]:
    yield from compare(
        f"{scheme} {pair.ours} / {pair.client}",
        _alone(ours, pair.ours),
        _alone(theirs, pair.theirs),
        {"mean": pair.cycle, "p50": None, "CPU": pair.cpu},
        seconds=1.5 if quick else 8.0,
        rounds=8,
    )
    if pair.contended != 0:
        yield from _contend(scheme, pair, ours, theirs, quick=quick)


def _contend(scheme: str, pair: Pair, ours: Workers, theirs: Workers, *, quick: bool) -> Iterator[Result]:
    seconds, rounds = (1.0, 6) if quick else (4.0, 8)  # fewer rounds give no interval
    kept: dict[str, list[dict[str, float]]] = {pair.ours: [], pair.client: []}

    def keeping(label: str, run: Measure) -> Measure:
        def keep() -> dict[str, float]:
            kept[label].append(run())
            return kept[label][-1]

        return keep

    name = f"{scheme} contended"
    yield from compare(
        f"{name} {pair.ours} / {pair.client}",
        keeping(pair.ours, _contended(ours, pair.ours, seconds)),
        keeping(pair.client, _contended(theirs, pair.theirs, seconds)),
        {"cycle": pair.contended, "CPU": pair.cpu},
        seconds=0,
        rounds=rounds,
    )
    yield from _fairness(f"{name} {pair.ours}", kept[pair.ours], judged=pair.ours == "fair lock")
    yield from _fairness(f"{name} {pair.client}", kept[pair.client], judged=False)


def _growth(scheme: str, kind: str, client: str, workers: Workers, *, quick: bool) -> Iterator[Result]:
    taken: dict[int, list[dict[str, float]]] = {waiters: [] for waiters in (WAITERS[:2] if quick else WAITERS)}
    for _ in range(3 if quick else 5):
        for waiters in random.sample(list(taken), len(taken)):
            taken[waiters].append(workers.drain(kind, waiters))
    few, most = min(taken), max(taken)
    for measure in ("wall", "cpu"):
        ratios = [m[measure] / f[measure] for f, m in zip(taken[few], taken[most], strict=True)]
        each = [
            f"{waiters}: {statistics.median(one[measure] for one in runs) * 1e6:.0f} us"
            for waiters, runs in taken.items()
        ]
        judged = client == "tenure" and measure == "wall"
        passed = judge(ratios, GROWTH) if judged else None
        yield Result(
            f"{scheme} handover {kind} of {client}, {measure}",
            shown(ratios),
            f"<= {GROWTH:.2f}" if judged else "",
            passed,
            judged and passed is None,
            "",
            ", ".join(each),
            {"ratio": statistics.median(ratios)},
        )


def _group(scheme: str) -> Callable[[bool], Iterator[Result]]:
    return lambda quick: _measure(scheme, quick)


if __name__ == "__main__":
    sys.exit(main({scheme: _group(scheme) for scheme in PAIRS}))
