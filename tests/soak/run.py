"""Runs the soak, which ends after the given time; its result is JSON, and a line for each problem.

    python tests/soak/run.py --minutes 60                     or: tox -e soak -- --minutes 60
    python tests/soak/run.py --minutes 5 --stores redis,etcd --seed 7

The servers run in containers. The exit code is 1 if a promise was broken, and 2 if a fault could not be made.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests/support"), str(ROOT / "contrib/tenure-postgresql/tests/support")]

from tenure_testkit.servers import engine  # noqa: E402
from tenure_testkit.soak.soak import soak  # noqa: E402
from tenure_testkit.soak.targets import STORES  # noqa: E402

_WIDTH = 30


class Progress:
    """A bar of the time that has passed, and the last news."""

    def __init__(self, seconds: float) -> None:
        self._began, self._seconds = time.monotonic(), seconds
        self._lock = threading.Lock()
        self._terminal = sys.stderr.isatty()

    def tell(self, news: str) -> None:
        """Show this beside the bar; where there is no terminal, as a line of its own."""
        passed = time.monotonic() - self._began
        share = min(1.0, passed / self._seconds)
        bar = ("#" * round(share * _WIDTH)).ljust(_WIDTH, ".")
        line = f"[{bar}] {passed:4.0f} of {self._seconds:.0f} s  {news}"
        with self._lock:
            print(f"\r\033[K{line}" if self._terminal else line, end="" if self._terminal else "\n", file=sys.stderr)
            sys.stderr.flush()


def _stop(number: int, _frame: object) -> None:
    raise KeyboardInterrupt(signal.strsignal(number))


def main() -> int:
    """The command. A signal ends it as Ctrl-C does, with all its processes and containers."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=60.0, help="how long processes act (default: 60)")
    parser.add_argument("--stores", default=",".join(STORES), help="names with commas between (default: all)")
    parser.add_argument("--seed", default="", help="of an earlier run, to repeat it (default: a new one)")
    parser.add_argument("--processes", type=int, default=2, help="application processes for each store (default: 2)")
    parser.add_argument("--json", type=Path, help="the file for the result (default: standard output)")
    parser.add_argument("--keep", type=Path, help="a new folder for journals, which stays")
    chosen = parser.parse_args()
    stores = chosen.stores.split(",")
    unknown = sorted(set(stores) - set(STORES))
    if unknown:
        parser.error(f"no such store: {unknown[0]}; choose from {', '.join(STORES)}")
    if set(stores) - {"memory", "sqlite"} and (reason := engine.skip_reason()) is not None:
        parser.error(f"no servers: {reason}")
    seed = chosen.seed or str(random.randrange(10**6))
    folder = chosen.keep or Path(tempfile.mkdtemp(prefix="soak-"), "run")
    progress = Progress(60 * chosen.minutes)
    progress.tell(f"seed {seed}")
    try:
        found = soak(
            stores, minutes=chosen.minutes, seed=seed, folder=folder, processes=chosen.processes, tell=progress.tell
        )
    finally:
        engine.close()
        if chosen.keep is None:
            shutil.rmtree(folder.parent, ignore_errors=True)
    text = json.dumps(found, indent=1)
    if chosen.json is None:
        print(text)
    else:
        chosen.json.write_text(text + "\n")
    for problem in found["problems"]:
        print(problem, file=sys.stderr)
    invalid = [problem for one in found["stores"].values() for problem in one["invalid"]]
    for problem in invalid:
        print(f"not judged: {problem}", file=sys.stderr)
    return 1 if found["problems"] else 2 if invalid else 0


if __name__ == "__main__":
    sys.exit(main())
