"""The pages for those who know another library name each of its public calls, and name only what Tenure has.

Public are methods and properties, options of constructors, and exceptions. ``peer_names.py`` collects them.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

import tenure
from tenure import registry, testing

sys.path.insert(0, str(Path(__file__).parent))

import peer_names

FOLDER = Path(__file__).parents[2] / "core/docs/coming-from"
PAGES = sorted(path for path in FOLDER.glob("*.md") if path.stem not in ("index", "comparison"))
_ROW = re.compile(r"^\| (.+?) \| (.*?) \| (.*?) ?\|$", re.MULTILINE)
_NAME = re.compile(r"`([\w.]+(?:\(\w+=\))?)`")


def rows(name: str) -> list[tuple[list[str], list[str], str]]:
    """Each row of the page's tables: their names, ours, and what is different."""
    text = (FOLDER / f"{name}.md").read_text(encoding="utf-8")
    found = [(_NAME.findall(theirs), _NAME.findall(ours), why) for theirs, ours, why in _ROW.findall(text)]
    return [row for row in found if row[0]]


@pytest.mark.parametrize("name", peer_names.PEERS)
def test_every_public_name_of_the_library_is_in_the_table(name: str) -> None:
    names = peer_names.PEERS[name]()
    there = [theirs for row in rows(name) for theirs in row[0]]
    assert sorted(names.must - set(there)) == [], "these are missing"
    assert sorted(set(there) - names.must - names.may) == [], "the library has no such names"
    assert sorted({each for each in there if there.count(each) > 1}) == [], "these are there twice"


def test_the_kept_list_of_tooz_is_of_the_version_that_the_page_names() -> None:
    version = peer_names.tooz_version().rpartition(".")[0]
    assert f"tooz {version} " in (FOLDER / "tooz.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_our_names_exist_and_a_call_without_a_counterpart_has_a_reason(page: Path) -> None:
    assert rows(page.stem)
    for theirs, ours, why in rows(page.stem):
        assert ours or why, f"{theirs}: give a reason"
        for name in ours:
            first, *rest = name.split(".")
            found = next((getattr(home, first) for home in (tenure, registry, testing) if hasattr(home, first)), None)
            assert found is not None, name
            for part in rest:
                assert hasattr(found, part) or part in getattr(found, "__annotations__", {}), name
                found = getattr(found, part, None)


def test_the_comparison_has_a_date_on_every_page() -> None:
    assert re.search(r"^As of \w+ 20\d\d\.", (FOLDER / "comparison.md").read_text("utf-8"), re.MULTILINE)
    for page in PAGES:
        assert re.search(r"^## What .+ better\n\nAs of \w+ 20\d\d:\n", page.read_text("utf-8"), re.MULTILINE), page.name
