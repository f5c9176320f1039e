"""Tries realistic faults of the real backends and of core on real servers: which does the suite find, which the tests?

    python tests/conformance/run_real_mutants.py [--store NAME ...] [--only ID ...] [--jobs N] [--json FILE]
                                                   [--whole] [--no-tests] [--no-suite] [--into PAGE]

Each mutant of ``real_mutants`` is applied to a copy of the packages. The rules of the conformance suite that ask for
its kind of fault (quick profile; ``--whole``: then all others) run on a server of the store up to the first that fails;
then the tests that the mutant names. A rule counts only if it fails twice, and passes on the sound store. ``--json``
keeps what was found; results of other mutants in the file stay. The exit code is 1 if a fault that a client can notice
was found by nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tenure.conformance.runner.runner import all_rules

if __package__:
    from .mutants import MUTANTS
    from .real_mutants import REAL_MUTANTS, ROOT, RealMutant
    from .real_mutants.score import Score, into_page
    from .real_mutants.servers import Running, start
    from .real_mutants.trial import Result, Trier
else:
    sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "support")]
    from mutants import MUTANTS
    from real_mutants import REAL_MUTANTS, ROOT, RealMutant
    from real_mutants.score import Score, into_page
    from real_mutants.servers import Running, start
    from real_mutants.trial import Result, Trier

STORES = tuple(dict.fromkeys(mutant.store for mutant in REAL_MUTANTS))
WIDTH = 30


class Worker:
    """Tries mutants with servers of its own, which it starts when they are first needed."""

    def __init__(self, stack: contextlib.ExitStack, *, whole: bool) -> None:
        self._stack = stack
        self._servers: dict[str, Running] = {}
        self.trier = Trier(self._server, whole=whole)

    def _server(self, store: str) -> Running:
        if store not in self._servers:
            self._servers[store] = start(store, self._stack)
        return self._servers[store]


class Bar:
    """Shows how far it is, a line for each mutant."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._done = 0
        self._lock = threading.Lock()

    def step(self, result: Result) -> None:
        """Show one more result."""
        with self._lock:
            self._done += 1
            filled = WIDTH * self._done // self._total
            found = [*result.rules, *result.tests]
            said = ", ".join(found) or "FOUND BY NOTHING"
            if result.unnoticeable and not found:
                said = "not found; no client can notice it"
            bar = "#" * filled + "." * (WIDTH - filled)
            print(f"[{bar}] {self._done}/{self._total} {result.id} ({result.seconds:.0f} s): {said}", flush=True)
            for trouble in result.trouble:
                print(f"    {trouble}", flush=True)


def try_all(
    mutants: Sequence[RealMutant],
    jobs: int,
    *,
    suite: bool,
    tests: bool,
    whole: bool,
    keep: Callable[[Result], None],
) -> None:
    """Try mutants, so many at a time, and hand each result to ``keep``."""
    waiting: queue.SimpleQueue[RealMutant] = queue.SimpleQueue()
    for mutant in mutants:
        waiting.put(mutant)
    bar = Bar(len(mutants))
    lock = threading.Lock()

    def work() -> None:
        with contextlib.ExitStack() as stack:
            trier = Worker(stack, whole=whole).trier
            with contextlib.suppress(queue.Empty):
                while True:
                    mutant = waiting.get_nowait()
                    try:
                        result = trier.mutant(mutant, suite=suite, tests=tests)
                    except Exception as exc:  # noqa: BLE001 - the others go on
                        result = Result(mutant.id, mutant.store, mutant.kind.value, mutant.wrong, mutant.unnoticeable)
                        result.trouble.append(f"{type(exc).__name__}: {exc}"[:500])
                    with lock:
                        keep(result)
                    bar.step(result)

    threads = [threading.Thread(target=work) for _ in range(jobs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def scores(score: Score) -> str:
    """Both scores, as the page on conformance has them."""
    return score.page(wrapped=len(MUTANTS), rules=len(all_rules()))


def commit_now() -> str:
    """The commit that was tried."""
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=12"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "unknown"


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--store", action="append", default=[], choices=STORES, help="only faults of this one")
    parser.add_argument("--only", action="append", default=[], metavar="ID", help="only this mutant")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="mutants tried at a time, each on servers")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the results in this file")
    parser.add_argument("--whole", action="store_true", help="where the rules named find nothing, all others as well")
    parser.add_argument("--into", type=Path, metavar="PAGE", help="write both scores into this page, and try nothing")
    parser.add_argument("--no-tests", action="store_true", help="the suite alone")
    parser.add_argument("--no-suite", action="store_true", help="the tests alone")
    given = parser.parse_args()
    mutants = [
        mutant
        for mutant in REAL_MUTANTS
        if (not given.store or mutant.store in given.store) and (not given.only or mutant.id in given.only)
    ]
    if not mutants:
        parser.error("no mutant is called so")
    score = Score.read(given.json)
    if given.into is not None:
        given.into.write_text(into_page(given.into.read_text(), scores(score)))
        return 0
    commit = commit_now()

    def keep(result: Result) -> None:
        score.add(result.document(), commit, suite=not given.no_suite, tests=not given.no_tests)
        if given.json is not None:
            score.write(given.json)

    began = time.monotonic()
    try:
        try_all(
            mutants,
            given.jobs,
            suite=not given.no_suite,
            tests=not given.no_tests,
            whole=given.whole,
            keep=keep,
        )
    finally:
        from tenure_testkit.servers import engine

        engine.close()
    print(f"\n{score.text()}\n{time.monotonic() - began:.0f} s")
    tried = {mutant.id for mutant in mutants}
    return 1 if any(each["id"] in tried for each in score.missed) else 0


if __name__ == "__main__":
    sys.exit(main())
