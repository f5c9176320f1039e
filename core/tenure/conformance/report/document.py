"""Make the report of a run: one JSON document with everything that the verdicts rest on."""

from __future__ import annotations

import json
import os
import platform
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from importlib import metadata
from typing import Any

from tenure import __version__
from tenure._plugins import discovery
from tenure.conformance.harness.evidence import Evidence, OperationSeen
from tenure.conformance.harness.rule import Rule
from tenure.conformance.harness.verdicts import Verdict
from tenure.conformance.report import figures
from tenure.conformance.report.digest import FIELD, canonical, digest_of
from tenure.conformance.report.redact import Redactor, secrets_of
from tenure.conformance.runner.first_look import StoreFacts
from tenure.conformance.runner.rule_run import RuleRun
from tenure.conformance.runner.runner import Run

FORMAT = "tenure-conformance-report/1"

MOST_OPERATIONS = 4_000
"""Operations kept of one rule for its timeline; evenly downsampled if there were more."""

MOST_BATCHES = 2_000

MOST_HISTORY = 8 * 2**20
"""Characters of one history. Of a larger one the report has only the size, so it can't be checked again."""


def document(run: Run) -> dict[str, Any]:
    """Return the report, without secrets and with its digest."""
    whole: dict[str, Any] = {
        "format": FORMAT,
        "suite": {"version": __version__, "catalogue": [rule.id for rule in run.catalogue]},
        "run": _run(run),
        "store": _store(run.store),
        "capabilities": run.store.capabilities.as_dict(),
        "controls": {"offered": list(run.offered_controls), "network": run.network},
        "environment": environment(run.store.scheme),
        "conclusion": run.conclusion.value,
        "numbers": numbers([result.verdict.verdict for result in run.results], len(run.catalogue), run.executed),
        "notes": list(run.notes),
        "latencies": _all_latencies(run.results),
        "rules": [_rule(result) for result in run.results],
    }
    clean: dict[str, Any] = Redactor(secrets_of(run.plan.url)).document(whole)
    clean[FIELD] = digest_of(clean)
    return clean


def written(document: dict[str, Any]) -> str:
    """Return the text of the report's file."""
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def numbers(verdicts: Sequence[Verdict], catalogue: int, executed: int) -> dict[str, int]:
    """Return the numbers of rules: in the catalogue, selected, executed to their end, and with each verdict."""
    counts = Counter(verdicts)
    each = {verdict.value: counts[verdict] for verdict in Verdict}
    return {"catalogue": catalogue, "selected": len(verdicts), "executed": executed, **each}


def environment(scheme: str) -> dict[str, Any]:
    """Return the versions and the machine that the run used."""
    claim = next((claim for claim in discovery.claims() if claim.scheme == scheme), None)
    return {
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "platform": platform.platform(),
        "cpus": os.cpu_count() or 1,
        "tenure": __version__,
        "plugin": None
        if claim is None
        else {"distribution": claim.distribution, "version": claim.version, "module": claim.module},
        "hypothesis": _version("hypothesis"),
    }


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""


def _run(run: Run) -> dict[str, Any]:
    plan = run.plan
    return {
        "began": _timestamp(run.began),
        "seconds": figures.rounded(run.seconds),
        "profile": plan.profile.name,
        "seed": plan.profile.seed,
        "face": plan.face,
        "budget": plan.budget,
        "rule_budget": run.rule_budget,
        "areas": list(plan.areas),
        "rules": list(plan.rules),
        "interrupted": run.interrupted,
    }


def _timestamp(time: datetime) -> str:
    return time.isoformat(timespec="seconds")


def _store(store: StoreFacts) -> dict[str, Any]:
    server = store.server
    return {
        "url": store.url,
        "scheme": store.scheme,
        "product": server.product if server else "",
        "version": server.version if server else "",
        "warnings": list(server.warnings) if server else [],
        "details": {name: str(value) for name, value in server.details.items()} if server else {},
    }


def _rule(result: RuleRun) -> dict[str, Any]:
    evidence = result.evidence or Evidence()
    faulty = bool(evidence.windows)
    return {
        **described(result.rule),
        "verdict": result.verdict.verdict.value,
        "reason": result.verdict.reason,
        "traceback": result.trace,
        "began": figures.rounded(result.began),
        "seconds": figures.rounded(result.seconds),
        "executed": result.executed,
        "shared_with": result.shared_with,
        "counts": dict(sorted(evidence.counts.items())),
        "latencies": figures.latencies(evidence.operations),
        "windows": [
            {
                "fault": window.fault,
                "began": figures.rounded(window.began),
                "ended": None if window.ended is None else figures.rounded(window.ended),
                "effects": window.effects,
                "what": window.what,
            }
            for window in evidence.windows
        ],
        "operations": _operations(evidence.operations) if faulty else [],
        "batches": [
            [figures.rounded(batch.at), batch.kind, batch.events]
            for batch in figures.downsampled(evidence.batches if faulty else [], MOST_BATCHES)
        ],
        "histories": [_history(each.checker, dict(each.data), each.problems) for each in evidence.histories],
    }


def described(rule: Rule) -> dict[str, Any]:
    """Return the description of a rule, whatever its result."""
    return {
        "id": rule.id,
        "area": rule.area,
        "guarantee": rule.guarantee,
        "required_capabilities": list(rule.required_capabilities),
        "required_controls": list(rule.required_controls),
        "face": rule.face,
    }


def _operations(operations: Sequence[OperationSeen]) -> list[list[Any]]:
    return [
        [seen.operation, figures.rounded(seen.ended), figures.rounded(seen.seconds), seen.error]
        for seen in figures.downsampled(operations, MOST_OPERATIONS)
    ]


def _history(checker: str, data: dict[str, Any], problems: Sequence[str]) -> dict[str, Any]:
    size = len(canonical(data))
    kept = size <= MOST_HISTORY
    return {"checker": checker, "data": data if kept else None, "size": size, "problems": list(problems)}


def _all_latencies(results: Sequence[RuleRun]) -> dict[str, Any]:
    """Return the latencies of all rules without faults: how fast the store is when nothing is wrong."""
    quiet = [result.evidence for result in results if result.evidence and not result.evidence.windows]
    seconds = figures.by_operation(seen for evidence in quiet for seen in evidence.operations)
    return {
        name: {**figures.quantiles(values), "histogram": figures.histogram(values)} for name, values in seconds.items()
    }
