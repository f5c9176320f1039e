"""The quick proof: each broken store is found by the rules that are meant to find it, and a sound one by none.

The whole one, with all rules of each mutant's area, is ``tox -e mutants``: the program beside this file.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tenure.conformance.runner.runner import all_rules

from .mutants import CONTROLS, HARNESS, MUTANTS, STAYING, area_of, defect_of
from .mutants.results import Matrix
from .mutants.run_one import Finding, Job, Kind
from .run_mutants import unknown

PROGRAM = Path(__file__).with_name("run_mutants.py")
RULES = {rule.id: rule for rule in all_rules()}


@pytest.fixture(scope="session")
def proof(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the program found with the intended rules alone, in processes of its own."""
    file = tmp_path_factory.mktemp("mutants") / "mutants.json"
    command = [sys.executable, str(PROGRAM), "--intended", "--json", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1_200, check=False)
    assert file.exists(), done.stdout + done.stderr
    found: dict[str, Any] = json.loads(file.read_text())
    assert (done.returncode == 0) == (not found["problems"]), done.stdout + done.stderr
    return found


def test_a_name_that_is_not_tried_is_told_at_once() -> None:
    assert unknown(["kv", "LostUpdate"]) == []
    (nothing,) = unknown(["kw"])
    assert "no mutant 'kw' and no such area; the areas are " in nothing
    # A class that wraps every call is in the folder, and none of those that are tried.
    (left_out,) = unknown(["Breakable"])
    assert left_out == "Breakable isn't tried: add it to MUTANTS at the end of mutants/base.py"


def test_the_message_of_a_rule_that_kills_is_shown() -> None:
    job = Job(MUTANTS[0], ())
    found = {"kv.one": Kind.BROKEN, "kv.two": Kind.PASSED, "kv.three": Kind.ERROR}
    job.findings = {rule: Finding(rule, kind, f"about {rule}\nseen: nothing", 0.1) for rule, kind in found.items()}
    name = job.mutant.__name__
    assert Matrix([], [job], []).messages(job).splitlines() == [
        *(f"{name}: kv.one (broken) says:", "    about kv.one", "    seen: nothing"),
        *(f"{name}: kv.three (error) says:", "    about kv.three", "    seen: nothing"),
    ]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_a_broken_store_is_found_by_the_intended_rules(mutant, proof):
    (found,) = (each for each in proof["mutants"] if each["name"] == mutant.__name__)
    for rule in mutant.rules:
        finding = found["findings"][rule]
        assert finding["kind"] == "broken", finding
        for part in (rule, RULES[rule].guarantee, "did:", "expected:", "seen:"):
            assert part in finding["reason"]


@pytest.mark.parametrize("control", CONTROLS, ids=lambda control: control.__name__)
def test_a_sound_store_is_found_by_none(control, proof):
    (found,) = (each for each in proof["controls"] if each["name"] == control.__name__)
    bad = [each for each in found["findings"].values() if each["kind"] not in ("passed", "not_supported")]
    assert found["findings"]
    assert bad == []


@pytest.mark.parametrize("mutant", HARNESS, ids=lambda mutant: mutant.__name__)
def test_a_mutant_of_the_harness_ends_as_it_has_to(mutant, proof):
    (found,) = (each for each in proof["harness"] if each["name"] == mutant.__name__)
    assert found["conclusion"] == mutant.expected
    assert [problem for problem in proof["problems"] if problem.startswith(mutant.__name__)] == []


def test_mutants_say_what_is_broken_and_who_has_to_find_it():
    assert len(MUTANTS) >= 40
    assert len({mutant.__name__.lower() for mutant in MUTANTS}) == len(MUTANTS)
    for mutant in MUTANTS:
        assert defect_of(mutant) != defect_of(mutant.__mro__[1]), f"{mutant.__name__} doesn't say what is broken"
        assert defect_of(mutant).endswith("."), mutant.__name__
        assert set(mutant.rules) <= set(RULES), mutant.__name__
        assert {RULES[rule].area for rule in mutant.rules} == {area_of(mutant)}, mutant.__name__


def test_every_area_of_the_catalogue_has_mutants():
    proven = {area_of(mutant) for mutant in MUTANTS} | {rule.partition(".")[0] for rule in STAYING}
    assert {rule.area for rule in RULES.values()} - proven == set()
