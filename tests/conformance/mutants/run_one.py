"""Trying a mutant: all rules of an area on it, in a process of its own, so that what it leaves behind disturbs no one.

The parent forks before it has started any thread, and starts none: each child inherits the imported modules.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from multiprocessing.connection import Connection, wait

from tenure.conformance.harness.profile import QUICK
from tenure.conformance.harness.verdicts import Conclusion, Verdict
from tenure.conformance.runner.rule_run import RuleRun
from tenure.conformance.runner.runner import Plan, run

from . import short_timeouts
from .base import Mutant, standing

RULE_SECONDS = 30.0
"""Time for one rule on a quiet machine; one that needs more hangs."""
MUTANT_SECONDS = 150.0
"""Time for all rules of an area on one mutant, before its process is ended."""
PATIENT = 4.0
"""So many times as long both may take where the suite's own waits aren't cut."""


class Kind(StrEnum):
    """What one rule made of one mutant. The first two kill it."""

    BROKEN = "broken"
    """The rule says which guarantee is broken, and how."""
    ERROR = "error"
    """An error came out that the guarantee doesn't allow."""
    INCONCLUSIVE = "inconclusive"
    """It shows nothing, for example since the run that the rule inspects failed for another rule."""
    HANG = "hang"
    NOT_SUPPORTED = "not_supported"
    PASSED = "passed"

    @property
    def kills(self) -> bool:
        """Whether it was this rule that found something."""
        return self in (Kind.BROKEN, Kind.ERROR)


@dataclass(frozen=True, slots=True)
class Finding:
    """One rule on one mutant."""

    rule: str
    kind: Kind
    reason: str
    seconds: float


@dataclass(slots=True)
class Job:
    """One mutant and the patterns of the rules to try on it."""

    mutant: Mutant
    rules: tuple[str, ...]
    findings: dict[str, Finding] = field(default_factory=dict)
    seconds: float = 0.0
    conclusion: Conclusion | None = None
    failure: str = "it came to no end"
    """Why there are no findings, if there are none."""


def finding_of(result: RuleRun) -> Finding:
    """What a verdict says about the mutant."""
    reason, verdict = result.verdict.reason, result.verdict.verdict
    kind = {
        Verdict.PASS: Kind.PASSED,
        Verdict.NOT_SUPPORTED: Kind.NOT_SUPPORTED,
        Verdict.INCONCLUSIVE: Kind.INCONCLUSIVE,
        Verdict.UNKNOWN: Kind.HANG,
        Verdict.FAIL: Kind.ERROR,
    }[verdict]
    if verdict is Verdict.FAIL and "tenure.conformance.harness.assertions.RuleViolated" in result.trace:
        kind = Kind.BROKEN
    return Finding(result.rule.id, kind, reason, result.seconds)


def tried(mutant: Mutant, rules: Sequence[str], rule_seconds: float) -> tuple[list[Finding], Conclusion]:
    """Try the rules in this process."""
    with standing(mutant) as (url, controls):
        plan = Plan(url=url, controls=controls, profile=QUICK, rules=tuple(rules), rule_budget=rule_seconds)
        found = run(plan)
        return [finding_of(result) for result in found.results], found.conclusion


def _child(job: Job, times: float, patient: bool, pipe: Connection) -> None:
    logging.disable(logging.CRITICAL)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # Hypothesis prints the sequences that it finds
    threading.excepthook = lambda _: None  # threads of a broken store may die as they like
    if not patient:
        short_timeouts.shorten(times)
    try:
        found: tuple[list[Finding], Conclusion] | str = tried(
            job.mutant, job.rules, RULE_SECONDS * times * (PATIENT if patient else 1.0)
        )
    except Exception as exc:  # noqa: BLE001 - told by the parent
        found = f"{type(exc).__name__}: {exc}"
    pipe.send(found)
    pipe.close()
    os._exit(0)  # whatever still hangs here hangs for good


def try_all(
    jobs: Sequence[Job], processes: int, *, patient: bool = False, done: Callable[[Job], None] = lambda job: None
) -> None:
    """Try all jobs, so many at a time, and write what was found into them. Call it before any thread is started.

    ``patient``: with the suite's own waits, which are cut otherwise.
    """
    times = short_timeouts.slowness(processes)
    limit = MUTANT_SECONDS * times * (PATIENT if patient else 1.0)
    context = multiprocessing.get_context("fork")
    waiting: Iterator[Job] = iter(jobs)
    running: dict[Connection, tuple[Job, multiprocessing.process.BaseProcess, float]] = {}
    while True:
        while len(running) < processes and (job := next(waiting, None)) is not None:
            ours, theirs = context.Pipe(duplex=False)
            process = context.Process(target=_child, args=(job, times, patient, theirs), daemon=True)
            process.start()
            theirs.close()
            running[ours] = (job, process, time.monotonic())
        if not running:
            return
        for ready in wait(list(running), timeout=1.0):
            assert isinstance(ready, Connection)
            job, process, started = running.pop(ready)
            with contextlib.suppress(EOFError):  # it died without a word
                found = ready.recv()
                if isinstance(found, str):
                    job.failure = found
                else:
                    findings, job.conclusion = found
                    job.findings = {finding.rule: finding for finding in findings}
            process.join()
            job.seconds = time.monotonic() - started
            done(job)
        for pipe, (job, process, started) in list(running.items()):
            if time.monotonic() - started > limit:
                del running[pipe]
                process.kill()
                process.join()
                job.seconds = time.monotonic() - started
                done(job)
