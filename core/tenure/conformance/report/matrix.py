"""Make a table of several stores from their reports, in Markdown for the documentation or as a page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from tenure.conformance.harness.rule import AIO
from tenure.conformance.harness.verdicts import Conclusion, Verdict
from tenure.conformance.report.markup import BANNERS, SIGNS, duration, table, text, whole_page
from tenure.errors import ConfigError

Report = Mapping[str, Any]
Row = tuple[str, list[str]]

BEGIN, END = "<!-- matrix -->\n", "<!-- end of matrix -->"
"""The lines of a page between which :func:`into` writes."""


def markdown(reports: Sequence[Report]) -> str:
    """A table: a row for each fact and area, a column for each report."""
    return _table("", reports, _rows(reports))


def into(page: str, reports: Sequence[Report]) -> str:
    """Return ``page`` with the table, the reasons for unsupported rules, and each rule, between its two comment lines.

    Raises ``ConfigError`` for a page without these lines.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ConfigError(
            f"writing the matrix: the page has no place for a matrix; add a line {BEGIN.strip()!r} and below it {END!r}"
        )
    rules = dict.fromkeys(rule["id"] for report in reports for rule in report["rules"])
    each = _table("rule", reports, [(f"`{rule}`", [_sign(report, rule) for report in reports]) for rule in rules])
    details = f"<details>\n<summary>Each rule on each store</summary>\n\n{each}\n</details>\n"
    return f"{before}{begin}{markdown(reports)}\n{_aside(reports)}\n{details}{end}{after}"


def html(reports: Sequence[Report]) -> str:
    """The same as a page."""
    head = ["", *map(_name, reports)]
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
        ("inconclusive, unknown", [str(_undecided(report)) for report in reports]),
        ("profile", [f"{report['run']['profile']}, {duration(report['run']['seconds'])}" for report in reports]),
    ]


def _table(corner: str, reports: Sequence[Report], rows: Sequence[Row]) -> str:
    head = [corner, *map(_name, reports)]
    lines = [head, ["---", *("---" for _ in reports)], *([name, *cells] for name, cells in rows)]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


def _aside(reports: Sequence[Report]) -> str:
    """Return the reasons for unsupported rules, with the number of such rules on each store."""
    reasons: dict[str, dict[str, int]] = {}
    for report in reports:
        for rule in report["rules"]:
            if rule["verdict"] == Verdict.NOT_SUPPORTED:
                stores = reasons.setdefault(rule["reason"], {})
                stores[_name(report)] = stores.get(_name(report), 0) + 1
    rows = [
        f"| {reason} | {', '.join(f'{store} {number}' for store, number in stores.items())} |\n"
        for reason, stores in sorted(reasons.items())
    ]
    return "".join(["| why rules aren't executed | how many on which store |\n| --- | --- |\n", *rows]) if rows else ""


def _name(report: Report) -> str:
    """The head of a report's column."""
    return str(report["store"]["scheme"]) + (" (asyncio)" if report["run"]["face"] == AIO else "")


def _sign(report: Report, rule: str) -> str:
    verdict = next((each["verdict"] for each in report["rules"] if each["id"] == rule), None)
    return "" if verdict is None else SIGNS[Verdict(verdict)][0]


def _undecided(report: Report) -> int:
    return int(report["numbers"][Verdict.INCONCLUSIVE] + report["numbers"][Verdict.UNKNOWN])


def _conclusion(report: Report) -> str:
    mark, word, _ = BANNERS[Conclusion(report["conclusion"])]
    return f"{mark} {word.lower()}"


def _area(report: Report, area: str) -> str:
    counts = Counter(rule["verdict"] for rule in report["rules"] if rule["area"] == area)
    if not counts:
        return "not run"
    return ", ".join(f"{SIGNS[verdict][0]} {counts[verdict]}" for verdict in Verdict if counts[verdict])
