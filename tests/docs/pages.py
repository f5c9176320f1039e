"""Reads a page of Markdown: its fenced blocks, the comment in front of each, and its links.

A comment ``<!-- ... -->`` right before a block says what to do with it:

``file: PATH``      the block is a file of the page's example project, written and not run
``append: PATH``    the block is more of such a file
``excerpt: PATH``   the block stands, word for word, in this file, which a command before it has written
``output``          the block is what the python block before it printed
``needs: NAME``     the block talks to a real store of this name; it gets one, and where there is none that is told
``not run: WHY``    the block isn't run, for this reason
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_FENCE = re.compile(r"^( *)(`{3,})(\S*)\s*$")
_COMMENT = re.compile(r"^\s*<!--\s*(.*?)\s*-->\s*$")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_RULES = ("file", "append", "excerpt", "output", "needs", "not run")


@dataclass(frozen=True)
class Block:
    language: str
    text: str
    line: int
    """Of its first line of text in the page, counted from one."""
    rule: str
    """One of the words above, or empty."""
    argument: str


@dataclass(frozen=True)
class Page:
    path: Path
    blocks: tuple[Block, ...]
    links: tuple[str, ...]


def read(path: Path) -> Page:
    """Parse ``path``. Raises ``ValueError`` for a fence that is never closed, or a comment that isn't known."""
    blocks: list[Block] = []
    prose: list[str] = []
    lines = path.read_text(encoding="utf-8").splitlines()
    comment = ""
    number = 0
    while number < len(lines):
        line = lines[number]
        number += 1
        if found := _COMMENT.match(line):
            comment = found[1]
            continue
        fence = _FENCE.match(line)
        if fence is None:
            prose.append(line)
            if line.strip():
                comment = ""
            continue
        indent, ticks, language = fence.groups()
        start = number
        while number < len(lines) and lines[number].strip() != ticks:
            number += 1
        if number == len(lines):
            raise ValueError(f"{path}:{start}: this block is never closed")
        text = "\n".join(part.removeprefix(indent) for part in lines[start:number]) + "\n"
        rule, _, argument = comment.partition(":")
        if rule and rule not in _RULES:
            raise ValueError(f"{path}:{start}: the comment {comment!r} is none of {', '.join(_RULES)}")
        blocks.append(Block(language, text, start + 1, rule, argument.strip()))
        comment = ""
        number += 1
    return Page(path, tuple(blocks), tuple(_LINK.findall("\n".join(prose))))
