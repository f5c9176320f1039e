"""Judges the outsider's store: right and slow versions have to be conformant, and each broken one found, every time.

    python tests/outsider/run.py [--times N] [--no-whole] [--jobs N] [--json FILE] [NAME ...]

Each version gets one whole run, and its deciding rules N times more (twenty). The exit code is 1 if the suite judges
one of them wrongly.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "support")]

from outsider.broken import ALL, BROKEN, SOUND, Broken  # noqa: E402 - the path has to be set first
from outsider.plugin import VERSION  # noqa: E402
from tenure.cli.ui.conformance import expected  # noqa: E402
from tenure.conformance.harness.rule import Rule  # noqa: E402
from tenure.conformance.runner.first_look import StoreFacts  # noqa: E402
from tenure.conformance.runner.rule_run import RuleRun  # noqa: E402
from tenure.conformance.runner.runner import Plan, Progress, all_rules, run  # noqa: E402
from tenure_testkit.servers.controls import file_controls  # noqa: E402

_METADATA = "Metadata-Version: 2.1\nName: outsider\nVersion: 0\n"
_LONGEST = 7_200.0
_EVERY = 60.0
RULES = frozenset(rule.id for rule in all_rules())
_WRONG = ("fail", "inconclusive", "unknown")


class Shown(Progress):
    """Says on stderr how long a whole run will take, and each minute how far it is."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._said = time.monotonic()
        self._done = self._all = 0

    def planned(self, store: StoreFacts, selected: Sequence[Rule]) -> None:
        self._all = len(selected)
        print(f"{self._name}: {expected(store, selected)}", file=sys.stderr, flush=True)

    def ended(self, result: RuleRun) -> None:
        self._done += 1
        if time.monotonic() - self._said >= _EVERY:
            self._said = time.monotonic()
            print(f"{self._name}: {self._done} of {self._all} rules", file=sys.stderr, flush=True)


def one(name: str, rules: Sequence[str]) -> dict[str, Any]:
    """In a process of its own: run the rules, all if none is named."""
    with tempfile.TemporaryDirectory() as folder:
        url = f"ledger://{folder}/ledger.db"
        plan = Plan(url=url, controls=file_controls(f"{folder}/ledger.db"), rules=tuple(rules))
        logging.getLogger("tenure").addHandler(logging.NullHandler())
        found = run(plan, None if rules else Shown(name))
        results = [(each.rule.id, each.verdict.verdict.value, each.verdict.reason) for each in found.results]
        return {
            "conclusion": found.conclusion.value,
            "seconds": round(found.seconds, 1),
            "failed": [rule for rule, verdict, _ in results if verdict == "fail"],
            "undecided": [rule for rule, verdict, _ in results if verdict in _WRONG[1:]],
            "reasons": {rule: reason for rule, verdict, reason in results if verdict in _WRONG},
        }


def apart(name: str, rules: Sequence[str]) -> dict[str, Any]:
    """The same in a new process, which finds the plugin by its entry point, as its own client processes do."""
    with tempfile.TemporaryDirectory() as folder:
        information = Path(folder) / "outsider-0.dist-info"
        information.mkdir()
        (information / "METADATA").write_text(_METADATA)
        (information / "entry_points.txt").write_text("[tenure.backends]\nledger = outsider.plugin\n")
        path = os.pathsep.join([folder, str(HERE.parent), os.environ.get("PYTHONPATH", "")])
        environment = {**os.environ, "PYTHONPATH": path, VERSION: name}
        command = [sys.executable, __file__, "--one", name, *rules]
        try:
            # A whole run tells on stderr how far it is.
            errors = subprocess.PIPE if rules else None
            done = subprocess.run(
                command,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                timeout=_LONGEST,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return {"conclusion": "no end", "failed": [], "undecided": [], "reasons": {}, "seconds": _LONGEST}
    if done.returncode:
        raise SystemExit(f"{name}: {(done.stderr or 'see above')[-2_000:]}")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def judge(name: str, times: int, *, whole: bool) -> dict[str, Any]:
    """What the suite says of one version, and what of that is wrong."""
    version = ALL[name]
    broken = issubclass(version, Broken)
    problems: list[str] = []
    summary: dict[str, Any] = {"name": name, "says": " ".join((version.__doc__ or "").split()), "problems": problems}
    if whole:
        found = summary["whole"] = apart(name, ())
        if found["conclusion"] != ("not_conformant" if broken else "conformant"):
            problems.append(f"{name}: a whole run concludes {found['conclusion']}: {found['reasons']}")
    if broken and times:
        missed = dict.fromkeys(version.rules, 0)
        for _ in range(times):
            found = apart(name, version.rules)
            for rule in version.rules:
                missed[rule] += rule not in found["failed"]
        summary["missed"] = missed
        problems += [f"{name}: {rule} missed it {count} of {times} times" for rule, count in missed.items() if count]
    return summary


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these versions")
    parser.add_argument("--times", type=int, default=20, metavar="N", help="so often the deciding rules are tried")
    parser.add_argument("--no-whole", action="store_true", help="no whole runs")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="versions tried at a time")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything found to this file")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(one(given.names[0], given.names[1:])))
        return 0
    names = given.names or [each.__name__ for each in (*SOUND, *BROKEN)]
    started = time.monotonic()
    problems: list[str] = []
    all_found: list[dict[str, Any]] = []
    with ThreadPoolExecutor(given.jobs) as pool:
        for found in pool.map(lambda name: judge(name, given.times, whole=not given.no_whole), names):
            all_found.append(found)
            problems += found["problems"]
            conclusion = found.get("whole", {}).get("conclusion", "-")
            print(f"{found['name']:24} {conclusion:16} {'WRONG' if found['problems'] else 'right'}", flush=True)
    if given.json:
        given.json.write_text(json.dumps(all_found, indent=1) + "\n")
    for problem in problems:
        print(f"PROBLEM: {problem}")
    print(f"{len(names)} versions, {len(problems)} problems, {time.monotonic() - started:.0f} s")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
