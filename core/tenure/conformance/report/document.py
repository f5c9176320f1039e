"""From a run to the report: one JSON document with everything that the verdicts rest on."""

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
from tenure.conformance.report.redact import Redactor, secrets_of
from tenure.conformance.report.seal import FIELD, canonical, seal_of
from tenure.conformance.runner.rule_run import RuleRun
from tenure.conformance.runner.runner import Run, StoreFacts

FORMAT = "tenure-conformance-report/1"

MOST_OPERATIONS = 4_000
"""Kept of one rule for its timeline; evenly thinned where there were more."""

MOST_BATCHES = 2_000

MOST_HISTORY = 8 * 2**20
"""Characters of one history; a larger one is told with its size, and can't be judged again."""


def document(run: Run) -> dict[str, Any]:
    """The report, without secrets and sealed."""
    whole: dict[str, Any] = {
        "format": FORMAT,
        "suite": {"version": __version__, "catalogue": [rule.id for rule in run.catalogue]},
        "run": _run(run),
        "store": _store(run.store),
        "capabilities": run.store.capabilities.as_dict(),
        "driver": {"controls": list(run.controls), "network": run.network},
        "environment": environment(run.store.scheme),
        "conclusion": run.conclusion.value,
        "numbers": numbers([result.verdict.verdict for result in run.results], len(run.catalogue), run.executed),
        "notes": list(run.notes),
        "latencies": _all_latencies(run.results),
        "rules": [_rule(result) for result in run.results],
    }
    clean: dict[str, Any] = Redactor(secrets_of(run.plan.url)).document(whole)
    clean[FIELD] = seal_of(clean)
    return clean


def written(document: dict[str, Any]) -> str:
    """The text of its file."""
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def numbers(verdicts: Sequence[Verdict], catalogue: int, executed: int) -> dict[str, int]:
    """How many rules there are, were asked for, were executed to an end, and have each verdict."""
    counts = Counter(verdicts)
    each = {verdict.value: counts[verdict] for verdict in Verdict}
    return {"catalogue": catalogue, "selected": len(verdicts), "executed": executed, **each}


def environment(scheme: str) -> dict[str, Any]:
    """Where the run took place."""
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
        "began": _moment(run.began),
        "seconds": figures.rounded(run.seconds),
        "profile": plan.profile.name,
        "seed": plan.profile.seed,
        "budget": plan.budget,
        "rule_budget": run.rule_budget,
        "areas": list(plan.areas),
        "rules": list(plan.rules),
        "interrupted": run.interrupted,
    }


def _moment(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds")


def _store(store: StoreFacts) -> dict[str, Any]:
    server = store.server
    return {
        "url": store.url,
        "scheme": store.scheme,
        "product": server.product if server else "",
        "version": server.version if server else "",
        "risks": list(server.warnings) if server else [],
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
            for batch in figures.thinned(evidence.batches if faulty else [], MOST_BATCHES)
        ],
        "histories": [_history(each.judge, dict(each.data), each.problems) for each in evidence.histories],
    }


def described(rule: Rule) -> dict[str, Any]:
    """What a rule is, whatever became of it."""
    return {
        "id": rule.id,
        "area": rule.area,
        "promise": rule.promise,
        "requires": list(rule.requires),
        "needs": list(rule.needs),
    }


def _operations(operations: Sequence[OperationSeen]) -> list[list[Any]]:
    return [
        [seen.operation, figures.rounded(seen.ended), figures.rounded(seen.seconds), seen.error]
        for seen in figures.thinned(operations, MOST_OPERATIONS)
    ]


def _history(judge: str, data: dict[str, Any], problems: Sequence[str]) -> dict[str, Any]:
    size = len(canonical(data))
    kept = size <= MOST_HISTORY
    return {"judge": judge, "data": data if kept else None, "size": size, "problems": list(problems)}


def _all_latencies(results: Sequence[RuleRun]) -> dict[str, Any]:
    """Of all rules that did no harm, together: how fast the store is when all is well."""
    quiet = [result.evidence for result in results if result.evidence and not result.evidence.windows]
    seconds = figures.by_operation(seen for evidence in quiet for seen in evidence.operations)
    return {
        name: {**figures.quantiles(values), "histogram": figures.histogram(values)} for name, values in seconds.items()
    }
