"""The map in CONTRIBUTING.md has every folder, and nothing that isn't there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TOP = Path(__file__).parents[2]
MAP = (TOP / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("## Map of the tree")[2].partition("\n## ")[0]
PATHS = re.findall(r"^\| `([\w./-]+)` \|", MAP, re.MULTILINE)


@pytest.mark.parametrize("path", PATHS)
def test_the_path_exists(path: str) -> None:
    assert (TOP / path).is_dir() == path.endswith("/")
    assert (TOP / path).exists()


@pytest.mark.parametrize("folder", ["core/tenure", "core/tenure/conformance", "tests"])
def test_each_folder_is_on_the_map(folder: str) -> None:
    there = {f"{folder}/{path.name}/" for path in (TOP / folder).iterdir() if any(path.glob("**/*.py"))}
    assert sorted(there - set(PATHS)) == []
