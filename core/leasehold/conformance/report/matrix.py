"""Several stores side by side: from their reports to a table, in Markdown for the docs or as a page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from leasehold.conformance.report.markup import BANNERS, SIGNS, duration, table, text, whole_page
from leasehold.conformance.verdicts import Conclusion, Verdict

Report = Mapping[str, Any]
Row = tuple[str, list[str]]


def markdown(reports: Sequence[Report]) -> str:
    """A table: a row for each fact and area, a column for each report."""
    rows = _rows(reports)
    head = ["", *(report["store"]["scheme"] for report in reports)]
    lines = [head, ["---", *("---" for _ in reports)], *([name, *cells] for name, cells in rows)]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


def html(reports: Sequence[Report]) -> str:
    """The same as a page."""
    head = ["", *(report["store"]["scheme"] for report in reports)]
    rows = [[f"<b>{text(name)}</b>", *map(text, cells)] for name, cells in _rows(reports)]
    body = table(head, rows, class_="matrix-table")
    return whole_page(
        "Conformance", f"<main><section><h2>Conformance of {len(reports)} stores</h2>{body}</section></main>"
    )


def _rows(reports: Sequence[Report]) -> list[Row]:
    areas = dict.fromkeys(rule["area"] for report in reports for rule in report["rules"])
    return [
        ("conclusion", [_conclusion(report) for report in reports]),
        ("server", [f"{r['store']['product']} {r['store']['version']}".strip() for r in reports]),
        *((area, [_area(report, area) for report in reports]) for area in areas),
        ("executed", [str(report["numbers"]["executed"]) for report in reports]),
        ("not supported", [str(report["numbers"][Verdict.NOT_SUPPORTED]) for report in reports]),
        ("invalid, unknown", [str(_undecided(report)) for report in reports]),
        ("profile", [f"{report['run']['profile']}, {duration(report['run']['seconds'])}" for report in reports]),
    ]


def _undecided(report: Report) -> int:
    return int(report["numbers"][Verdict.INVALID] + report["numbers"][Verdict.UNKNOWN])


def _conclusion(report: Report) -> str:
    mark, word, _ = BANNERS[Conclusion(report["conclusion"])]
    return f"{mark} {word.lower()}"


def _area(report: Report, area: str) -> str:
    counts = Counter(rule["verdict"] for rule in report["rules"] if rule["area"] == area)
    if not counts:
        return "not run"
    return ", ".join(f"{SIGNS[verdict][0]} {counts[verdict]}" for verdict in Verdict if counts[verdict])
