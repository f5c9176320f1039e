"""What plugins say is worth knowing of their stores is checked by what they name, and shown on their pages."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from tenure._plugins import discovery
from tenure.conformance import StoreConformance
from tenure.conformance.harness.rule import catalogue
from tenure.spi import Caveat

TOP = Path(__file__).parents[2]
PAGES = {"tenure": TOP / "core/docs/reference/stores.md", "tenure-jsonfile": TOP / "contrib/tenure-jsonfile/README.md"}
EVIDENCE = {"tenure": TOP / "core/docs/reference/evidence.md"}
ROOTS = {"tenure": TOP, "tenure-jsonfile": TOP / "contrib/tenure-jsonfile"}
CLAIMS = [claim for claim in discovery.claims() if claim.distribution in PAGES]
NOTES = [(claim, note) for claim in CLAIMS for note in discovery.find(claim.scheme).caveats]
RULES = {rule.id for rule in catalogue(StoreConformance).values()}


@pytest.fixture(scope="module")
def tables() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_tables", TOP / "core/docs/make_tables.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def exists(name: str, root: Path) -> bool:
    """Whether this is a rule of the suite, or a test in a file below ``root``."""
    file, separator, test = name.partition("::")
    if not separator:
        return name in RULES
    if not (root / file).is_file():
        return False
    defined = ast.walk(ast.parse((root / file).read_text()))
    return any(isinstance(node, ast.FunctionDef) and node.name == test for node in defined)


@pytest.mark.parametrize(("claim", "note"), NOTES, ids=[f"{claim.scheme}: {note.title}" for claim, note in NOTES])
def test_each_note_is_checked_by_what_it_names(claim: discovery.Claim, note: Caveat) -> None:
    assert note.verified_by
    assert [name for name in note.verified_by if not exists(name, ROOTS[claim.distribution])] == []
    assert note.title == note.title.strip().rstrip(".")
    assert note.text.endswith(".")


def test_names_of_nothing_are_found_out() -> None:
    here = "tests/docs/test_caveats.py"
    assert exists(f"{here}::test_names_of_nothing_are_found_out", TOP)
    assert not exists(f"{here}::test_that_was_renamed", TOP)
    assert not exists("tests/docs/gone.py::test_names_of_nothing_are_found_out", TOP)
    assert not exists("leases.that_was_renamed", TOP)


@pytest.mark.parametrize("claim", CLAIMS, ids=[claim.scheme for claim in CLAIMS])
def test_the_stores_page_has_its_notes(tables: ModuleType, claim: discovery.Claim) -> None:
    path = PAGES[claim.distribution]
    page, plugin = path.read_text(), discovery.find(claim.scheme)
    assert plugin.caveats
    how = f"python core/docs/make_tables.py --page={path} brings it up to date"
    assert tables.notes_list(plugin) in page, how
    assert tables.options_table(plugin) in page
    evidence = EVIDENCE.get(claim.distribution, path)
    assert tables.evidence_table(plugin, evidence) in evidence.read_text(), how
