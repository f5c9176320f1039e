"""Comparing reports, levels, claims, badges and the index: what follows from a report, and what is refused."""

from __future__ import annotations

import copy
import json
import xml.etree.ElementTree as ET
from typing import Any

import pytest

from tenure.conformance.claims import index
from tenure.conformance.claims.badge import badge
from tenure.conformance.claims.claim import claim, differences, parsed, written
from tenure.conformance.claims.level import Level, catalogue_version, level_of, level_of_rule
from tenure.conformance.report.compare import NOT_IN_CATALOGUE, NOT_RUN, Change, compare
from tenure.conformance.report.document import described, document
from tenure.conformance.runner.runner import Plan, all_rules, run
from tenure.errors import ConfigError

KEPT, FAULT, BEYOND = "kv.a_written_value_is_read_back", "restarts.lose_no_acknowledged_write", "faults.a_full_disk_*"
WORDS = {"contact": "A. Author <a@example.org>", "mode": "one process", "reproduce": "tenure conformance memory://x"}


@pytest.fixture(scope="module")
def small() -> dict[str, Any]:
    """A real report of three rules, as if they were the whole catalogue."""
    made = json.loads(json.dumps(document(run(Plan(url="memory://claims", rules=(KEPT, FAULT, BEYOND))))))
    made["suite"]["catalogue"] = [rule["id"] for rule in made["rules"]]
    made["conclusion"] = "conformant"
    return dict(made)


@pytest.fixture
def report(small: dict[str, Any]) -> dict[str, Any]:
    return copy.deepcopy(small)


def rule(report: dict[str, Any], name: str) -> dict[str, Any]:
    return next(each for each in report["rules"] if each["id"].startswith(name.rstrip("*")))


def test_a_report_is_like_itself(report):
    found = compare(report, report)
    assert (found.differences, found.settings, found.worse, found.same) == ((), (), 0, 3)


@pytest.mark.parametrize(
    ("before", "after", "change"),
    [
        ("pass", "fail", Change.WORSE),
        ("pass", "not_supported", Change.WORSE),
        ("pass", "unknown", Change.WORSE),
        ("not_supported", "fail", Change.WORSE),
        ("fail", "pass", Change.BETTER),
        ("fail", "inconclusive", Change.BETTER),
        ("inconclusive", "pass", Change.BETTER),
        ("inconclusive", "not_supported", Change.OTHER),
    ],
)
def test_each_change_of_a_verdict_is_worse_better_or_neither(report, before, after, change):
    other = copy.deepcopy(report)
    rule(report, KEPT)["verdict"], rule(other, KEPT)["verdict"] = before, after
    (found,) = compare(report, other).differences
    assert (found.rule, found.first, found.second, found.change) == (KEPT, before, after, change)


def test_a_rule_that_was_left_out_is_worse_and_one_of_a_newer_suite_is_neither(report):
    shorter, older = copy.deepcopy(report), copy.deepcopy(report)
    shorter["rules"].remove(rule(shorter, KEPT))
    older["rules"].remove(rule(older, KEPT))
    older["suite"]["catalogue"].remove(KEPT)
    (left_out,), (newer,) = compare(report, shorter).differences, compare(older, report).differences
    assert (left_out.second, left_out.change) == (NOT_RUN, Change.WORSE)
    assert (newer.first, newer.change) == (NOT_IN_CATALOGUE, Change.OTHER)


def test_what_may_explain_a_difference_is_named(report):
    other = copy.deepcopy(report)
    other["store"]["version"], other["capabilities"]["durable"] = "9.9", True
    other["controls"]["network"] = True
    names = {name for name, _, _ in compare(report, other).settings}
    assert names == {"server", "durable", "controls"}


def test_the_level_follows_from_what_was_tried(report):
    assert rule(report, FAULT)["verdict"] == "not_supported"
    assert level_of(report) is Level.EXTENDED  # memory doesn't declare that it is durable, so it need not be killed
    report["capabilities"]["durable"] = True
    assert level_of(report) is Level.CORE  # it does, and nobody killed it
    rule(report, FAULT)["verdict"] = "pass"
    assert level_of(report) is Level.EXTENDED  # a disk that is full belongs to no level
    report["conclusion"] = "partial"
    assert level_of(report) is Level.NONE


def test_every_level_has_rules_and_the_levels_are_by_controls_alone():
    by_level: dict[Level, list[str]] = {level: [] for level in Level}
    for each in all_rules():
        by_level[level_of_rule(each)].append(each.id)
        assert (level_of_rule(each) is Level.CORE) == (not each.required_controls), described(each)
    assert all(by_level.values())


def test_the_version_of_a_catalogue_changes_with_its_rules():
    ids = [each.id for each in all_rules()]
    version = catalogue_version("0.1.0", ids)
    assert version.startswith(f"0.1.0/{len(ids)}.")
    assert catalogue_version("0.1.0", ids) == version
    assert len({version, catalogue_version("0.1.0", [*ids[1:], "kv.x"]), catalogue_version("0.2.0", ids)}) == 3


def test_a_claim_is_of_its_report_and_of_no_other(report):
    made = parsed(written(claim(report, **WORDS)), "x.json")
    assert differences(made, report) == []
    assert made["report"] == report["digest"]
    other = copy.deepcopy(report)
    other["digest"], other["conclusion"] = "sha256:0", "not_conformant"
    told = " ".join(differences(made, other))
    assert "report" in told
    assert "level" in told


@pytest.mark.parametrize("word", sorted(WORDS))
def test_a_claim_without_one_who_answers_for_it_is_refused(report, word):
    with pytest.raises(ConfigError, match=f"no {word} given; pass --{word} TEXT"):
        claim(report, **{**WORDS, word: " "})


@pytest.mark.parametrize("content", ["no json", "[1]", "{}", '{"format": "tenure-conformance-claim/1"}'])
def test_what_is_no_claim_is_told(content):
    with pytest.raises(ConfigError, match=r"reading x\.json: it is no"):
        parsed(content, "x.json")


def test_a_badge_says_level_and_server_and_loads_nothing(report):
    made = claim(report, **WORDS)
    made["store"]["product"] = '<script>"&'
    drawn = badge(made)
    root = ET.fromstring(drawn)
    told = "".join(root.itertext())
    assert 'extended: <script>"&' in told
    assert made["catalogue"] in root.attrib["aria-label"]
    assert "<script" not in drawn
    assert "http" not in drawn.replace('xmlns="http://www.w3.org/2000/svg"', "")
    made["level"], made["conclusion"] = "none", "not_conformant"
    assert "not conformant: " in "".join(ET.fromstring(badge(made)).itertext())


def test_the_index_has_a_line_for_each_claim_and_how_to_repeat_it(report):
    made = claim(report, **{**WORDS, "mode": "a|b"})
    page = index.into(f"above\n{index.BEGIN}old\n{index.END}below\n", [made, made])
    assert page.count(f"`{WORDS['reproduce']}`") == 2
    assert "a\\|b" in page
    assert "old" not in page
    assert index.into(page, [made, made]) == page
    with pytest.raises(ConfigError, match="no place for them"):
        index.into("nothing", [made])
