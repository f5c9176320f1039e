"""Changelog fragments have names that the release tool understands, and texts that can move to another folder.

`tox -e lint` renders them with the tool itself.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

TOP = Path(__file__).parents[2]
SETTINGS = tomllib.loads((TOP / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["towncrier"]
FOLDER = TOP / SETTINGS["directory"]
README = FOLDER / "README.md"
TYPES = [each["directory"] for each in SETTINGS["type"]]
FRAGMENTS = sorted(path for path in FOLDER.iterdir() if path != README)


def test_the_readme_explains_every_type() -> None:
    assert re.findall(r"^\| `(\w+)` \|", README.read_text(encoding="utf-8"), re.MULTILINE) == TYPES


def test_the_changelog_has_the_place_for_releases() -> None:
    changelog = (TOP / SETTINGS["filename"]).read_text(encoding="utf-8")
    assert changelog.count(SETTINGS["start_string"]) == 1


@pytest.mark.parametrize("path", FRAGMENTS, ids=[path.name for path in FRAGMENTS])
def test_the_fragment_is_one_entry_of_a_known_type(path: Path) -> None:
    name = re.fullmatch(r"(?:\d+|\+[a-z0-9-]+)\.([a-z]+)\.md", path.name)
    assert name, "a fragment is named NUMBER.TYPE.md or +WORDS.TYPE.md"
    assert name[1] in TYPES
    text = path.read_text(encoding="utf-8")
    assert text.strip(), "an empty fragment becomes an entry without text"
    assert not re.search(r"^#", text, re.MULTILINE), "an entry has no headings"
    links = re.findall(r"\]\(([^)\s]+)\)", text)
    assert [link for link in links if "://" not in link] == [], "relative links break when the text moves"
