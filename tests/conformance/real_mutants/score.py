"""What was found, for programs (a file of JSON), for people, and for the page on conformance."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

NOT_TRIED = "its tests were not tried"


class Score:
    """The latest result of each mutant."""

    def __init__(self, results: Iterable[dict[str, Any]] = ()) -> None:
        self._results = {result["id"]: result for result in results}

    @classmethod
    def read(cls, file: Path | None) -> Self:
        """Read what a file has, if there is one."""
        if file is None or not file.exists():
            return cls()
        return cls(json.loads(file.read_text())["mutants"])

    def write(self, file: Path) -> None:
        """Keep everything in a file."""
        document = {"numbers": self.numbers, "mutants": self.results}
        file.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")

    def add(self, result: dict[str, Any], commit: str, *, suite: bool, tests: bool) -> None:
        """Take in one result. What was left out of this run stays as it was."""
        before = self._results.get(result["id"], {})
        if not suite:
            result["rules"] = before.get("rules", {})
        if not tests:
            result["tests"] = before.get("tests", [])
            if not before or NOT_TRIED in before["trouble"]:
                result["trouble"] = [*result["trouble"], NOT_TRIED]
        self._results[result["id"]] = {**result, "commit": commit}

    @property
    def results(self) -> list[dict[str, Any]]:
        """All results by store and name."""
        return sorted(self._results.values(), key=lambda each: (each["store"], each["id"]))

    @property
    def missed(self) -> list[dict[str, Any]]:
        """Faults that a client can notice and nothing found."""
        return [each for each in self.results if not each["unnoticeable"] and not each["rules"] and not each["tests"]]

    @property
    def numbers(self) -> dict[str, int]:
        """How many were found by what."""
        results = self.results
        noticeable = [each for each in results if not each["unnoticeable"]]
        return {
            "mutants": len(results),
            "noticeable": len(noticeable),
            "by_suite": sum(bool(each["rules"]) for each in results),
            "noticeable_by_suite": sum(bool(each["rules"]) for each in noticeable),
            "by_tests": sum(bool(each["tests"]) for each in results),
            "by_either": sum(bool(each["rules"] or each["tests"]) for each in results),
            "by_none": sum(not each["rules"] and not each["tests"] for each in results),
        }

    def text(self) -> str:
        """For people."""
        numbers = self.numbers
        lines = [f"{'store':12} mutants  suite  tests  either  none"]
        for store in dict.fromkeys(each["store"] for each in self.results):
            part = Score(each for each in self.results if each["store"] == store).numbers
            lines.append(
                f"{store:12} {part['mutants']:7} {part['by_suite']:6} {part['by_tests']:6} {part['by_either']:7} "
                f"{part['by_none']:5}"
            )
        lines += [
            "",
            f"the suite found {numbers['noticeable_by_suite']} of {numbers['noticeable']} that a client can notice",
            f"suite and tests together found {numbers['by_either']} of {numbers['mutants']}",
        ]
        lines += [f"found by nothing: {each['id']}: {each['wrong']}{_left_out(each)}" for each in self.missed]
        lines += [
            f"found by nothing, and no client can notice it: {each['id']}: {each['unnoticeable']}"
            for each in self.results
            if each["unnoticeable"] and not each["rules"] and not each["tests"]
        ]
        return "\n".join(lines)

    def page(self, *, wrapped: int, rules: int) -> str:
        """Both scores for the page on conformance. ``wrapped`` mutants of the first family, all found by ``rules``."""
        numbers = self.numbers
        score = 100 * numbers["noticeable_by_suite"] // max(numbers["noticeable"], 1)
        untried = sum(NOT_TRIED in each["trouble"] for each in self.results)
        real = (
            f"- Faults in real backends and core, on real servers: {numbers['mutants']}. A client can notice "
            f"{numbers['noticeable']}; the suite found {numbers['noticeable_by_suite']} of them ({score} %). Suite and "
            f"tests together found {numbers['by_either']} of all; the tests of {untried} were not tried yet."
        )
        rows = [
            f"- Broken wrappers of the memory store: {wrapped}, all found, by {rules} rules.",
            real,
            "",
            "| store | faults | noticeable | of these found by the suite | found by tests | found by either |",
            "|---|---|---|---|---|---|",
        ]
        stores = list(dict.fromkeys(each["store"] for each in self.results))
        parts = [(store, Score(each for each in self.results if each["store"] == store)) for store in stores]
        for name, part in [*parts, ("all", self)]:
            counts = ("mutants", "noticeable", "noticeable_by_suite", "by_tests", "by_either")
            rows.append(f"| {name} | " + " | ".join(str(part.numbers[count]) for count in counts) + " |")
        commits = ", ".join(sorted({each["commit"] for each in self.results}))
        rows += ["", f"Found by nothing ({len(self.missed)}):" if self.missed else "Nothing was missed."]
        rows += (
            ["", *(f"- `{each['id']}`: {each['wrong']}{_left_out(each)}" for each in self.missed)]
            if self.missed
            else []
        )
        hidden = [each for each in self.results if each["unnoticeable"]]
        rows += ["", "No client can notice:", ""] if hidden else []
        rows += [f"- `{each['id']}`: {each['unnoticeable']}" for each in hidden]
        rows += ["", f"Commits that were tried: {commits}."]
        return "\n".join(rows) + "\n"


def _left_out(result: dict[str, Any]) -> str:
    return " (Its tests were not tried yet.)" if NOT_TRIED in result["trouble"] else ""


_MARKED = re.compile(r"(<!-- scores of mutants -->\n).*?(<!-- end of scores -->)", re.DOTALL)


def into_page(text: str, scores: str) -> str:
    """A page with the scores between its marks."""
    return _MARKED.sub(lambda marks: marks[1] + scores + marks[2], text)
