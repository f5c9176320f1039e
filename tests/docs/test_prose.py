"""The pages are written as the house writes: short sentences, and words that readers from elsewhere know.

So are the changelog's fragments, docstrings of what applications and plugins use, help texts of the command, and
messages. ``prose.py`` measures. CONTRIBUTING.md has the rules. Accepted decision records and entries of released
versions aren't edited, so they aren't measured.
"""

from __future__ import annotations

import ast
import inspect
import re
import statistics
import sys
from pathlib import Path

import pytest

import tenure
from tenure import aio, plugin_kit, registry, spi, testing

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[2] / "core/docs"))

import prose
from site_parts import command

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "core/docs"
PAGES = sorted(
    path
    for path in (*ROOT.glob("*.md"), *DOCS.rglob("*.md"), *ROOT.glob("*/README.md"), *ROOT.glob("contrib/*/README.md"))
    if not path.match("decisions/0*.md") and path.name != "CHANGELOG.md"
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


def docstrings() -> dict[str, str]:
    """The docstring of each class, method and function that applications use, by its name."""
    found = {}
    for module in (tenure, registry, aio, testing, spi, plugin_kit):
        for name in module.__all__:
            owner = getattr(module, name)
            members = {f"{name}.{each}": value for each, value in vars(owner).items()} if inspect.isclass(owner) else {}
            for path, member in {name: owner, **members}.items():
                plain = getattr(member, "fget", None) or getattr(member, "__func__", member)
                if not path.rpartition(".")[2].startswith("_") and (
                    inspect.isclass(plain) or inspect.isfunction(plain)
                ):
                    found[path] = inspect.cleandoc(plain.__doc__ or "")
    return found | docstrings_of_contrib()


def docstrings_of_contrib() -> dict[str, str]:
    """Those of each class, method and function in ``contrib/``, from the source, so that none has to be imported."""
    found = {}
    for path in ROOT.glob("contrib/*/src/**/*.py"):
        for node in ast.walk(ast.parse(text_of(path))):
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                found[f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"] = ast.get_docstring(node) or ""
    return found


def test_docstrings_of_what_applications_use_are_written_so() -> None:
    wrong = []
    for name, text in docstrings().items():
        # Entries of Args, Raises and so on are items; examples aren't prose.
        prose_of_it = re.sub(r"^ *>>>.*\n(?:.*\S.*\n?)*", "", text, flags=re.MULTILINE)
        prose_of_it = re.sub(r"^( *)\w+: ", r"\1- ", prose_of_it, flags=re.MULTILINE)
        wrong += [f"{name}: {each.text}" for each in prose.sentences(prose_of_it) if each.words > prose.LONGEST]
        wrong += [f"{name}: {words!r}: write {instead}" for _, words, instead in prose.avoided(prose_of_it)]
    assert wrong == []


def test_help_texts_are_written_so() -> None:
    text = re.sub(r'"(tenure\b[^"]*)"', r"`\1`", command.reference())  # a quoted command is one word
    wrong = [f"{each.words} words: {each.text}" for each in prose.sentences(text) if each.words > prose.LONGEST]
    wrong += [f"line {line}: {words!r}: write {instead}" for line, words, instead in prose.avoided(text)]
    assert wrong == []


def messages(source: str) -> list[tuple[int, str]]:
    """The texts of a module that people may read: strings of several words, but for docstrings, SQL and templates."""
    tree = ast.parse(source)
    skipped = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            skipped |= {id(each) for each in node.values}
            text = "".join(str(each.value) if isinstance(each, ast.Constant) else "x" for each in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            text = node.value
        else:
            continue
        if (
            id(node) not in skipped
            and len(text.split()) > 2
            and not re.search(r"[A-Z]{4,} |^\s*--|=.*%s|\{\w|=x", text)
        ):
            found.append((node.lineno, text))
    return found


def sources() -> list[Path]:
    """Of what is installed. Titles of conformance rules are parts of recorded reports, and stay as they are."""
    folders = [ROOT / "core/tenure", *ROOT.glob("backends/tenure_*"), *ROOT.glob("contrib/*/src")]
    found = [path for folder in folders for path in folder.rglob("*.py")]
    return sorted(path for path in found if "conformance" not in path.parts)


def test_messages_have_none_of_the_words_that_the_house_avoids() -> None:
    paths = sources()
    wrong = [
        f"{path.relative_to(ROOT)}:{line}: {words!r}: write {instead}"
        for path in paths
        for line, text in messages(path.read_text(encoding="utf-8"))
        for _, words, instead in prose.avoided(text)
    ]
    assert wrong == []
    assert len(paths) > 300


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
    found = messages(
        '"""Nobody counts a docstring."""\nraise Wrong(f"{name}: nobody holds it")\nSQL = "SELECT ttl FROM lease"'
    )
    assert found == [(2, "x: nobody holds it")]
