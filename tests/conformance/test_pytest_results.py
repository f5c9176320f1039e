"""What a run of the suite under pytest concludes and writes down: the same as the command would."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tenure.conformance.report.verify import verify
from tenure.conformance.runner.runner import all_rules

pytest_plugins = ["pytester"]

KV = "kv.a_written_value_is_read_back"
DEGRADING = "restarts.outages_are_told_in_time"
SUITE = """
    import pytest
    import tenure_memory
    from tenure.conformance import ServerControls, StoreConformance

    class TestMine(StoreConformance):
        url = "memory://{name}"
"""


def report_of(path: Path) -> dict[str, Any]:
    """A report that holds."""
    report: dict[str, Any] = json.loads(path.read_text())
    found = verify(report, all_rules())
    assert found.problems == []
    assert found.notes == []
    return report


def rule_of(report: dict[str, Any], name: str) -> dict[str, Any]:
    return next(rule for rule in report["rules"] if rule["id"] == name)


def suite(pytester: pytest.Pytester, body: str = "", *, name: str) -> None:
    text = "\n".join(line[4:] for line in SUITE.format(name=name).splitlines())
    pytester.makepyfile(text + "\n" + "\n".join(f"    {line}" for line in body.splitlines()))


def test_a_part_is_reported_as_such(pytester):
    suite(pytester, name="reported")
    result = pytester.runpytest_inprocess("-q", "-k", "kv or restarts_lose", "--tenure-report", "report.json")
    result.stdout.fnmatch_lines(["*TestMine: report in report.json"])
    report = report_of(pytester.path / "report.json")
    assert report["conclusion"] == "partial"
    assert report["store"]["product"].startswith("tenure memory store")
    written = rule_of(report, KV)
    assert written["verdict"] == "pass"
    assert written["executed"]
    assert written["counts"]["commit"] >= 1
    assert written["seconds"] > 0
    aside = rule_of(report, "restarts.lose_no_acknowledged_write")
    assert (aside["verdict"], aside["executed"]) == ("not_supported", False)
    assert aside["reason"] == "not supported: the store declares durable=False"
    assert {rule["area"] for rule in report["rules"]} == {"kv", "restarts"}


def test_a_whole_run_with_controls_is_conformant(pytester):
    body = """
@pytest.fixture
def store_controls(self):
    server = tenure_memory.server("driven-under-pytest")
    return ServerControls(kill=server.pause, start=server.resume, cut=server.cut_watches, compact=server.compact)
"""
    suite(pytester, body, name="driven-under-pytest")
    result = pytester.runpytest_inprocess("-q", "--tenure-report", "report.json")
    assert result.ret == 0
    report = report_of(pytester.path / "report.json")
    assert report["conclusion"] == "conformant"
    assert report["controls"] == {"offered": ["kill", "start", "cut", "compact"], "network": False}
    assert [rule["id"] for rule in report["rules"]] == report["suite"]["catalogue"]
    assert any(rule["shared_with"] for rule in report["rules"])


def test_several_suites_get_a_file_each(pytester):
    pytester.makepyfile(
        """
        import pytest
        from tenure.conformance import StoreConformance

        class TestOne(StoreConformance):
            url = "memory://one"

        class TestTwo(StoreConformance):
            @pytest.fixture(params=["a", "b"])
            def store_url(self, request):
                return f"memory://two-{request.param}"
        """
    )
    arguments = ("-q", "-k", "test_kv_a_written", "--tenure-report", "out/all.json")
    missing = pytester.runpytest_inprocess(*arguments)
    missing.stderr.fnmatch_lines(["*no such folder: out*"])
    pytester.mkdir("out")
    pytester.runpytest_inprocess(*arguments).assert_outcomes(passed=3, deselected=3 * (len(all_rules()) - 1))
    found = {path.name: report_of(path)["store"]["url"] for path in (pytester.path / "out").iterdir()}
    assert found == {
        "all-TestOne.json": "memory://one",
        "all-TestTwo-a.json": "memory://two-a",
        "all-TestTwo-b.json": "memory://two-b",
    }


def test_a_failure_is_reported_with_what_was_raised(pytester):
    body = """
@pytest.fixture(autouse=True)
def forgetful(self, monkeypatch):
    from tenure import Store
    monkeypatch.setattr(Store, "get", lambda self, key, timeout=None: None)
"""
    suite(pytester, body, name="forgetful")
    result = pytester.runpytest_inprocess("-q", "-k", "test_kv_a_written", "--tenure-report", "report.json")
    result.assert_outcomes(failed=1, deselected=len(all_rules()) - 1)
    report = report_of(pytester.path / "report.json")
    assert report["conclusion"] == "not_conformant"
    assert f"rule {KV} is violated" in rule_of(report, KV)["reason"]
    assert "Traceback" in rule_of(report, KV)["traceback"]


INCONCLUSIVE = {
    "a test that somebody skips": (
        "@pytest.fixture(autouse=True)\ndef out(self): pytest.skip('no time')",
        "skipped: no",
    ),
    "a fixture that fails": (
        "@pytest.fixture\ndef store_controls(self): raise OSError('no engine')",
        "OSError: no engine",
    ),
    "a fault that does nothing": (
        "@pytest.fixture(autouse=True)\ndef idle(self, context):\n    with context.evidence.fault('cut'): pass",
        "the fault cut had no effect",
    ),
}


@pytest.mark.parametrize("name", INCONCLUSIVE)
def test_what_tried_nothing_is_invalid(pytester, name):
    body, words = INCONCLUSIVE[name]
    suite(pytester, body, name="inconclusive")
    pytester.makeconftest("")
    more = "\n    class TestGood(StoreConformance):\n        url = 'memory://good'\n"
    path = next(pytester.path.glob("test_*.py"))
    path.write_text(path.read_text() + "\n".join(line[4:] for line in more.splitlines()))
    result = pytester.runpytest_inprocess("-q", "-k", "test_kv_a_written", "--tenure-report", "report.json")
    result.stdout.re_match_lines([".*TestMine: inconclusive; .* 1 (inconclusive|skipped), .* not run"])
    if "had no effect" in words:
        rule = rule_of(report_of(pytester.path / "report-TestMine.json"), KV)
        assert rule["verdict"] == "inconclusive"
        assert words in rule["reason"]
        assert result.ret == 1
    else:
        result.stdout.fnmatch_lines(["*TestMine: no report, since the store was never opened"])
    assert report_of(pytester.path / "report-TestGood.json")["conclusion"] == "partial"


def test_controls_that_leave_the_server_down_are_to_blame(pytester, monkeypatch):
    monkeypatch.setattr("tenure.conformance.pytest.suite.TIMEOUT", 1.0)
    body = """
@pytest.fixture
def store_controls(self):
    def start():
        raise OSError("no such container")
    return ServerControls(kill=tenure_memory.server("left-down").pause, start=start)
"""
    suite(pytester, body, name="left-down")
    arguments = ("-q", "-k", "restarts_outages or restarts_leave_watchers or test_kv_a_written")
    result = pytester.runpytest_inprocess(*arguments, "--tenure-report", "report.json")
    assert result.ret == 1
    report = report_of(pytester.path / "report.json")
    assert report["conclusion"] == "inconclusive"
    first, second = (rule for rule in report["rules"] if rule["area"] == "restarts")
    assert "the control 'start' failed: OSError: no such container" in first["reason"]
    assert "the controls left the server down" in second["reason"]
    assert first["id"] in second["reason"]


def test_trying_again_makes_no_rule_kept(pytester):
    pytester.makeconftest(
        """
        from _pytest.runner import runtestprotocol

        def pytest_runtest_protocol(item, nextitem):
            item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
            runtestprotocol(item, nextitem=nextitem, log=False)
            item._initrequest()
            for report in runtestprotocol(item, nextitem=nextitem, log=False):
                item.ihook.pytest_runtest_logreport(report=report)
            return True
        """
    )
    body = """
@pytest.fixture(autouse=True)
def flaky(self, context, tries=[]):
    if not tries:
        tries.append(1)
        get, context.store.get = context.store.get, lambda key: None
    yield
"""
    suite(pytester, body, name="flaky")
    pytester.makefile(".ini", pytest="[pytest]\naddopts = -p no:cacheprovider")
    result = pytester.runpytest_inprocess("-q", "-k", "test_kv_a_written", "--tenure-report", "report.json")
    result.assert_outcomes(passed=1, deselected=len(all_rules()) - 1)
    result.stdout.fnmatch_lines(["*TestMine: not conformant; *1 fail*"])
    assert report_of(pytester.path / "report.json")["conclusion"] == "not_conformant"


def test_rules_that_were_not_reached_are_unknown(pytester):
    body = """
@pytest.fixture(autouse=True)
def stop(self, request, context):
    yield
    request.session.shouldstop = "enough"
"""
    suite(pytester, body, name="stopped")
    result = pytester.runpytest_inprocess("-q", "-k", "kv", "--tenure-report", "report.json")
    result.stdout.fnmatch_lines(["*TestMine: unknown; *1 pass, * unknown, * not run"])
    report = report_of(pytester.path / "report.json")
    assert report["conclusion"] == "unknown"
    assert report["run"]["interrupted"]


def test_a_run_that_is_spread_over_processes_is_refused(pytester):
    pytester.makeconftest("def pytest_addoption(parser): parser.addoption('--numprocesses', type=int)")
    result = pytester.runpytest_inprocess("-p", "no:xdist", "--numprocesses", "2", "--tenure-report", "report.json")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--tenure-report: *leave out -n*"])


def test_a_report_of_nothing_is_told(pytester):
    pytester.makepyfile("def test_theirs(): pass")
    result = pytester.runpytest_inprocess("-q", "--tenure-report", "report.json")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*no rule of the conformance suite was collected*"])
    assert not (pytester.path / "report.json").exists()


def test_a_suite_of_which_nothing_was_selected_has_no_conclusion(pytester):
    suite(pytester, "def test_something_else(self): pass", name="deselected")
    result = pytester.runpytest_inprocess("-q", "-k", "something_else", "--tenure-report", "report.json")
    result.assert_outcomes(passed=1, deselected=len(all_rules()))
    result.stdout.no_fnmatch_line("*conformance of*")
    result.stdout.fnmatch_lines(["*no report, since no rule of the conformance suite was selected"])


def test_a_store_that_answers_no_call_keeps_no_rule_waiting(pytester):
    body = """
@pytest.fixture(autouse=True, scope="session")
def silent():
    from tenure.conformance.pytest import suite
    from tenure.errors import Unavailable
    from tenure_memory.backend import MemoryBackend

    def refuse(self, *given, **named):
        raise Unavailable("nobody answers")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MemoryBackend, "commit", refuse)
        patch.setattr(suite, "TIMEOUT", 1.0)
        yield
"""
    suite(pytester, "", name="silent")
    pytester.makeconftest("import pytest\n" + body)
    result = pytester.runpytest_inprocess("-q", "-k", "kv_a", "--tenure-report", "report.json")
    result.stdout.fnmatch_lines(["*answers no call: the first put raised*", "*TestMine: not conformant; *1 fail*"])
    result.stdout.fnmatch_lines(["*rule kv.* is inconclusive: the store can be opened and then answers no call*"])
