"""The glossary explains each term once, briefly, and names only what is public and exists."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "core/docs/glossary.md").read_text(encoding="utf-8")
MODULES = ("tenure", "tenure.spi", "tenure.errors", "tenure.registry", "tenure.testing", "tenure.conformance")
LONGEST = 25  # words of a sentence


def terms() -> list[tuple[str, str]]:
    """Each term with its definition on one line."""
    items = re.findall(r"^- (.+(?:\n  .+)*)", PAGE, re.MULTILINE)
    found = [re.fullmatch(r"\*\*(.+?)\*\*: (.+)", re.sub(r"\s+", " ", item)) for item in items]
    assert None not in found, "each item is: - **term**: definition."
    return [(match[1], match[2]) for match in found if match is not None]


def public(name: str) -> bool:
    """Whether a public module has ``name``, which may go on with attributes: ``Store.get``."""
    first, *rest = name.split(".")
    for module in map(importlib.import_module, MODULES):
        if first not in getattr(module, "__all__", vars(module)):
            continue
        found: object = getattr(module, first)
        for attribute in rest:
            if not hasattr(found, attribute) and attribute not in getattr(found, "__annotations__", {}):
                return False
            found = getattr(found, attribute, None)
        return True
    return False


TERMS = terms()
NAMES = sorted(set(re.findall(r"`([A-Z]\w*(?:\.\w+)*|connect)`", PAGE)))


def test_each_term_is_explained_once() -> None:
    words = [term.lower() for term, _ in TERMS]
    assert [word for word in set(words) if words.count(word) > 1] == []


@pytest.mark.parametrize(("term", "definition"), TERMS, ids=[term for term, _ in TERMS])
def test_a_definition_is_one_to_three_short_sentences(term: str, definition: str) -> None:
    assert definition.endswith(".")
    sentences = re.split(r"(?<=\.) (?=[A-Z])", definition)
    assert len(sentences) <= 3
    assert [sentence for sentence in sentences if len(sentence.split()) > LONGEST] == []


@pytest.mark.parametrize("name", NAMES)
def test_the_public_name_exists(name: str) -> None:
    assert public(name)


def test_names_of_nothing_are_found_out() -> None:
    assert public("Store.get")
    assert not public("Store.replace")
    assert not public("Committed")
