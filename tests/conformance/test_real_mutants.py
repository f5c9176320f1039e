"""The patches of the real mutants fit today's tree, and name rules and tests that there are.

The proof itself takes servers and time: ``tox -e mutants-real``, the program ``run_real_mutants.py`` beside this file.
"""

from __future__ import annotations

from collections import Counter
from fnmatch import fnmatchcase

import pytest

from tenure.conformance.runner.runner import all_rules

from .real_mutants import REAL_MUTANTS, ROOT, Kind
from .real_mutants.score import Score, into_page
from .run_real_mutants import scores

RULES = [rule.id for rule in all_rules()]


@pytest.mark.parametrize("mutant", REAL_MUTANTS, ids=lambda mutant: mutant.id)
def test_a_patch_fits_once_and_leaves_a_program(mutant):
    assert mutant.occurrences() == 1, f"{mutant.file}: the text of {mutant.id} has to stand there once"
    patched = mutant.patched()
    assert patched != (ROOT / mutant.file).read_text()
    if mutant.file.endswith(".py"):
        compile(patched, mutant.file, "exec")


@pytest.mark.parametrize("mutant", REAL_MUTANTS, ids=lambda mutant: mutant.id)
def test_it_says_what_is_wrong_and_who_has_to_find_it(mutant):
    assert mutant.wrong.endswith(".")
    for pattern in mutant.rules:
        assert any(fnmatchcase(rule, pattern) for rule in RULES), f"there is no rule {pattern}"
    assert mutant.rules or mutant.unnoticeable
    assert mutant.tests
    for test in mutant.tests:
        file, _, name = test.partition("::")
        assert f"def {name.partition('[')[0]}" in (ROOT / file).read_text(), f"there is no test {test}"


def test_there_are_many_of_each_store_and_of_each_kind():
    assert len({mutant.id for mutant in REAL_MUTANTS}) == len(REAL_MUTANTS) >= 60
    stores = Counter(mutant.store for mutant in REAL_MUTANTS)
    assert all(stores[store] >= 12 for store in ("etcd", "redis", "zookeeper", "consul", "postgresql", "core"))
    assert stores["memory"] >= 5
    assert stores["sqlite"] >= 5
    assert {mutant.kind for mutant in REAL_MUTANTS} == set(Kind)


def test_the_page_shows_the_scores_that_are_kept():
    page = (ROOT / "core/docs/reference/conformance.md").read_text()
    shown = into_page(page, scores(Score.read(ROOT / "tests/conformance/real_mutants/results.json")))
    assert shown == page, (
        "python tests/conformance/run_real_mutants.py --json tests/conformance/real_mutants/results.json "
        "--into core/docs/reference/conformance.md brings the page up to date"
    )
