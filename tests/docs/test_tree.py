"""The tree on the page about writing a backend is what `tenure new-backend` writes."""

from __future__ import annotations

import re
from pathlib import Path

from tenure.cli.scaffold.plan import plan

PAGE = Path(__file__).parents[2] / "core/docs/how-to/write-a-backend.md"


def paths(tree: str) -> set[str]:
    """The files of a drawn tree: folders end with a slash, four columns are a level."""
    found: set[str] = set()
    folders: list[str] = []
    for line in tree.splitlines():
        match = re.match(r"((?:│   |    )*)(?:├── |└── )(\S+)", line)
        if match is None:
            continue
        level = len(match[1]) // 4
        folders[level:] = []
        if match[2].endswith("/"):
            folders.append(match[2])
        else:
            found.add("".join(folders) + match[2])
    return found


def test_the_tree_on_the_page_is_what_is_written() -> None:
    (tree,) = re.findall(r"```text\n(tenure-pocket/\n.*?)```", PAGE.read_text(), re.DOTALL)
    # Under another name: the page itself is run in the same process, and what it installs is taken then.
    assert {path.replace("pocket", "satchel") for path in paths(tree)} == set(
        plan("satchel", scheme=None, url_form="name").files
    )
