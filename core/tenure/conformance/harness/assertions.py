"""Assertions whose messages state the rule, its guarantee, what the rule did, what it expected and what it saw.

The author of a store can read such a message without knowing the suite.
"""

from __future__ import annotations

import reprlib
import time
from collections.abc import Callable
from typing import TypeVar

from tenure.conformance.harness.evidence import Evidence
from tenure.conformance.harness.rule import Rule
from tenure.errors import TenureError

T = TypeVar("T")
E = TypeVar("E", bound=TenureError)

EVENT_TIMEOUT = 15.0
"""Seconds to wait for an event that has no limit of its own and should take milliseconds."""

_SHARE = 0.05
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.01, 0.1
"""Seconds between two looks: this share of the time waited so far, so that a long wait is no load on the store."""

_repr = reprlib.Repr()
_repr.maxstring, _repr.maxother, _repr.maxlevel = 160, 600, 5
_repr.maxlist = _repr.maxtuple = _repr.maxdict = _repr.maxset = 30


class RuleViolated(AssertionError):
    """The store broke the rule's guarantee.

    The message names the rule, its guarantee, what the rule did, what it expected and what it saw.
    """


class RuleInconclusive(AssertionError):
    """The rule showed nothing: too little happened, or a fault had no effect.

    The store neither kept nor broke the guarantee. The verdict is INCONCLUSIVE, and so is the run.
    """


class Checks:
    """Assertions for one rule."""

    def __init__(self, rule: Rule, evidence: Evidence | None = None) -> None:
        self.rule = rule
        self.evidence = evidence or Evidence()
        """Helpers of the rule record here what they see."""

    def fail(self, did: str, *, expected: object, seen: object) -> RuleViolated:
        """Return the error to raise; ``expected`` and ``seen`` are sentences, or values with a clear repr."""
        return RuleViolated(
            f"rule {self.rule.id} is violated\n"
            f"  guarantee: {self.rule.guarantee}\n"
            f"  did:       {did}\n"
            f"  expected:  {_show(expected)}\n"
            f"  seen:      {_show(seen)}"
        )

    def equal(self, seen: object, expected: object, did: str) -> None:
        """Check that ``did`` gave ``expected``."""
        if seen != expected:
            raise self.fail(did, expected=expected, seen=seen)

    def true(self, holds: bool, did: str, *, expected: object, seen: object) -> None:
        """Check a condition that isn't an equality."""
        if not holds:
            raise self.fail(did, expected=expected, seen=seen)

    def raises(self, kind: type[E] | tuple[type[E], ...], call: Callable[[], object], did: str) -> E:
        """Check that ``call`` raises such an error, and return the error."""
        kinds = kind if isinstance(kind, tuple) else (kind,)
        names = " or ".join(each.__name__ for each in kinds)
        try:
            seen = call()
        except kinds as exc:
            return exc
        except RuleInconclusive:
            raise
        except Exception as exc:
            raise self.fail(did, expected=f"{names} is raised", seen=f"{type(exc).__name__}: {exc}") from exc
        raise self.fail(did, expected=f"{names} is raised", seen=f"no error; it returned {_show(seen)}")

    def eventually(
        self,
        look: Callable[[], T],
        accept: Callable[[T], bool],
        did: str,
        *,
        expected: object,
        within: float = EVENT_TIMEOUT,
    ) -> T:
        """Call ``look`` for at most ``within`` seconds until ``accept`` takes its result, and return that result."""
        began = time.monotonic()
        while True:
            seen = look()
            if accept(seen):
                return seen
            waited = time.monotonic() - began
            if waited >= within:
                raise self.fail(f"{did}, waited {within:.1f} s", expected=expected, seen=seen)
            time.sleep(max(_SHORTEST_PAUSE, min(_SHARE * waited, _LONGEST_PAUSE)))

    def no_problems(self, problems: list[str], did: str, *, expected: str) -> None:
        """Check that a checker found no problem."""
        if problems:
            shown = problems[:5] + ([f"... and {len(problems) - 5} more"] if len(problems) > 5 else [])
            raise self.fail(did, expected=expected, seen="\n             ".join(shown))

    def enough(self, count: int, minimum: int, what: str) -> None:
        """Require that ``what`` happened at least ``minimum`` times; otherwise the rule is inconclusive."""
        if count < minimum:
            raise inconclusive(
                self.rule,
                f"{what} happened {count} times, {minimum} are needed. The run shows nothing about the guarantee; the "
                "store may be too slow, or the machine overloaded",
            )


def inconclusive(rule: Rule, why: str) -> RuleInconclusive:
    """Return the error to raise if ``rule`` shows nothing, for the reason ``why``."""
    return RuleInconclusive(inconclusive_reason(rule, why))


def inconclusive_reason(rule: Rule, why: str) -> str:
    """Return the reason of a verdict INCONCLUSIVE on ``rule``."""
    return f"rule {rule.id} is inconclusive: {why}\n  guarantee: {rule.guarantee}"


def _show(value: object) -> str:
    if isinstance(value, str):
        return value
    return _repr.repr(value)
