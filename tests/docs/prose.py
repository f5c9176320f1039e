"""Measures the English of a page: sentences, their length in words, and words that the house doesn't use.

Code blocks, tables, comments, headings and links' targets don't count as sentences. Neither do lists that other files
generate, between ``<!-- scores ... -->`` and ``<!-- end of scores -->``. A list item is prose: its sentences count. A
word is what spaces separate; a stretch of code such as ``a = b`` counts as one word.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

LONGEST = 25
"""Words of a sentence, at most."""
MEDIAN = 16
"""Words of a page's sentences in the middle, at most."""

AVOIDED = {
    r"\b(?:no|some|any|every)body\b": "name the actor: client, holder, server, operator, another process",
    r"\bwho(?:m|so)?ever\b": "name the actor",
    r"\bby (?:it|them)sel(?:f|ves)\b": "automatically, or alone",
    r"\bso many\b": "a number, or N",
    r"\banew\b": "again",
    r"\bfor ever\b": "indefinitely",
    r"\b(?:tell|tells|told|telling)\b": "deliver (events), report (status), show, name, know",
    r"\b(?:is|are|be|was|were) said\b": "name who says it",
    r"\bgo(?:es)? on\b": "continue",
    r"\bwhat (?:a|the) \w+ (?:can't|can|does|has) (?:it|they)\b": "subject, verb, object",
    r"\b(?-i:ttl)\b": "TTL",
}
"""Pattern -> what to write in its place."""

_FENCE = re.compile(r"^ *(`{3,}|:{3,}|~{3,})")
_ITEM = re.compile(r"^ *(?:[-*+]|\d+\.) +")
_END = re.compile(r"(?<=[.!?])[*_)\"]*\s+(?=[*_(\"`\[]*[A-Z0-9`])|(?<=[.!?])[*_)\"]*$|(?<=:)\s*$")
_SHORT = ("e.g.", "i.e.", "etc.", "vs.", "...")


@dataclass(frozen=True)
class Sentence:
    """One sentence of a page. ``line`` is where its paragraph begins, counted from one."""

    line: int
    text: str

    @property
    def words(self) -> int:
        return len([word for word in self.text.split() if re.search(r"\w", word)])


def paragraphs(text: str) -> list[tuple[int, str]]:
    """Return the paragraphs and list items of a page, each on one line, with the number of the line where it begins."""
    found: list[tuple[int, str]] = []
    current: list[str] = []
    begun = 0
    fence = ""
    comment = generated = False

    def end() -> None:
        if current:
            found.append((begun, " ".join(current)))
            current.clear()

    for number, line in enumerate(text.splitlines(), 1):
        opened = _FENCE.match(line)
        if fence:
            if opened and line.strip().startswith(fence) and not line.strip().strip(fence[0]):
                fence = ""
            continue
        if comment or line.lstrip().startswith("<!--"):
            end()
            comment = "-->" not in line
            generated = "<!-- scores" in line or (generated and "<!-- end" not in line)
            continue
        if opened:
            end()
            fence = opened[1]
            continue
        if generated or not line.strip() or line.lstrip().startswith(("#", "|", "![", ">>>", "<")):
            end()
            continue
        if _ITEM.match(line):
            end()
        if not current:
            begun = number
        current.append(_ITEM.sub("", line).strip())
    end()
    return found


def plain(text: str) -> str:
    """Return the paragraph without marks: links as their words, code as one word."""
    text = re.sub(r"!\[[^\]]*\]\([^)]*\)", "", text)
    text = re.sub(r"``.+?``|`[^`]+`", "`code`", text)
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
    return re.sub(r"\*\*|__", "", text)


def sentences(text: str) -> list[Sentence]:
    """Return the sentences of a page. A heading of a definition in bold, ``**word**:``, is part of its sentence."""
    found = []
    for line, paragraph in paragraphs(text):
        clean = plain(paragraph)
        for short in _SHORT:
            clean = clean.replace(short, short.replace(".", "\u2024"))
        found += [Sentence(line, part.strip()) for part in _END.split(clean) if part and len(part.split()) > 2]
    return found


def cells(text: str) -> list[tuple[int, str]]:
    """Return the rows of the tables, but for those that show what not to write."""
    found = []
    examples = False
    for number, line in enumerate(text.splitlines(), 1):
        row = line.lstrip().startswith("|")
        examples = row and (examples or line.startswith("| instead of |"))
        if row and not examples:
            found.append((number, line))
    return found


def avoided(text: str) -> list[tuple[int, str, str]]:
    """Return each use of a word that the house avoids: line, the words, what to write in their place."""
    return [
        (line, match[0], instead)
        for line, paragraph in [*paragraphs(text), *cells(text)]
        for pattern, instead in AVOIDED.items()
        for match in re.finditer(pattern, plain(paragraph), re.IGNORECASE)
    ]
