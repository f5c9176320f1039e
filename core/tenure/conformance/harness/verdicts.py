"""The five verdicts on a rule, the conclusion on a store that follows from them, and the exit codes.

A verdict is about one rule on one store:

* PASS: the rule was executed, enough happened, and the promise was kept.
* FAIL: the promise was broken, an operation inside a declared promise was refused, or an error came out that
  no promise allows.
* NOT_SUPPORTED: the store doesn't declare the promise, or nobody gave the means to do the harm that the rule is about;
  the reason says which.
* INVALID: nothing is known, because too little happened or a fault did nothing. Never as good as PASS.
* UNKNOWN: the time for the rule ran out before it came to an end.

The conclusion is the worst of them, and INVALID too where the verdicts don't add up to the whole catalogue.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """What is known of one rule."""

    PASS = "pass"  # noqa: S105 - no password
    FAIL = "fail"
    NOT_SUPPORTED = "not_supported"
    INVALID = "invalid"
    UNKNOWN = "unknown"


class Conclusion(StrEnum):
    """What is known of a store."""

    CONFORMANT = "conformant"
    """Every rule of the whole catalogue was kept, or isn't supported for a reason that was declared before."""
    NOT_CONFORMANT = "not_conformant"
    """At least one promise was broken."""
    INVALID = "invalid"
    """No promise was seen broken, but something that should have been tried wasn't, or not really."""
    UNKNOWN = "unknown"
    """No promise was seen broken, but time ran out."""
    PARTIAL = "partial"
    """Only a part of the catalogue was asked for; what was tried was kept."""


EXIT_CODES = {
    Conclusion.CONFORMANT: 0,
    Conclusion.PARTIAL: 0,
    Conclusion.NOT_CONFORMANT: 1,
    Conclusion.INVALID: 2,
    Conclusion.UNKNOWN: 2,
}


@dataclass(frozen=True, slots=True)
class RuleVerdict:
    """The verdict on one rule, and why."""

    rule: str
    """Id of the rule, such as ``kv.a_missing_key_reads_as_none``."""
    verdict: Verdict
    reason: str = ""
    """For people: the whole message of a failure, or why the rule isn't supported. Empty for PASS."""


def conclude(verdicts: Iterable[RuleVerdict], catalogue: Iterable[str], *, selected: Iterable[str]) -> Conclusion:
    """The conclusion from the verdicts on the ``selected`` rules, of a ``catalogue`` that may have more.

    INVALID where a selected rule has no verdict, has two, or a verdict is on a rule that wasn't selected.
    """
    found = list(verdicts)
    wanted, whole = set(selected), set(catalogue)
    kinds = {each.verdict for each in found}
    if Verdict.FAIL in kinds:
        return Conclusion.NOT_CONFORMANT
    if len(found) != len(wanted) or {each.rule for each in found} != wanted or not wanted or not wanted <= whole:
        return Conclusion.INVALID
    if Verdict.INVALID in kinds or Verdict.PASS not in kinds:
        return Conclusion.INVALID
    if Verdict.UNKNOWN in kinds:
        return Conclusion.UNKNOWN
    return Conclusion.CONFORMANT if wanted == whole else Conclusion.PARTIAL
