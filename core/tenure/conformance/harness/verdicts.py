"""The five verdicts on a rule, the conclusion on a store that follows from them, and the exit codes.

A verdict is about one rule on one store:

* PASS: the rule ran, enough happened, and the store kept the guarantee.
* FAIL: the store broke the guarantee, refused an operation that a declared guarantee covers, or raised an error that
  no guarantee allows.
* NOT_SUPPORTED: the store doesn't declare the guarantee, or the controls that the rule needs are missing. The reason
  says which.
* INCONCLUSIVE: the rule shows nothing, because too little happened or a fault had no effect. Never as good as PASS.
* UNKNOWN: the time for the rule ran out before it ended.

The conclusion is the worst of them. It is INCONCLUSIVE too if the verdicts don't cover the whole catalogue.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """What a run shows about one rule."""

    PASS = "pass"  # noqa: S105 - no password
    FAIL = "fail"
    NOT_SUPPORTED = "not_supported"
    INCONCLUSIVE = "inconclusive"
    UNKNOWN = "unknown"


class Conclusion(StrEnum):
    """What a run shows about a store."""

    CONFORMANT = "conformant"
    """The store kept every rule of the whole catalogue, or declared beforehand that it doesn't support it."""
    NOT_CONFORMANT = "not_conformant"
    """The store broke at least one guarantee."""
    INCONCLUSIVE = "inconclusive"
    """No guarantee was seen broken, but a rule wasn't tried, or showed nothing."""
    UNKNOWN = "unknown"
    """No guarantee was seen broken, but time ran out."""
    PARTIAL = "partial"
    """Only a part of the catalogue was selected; the store kept that part."""


EXIT_CODES = {
    Conclusion.CONFORMANT: 0,
    Conclusion.PARTIAL: 0,
    Conclusion.NOT_CONFORMANT: 1,
    Conclusion.INCONCLUSIVE: 2,
    Conclusion.UNKNOWN: 2,
}


@dataclass(frozen=True, slots=True)
class RuleVerdict:
    """The verdict on one rule, and the reason for it."""

    rule: str
    """Id of the rule, such as ``kv.a_missing_key_reads_as_none``."""
    verdict: Verdict
    reason: str = ""
    """For people: the whole message of a failure, or why the rule isn't supported. Empty for PASS."""


def conclude(verdicts: Iterable[RuleVerdict], catalogue: Iterable[str], *, selected: Iterable[str]) -> Conclusion:
    """Return the conclusion from the verdicts on the ``selected`` rules of ``catalogue``, which may have more.

    INCONCLUSIVE if a selected rule has no verdict or two, or if a verdict is on a rule that wasn't selected.
    """
    found = list(verdicts)
    wanted, whole = set(selected), set(catalogue)
    kinds = {each.verdict for each in found}
    if Verdict.FAIL in kinds:
        return Conclusion.NOT_CONFORMANT
    if len(found) != len(wanted) or {each.rule for each in found} != wanted or not wanted or not wanted <= whole:
        return Conclusion.INCONCLUSIVE
    if Verdict.INCONCLUSIVE in kinds or Verdict.PASS not in kinds:
        return Conclusion.INCONCLUSIVE
    if Verdict.UNKNOWN in kinds:
        return Conclusion.UNKNOWN
    return Conclusion.CONFORMANT if wanted == whole else Conclusion.PARTIAL
