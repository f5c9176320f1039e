"""Compare two reports rule by rule: what the second run kept, broke or left out that the first one didn't."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from tenure.conformance.harness.verdicts import Verdict

Report = Mapping[str, Any]

NOT_RUN = "not_run"
"""Stands in for the verdict of a rule that a run left out."""
NOT_IN_CATALOGUE = "not_in_catalogue"
"""Stands in for the verdict of a rule that the suite of a run doesn't have."""


class Change(StrEnum):
    """What the second report says about a rule, beside the first."""

    WORSE = "worse"
    """Kept before and not now, or broken now."""
    BETTER = "better"
    """Kept now and not before, or no longer broken."""
    OTHER = "other"
    """Neither run shows whether the store keeps it, or only one of the two suites has the rule."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One rule about which two reports differ."""

    rule: str
    first: str
    """A :class:`Verdict`, :data:`NOT_RUN` or :data:`NOT_IN_CATALOGUE`."""
    second: str
    change: Change
    reason: str
    """What the second report gives as the reason, in its first line; that of the first if the second has none."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Everything in which two reports differ that explains their verdicts."""

    differences: tuple[Difference, ...]
    """In the order of the catalogue, the worse ones first."""
    settings: tuple[tuple[str, str, str], ...]
    """Name, value in the first, value in the second: versions, controls, capabilities."""
    same: int
    """The number of rules with the same verdict in both."""

    @property
    def worse(self) -> int:
        """The number of rules that are worse in the second report."""
        return sum(each.change is Change.WORSE for each in self.differences)


def compare(first: Report, second: Report) -> Comparison:
    """Return in what ``second`` differs from ``first``; both are reports that were verified."""
    names = dict.fromkeys([*first["suite"]["catalogue"], *second["suite"]["catalogue"]])
    found, same = [], 0
    for rule in names:
        before, after = _verdict(first, rule), _verdict(second, rule)
        if before == after:
            same += before not in (NOT_RUN, NOT_IN_CATALOGUE)
        else:
            reason = _reason(second, rule) or _reason(first, rule)
            found.append(Difference(rule, before, after, _change(before, after), reason))
    found.sort(key=lambda each: list(Change).index(each.change))
    return Comparison(tuple(found), tuple(_settings(first, second)), same)


def _change(before: str, after: str) -> Change:
    if NOT_IN_CATALOGUE in (before, after):
        return Change.WORSE if after == Verdict.FAIL else Change.OTHER
    if before == Verdict.PASS or after == Verdict.FAIL:
        return Change.WORSE
    if after == Verdict.PASS or before == Verdict.FAIL:
        return Change.BETTER
    return Change.OTHER


def _found(report: Report, rule: str) -> Mapping[str, Any] | None:
    return next((each for each in report["rules"] if each["id"] == rule), None)


def _verdict(report: Report, rule: str) -> str:
    found = _found(report, rule)
    if found is not None:
        return str(found["verdict"])
    return NOT_RUN if rule in report["suite"]["catalogue"] else NOT_IN_CATALOGUE


def _reason(report: Report, rule: str) -> str:
    found = _found(report, rule)
    return "" if found is None else str(found["reason"]).partition("\n")[0]


def _settings(first: Report, second: Report) -> list[tuple[str, str, str]]:
    facts = [(name, value, _facts(second)[name]) for name, value in _facts(first).items()]
    names = dict.fromkeys([*first["capabilities"], *second["capabilities"]])
    facts += [
        (name, str(first["capabilities"].get(name, "not known")), str(second["capabilities"].get(name, "not known")))
        for name in names
    ]
    return [fact for fact in facts if fact[1] != fact[2]]


def _facts(report: Report) -> dict[str, str]:
    plugin = report["environment"]["plugin"]
    network = ["network"] if report["controls"]["network"] else []
    return {
        "store": report["store"]["scheme"],
        "server": f"{report['store']['product']} {report['store']['version']}".strip(),
        "plugin": f"{plugin['distribution']} {plugin['version']}" if plugin else "",
        "suite": report["suite"]["version"],
        "face": report["run"]["face"],
        "profile": report["run"]["profile"],
        "seed": str(report["run"]["seed"]),
        "controls": " ".join([*report["controls"]["offered"], *network]) or "none",
        "python": report["environment"]["python"],
    }
