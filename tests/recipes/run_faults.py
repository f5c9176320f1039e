"""Uses every recipe in several processes on real servers while random faults come and go, and judges what they saw.

    python tests/recipes/run_faults.py --seconds 60           or: tox -e recipe-faults -- --seconds 60
    python tests/recipes/run_faults.py --stores redis,etcd --acts fair,produce,consume --seed 7

Servers are paused, killed and restarted, answers are lost, clients are suspended or killed. The result is JSON. The
exit code is 1 if a promise was broken, and 2 if a fault could not be made.
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests/support")]

from tenure_testkit.recipe_faults.acts import ACTS  # noqa: E402
from tenure_testkit.recipe_faults.run import run_all  # noqa: E402
from tenure_testkit.servers import engine  # noqa: E402

STORES = ("etcd", "redis", "zookeeper", "consul")


class Progress:
    """The time that has passed and the last news, on one line of a terminal."""

    def __init__(self, seconds: float) -> None:
        self._began, self._seconds = time.monotonic(), seconds
        self._lock = threading.Lock()
        self._terminal = sys.stderr.isatty()

    def tell(self, news: str) -> None:
        """Show this."""
        line = f"{time.monotonic() - self._began:4.0f} of about {self._seconds:.0f} s  {news}"
        with self._lock:
            print(f"\r\033[K{line}" if self._terminal else line, end="" if self._terminal else "\n", file=sys.stderr)
            sys.stderr.flush()


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=120.0, help="how long processes act (default: 120)")
    parser.add_argument("--stores", default=",".join(STORES), help="names with commas between (default: all)")
    parser.add_argument("--acts", default=",".join(ACTS), help="what threads do, with commas between (default: all)")
    parser.add_argument("--seed", default="", help="of an earlier run, to repeat it as far as time allows")
    parser.add_argument("--processes", type=int, default=2, help="processes for each store (default: 2)")
    parser.add_argument("--threads", type=int, default=4, help="threads of each process (default: 4)")
    parser.add_argument("--json", type=Path, help="the file for the result (default: standard output)")
    parser.add_argument("--keep", type=Path, help="a new folder for journals, which stays")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)  # drivers tell of each lost connection
    stores, chosen = options.stores.split(","), options.acts.split(",")
    for given, known in ((stores, STORES), (chosen, tuple(ACTS))):
        for word in given:
            if word not in known:
                parser.error(f"{word!r} is not known; choose from {', '.join(known)}")
    if (reason := engine.skip_reason()) is not None:
        parser.error(f"no servers: {reason}")
    seed = options.seed or str(random.randrange(10**6))
    folder = options.keep or Path(tempfile.mkdtemp(prefix="recipe-faults-"), "run")
    progress = Progress(options.seconds)
    progress.tell(f"seed {seed}")
    try:
        found = run_all(
            stores,
            seconds=options.seconds,
            seed=seed,
            folder=folder,
            processes=options.processes,
            threads=options.threads,
            chosen=chosen,
            tell=progress.tell,
        )
    finally:
        engine.close()
        if options.keep is None:
            shutil.rmtree(folder.parent, ignore_errors=True)
    text = json.dumps({"seed": seed, "stores": found}, indent=1)
    if options.json is None:
        print(text)
    else:
        options.json.write_text(text + "\n")
    problems = [f"{store}: {problem}" for store, one in found.items() for problem in one["problems"]]
    invalid = [f"{store}: not judged: {problem}" for store, one in found.items() for problem in one["invalid"]]
    for line in problems + invalid:
        print(line, file=sys.stderr)
    return 1 if problems else 2 if invalid else 0


if __name__ == "__main__":
    sys.exit(main())
