"""Programs as users write them, checked by ``mypy --strict`` against the installed package.

A comment ``# reveals: TYPE`` says what ``reveal_type`` on that line has to answer, ``# error: CODE`` which complaint is
wanted on that line. Everything else that mypy says about the examples is a failure.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest

api = pytest.importorskip("mypy.api", reason="mypy is installed in tox's environment 'types'")

EXAMPLES = Path(__file__).parent / "examples"
Finding = tuple[str, int, str, str]  # file, line, "reveals" or "error", what


def wanted() -> set[Finding]:
    found: set[Finding] = set()
    for path in EXAMPLES.glob("*.py"):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            for kind, what in re.findall(r"# (reveals|error): (.+?)\s*$", line):
                found.add((path.name, number, kind, what))
    return found


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> str:
    # Away from the tree and its settings: what is installed counts, as for a user.
    folder = tmp_path_factory.mktemp("typing")
    before = Path.cwd()
    os.chdir(folder)
    try:
        out, err, _ = api.run(
            [
                "--strict",
                "--config-file=",
                f"--cache-dir={folder}",
                f"--python-executable={sys.executable}",
                "--hide-error-context",
                *(str(path) for path in sorted(EXAMPLES.glob("*.py"))),
            ]
        )
    finally:
        os.chdir(before)
    assert not err, err
    return str(out)


def test_mypy_says_what_the_examples_expect(said: str) -> None:
    got: set[Finding] = set()
    others: list[str] = []
    for line in said.splitlines():
        if match := re.match(r'(.+?):(\d+): note: Revealed type is "(.+)"', line):
            got.add((Path(match[1]).name, int(match[2]), "reveals", match[3]))
        elif match := re.match(r"(.+?):(\d+): error: .*\[([\w-]+)\]", line):
            got.add((Path(match[1]).name, int(match[2]), "error", match[3]))
        elif not line.startswith(("Found ", "Success")) and ": note: " not in line:
            others.append(line)
    assert others == []
    assert got - wanted() == set(), said
    assert wanted() - got == set(), said


def test_there_is_something_to_check() -> None:
    kinds = [kind for _, _, kind, _ in wanted()]
    assert kinds.count("reveals") >= 20
    assert kinds.count("error") >= 4
