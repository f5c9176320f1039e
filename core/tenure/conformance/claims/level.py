"""The levels that a report can reach, and the version of the catalogue that it was run with.

``core``: the store was conformant in a run of the whole catalogue, by what clients alone can try.
``extended``: the same, and the server was killed and frozen and the network was cut: every rule that needs no more than
that was tried, unless the store declares beforehand that it doesn't keep the guarantee.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any

from tenure.conformance.harness.rule import Rule
from tenure.conformance.harness.verdicts import Conclusion, Verdict

EXTENDED_CONTROLS = frozenset({"kill", "start", "pause", "resume", "network", "cut"})
"""What a run needs control of for the level ``extended``."""


class Level(StrEnum):
    """How much of the catalogue a conformant run has tried."""

    NONE = "none"
    """The run isn't conformant, or tried a part of the catalogue only."""
    CORE = "core"
    EXTENDED = "extended"


def level_of_rule(rule: Rule) -> Level:
    """Return the least level that tries ``rule``; ``NONE`` for a rule that needs controls beyond those of any level."""
    needed = set(rule.required_controls)
    if not needed:
        return Level.CORE
    return Level.EXTENDED if needed <= EXTENDED_CONTROLS else Level.NONE


def level_of(report: Mapping[str, Any]) -> Level:
    """Return the level that a verified report reaches."""
    if report["conclusion"] != Conclusion.CONFORMANT:
        return Level.NONE
    left_out = any(
        rule["verdict"] == Verdict.NOT_SUPPORTED
        and set(rule["required_controls"]) <= EXTENDED_CONTROLS
        and rule["face"] in (None, report["run"]["face"])
        and all(report["capabilities"].get(name) for name in rule["required_capabilities"])
        for rule in report["rules"]
    )
    return Level.CORE if left_out else Level.EXTENDED


def catalogue_version(suite: str, rules: Iterable[str]) -> str:
    """Return the version of a catalogue: that of the suite, the number of rules, and eight digits of their ids' hash.

    Two runs with the same version tried the same rules. A rule that changes its meaning gets another id.
    """
    ids = list(rules)
    digits = hashlib.sha256("\n".join(ids).encode()).hexdigest()[:8]
    return f"{suite}/{len(ids)}.{digits}"
