"""Make a claim from a report: a small document that names the report by its digest, and who answers for it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tenure.conformance.claims.level import catalogue_version, level_of
from tenure.conformance.report.digest import FIELD
from tenure.errors import ConfigError

FORMAT = "tenure-conformance-claim/1"
_WORDS = ("contact", "mode", "reproduce")
_FIELDS = (
    "format",
    *_WORDS,
    "level",
    "conclusion",
    "catalogue",
    "store",
    "plugin",
    "run",
    "controls",
    "capabilities",
    "numbers",
    "environment",
    "report",
)


def claim(report: Mapping[str, Any], *, contact: str, mode: str, reproduce: str) -> dict[str, Any]:
    """Return the claim that ``report``, which was verified, supports.

    Args:
        report: a parsed report.
        contact: whom to ask about the run.
        mode: how the server was set up: members, durability, replicas.
        reproduce: the commands that make the run again.

    Raises:
        ConfigError: one of the three texts is empty.
    """
    given = dict(zip(_WORDS, (contact, mode, reproduce), strict=True))
    empty = [name for name, text in given.items() if not text.strip()]
    if empty:
        raise ConfigError(f"making a claim: no {empty[0]} given; pass --{empty[0]} TEXT")
    suite, environment = report["suite"], report["environment"]
    return {
        "format": FORMAT,
        **{name: text.strip() for name, text in given.items()},
        "level": level_of(report).value,
        "conclusion": report["conclusion"],
        "catalogue": catalogue_version(suite["version"], suite["catalogue"]),
        "store": {name: report["store"][name] for name in ("scheme", "product", "version", "warnings")},
        "plugin": environment["plugin"],
        "run": {name: report["run"][name] for name in ("began", "seconds", "profile", "seed", "face")},
        "controls": [*report["controls"]["offered"], *(["network"] if report["controls"]["network"] else [])],
        "capabilities": report["capabilities"],
        "numbers": report["numbers"],
        "environment": {name: environment[name] for name in ("python", "platform", "tenure")},
        "report": report[FIELD],
    }


def differences(claimed: Mapping[str, Any], report: Mapping[str, Any]) -> list[str]:
    """Return a line for each field in which a claim isn't what ``report`` supports; none if it is its claim."""
    own = claim(report, **{name: str(claimed[name]) for name in _WORDS})
    return [
        f"the claim says {name} {claimed[name]!r}, the report {own[name]!r}"
        for name in _FIELDS
        if claimed[name] != own[name]
    ]


def parsed(text: str | bytes, where: str) -> dict[str, Any]:
    """Return the claim in ``text``; ``where`` is its file, for messages.

    Raises:
        ConfigError: it is no claim.
    """
    try:
        found = json.loads(text)
    except ValueError as exc:
        raise ConfigError(f"reading {where}: it is no JSON: {exc}; give a file of 'tenure conformance claim'") from exc
    if not isinstance(found, dict) or found.get("format") != FORMAT or set(found) != set(_FIELDS):
        raise ConfigError(f"reading {where}: it is no claim; give a file that 'tenure conformance claim' wrote")
    return found


def written(document: Mapping[str, Any]) -> str:
    """Return the text of a claim's file."""
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"
