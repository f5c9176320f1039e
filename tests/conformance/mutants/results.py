"""What came out, for people and for programs: which rule killed which mutant, and what is wrong with that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from textwrap import indent
from typing import Any

from tenure.conformance.harness.verdicts import Conclusion

from . import area_of, defect_of
from .run_one import Finding, Job, Kind

_MARKS = {
    Kind.BROKEN: "X",
    Kind.ERROR: "e",
    Kind.INCONCLUSIVE: "i",
    Kind.HANG: "h",
    Kind.NOT_SUPPORTED: "-",
    Kind.PASSED: ".",
}
LEGEND = (
    "X killed by a broken guarantee, e by an error, i too little happened or its shared run failed, h hung, "
    "- not supported, . found nothing"
)


@dataclass(slots=True)
class Matrix:
    """All findings. ``elsewhere`` are those of rules of other areas on mutants that survived their own."""

    rules: Sequence[str]
    """Ids of the rules that have to kill a mutant, in order."""
    mutants: Sequence[Job]
    controls: Sequence[Job]
    harness: Sequence[Job] = ()
    """Mutants of the harness."""
    elsewhere: Mapping[str, Sequence[str]] = field(default_factory=dict)
    whole: bool = True
    """Whether all rules of each area were tried, not the intended ones alone."""

    def killers(self, job: Job) -> list[str]:
        """Rules of its own area that kill the mutant."""
        return [each.rule for each in job.findings.values() if each.kind.kills]

    def killed_by(self, rule: str) -> list[str]:
        """Names of the mutants that the rule kills."""
        return [job.mutant.__name__ for job in self.mutants if _kills(job.findings.get(rule))]

    @property
    def score(self) -> float:
        """Part of the mutants that a rule of their own area kills."""
        killed = sum(1 for job in self.mutants if self.killers(job))
        return killed / len(self.mutants) if self.mutants else 0.0

    @property
    def idle(self) -> list[str]:
        """Rules that kill nothing."""
        return [rule for rule in self.rules if not self.killed_by(rule)]

    @property
    def doubtful(self) -> list[Job]:
        """Jobs that did not come out as they have to."""
        return [
            *(job for job in self.controls if _problems_of_control(job)),
            *(job for job in self.harness if _problems_of_harness(job)),
            *(job for job in self.mutants if self._problems_of(job)),
        ]

    def problems(self, staying: Mapping[str, str]) -> list[str]:
        """Why the suite isn't verified; empty if it is."""
        found = [problem for job in self.mutants for problem in self._problems_of(job)]
        found += [problem for job in self.harness for problem in _problems_of_harness(job)]
        found += [problem for job in self.controls for problem in _problems_of_control(job)]
        if self.whole:
            found += [
                f"{rule} kills no mutant, and no reason is given why it stays"
                for rule in self.idle
                if rule not in staying
            ]
            for rule in staying:
                if rule not in self.rules:
                    found.append(f"{rule} is said to stay, and there is no such rule")
                elif rule not in self.idle:
                    found.append(f"{rule} is said to stay without killing, and kills {', '.join(self.killed_by(rule))}")
        return found

    def _problems_of(self, job: Job) -> list[str]:
        name = job.mutant.__name__
        if not job.findings:
            return [f"{name} could not be tried: {job.failure}"]
        if not self.killers(job):
            others = self.elsewhere.get(name, ())
            where = f", only by {', '.join(others)} of other areas" if others else ", by no rule at all"
            return [f"{name} survives the rules of {area_of(job.mutant)}{where}: {defect_of(job.mutant)}"]
        problems = []
        for rule in job.mutant.rules:
            finding = job.findings.get(rule)
            if finding is None or finding.kind is not Kind.BROKEN:
                said = "was not tried" if finding is None else f"says {finding.kind} {finding.reason}"
                problems.append(f"{name} should be found by {rule}, which {said}")
        return problems

    # -- showing --

    def text(self) -> str:
        """Tables, one for each area."""
        areas = dict.fromkeys(area_of(job.mutant) for job in self.mutants)
        return "\n".join([self._table(area) for area in areas] + [LEGEND])

    def _table(self, area: str) -> str:
        jobs = [job for job in self.mutants if area_of(job.mutant) == area]
        rules = [rule for rule in self.rules if rule.partition(".")[0] == area]
        width = max(len(rule) for rule in rules) + 2
        lines = [f"{area}: {len(jobs)} mutants, {len(rules)} rules"]
        lines += [" " * width + "".join(str((n + 1) // 10 or " ") for n in range(len(jobs)))]
        lines += [" " * width + "".join(str((n + 1) % 10) for n in range(len(jobs)))]
        for rule in rules:
            found = (job.findings.get(rule) for job in jobs)
            marks = "".join(" " if each is None else _MARKS[each.kind] for each in found)
            lines.append(f"{rule:{width}}{marks}")
        for number, job in enumerate(jobs, 1):
            lines.append(f"  {number:2} {job.mutant.__name__}: {defect_of(job.mutant)} [{job.seconds:.1f} s]")
        return "\n".join(lines) + "\n"

    def messages(self, job: Job) -> str:
        """What each rule that kills the mutant says of it, as the author of a store would read it."""
        said = [each for each in job.findings.values() if each.kind.kills]
        return "".join(
            f"{job.mutant.__name__}: {each.rule} ({each.kind}) says:\n{indent(each.reason, '    ')}\n" for each in said
        )

    def json(self, staying: Mapping[str, str]) -> dict[str, Any]:
        """Everything, in JSON's types."""
        return {
            "score": self.score,
            "mutants": [self._mutant(job) for job in self.mutants],
            "controls": [self._mutant(job) for job in self.controls],
            "harness": [{**self._mutant(job), "conclusion": job.conclusion} for job in self.harness],
            "rules": {rule: self.killed_by(rule) for rule in self.rules},
            "staying": dict(staying),
            "problems": self.problems(staying),
        }

    def _mutant(self, job: Job) -> dict[str, Any]:
        return {
            "name": job.mutant.__name__,
            "defect": defect_of(job.mutant),
            "intended": list(job.mutant.rules),
            "killed_by": self.killers(job),
            "seconds": round(job.seconds, 2),
            "findings": {
                each.rule: {"kind": each.kind.value, "reason": each.reason, "seconds": round(each.seconds, 3)}
                for each in job.findings.values()
            },
        }


def _problems_of_control(job: Job) -> list[str]:
    """In a sound store no rule finds anything."""
    if not job.findings:
        return [f"{job.mutant.__name__} is sound, and could not be tried: {job.failure}"]
    return [
        f"{job.mutant.__name__} is sound, and {each.rule} says {each.kind}: {each.reason}"
        for each in job.findings.values()
        if each.kind not in (Kind.PASSED, Kind.NOT_SUPPORTED)
    ]


def _problems_of_harness(job: Job) -> list[str]:
    """The conclusion is the one expected; where faults do nothing, no rule is said to be kept or broken."""
    name, expected = job.mutant.__name__, getattr(job.mutant, "expected")  # noqa: B009 - only those of the harness have it
    if job.conclusion is None:
        return [f"{name} could not be tried: {job.failure}"]
    problems = []
    if job.conclusion is not expected:
        problems.append(f"{name} should end as {expected}, and ended as {job.conclusion}: {defect_of(job.mutant)}")
    if expected is Conclusion.INCONCLUSIVE:
        said = (each for each in job.findings.values() if each.kind not in (Kind.INCONCLUSIVE, Kind.NOT_SUPPORTED))
        problems += [f"{name} shows nothing, and {each.rule} says {each.kind}: {each.reason}" for each in said]
    return problems


def _kills(finding: Finding | None) -> bool:
    return finding is not None and finding.kind.kills
