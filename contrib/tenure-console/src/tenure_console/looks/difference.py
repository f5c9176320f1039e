"""The difference of two values, line by line, short enough for a page."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass

from tenure_console.looks.values import pretty

MOST_COMPARED = 16 * 1024
"""Bytes of a value that is compared: longer ones would take the server's time."""
_MOST_LINES = 400
_CONTEXT = 2


@dataclass(frozen=True, slots=True)
class Line:
    """One line: ``mark`` is ``+``, ``-``, a space, or ``@`` where lines are left out."""

    mark: str
    text: str


@dataclass(frozen=True, slots=True)
class Difference:
    """Lines that differ, with some around them. ``reason`` says why there are none."""

    lines: tuple[Line, ...] = ()
    reason: str = ""

    @property
    def added(self) -> int:
        """The number of lines that only the second value has."""
        return sum(line.mark == "+" for line in self.lines)

    @property
    def removed(self) -> int:
        """The number of lines that only the first value has."""
        return sum(line.mark == "-" for line in self.lines)


def compare(before: bytes | None, after: bytes | None) -> Difference:
    """Return how ``after`` differs from ``before``; ``None`` stands for a key that isn't there."""
    if before == after:
        return Difference(reason="The values are the same.")
    if max(len(before or b""), len(after or b"")) > MOST_COMPARED:
        return Difference(reason="The values are too large to compare here.")
    old, new = _lines(before), _lines(after)
    if max(len(old), len(new)) > _MOST_LINES:
        return Difference(reason="The values have too many lines to compare here.")
    found = [*_grouped(old, new)]
    return Difference(tuple(found), "" if found else "The values differ only in how their JSON is written.")


def _grouped(old: list[str], new: list[str]) -> Iterator[Line]:
    """Yield the lines of each difference, with some around it, and a mark between two."""
    for number, group in enumerate(
        difflib.SequenceMatcher(None, old, new, autojunk=False).get_grouped_opcodes(_CONTEXT)
    ):
        if number:
            yield Line("@", "")
        for tag, first, last, new_first, new_last in group:
            yield from (Line(" " if tag == "equal" else "-", line) for line in old[first:last])
            if tag != "equal":
                yield from (Line("+", line) for line in new[new_first:new_last])


def _lines(value: bytes | None) -> list[str]:
    return [] if value is None else pretty(value).split("\n")
