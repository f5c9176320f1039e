"""The suite finds what is broken, by the rule that is meant to find it, and finds nothing in what isn't."""

from __future__ import annotations

import pytest

from leasehold.conformance import RuleBroken, StoreConformance
from leasehold.conformance.rules import Rule, catalogue
from leasehold.conformance.world import World

from .mutants import MUTANTS, Faithful, installed

RULES = {rule.id: rule for rule in catalogue(StoreConformance).values()}


def run(rule: Rule, url: str) -> None:
    with World(url, rule) as world:
        rule.function(StoreConformance(), world)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_a_broken_store_is_found_by_the_intended_rule(mutant):
    rule = RULES[mutant.rule]
    with installed(mutant) as url, pytest.raises(RuleBroken) as caught:
        run(rule, url)
    message = str(caught.value)
    for part in (rule.id, rule.promise, "did:", "expected:", "seen:"):
        assert part in message


@pytest.mark.parametrize("name", sorted({mutant.rule for mutant in MUTANTS}))
def test_the_wrapper_alone_breaks_nothing(name):
    with installed(Faithful) as url:
        run(RULES[name], url)
