"""A small part of what `tox -e outsiders` does: some of the outsider's versions, by the rules that decide on them."""

from __future__ import annotations

import pytest

from .broken import BROKEN, SOUND
from .ledger import Ledger
from .run import RULES, apart

QUICK = ("RefreshAnswersAll", "GuardBefore", "CountsRevisions", "LeaseCheckedEarly", "LikeIsPrefix", "WritesOneByOne")
"""Those whose rules take no time, one of each kind."""


@pytest.mark.parametrize("version", [each for each in BROKEN if each.__name__ in QUICK], ids=lambda each: each.__name__)
def test_a_broken_store_is_found_by_the_rules_that_decide(version):
    found = apart(version.__name__, version.rules)
    assert found["failed"] == sorted(version.rules, key=found["failed"].index), found["reasons"]


@pytest.mark.parametrize("version", SOUND[:2], ids=lambda each: each.__name__)
def test_a_right_store_is_found_by_none_of_them_however_slow(version):
    rules = sorted({rule for each in BROKEN if each.__name__ in QUICK for rule in each.rules})
    found = apart(version.__name__, rules)
    assert found["conclusion"] == "partial", found["reasons"]


def test_the_versions_are_thirty_and_name_rules_of_the_catalogue():
    assert len(BROKEN) == 30
    assert {rule for each in BROKEN for rule in each.rules} <= RULES
    for each in BROKEN:
        assert each.__doc__, each.__name__
        assert each.__doc__ != Ledger.__doc__
        assert each.rules, each.__name__
