"""The rules on the page: the matrix of tiles, the failures in full, and the details of each rule."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tenure.conformance.harness.verdicts import Verdict
from tenure.conformance.report.markup import SIGNS, amount, badge, duration, sign, table, tag, text

RuleRecord = Mapping[str, Any]

_WELL = (Verdict.PASS, Verdict.NOT_SUPPORTED)


def by_area(rules: Sequence[RuleRecord]) -> dict[str, list[RuleRecord]]:
    """The rules of each area, in the order of the report."""
    areas: dict[str, list[RuleRecord]] = {}
    for rule in rules:
        areas.setdefault(rule["area"], []).append(rule)
    return areas


def matrix(rules: Sequence[RuleRecord]) -> str:
    """A row for each area, a tile for each rule."""
    rows = []
    for area, members in by_area(rules).items():
        counts = Counter(rule["verdict"] for rule in members)
        said = ", ".join(f"{counts[verdict]} {SIGNS[verdict][1]}" for verdict in Verdict if counts[verdict])
        took = duration(sum(rule["seconds"] for rule in members))
        rows.append(
            f'<div class="area"><h3><a href="#area-{text(area)}">{text(area)}</a></h3>{tiles(members)}'
            f'<p class="quiet">{text(said)}<br>{took}</p></div>'
        )
    legend = " ".join(badge(verdict.value) for verdict in Verdict)
    return (
        f'<p class="quiet">A tile is a rule: point at it for its guarantee, follow it for the details. {legend}</p>'
        + tag("div", "".join(rows), class_="matrix")
    )


def tiles(rules: Iterable[RuleRecord]) -> str:
    """Small links to the rules' details."""
    drawn = "".join(
        tag(
            "a",
            SIGNS[Verdict(rule["verdict"])][0],
            class_=f"tile {rule['verdict']}",
            href=f"#{rule['id']}",
            title=_hover(rule),
            aria_label=f"{rule['id']}: {SIGNS[Verdict(rule['verdict'])][1]}",
        )
        for rule in rules
    )
    return tag("div", drawn, class_="tiles") if drawn else ""


def failures(rules: Sequence[RuleRecord]) -> str:
    """Return every rule that is neither kept nor unsupported, in full; empty if there is none."""
    return "".join(
        tag(
            "article",
            f"<h3>{badge(rule['verdict'])} <a href='#{text(rule['id'])}'>{text(rule['id'])}</a></h3>"
            f"<p>{text(rule['guarantee'])}</p><pre>{text(rule['reason'])}</pre>{_trace(rule)}",
            class_=f"failure {rule['verdict']}",
        )
        for rule in rules
        if rule["verdict"] not in _WELL
    )


def details(rules: Sequence[RuleRecord]) -> str:
    """Every rule, area by area, folded up."""
    return "".join(
        tag(
            "details",
            f"<summary><b>{text(area)}</b> <span class=quiet>{len(members)} rules</span></summary>"
            + "".join(_detail(rule) for rule in members),
            id=f"area-{area}",
        )
        for area, members in by_area(rules).items()
    )


def _detail(rule: RuleRecord) -> str:
    parts = [f"<p>{text(rule['guarantee'])}</p>"]
    if rule["reason"]:
        parts.append(f"<pre>{text(rule['reason'])}</pre>")
    if rule["shared_with"]:
        link = f"<a href='#{text(rule['shared_with'])}'>{text(rule['shared_with'])}</a>"
        parts.append(f"<p class=quiet>Inspects the run made for {link}.</p>")
    required = [("capabilities", rule["required_capabilities"]), ("controls", rule["required_controls"])]
    parts += [f"<p class=quiet>Requires {what}: {text(', '.join(names))}.</p>" for what, names in required if names]
    if rule["counts"]:
        said = ", ".join(f"{amount(number)} \u00d7 {text(name)}" for name, number in rule["counts"].items())
        parts.append(f"<p class=quiet>Happened: {said}.</p>")
    for history in rule["histories"]:
        found = "; ".join(history["problems"]) or "no problem"
        parts.append(
            f"<p class=quiet>History of {amount(history['size'])} characters, checked by {text(history['checker'])}: "
            f"{text(found)}.</p>"
        )
    if rule["latencies"]:
        rows = [
            [text(name), amount(seen["count"]), *(duration(seen[part]) for part in ("p50", "p90", "p99", "max"))]
            for name, seen in rule["latencies"].items()
        ]
        parts.append(table(["operation", "answered", "median", "90 %", "99 %", "longest"], rows, class_="numbers"))
    parts.append(_trace(rule))
    took = duration(rule["seconds"]) if rule["executed"] else "not executed"
    summary = (
        f"<summary>{sign(rule['verdict'])} <code>{text(rule['id'])}</code> <span class=quiet>{took}</span></summary>"
    )
    return tag("details", summary + "".join(parts), class_="rule", id=rule["id"])


def _trace(rule: RuleRecord) -> str:
    if not rule["traceback"]:
        return ""
    return f"<details><summary>Traceback</summary><pre>{text(rule['traceback'])}</pre></details>"


def _hover(rule: RuleRecord) -> str:
    reason = rule["reason"].partition("\n")[0]
    return f"{rule['id']}: {SIGNS[Verdict(rule['verdict'])][1]}\n{rule['guarantee']}" + (
        f"\n{reason}" if reason else ""
    )
