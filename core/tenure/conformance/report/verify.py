"""Verify a saved report: derive everything again that follows from something else in it.

In this order; each step runs only on a report that passed the steps before:

1. it is a report, by its schema;
2. its digest is right, so nothing was damaged or edited by hand;
3. its catalogue is the suite's, if it was written by this version of the suite;
4. each saved history, checked again, has the problems that the report lists, and a rule with problems isn't kept;
5. what is *not supported* follows from the declared capabilities and the offered controls;
6. the faults of a kept rule had an effect;
7. the numbers and the conclusion follow from the verdicts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tenure import __version__
from tenure.conformance.checkers import by_name
from tenure.conformance.harness.rule import AIO, SYNC, Rule
from tenure.conformance.harness.verdicts import EXIT_CODES, Conclusion, RuleVerdict, Verdict, conclude
from tenure.conformance.report import schema
from tenure.conformance.report.digest import FIELD, digest_of
from tenure.conformance.report.document import described, numbers

_NOTHING_KNOWN = 2


@dataclass(slots=True)
class Verified:
    """The result of verifying a report."""

    problems: list[str] = field(default_factory=list)
    """Why the report isn't valid; empty if it is."""
    notes: list[str] = field(default_factory=list)
    """What could not be verified."""
    conclusion: Conclusion | None = None
    """Recomputed from the verdicts; ``None`` if an earlier step failed."""
    histories: int = 0
    """The number of histories that were checked again."""

    @property
    def exit_code(self) -> int:
        """The exit code of the run itself; 2 for a report that isn't valid."""
        if self.problems or self.conclusion is None:
            return _NOTHING_KNOWN
        return EXIT_CODES[self.conclusion]


def verify(report: object, catalogue: Sequence[Rule]) -> Verified:
    """Verify ``report``, a parsed JSON document; ``catalogue`` is the one of this version of the suite."""
    found = Verified()
    found.problems += [f"not a report: {problem}" for problem in schema.problems(report)]
    if found.problems or not isinstance(report, dict):
        return found
    if report[FIELD] != digest_of(report):
        found.problems.append("the digest is wrong: the report was edited or damaged after it was written")
        return found
    _catalogue(report, catalogue, found)
    for rule in report["rules"]:
        _histories(rule, found)
        _faults(rule, found)
    _declared(report, catalogue, found)
    _conclusion(report, found)
    return found


def face_of(report: object) -> str:
    """Return the face that a report says its run used, to choose the catalogue by."""
    run = report.get("run") if isinstance(report, dict) else None
    return AIO if isinstance(run, dict) and run.get("face") == AIO else SYNC


def _catalogue(report: Mapping[str, Any], catalogue: Sequence[Rule], found: Verified) -> None:
    version, listed = report["suite"]["version"], report["suite"]["catalogue"]
    if version != __version__:
        found.notes.append(
            f"the report is by version {version} of the suite, this is {__version__}: only the same version can tell "
            "whether its catalogue is complete"
        )
        return
    if listed != [rule.id for rule in catalogue]:
        missing = sorted({rule.id for rule in catalogue} - set(listed))
        extra = sorted(set(listed) - {rule.id for rule in catalogue})
        found.problems.append(
            "the catalogue isn't this suite's"
            + "".join(f"; {word} {', '.join(names)}" for word, names in (("lacks", missing), ("adds", extra)) if names)
        )
    known = {rule.id: described(rule) for rule in catalogue}
    for rule in report["rules"]:
        mine = known.get(rule["id"])
        if mine is not None and mine != {name: rule[name] for name in mine}:
            found.problems.append(f"{rule['id']} isn't described as in this suite, which says: {mine['guarantee']}")


def _histories(rule: Mapping[str, Any], found: Verified) -> None:
    for number, history in enumerate(rule["histories"], 1):
        where = f"{rule['id']}, history {number}"
        if history["data"] is None:
            found.notes.append(
                f"{where}: it was too large to keep ({history['size']} characters), so it wasn't checked again"
            )
            continue
        try:
            problems = by_name.check(history["checker"], history["data"])
        except Exception as exc:  # noqa: BLE001 - a forged history may break a checker in any way
            found.problems.append(f"{where}: it can't be checked: {type(exc).__name__}: {exc}")
            continue
        found.histories += 1
        if problems != history["problems"]:
            found.problems.append(
                f"{where}: checked again by {history['checker']} it has {_summary(problems)}, "
                f"the report says {_summary(history['problems'])}"
            )
        elif problems and rule["verdict"] == Verdict.PASS:
            found.problems.append(f"{where}: it has {_summary(problems)}, but the rule counts as kept")


def _summary(problems: Sequence[str]) -> str:
    if not problems:
        return "no problem"
    return f"{len(problems)} problem{'s' if len(problems) > 1 else ''} ({problems[0]})"


def _faults(rule: Mapping[str, Any], found: Verified) -> None:
    effects: dict[str, int] = {}
    for window in rule["windows"]:
        effects[window["fault"]] = effects.get(window["fault"], 0) + window["effects"]
    idle = [fault for fault, number in effects.items() if not number]
    if idle and rule["verdict"] == Verdict.PASS:
        found.problems.append(f"{rule['id']}: the fault {', '.join(idle)} had no effect, but the rule counts as kept")


def _declared(report: Mapping[str, Any], catalogue: Sequence[Rule], found: Verified) -> None:
    known = {rule.id for rule in catalogue}
    offered = {*report["controls"]["offered"], *(["network"] if report["controls"]["network"] else [])}
    for rule in report["rules"]:
        if rule["id"] not in known:
            continue
        undeclared = [name for name in rule["required_capabilities"] if not report["capabilities"].get(name)]
        absent = [name for name in rule["required_controls"] if name not in offered]
        if rule["face"] not in (None, report["run"]["face"]):
            absent.append(f"the face {rule['face']}")
        applies = not undeclared and not absent
        if applies and rule["verdict"] == Verdict.NOT_SUPPORTED:
            found.problems.append(
                f"{rule['id']} counts as not supported, but everything that it requires was declared and offered"
            )
        if not applies and rule["executed"]:
            found.problems.append(f"{rule['id']} was executed without {', '.join([*undeclared, *absent])}")


def _conclusion(report: Mapping[str, Any], found: Verified) -> None:
    rules = report["rules"]
    verdicts = [RuleVerdict(rule["id"], Verdict(rule["verdict"]), rule["reason"]) for rule in rules]
    catalogue = report["suite"]["catalogue"]
    whole = not report["run"]["areas"] and not report["run"]["rules"]
    selected = catalogue if whole else [rule["id"] for rule in rules]
    found.conclusion = conclude(verdicts, catalogue, selected=selected)
    if found.conclusion != report["conclusion"]:
        found.problems.append(f"the verdicts lead to {found.conclusion.value}, the report says {report['conclusion']}")
    executed = sum(1 for rule in rules if rule["executed"] and rule["verdict"] != Verdict.UNKNOWN)
    counted = numbers([verdict.verdict for verdict in verdicts], len(catalogue), executed)
    if counted != report["numbers"]:
        found.problems.append(f"the numbers don't add up: counted {counted}, the report says {report['numbers']}")
