"""In a process of its own: the conformance suite on one store, up to the first rule that fails.

``PYTHONPATH`` has the patched packages. The server belongs to the process that started this one, which uses the
controls on its behalf: what they are is asked and answered on a connection.

    python suite.py URL RESULT [--controls ADDRESS] [--budget SECONDS] RULE ...
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import threading
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Client
from pathlib import Path

import tenure
from tenure.conformance.controls.controls import ServerControls
from tenure.conformance.harness.profile import QUICK
from tenure.conformance.harness.verdicts import Verdict
from tenure.conformance.runner.rule_run import RuleRun
from tenure.conformance.runner.runner import Plan, Progress, run

RULE_SECONDS = 90.0


class StopAtFirst(Progress):
    """Ends the run with the first rule that fails, unless all are to be tried."""

    def __init__(self, *, go_on: bool) -> None:
        self._go_on = go_on

    def ended(self, result: RuleRun) -> None:
        if result.verdict.verdict is Verdict.FAIL and not self._go_on:
            raise KeyboardInterrupt


def remote_controls(address: str) -> ServerControls:
    """Controls that the other process uses for this one."""
    connection = Client(address)
    turn = threading.Lock()

    def ask(word: str) -> object:
        with turn:
            connection.send(word)
            answer = connection.recv()
        if isinstance(answer, Exception):
            raise answer
        return answer

    names = ask("offers")
    assert isinstance(names, tuple)
    given: dict[str, Callable[[], object]] = {name: partial(ask, name) for name in names}
    return ServerControls(**given)


def memory_controls(url: str) -> ServerControls:
    """Controls over the memory store of this process."""
    sys.path.append(str(Path(__file__).resolve().parents[2] / "support"))
    from tenure_testkit.servers.controls import memory_controls as of_memory

    return of_memory(url.partition("://")[2])


def embedded_controls(url: str) -> ServerControls:
    """Controls over a store without a server: that of this process, or a file."""
    scheme, _, place = url.partition("://")
    if scheme == "memory":
        return memory_controls(url)
    sys.path.append(str(Path(__file__).resolve().parents[2] / "support"))
    from tenure_testkit.servers.controls import file_controls

    return file_controls(place)


def main() -> None:
    """The command; the result is in the file."""
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("result", type=Path)
    parser.add_argument("rules", nargs="+")
    parser.add_argument("--controls")
    parser.add_argument("--budget", type=float)
    parser.add_argument("--go-on", action="store_true")
    given = parser.parse_args()
    logging.disable(logging.CRITICAL)
    controls = remote_controls(given.controls) if given.controls else embedded_controls(given.url)
    plan = Plan(
        url=given.url,
        controls=controls,
        profile=QUICK,
        rules=tuple(given.rules),
        rule_budget=RULE_SECONDS,
        budget=given.budget,
    )
    found = run(plan, StopAtFirst(go_on=given.go_on))
    verdicts = {result.rule.id: result.verdict for result in found.results}
    document = {
        "tenure": tenure.__file__,
        "conclusion": found.conclusion.value,
        "failed": {rule: each.reason for rule, each in verdicts.items() if each.verdict is Verdict.FAIL},
        "hung": [rule for rule, each in verdicts.items() if each.verdict is Verdict.UNKNOWN and not found.interrupted],
        "inconclusive": [rule for rule, each in verdicts.items() if each.verdict is Verdict.INCONCLUSIVE],
        "seconds": round(found.seconds, 1),
    }
    given.result.write_text(json.dumps(document))
    sys.stdout.flush()
    os._exit(0)  # whatever a fault has left hanging hangs for good


if __name__ == "__main__":
    main()
