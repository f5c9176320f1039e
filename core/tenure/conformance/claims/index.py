"""Make the index of claims: a table in Markdown, one line for each claim."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tenure.errors import ConfigError

BEGIN, END = "<!-- claims -->\n", "<!-- end of claims -->"
"""The lines of a page between which :func:`into` writes."""


def markdown(claims: Sequence[Mapping[str, Any]]) -> str:
    """Return the table and, below it, how each run is repeated."""
    head = "| store | level | rules | catalogue | plugin | mode | run | contact | report |\n"
    rows = [_row(each) for each in claims]
    again = [f"- {_store(each)}: `{each['reproduce']}`\n" for each in claims]
    return "".join([head, "| --- " * 9 + "|\n", *rows, "\nHow to repeat each run:\n\n", *again])


def into(page: str, claims: Sequence[Mapping[str, Any]]) -> str:
    """Return ``page`` with the table between its two comment lines.

    Raises:
        ConfigError: the page has no such lines.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ConfigError(
            f"writing the claims: the page has no place for them; add a line {BEGIN.strip()!r} and below it {END!r}"
        )
    return f"{before}{begin}{markdown(claims)}{end}{after}"


def _store(claimed: Mapping[str, Any]) -> str:
    store = claimed["store"]
    return f"{store['product']} {store['version']}".strip() or str(store["scheme"])


def _row(claimed: Mapping[str, Any]) -> str:
    plugin, numbers, run = claimed["plugin"], claimed["numbers"], claimed["run"]
    face = "" if run["face"] == "sync" else f", {run['face']}"
    cells = (
        _store(claimed),
        f"**{claimed['level']}**" if claimed["level"] != "none" else claimed["conclusion"].replace("_", " "),
        f"{numbers['pass']} of {numbers['catalogue']} kept, {numbers['fail']} broken",
        f"`{claimed['catalogue']}`",
        f"{plugin['distribution']} {plugin['version']}" if plugin else "unknown",
        claimed["mode"],
        f"{run['began'][:10]}, {run['profile']}{face}",
        claimed["contact"],
        f"`{claimed['report'].removeprefix('sha256:')[:12]}`",
    )
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |\n"
