"""The project's own claims are what the index and the table of supported versions show."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tenure.conformance.claims import badge, claim, index

DOCS = Path(__file__).parents[2] / "core/docs"
sys.path.insert(0, str(DOCS))

from site_parts import support  # noqa: E402 - its folder was put on the path above

CLAIMS = sorted((DOCS / "claims").glob("*.json"))
HOW = "python tests/conformance/run_matrix.py --claims core/docs/claims brings claims, badges and index up to date"


@pytest.mark.parametrize("path", CLAIMS, ids=lambda path: path.stem)
def test_a_claim_is_of_a_conformant_run_and_has_its_badge(path: Path) -> None:
    made = claim.parsed(path.read_bytes(), str(path))
    assert made["store"]["scheme"] == path.stem
    assert made["level"] in ("core", "extended")
    assert path.with_suffix(".svg").read_text(encoding="utf-8") == badge.badge(made), HOW


def test_the_index_has_every_claim() -> None:
    page = (DOCS / "reference/claims.md").read_text(encoding="utf-8")
    made = [claim.parsed(path.read_bytes(), str(path)) for path in CLAIMS]
    assert made
    assert index.into(page, made) == page, HOW


def test_the_table_of_supported_versions_has_every_claim() -> None:
    table = support.reference()
    for scheme, made in support.claims().items():
        (row,) = [line for line in table.splitlines() if line.startswith(f"| {scheme} |")]
        assert f"| {made['level']} | {made['numbers']['pass']} of {made['numbers']['catalogue']}, " in row
    assert len({line.count("|") for line in table.splitlines()}) == 1
