"""The page on conformance shows what each store keeps of every rule that there is today, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tenure._plugins import discovery
from tenure.conformance.report.matrix import BEGIN, END
from tenure.conformance.runner.runner import all_rules

PAGE = Path(__file__).parents[2] / "core/docs/reference/conformance.md"
HOW = "python tests/conformance/run_matrix.py --into core/docs/reference/conformance.md brings the page up to date"
OUTSIDERS = ("postgresql",)
"""Stores of other distributions that have a column."""


@pytest.fixture(scope="module")
def matrix() -> str:
    return PAGE.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0]


def test_the_matrix_has_each_rule_of_the_catalogue(matrix: str) -> None:
    assert re.findall(r"^\| `(\S+)` \|", matrix, re.MULTILINE) == [rule.id for rule in all_rules()], HOW


def test_the_matrix_has_each_store_and_all_of_them_are_conformant(matrix: str) -> None:
    head, _, conclusion = (line.strip("| ").split(" | ") for line in matrix.splitlines()[:3])
    ours = [claim.scheme for claim in discovery.claims() if claim.distribution == "tenure"]
    assert sorted(head) == sorted([*ours, *OUTSIDERS]), HOW
    assert conclusion == ["conclusion", *("✓ conformant" for _ in head)], HOW
    assert not re.search(r"[✗!?]", matrix), HOW
