"""Judging a saved report again: everything that follows from something else in it is made to follow once more.

In this order, and each step looks only at a report that passed the ones before:

1. it is a report, by its schema;
2. its seal fits, so nothing was damaged or edited by hand;
3. the catalogue is the suite's, where this is the same version of it;
4. each saved history, judged again, has the problems that were told then, and a rule with problems isn't kept;
5. what is *not supported* follows from the declared capabilities and the controls that were given;
6. faults of a rule that is kept had an effect;
7. the numbers and the conclusion follow from the verdicts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tenure import __version__
from tenure.conformance.checkers import by_name
from tenure.conformance.harness.rule import Rule
from tenure.conformance.harness.verdicts import EXIT_CODES, Conclusion, RuleVerdict, Verdict, conclude
from tenure.conformance.report import schema
from tenure.conformance.report.document import described, numbers
from tenure.conformance.report.seal import FIELD, seal_of

_NOTHING_KNOWN = 2


@dataclass(slots=True)
class Verified:
    """What verifying found."""

    problems: list[str] = field(default_factory=list)
    """Why the report can't be believed; empty if it can."""
    notes: list[str] = field(default_factory=list)
    """What could not be checked."""
    conclusion: Conclusion | None = None
    """Recomputed from the verdicts; ``None`` if it didn't get so far."""
    histories: int = 0
    """How many were judged again."""

    @property
    def exit_code(self) -> int:
        """As of the run itself, and 2 for a report that can't be believed."""
        if self.problems or self.conclusion is None:
            return _NOTHING_KNOWN
        return EXIT_CODES[self.conclusion]


def verify(report: object, catalogue: Sequence[Rule]) -> Verified:
    """Judge ``report``, a parsed JSON document, again; ``catalogue`` is the one of this version of the suite."""
    found = Verified()
    found.problems += [f"not a report: {problem}" for problem in schema.problems(report)]
    if found.problems or not isinstance(report, dict):
        return found
    if report[FIELD] != seal_of(report):
        found.problems.append("the seal doesn't fit: the report was edited or damaged after it was written")
        return found
    _catalogue(report, catalogue, found)
    for rule in report["rules"]:
        _histories(rule, found)
        _faults(rule, found)
    _declared(report, catalogue, found)
    _conclusion(report, found)
    return found


def _catalogue(report: Mapping[str, Any], catalogue: Sequence[Rule], found: Verified) -> None:
    version, listed = report["suite"]["version"], report["suite"]["catalogue"]
    if version != __version__:
        found.notes.append(
            f"the report is by version {version} of the suite, this is {__version__}: whether its catalogue is whole "
            "can only be told by the same version"
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
            found.problems.append(f"{rule['id']} isn't described as in this suite, which says: {mine['promise']}")


def _histories(rule: Mapping[str, Any], found: Verified) -> None:
    for number, history in enumerate(rule["histories"], 1):
        where = f"{rule['id']}, history {number}"
        if history["data"] is None:
            found.notes.append(f"{where}: it was too large to keep ({history['size']} characters), so not judged again")
            continue
        try:
            problems = by_name.judge(history["judge"], history["data"])
        except Exception as exc:  # noqa: BLE001 - whatever a made-up history does to a judge
            found.problems.append(f"{where}: it can't be judged: {type(exc).__name__}: {exc}")
            continue
        found.histories += 1
        if problems != history["problems"]:
            found.problems.append(
                f"{where}: judged again by {history['judge']} it has {_told(problems)}, "
                f"the report says {_told(history['problems'])}"
            )
        elif problems and rule["verdict"] == Verdict.PASS:
            found.problems.append(f"{where}: it has {_told(problems)}, and yet the rule counts as kept")


def _told(problems: Sequence[str]) -> str:
    if not problems:
        return "no problem"
    return f"{len(problems)} problem{'s' if len(problems) > 1 else ''} ({problems[0]})"


def _faults(rule: Mapping[str, Any], found: Verified) -> None:
    effects: dict[str, int] = {}
    for window in rule["windows"]:
        effects[window["fault"]] = effects.get(window["fault"], 0) + window["effects"]
    idle = [fault for fault, number in effects.items() if not number]
    if idle and rule["verdict"] == Verdict.PASS:
        found.problems.append(f"{rule['id']}: the fault {', '.join(idle)} had no effect, and yet it counts as kept")


def _declared(report: Mapping[str, Any], catalogue: Sequence[Rule], found: Verified) -> None:
    known = {rule.id for rule in catalogue}
    offered = {*report["driver"]["controls"], *(["network"] if report["driver"]["network"] else [])}
    for rule in report["rules"]:
        if rule["id"] not in known:
            continue
        undeclared = [name for name in rule["requires"] if not report["capabilities"].get(name)]
        absent = [name for name in rule["needs"] if name not in offered]
        applies = not undeclared and not absent
        if applies and rule["verdict"] == Verdict.NOT_SUPPORTED:
            found.problems.append(f"{rule['id']} counts as not supported, but all that it needs was declared and given")
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
        found.problems.append(
            f"from the verdicts follows {found.conclusion.value}, the report says {report['conclusion']}"
        )
    executed = sum(1 for rule in rules if rule["executed"] and rule["verdict"] != Verdict.UNKNOWN)
    counted = numbers([verdict.verdict for verdict in verdicts], len(catalogue), executed)
    if counted != report["numbers"]:
        found.problems.append(f"the numbers don't add up: counted {counted}, the report says {report['numbers']}")
