"""Assertions that explain themselves: which rule, what was promised, what was done, expected and seen.

The author of a store reads such a message without having seen the suite.
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

PATIENCE = 15.0
"""Seconds to wait for something that has no limit of its own and should take milliseconds."""

_POLL = 0.01

_repr = reprlib.Repr()
_repr.maxstring, _repr.maxother, _repr.maxlevel = 160, 600, 5
_repr.maxlist = _repr.maxtuple = _repr.maxdict = _repr.maxset = 30


class RuleViolated(AssertionError):
    """The store doesn't keep the rule's promise."""


class RuleInconclusive(AssertionError):
    """Too little happened for the rule to mean anything: neither kept nor broken, the run is invalid."""


class Checks:
    """Assertions for one rule."""

    def __init__(self, rule: Rule, evidence: Evidence | None = None) -> None:
        self.rule = rule
        self.evidence = evidence or Evidence()
        """Where helpers of the rule note what they see."""

    def fail(self, did: str, *, expected: object, seen: object) -> RuleViolated:
        """The error to raise; ``expected`` and ``seen`` are sentences, or values that speak for themselves."""
        return RuleViolated(
            f"rule {self.rule.id} is broken\n"
            f"  promise:  {self.rule.promise}\n"
            f"  did:      {did}\n"
            f"  expected: {_show(expected)}\n"
            f"  seen:     {_show(seen)}"
        )

    def equal(self, seen: object, expected: object, did: str) -> None:
        """``seen`` is what ``did`` gave."""
        if seen != expected:
            raise self.fail(did, expected=expected, seen=seen)

    def true(self, holds: bool, did: str, *, expected: object, seen: object) -> None:
        """For what isn't an equality."""
        if not holds:
            raise self.fail(did, expected=expected, seen=seen)

    def raises(self, kind: type[E] | tuple[type[E], ...], call: Callable[[], object], did: str) -> E:
        """``call`` raises such an error; answers it."""
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
        raise self.fail(did, expected=f"{names} is raised", seen=f"no error, the answer {_show(seen)}")

    def eventually(
        self,
        look: Callable[[], T],
        accept: Callable[[T], bool],
        did: str,
        *,
        expected: object,
        within: float = PATIENCE,
    ) -> T:
        """Look again and again, for ``within`` seconds at most, until what is seen is acceptable; answers that."""
        deadline = time.monotonic() + within
        while True:
            seen = look()
            if accept(seen):
                return seen
            if time.monotonic() >= deadline:
                raise self.fail(f"{did}, waited {within:.1f} s", expected=expected, seen=seen)
            time.sleep(_POLL)

    def no_problems(self, problems: list[str], did: str, *, expected: str) -> None:
        """A checker of many things found nothing."""
        if problems:
            shown = problems[:5] + ([f"... and {len(problems) - 5} more"] if len(problems) > 5 else [])
            raise self.fail(did, expected=expected, seen="\n            ".join(shown))

    def enough(self, count: int, minimum: int, what: str) -> None:
        """The run is worth something only if ``what`` happened at least so often."""
        if count < minimum:
            raise RuleInconclusive(
                f"rule {self.rule.id} could not be judged: {what} happened {count} times, {minimum} are needed. "
                "Nothing is known about the store's promise: it may be far too slow, or the machine overloaded"
            )


def _show(value: object) -> str:
    if isinstance(value, str):
        return value
    return _repr.repr(value)
