"""The suite as a product: its catalogue, its guards, its messages, what it leaves behind, how it reports."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import tenure
from tenure.conformance import RuleInconclusive, RuleViolated, ServerControls, StoreConformance
from tenure.conformance.catalogue import AllRules
from tenure.conformance.harness.assertions import Checks
from tenure.conformance.harness.context import RuleContext, in_namespace
from tenure.conformance.harness.rule import Rule, Rules, catalogue, parallel_safe, requires_capability, requires_control
from tenure.spi import Guarantee, field_notes

pytest_plugins = ["pytester"]

RULES = list(catalogue(AllRules).values())
ONE_LINE = 120


def rule(name: str) -> Rule:
    return next(each for each in RULES if each.id == name)


@pytest.mark.parametrize("each", RULES, ids=lambda each: each.id)
def test_a_rule_is_one_sentence(each):
    assert each.guarantee.endswith(".")
    assert "\n" not in (each.function.__doc__ or "").strip()
    assert len(each.guarantee) <= ONE_LINE


def test_every_area_has_rules_and_ids_are_unique():
    assert len({each.id for each in RULES}) == len(RULES) > 100
    assert {each.area for each in RULES} == {
        *("bulk", "closing", "faults", "kv", "leases", "lists", "model", "namespaces", "recipes"),
        *("registry", "restarts", "spi", "transactions", "watches"),
    }


def test_no_area_gets_in_the_way_of_another():
    owners: dict[str, list[str]] = {}
    for part in AllRules.__bases__:
        for name in vars(part):
            if not name.startswith("__") and name != "own_rules":
                owners.setdefault(name, []).append(part.__name__)
    assert {name: found for name, found in owners.items() if len(found) > 1} == {}


def test_every_promise_is_asked_for_somewhere():
    guarantees = {name for name, note in field_notes().items() if isinstance(note, Guarantee)}
    assert {name for each in RULES for name in each.required_capabilities} >= guarantees - {
        "multi_process"
    }  # takes another process


@pytest.mark.parametrize("replacement", [None, lambda self, context: None])
def test_a_rule_cannot_be_dropped_or_replaced(replacement):
    with pytest.raises(TypeError, match="missing_key"):
        type("TestMine", (StoreConformance,), {"test_kv_a_missing_key_reads_as_none": replacement})


def test_a_rule_cannot_be_replaced_by_another_base():
    class Lenient:
        def test_kv_a_missing_key_reads_as_none(self, context: RuleContext) -> None: ...

    with pytest.raises(TypeError, match="missing_key"):
        type("TestMine", (Lenient, StoreConformance), {})


def test_the_context_cannot_be_replaced():
    with pytest.raises(TypeError, match="context"):
        type("TestMine", (StoreConformance,), {"context": None})


def test_marks_name_what_exists():
    with pytest.raises(TypeError, match="guarantee"):
        requires_capability("min_ttl")
    with pytest.raises(TypeError, match="control"):
        requires_control("explode")


def test_what_injects_faults_is_not_parallel_safe():
    def test_mine_waits(self: object, context: RuleContext) -> None:
        """It waits."""

    with pytest.raises(TypeError, match="no rule can run beside it"):
        type(
            "Mine", (Rules,), {"test_mine_waits": parallel_safe(requires_control("kill")(test_mine_waits))}, area="mine"
        )


def test_a_rule_without_a_promise_is_refused():
    def test_mine_nothing(self: object, context: RuleContext) -> None: ...

    with pytest.raises(TypeError, match="docstring"):
        type("Mine", (Rules,), {"test_mine_nothing": test_mine_nothing}, area="mine")


def test_what_does_not_apply_is_told_with_its_reason():
    with tenure.connect("memory://") as store:
        capabilities = store.capabilities
    reason = rule("restarts.lose_no_acknowledged_write").skip_reason(capabilities, ServerControls())
    assert reason == "not supported: the store declares durable=False"
    reason = rule("restarts.outages_are_told_in_time").skip_reason(capabilities, ServerControls(kill=lambda: None))
    assert reason is not None
    assert "lack start" in reason
    assert rule("kv.a_written_value_is_read_back").skip_reason(capabilities, ServerControls()) is None


def test_a_message_says_what_was_promised_expected_and_seen():
    check = Checks(rule("kv.a_written_value_is_read_back"))
    with pytest.raises(RuleViolated) as caught:
        check.equal(b"seen", b"wanted", "get after put")
    assert [line.split(":")[0].strip() for line in str(caught.value).splitlines()] == [
        *("rule kv.a_written_value_is_read_back is violated", "guarantee", "did", "expected", "seen")
    ]
    with pytest.raises(RuleViolated, match="no error; it returned 3"):
        check.raises(tenure.Conflict, lambda: 3, "a call")
    with pytest.raises(RuleInconclusive, match="happened 2 times, 5 are needed"):
        check.enough(2, 5, "a write")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("memory://name", "memory://name?namespace=n"),
        ("memory://name/theirs?history=5", "memory://name?history=5&namespace=n"),
        ("memory://name?namespace=theirs&history=5", "memory://name?history=5&namespace=n"),
        ("etcd://u:p%40@h:1,i:2/theirs", "etcd://u:p%40@h:1,i:2?namespace=n"),
        ("etcd+tls://h:1/theirs?ca=/x", "etcd+tls://h:1?ca=/x&namespace=n"),
        ("sqlite:///some/file.db?namespace=theirs", "sqlite:///some/file.db?namespace=n"),
    ],
)
def test_the_suite_works_in_a_namespace_of_its_own(url, expected):
    assert in_namespace(url, "n") == expected


def test_the_model_bears_a_client_whose_threads_use_random():
    """As kazoo's does. Warnings are errors here, and Hypothesis would warn."""
    stop = threading.Event()

    def client() -> None:
        while not stop.is_set():
            random.random()

    thread = threading.Thread(target=client, daemon=True)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)  # so that something is drawn from `random` while the machine draws, too
    thread.start()
    try:
        each = rule("model.agrees_with_a_dictionary")
        with RuleContext("memory://restless", each) as context:
            each.function(StoreConformance(), context)
    finally:
        stop.set()
        thread.join()
        sys.setswitchinterval(interval)


def test_the_suite_leaves_nothing_behind():
    with tenure.connect("memory://left-behind") as mine:
        mine.put("precious", b"1")
        for each in ("namespaces.isolate", "lists.are_in_byte_order", "leases.are_refreshed_and_revoked_in_batches"):
            with RuleContext("memory://left-behind", rule(each)) as context:
                context.rule.function(StoreConformance(), context)
        assert mine.list("").keys == ("precious",)


def test_the_plugin_is_cheap_and_brings_no_suite():
    code = (
        "import sys, tenure.conformance.pytest.plugin as p;"
        "loaded = [m for m in sys.modules if m.startswith(('hypothesis', 'tenure.conformance.'))];"
        "print(*sorted(loaded))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["tenure.conformance.pytest", "tenure.conformance.pytest.plugin"]


def test_an_outsiders_run_is_counted(pytester: pytest.Pytester):
    pytester.makepyfile(
        """
        from tenure.conformance import StoreConformance

        class TestMine(StoreConformance):
            url = "memory://outsider"

            def test_of_my_own(self):
                pass
        """
    )
    result = pytester.runpytest_inprocess("-q", "-k", "namespaces or restarts_lose or my_own")
    result.assert_outcomes(passed=5, skipped=1, deselected=len(RULES) - 5)
    result.stdout.re_match_lines(
        [rf"conformance of .*TestMine: partial; {len(RULES)} rules: 4 pass, 1 not supported, .* not run"]
    )


def test_a_run_without_a_url_says_what_to_do(pytester: pytest.Pytester):
    arguments = ("-q", "--pyargs", "tenure.conformance.pytest.quick", "-k", "test_kv_a_missing")
    failed = pytester.runpytest_inprocess(*arguments)
    failed.stdout.fnmatch_lines(["*names no store to test*--tenure-url URL*"])
    passed = pytester.runpytest_inprocess(*arguments, "--tenure-url", "memory://quick")
    passed.assert_outcomes(passed=1, deselected=len(RULES) - 1)


def test_other_projects_notice_nothing(pytester: pytest.Pytester):
    pytester.makepyfile("def test_theirs(): assert True")
    result = pytester.runpytest_subprocess("-q", "-W", "error", "--strict-config", "--strict-markers")
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*conformance*")


def test_an_unexpected_error_names_the_promise(pytester: pytest.Pytester, tmp_path: Path):
    pytester.makepyfile(
        f"""
        from tenure.conformance import StoreConformance

        class TestMine(StoreConformance):
            url = "sqlite://{tmp_path}/no/such/folder/x.db"
        """
    )
    result = pytester.runpytest_inprocess("-q", "-k", "test_kv_a_missing")
    result.assert_outcomes(errors=1, deselected=len(RULES) - 1)
    result.stdout.fnmatch_lines(["*rule kv.a_missing_key_reads_as_none*", "A key that was never written*"])


def test_a_run_too_thin_is_inconclusive_and_what_follows_is_said(pytester: pytest.Pytester):
    pytester.makepyfile(
        """
        import pytest
        from tenure import Store
        from tenure.conformance import RuleInconclusive, StoreConformance

        sound = Store.put

        def put(self, key, value, **options):
            if options:  # the look that comes before the rules
                return sound(self, key, value, **options)
            raise RuleInconclusive("too little")

        class TestMine(StoreConformance):
            url = "memory://thin"

            @pytest.fixture(autouse=True)
            def thin(self, monkeypatch):
                monkeypatch.setattr(Store, "put", put)
        """
    )
    result = pytester.runpytest_inprocess("-q", "-k", "test_kv_a_written or test_spi_requirements")
    result.stdout.re_match_lines(
        [rf"conformance of .*TestMine: inconclusive; {len(RULES)} rules: 1 pass, 1 inconclusive, .* not run"]
    )
