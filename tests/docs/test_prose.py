"""The pages are written as the house writes: short sentences, and words that readers from elsewhere know.

``prose.py`` measures. CONTRIBUTING.md has the rules. Accepted decision records aren't edited, and entries of the
changelog move to another file when a version is released: neither is measured.
"""

from __future__ import annotations

import statistics
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import prose

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "core/docs"
PAGES = sorted(
    path
    for path in (*ROOT.glob("*.md"), *DOCS.rglob("*.md"), *ROOT.glob("*/README.md"), *ROOT.glob("contrib/*/README.md"))
    if path.parent.name != "changelog.d" and not path.match("decisions/0*.md") and path.name != "CHANGELOG.md"
)


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_sentences_are_short(path: Path) -> None:
    found = prose.sentences(text_of(path))
    long = [f"line {each.line}: {each.words} words: {each.text}" for each in found if each.words > prose.LONGEST]
    assert long == [], f"a sentence has at most {prose.LONGEST} words: split it"
    words = [each.words for each in found]
    if len(words) > 4:
        assert statistics.median(words) <= prose.MEDIAN


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_words_that_the_house_avoids_are_gone(path: Path) -> None:
    found = [f"line {line}: {words!r}: write {instead}" for line, words, instead in prose.avoided(text_of(path))]
    assert found == []


def test_what_is_wrong_is_found() -> None:
    page = """# So many headings don't count

A sentence of four. Another one with `several words of code` in it.

- An item, with [a link of five words](https://example.org/so-many).
- The item that

```text
nobody counts so many words of a block
```

| somebody | counts the words of a table |

| instead of | write |
|---|---|
| nobody | no client |

<!-- nobody counts comments -->
Whoever reads this is told so many things, e.g. that nobody counts words.
"""
    assert [each.words for each in prose.sentences(page)] == [4, 6, 8, 3, 13]
    assert [words for _, words, _ in prose.avoided(page)] == ["nobody", "Whoever", "so many", "told", "somebody"]
    assert max(each.words for each in prose.sentences("word " * 26 + ".")) == 26
