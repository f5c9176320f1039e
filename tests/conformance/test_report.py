"""The report: what is in it and what never is, and that verifying it finds whatever was changed."""

from __future__ import annotations

import copy
import itertools
import json
import re
import uuid
from typing import Any

import pytest

from tenure.conformance.harness.verdicts import Conclusion
from tenure.conformance.report import matrix, schema
from tenure.conformance.report.digest import digest_of
from tenure.conformance.report.document import document
from tenure.conformance.report.page import page
from tenure.conformance.report.redact import HIDDEN, Redactor, secrets_of
from tenure.conformance.report.verify import Verified, verify
from tenure.conformance.runner.runner import Plan, all_rules, run
from tenure.errors import Unavailable
from tenure.spi import ReadResult

from .mutants import Faithful, installed

RULES = ("kv.a_written_value_is_read_back", "kv.revisions_only_grow", "restarts.lose_no_acknowledged_write")
HISTORY = {"start": 0, "acknowledged": 3, "unknown": 1, "final": 3}


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    """A small run, as it is read back from its file."""
    found = run(Plan(url=f"memory://{uuid.uuid4().hex}", rules=RULES))
    kept = next(result for result in found.results if result.rule.id == RULES[0])
    assert kept.evidence is not None
    assert kept.evidence.check("counter", HISTORY) == []
    with kept.evidence.fault("cut") as window:
        window.effects, window.what = 2, "connections"
    kept.evidence.delivered("resync", 3)
    return dict(json.loads(json.dumps(document(found))))


@pytest.fixture
def edited(report: dict[str, Any]) -> dict[str, Any]:
    """A copy to be changed."""
    return copy.deepcopy(report)


def verified(report: dict[str, Any], *, renew_digest: bool = False) -> Verified:
    if renew_digest:
        report["digest"] = digest_of(report)
    return verify(report, all_rules())


def rule_of(report: dict[str, Any], name: str = RULES[0]) -> Any:
    return next(rule for rule in report["rules"] if rule["id"] == name)


def test_a_report_fits_its_schema_and_verifies(report):
    assert schema.problems(report) == []
    found = verified(report)
    assert found.problems == []
    assert found.notes == []
    assert found.conclusion is Conclusion.PARTIAL
    assert found.histories == 1
    assert found.exit_code == 0


def test_a_report_says_what_was_done(report):
    rule = rule_of(report)
    assert rule["verdict"] == "pass"
    assert rule["counts"]["commit"] >= 1
    assert rule["latencies"]["commit"]["count"] == rule["counts"]["commit"]
    assert len(rule["operations"]) == sum(rule["latencies"][name]["count"] for name in rule["latencies"])
    assert rule["batches"]
    assert report["numbers"]["not_supported"] == 1
    assert report["environment"]["plugin"]["distribution"] == "tenure"
    assert report["capabilities"]["durable"] is False


def test_the_schema_is_one_and_describes_everything(report):
    from jsonschema import Draft202012Validator

    Draft202012Validator.check_schema(schema.schema())
    assert set(schema.schema()["properties"]) == set(report)
    assert schema.problems({"format": "something else"})


@pytest.mark.parametrize(
    "change",
    [
        lambda report: report.update(conclusion="conformant"),
        lambda report: report["run"].update(seed=1),
        lambda report: rule_of(report).update(seconds=0.5),
        lambda report: rule_of(report)["histories"].clear(),
        lambda report: report["rules"].pop(),
    ],
)
def test_an_edit_by_hand_is_caught(edited, change):
    change(edited)
    found = verified(edited)
    assert "the digest is wrong" in found.problems[0]
    assert found.exit_code == 2


def _verdict(report: dict[str, Any], name: str, verdict: str) -> None:
    rule = rule_of(report, name)
    report["numbers"][rule["verdict"]] -= 1
    report["numbers"][verdict] += 1
    rule["verdict"] = verdict


FORGERIES = {
    "a conclusion that doesn't follow": (
        lambda r: r.update(conclusion="conformant"),
        "the verdicts lead to partial",
    ),
    "numbers that don't add up": (lambda r: r["numbers"].update({"pass": 99}), "the numbers don't add up"),
    "a rule that isn't there": (lambda r: r["suite"]["catalogue"].remove(RULES[1]), "lacks kv.revisions_only_grow"),
    "a weaker guarantee": (lambda r: rule_of(r).update(guarantee="Nothing."), "isn't described as in this suite"),
    "a history that is wrong": (
        lambda r: rule_of(r)["histories"][0]["data"].update(final=99),
        "checked again by counter it has 1 problem",
    ),
    "a history of nonsense": (lambda r: rule_of(r)["histories"][0].update(data={}), "it can't be checked"),
    "a checker there isn't": (lambda r: rule_of(r)["histories"][0].update(checker="kind"), "no such checker: 'kind'"),
    "a fault that did nothing": (lambda r: rule_of(r)["windows"][0].update(effects=0), "the fault cut had no effect"),
    "a failure that becomes unsupported": (
        lambda r: (_verdict(r, RULES[1], "not_supported"), rule_of(r, RULES[1]).update(reason="x", executed=False)),
        "counts as not supported, but",
    ),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forgery_that_was_sealed_again_is_caught_where_it_contradicts_itself(edited, name):
    change, words = FORGERIES[name]
    change(edited)
    found = verified(edited, renew_digest=True)
    assert words in " ".join(found.problems)
    assert found.exit_code == 2


def test_a_kept_rule_with_a_bad_history_is_caught(edited):
    history = rule_of(edited)["histories"][0]
    history["data"]["final"] = 99
    history["problems"] = verified(copy.deepcopy(edited), renew_digest=True).problems and _problems(history)
    assert "but the rule counts as kept" in " ".join(verified(edited, renew_digest=True).problems)


def _problems(history: dict[str, Any]) -> list[str]:
    from tenure.conformance.checkers import by_name

    return by_name.check(history["checker"], history["data"])


def test_a_report_of_another_version_is_judged_by_its_own_catalogue_and_says_so(edited):
    edited["suite"]["version"] = "99.0"
    found = verified(edited, renew_digest=True)
    assert found.problems == []
    assert "by version 99.0 of the suite" in found.notes[0]


@pytest.mark.parametrize("value", [None, [], "text", {}, {"format": 1}])
def test_what_is_no_report_is_told(value):
    found = judged_any(value)
    assert found.problems[0].startswith("not a report: ")
    assert found.exit_code == 2


def judged_any(value: object) -> Verified:
    return verify(value, all_rules())


def test_a_history_too_large_to_keep_is_told(edited):
    rule_of(edited)["histories"][0]["data"] = None
    found = verified(edited, renew_digest=True)
    assert found.problems == []
    assert "too large to keep" in found.notes[0]


# -- secrets --

PASSWORD = "p@ss/w:rd"
TOKEN = "t0ken-4711"


class Leaky(Faithful):
    """Tells its password in an error of its own, and in one that no plugin should let through."""

    url = ""
    calls = itertools.count()

    def get(self, key: str, *, timeout: float) -> ReadResult:
        text = f"no answer from {self.url}, logged in with {PASSWORD}, sent X-Token: {TOKEN}"
        raise Unavailable(text) if next(self.calls) % 2 else RuntimeError(text)


def test_no_secret_gets_into_a_report_or_its_page(monkeypatch):
    with installed(Leaky) as bare:
        scheme = bare.partition(":")[0]
        url = _with_secrets(monkeypatch, scheme)
        Leaky.url = url
        found = run(Plan(url=url, rules=("kv.*", "namespaces.*")))
        made = document(found)
    assert found.conclusion is Conclusion.NOT_CONFORMANT
    whole = json.dumps(made) + page(made) + matrix.markdown([made]) + matrix.html([made])
    for secret in (PASSWORD, TOKEN, "p%40ss", "p@ss", "w:rd", "-4711"):
        assert secret not in whole
    assert HIDDEN in whole
    assert verified(json.loads(json.dumps(made))).problems == []


def _with_secrets(monkeypatch: pytest.MonkeyPatch, scheme: str) -> str:
    """The mutant's plugin takes a password and a token, too."""
    from dataclasses import replace

    from tenure._plugins import discovery
    from tenure.spi import Option, UrlForm

    found = discovery.find(scheme)
    token = Option("token", str, None, "a token", secret=True)
    changed = replace(found, accepts_credentials=True, options=(token,), url_form=UrlForm.HOSTS, default_port=1)
    monkeypatch.setitem(discovery._found, scheme, changed)
    return f"{scheme}://user:p%40ss%2Fw%3Ard@127.0.0.1:1?token={TOKEN}"


def test_a_short_password_is_hidden_where_it_stands_alone():
    redactor = Redactor(["ab"])
    assert redactor.text("about ab, (ab) and cab") == f"about {HIDDEN}, ({HIDDEN}) and cab"


@pytest.mark.parametrize("password", ["tenure", "memory", "executed", "final", "commit", "durable", "kv", "quick"])
def test_a_password_that_is_a_word_of_the_report_leaves_it_whole(report, password):
    hidden = Redactor([password]).document({**report, "notes": [f"it said {password}"]})
    hidden["digest"] = digest_of(hidden)
    assert hidden["notes"] == [f"it said {HIDDEN}"]
    assert rule_of(hidden, RULES[2])["reason"] == rule_of(report, RULES[2])["reason"]
    assert verified(hidden).problems == []


def test_names_that_the_server_gave_are_redacted():
    found = Redactor(["geheim"]).document({"store": {"details": {"key geheim": "geheim"}}})
    assert found == {"store": {"details": {f"key {HIDDEN}": HIDDEN}}}


def test_secrets_of_a_url_that_nobody_knows_are_everything_that_could_be_one():
    assert set(secrets_of("nowhere://u:pw%20d@h?token=abc")) >= {"pw%20d", "pw d", "abc"}


# -- the page --


def test_the_page_is_whole_and_loads_nothing(report):
    drawn = page(report)
    assert drawn.startswith("<!doctype html>")
    assert not re.findall(r"(?:src|href)=[\"']?(?:https?:)?//", drawn)
    assert "@import" not in drawn
    assert "url(" not in drawn
    for rule in report["rules"]:
        assert f'id="{rule["id"]}"' in drawn
        assert rule["guarantee"].split("'")[0][:20] in drawn
    assert "<svg" in drawn
    assert "connections" in drawn


def test_text_from_a_store_is_never_markup(edited):
    evil = "<script>alert('x')</script><img src=x onerror=\"y\">"
    edited["store"].update(product=evil, details={evil: evil}, warnings=[evil])
    edited["notes"] = [evil]
    rule = rule_of(edited)
    rule.update(reason=evil, traceback=evil, verdict="fail")
    rule["windows"][0].update(fault=evil, what=evil)
    rule["histories"][0]["problems"] = [evil]
    drawn = page(edited) + matrix.html([edited])
    assert "<script>alert" not in drawn
    assert "<img" not in drawn
    assert "&lt;script&gt;" in drawn


def test_every_element_of_the_page_is_closed(report):
    from html.parser import HTMLParser

    open_ones: list[str] = []

    class Parser(HTMLParser):
        def handle_starttag(self, tag: str, attrs: object) -> None:
            if tag not in ("meta", "br"):
                open_ones.append(tag)

        def handle_endtag(self, tag: str) -> None:
            assert open_ones.pop() == tag

        def handle_startendtag(self, tag: str, attrs: object) -> None: ...

    for drawn in (page(report), matrix.html([report, report])):
        Parser().feed(drawn)
        assert open_ones == []


def test_stores_stand_side_by_side(report):
    other = copy.deepcopy(report)
    other["store"]["scheme"] = "other"
    lines = matrix.markdown([report, other]).splitlines()
    assert lines[0] == "|  | memory | other |"
    cells = {line.split(" | ")[0].strip("| "): line for line in lines}
    assert "kv" in cells
    assert "\u2713 2" in cells["kv"]
    assert len({line.count("|") for line in lines}) == 1
