"""Print a run of the conformance suite: its progress, and its result."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from tenure._text import seconds
from tenure.cli.ui.output import Column, Output
from tenure.conformance.harness.rule import Rule
from tenure.conformance.harness.verdicts import Conclusion, Verdict
from tenure.conformance.report.verify import Verified
from tenure.conformance.runner.first_look import StoreFacts
from tenure.conformance.runner.rule_run import RuleRun
from tenure.conformance.runner.runner import Progress, Run

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

WORDS = {
    Verdict.PASS: ("pass", "green"),
    Verdict.FAIL: ("FAIL", "bold red"),
    Verdict.NOT_SUPPORTED: ("not supported", "dim"),
    Verdict.INCONCLUSIVE: ("INCONCLUSIVE", "bold magenta"),
    Verdict.UNKNOWN: ("UNKNOWN", "bold yellow"),
}
MEANINGS = {
    Conclusion.CONFORMANT: (
        "CONFORMANT",
        "bold green",
        "the store keeps every rule, or declares that it doesn't support it",
    ),
    Conclusion.PARTIAL: (
        "KEPT, IN PART",
        "green",
        "the store keeps the rules that ran; only a part of the catalogue was selected",
    ),
    Conclusion.NOT_CONFORMANT: ("NOT CONFORMANT", "bold red", "guarantees are broken, see above"),
    Conclusion.INCONCLUSIVE: ("INCONCLUSIVE", "bold magenta", "a rule wasn't tried, or showed nothing"),
    Conclusion.UNKNOWN: ("UNKNOWN", "bold yellow", "time ran out before every rule had a verdict"),
}


@contextlib.contextmanager
def shown(out: Output) -> Iterator[Progress]:
    """Show the progress of a run: a bar on a terminal, a line per rule in a pipe, nothing with ``--json``.

    The first line, on stderr, says how long the run will take.
    """
    if out.json:
        yield Progress()
    elif not out.terminal:
        yield _Lines(out)
    else:
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        with Bar(
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.description}", markup=False),
            console=out.console,
            transient=True,
        ) as bar:
            yield _OnTerminal(out, bar)


def expected(store: StoreFacts, selected: Sequence[Rule]) -> str:
    """Say how many rules will be run, and how long that takes with calls as long as this store's."""
    if store.silence is not None:
        return store.silence
    if store.pace is None:
        return f"{len(selected)} rules"
    puts = f"a put takes {store.pace.write * 1000:.1f} ms and a read {store.pace.read * 1000:.1f} ms"
    return f"{len(selected)} rules, about {seconds(store.pace.estimate(len(selected)))}: {puts}"


class _Lines(Progress):
    def __init__(self, out: Output) -> None:
        self._out = out

    def planned(self, store: StoreFacts, selected: Sequence[Rule]) -> None:
        self._out.note(expected(store, selected))

    def ended(self, result: RuleRun) -> None:
        self._out.listing([{"result": result}], _ROW, empty="")


_ROW = [
    Column("verdict", lambda r: r["result"].verdict.verdict.value),
    Column("rule", lambda r: r["result"].rule.id),
    Column("seconds", lambda r: f"{r['result'].seconds:.2f}"),
    Column("reason", lambda r: r["result"].verdict.reason.partition("\n")[0]),
]


class _OnTerminal(Progress):
    def __init__(self, out: Output, bar: Bar) -> None:
        self._out = out
        self._bar = bar

    def planned(self, store: StoreFacts, selected: Sequence[Rule]) -> None:
        self._out.note(expected(store, selected))
        self._task = self._bar.add_task("", total=len(selected))

    def began(self, rule: Rule) -> None:
        self._bar.update(self._task, description=rule.id)

    def ended(self, result: RuleRun) -> None:
        self._bar.advance(self._task)
        if result.verdict.verdict not in (Verdict.PASS, Verdict.NOT_SUPPORTED):
            self._out.line(WORDS[result.verdict.verdict], (f"  {result.rule.id}", ""))


def show(out: Output, found: Run) -> None:
    """Print the result, for people or as lines: areas, problems, the conclusion."""
    out.heading("Areas")
    if out.terminal:
        out.listing(_areas(found.results), _AREAS, empty="no rule was selected")
    _failures(out, found.results)
    out.heading("Conclusion")
    word, style, meaning = MEANINGS[found.conclusion]
    server = found.store.server
    product = f"{server.product} {server.version}" if server else "unknown server"
    profile = found.plan.profile
    out.pairs(
        [
            ("store", f"{found.store.url} ({product})"),
            *([("face", found.plan.face)] if found.plan.face != "sync" else []),
            ("profile", f"{profile.name}, seed {profile.seed}, {seconds(found.seconds)}"),
            ("rules", numbers(found.counts, catalogue=len(found.catalogue), selected=len(found.selected))),
            *(("note", note) for note in found.notes),
        ]
    )
    if not out.terminal:
        out.pairs([("conclusion", found.conclusion.value)])
    else:
        out.line((f"{word}: ", style), (meaning, ""))


def show_verified(out: Output, path: str, found: Verified) -> None:
    """Print the result of verifying a report."""
    valid = not found.problems
    concluded = found.conclusion.value if valid and found.conclusion else "unknown"
    if out.json:
        out.document(
            {
                "report": path,
                "valid": valid,
                "conclusion": concluded,
                "histories": found.histories,
                "problems": found.problems,
                "notes": found.notes,
            }
        )
        return
    out.pairs(
        [
            ("report", path),
            ("valid", "yes" if valid else "no"),
            ("histories", f"{found.histories} checked again"),
            *(("problem", problem) for problem in found.problems),
            *(("note", note) for note in found.notes),
            ("conclusion", concluded),
        ]
    )


def numbers(counts: Counter[Verdict], *, catalogue: int, selected: int) -> str:
    """``124 of 124: 120 pass, 4 not supported``."""
    parts = [f"{counts[verdict]} {word.lower()}" for verdict, (word, _) in WORDS.items() if counts[verdict]]
    return f"{selected} of {catalogue}: {', '.join(parts)}"


def _failures(out: Output, results: Sequence[RuleRun]) -> None:
    skipped = Counter(r.verdict.reason for r in results if r.verdict.verdict is Verdict.NOT_SUPPORTED)
    if skipped and out.terminal:
        out.heading("Not supported")
        for reason, number in skipped.items():
            out.line((f"{number:4}  ", "dim"), (reason, ""))
    for result in results:
        verdict = result.verdict
        if verdict.verdict in (Verdict.PASS, Verdict.NOT_SUPPORTED):
            continue
        word, style = WORDS[verdict.verdict]
        out.heading(f"{word}: {result.rule.id}")
        if not out.terminal:
            out.line((f"{word}: {result.rule.id}", style))
        for text in verdict.reason.splitlines():
            out.line(("  " + text, ""))


def _areas(results: Sequence[RuleRun]) -> list[dict[str, Any]]:
    areas: dict[str, Counter[str]] = {}
    took: dict[str, float] = {}
    for result in results:
        areas.setdefault(result.rule.area, Counter())[result.verdict.verdict] += 1
        took[result.rule.area] = took.get(result.rule.area, 0.0) + result.seconds
    return [
        {"area": area, "seconds": took[area], **{v.value: count[v] for v in Verdict}} for area, count in areas.items()
    ]


def _column(verdict: Verdict) -> Column:
    return Column(WORDS[verdict][0].lower(), lambda r: r[verdict.value] or "", WORDS[verdict][1], right=True)


_AREAS = [
    Column("area", lambda r: r["area"], "bold"),
    *(_column(verdict) for verdict in Verdict),
    Column("time", lambda r: seconds(r["seconds"]), "dim", right=True),
]
