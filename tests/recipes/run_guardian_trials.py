"""Harms the holder of a lock on real stores, and looks whether its command is dead before the next holder's starts.

    python tests/recipes/run_guardian_trials.py                        or: tox -e guardian
    python tests/recipes/run_guardian_trials.py --trials 20 redis etcd

Each harm is tried ``--trials`` times on each store: ``tenure`` is stopped, or killed, or (on servers) its network is
cut. A control without a guardian has to fail. Prints one line of JSON for each harm, store and control.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from tenure_testkit.guardian_trials import HARMS, Trial, run_trial
from tenure_testkit.servers import engine
from tenure_testkit.servers.by_name import SERVERS

CONTROLS = 3


@contextlib.contextmanager
def opened(store: str, folder: Path) -> Iterator[str]:
    """The URL of a store of this run's own."""
    if store == "sqlite":
        yield f"sqlite://{folder / 'store.db'}"
    else:
        with SERVERS[store]() as server:
            yield server.url


def main() -> int:
    """Run the trials, and return 1 if one failed, or a control did not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stores", nargs="*", default=["sqlite", "redis"], help="sqlite, redis, etcd, ...")
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--ttl", type=float, default=2.0)
    parser.add_argument("--at-once", type=int, default=4, help="trials that run side by side")
    options = parser.parse_args()
    failed = False
    try:
        for store in options.stores:
            with tempfile.TemporaryDirectory() as name, opened(store, Path(name)) as url:
                for harm in HARMS[: 2 if store == "sqlite" else 3]:
                    failed |= _report(store, harm, trials(url, harm, Path(name), options.trials, options), naive=False)
                seen = trials(url, HARMS[0], Path(name), CONTROLS, options, naive=True)
                failed |= _report(store, HARMS[0], seen, naive=True)
    finally:
        engine.close()
    return int(failed)


def trials(
    url: str, harm: str, folder: Path, number: int, options: argparse.Namespace, *, naive: bool = False
) -> list[Trial]:
    """Run so many trials, some of them side by side."""
    with ThreadPoolExecutor(options.at_once) as pool:
        futures = [pool.submit(run_trial, url, harm, folder, ttl=options.ttl, naive=naive) for _ in range(number)]
        return [future.result() for future in futures]


def _report(store: str, harm: str, seen: list[Trial], *, naive: bool) -> bool:
    passed = sum(trial.passed for trial in seen)
    line = {
        "store": store,
        "harm": harm,
        "control": naive,
        "trials": len(seen),
        "passed": passed,
        "shortest_gap": round(min(trial.gap for trial in seen), 3),
        "longest_gap": round(max(trial.gap for trial in seen), 3),
    }
    print(json.dumps(line), flush=True)
    return passed != (0 if naive else len(seen))


if __name__ == "__main__":
    sys.exit(main())
