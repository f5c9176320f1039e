"""The command that runs the suite on a store: what it prints, what it exits with, what it leaves behind."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import tenure
from tenure.conformance.report import schema

RULE = "kv.a_written_value_is_read_back"


def test_a_part_that_is_kept(run, url):
    result = run("conformance", url, "--rule", RULE)
    assert result.exit_code == 0, result.output
    lines = [line.split("\t") for line in result.stdout.splitlines()]
    assert lines[0][:2] == ["pass", RULE]
    assert dict(line[:2] for line in lines[1:])["conclusion"] == "partial"


def test_the_url_may_come_from_the_environment_and_run_may_be_said(run):
    for words in (("--rule", RULE), ("run", "--rule", RULE)):
        assert run("conformance", *words).exit_code == 0


def test_what_is_inconclusive_exits_2(run, url):
    result = run("conformance", url, "--rule", RULE, "--budget", "1e-9")
    assert result.exit_code == 2
    assert "conclusion\tinconclusive" in result.stdout or "conclusion\tunknown" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere://x"], "no installed plugin serves nowhere://"),
        (["memory://"], "give the store a name, as in memory://NAME"),
        (["memory://?namespace=x"], "each of them gets a store of its own"),
        (["--area", "nowhere"], "no such area: 'nowhere'"),
        (["--rule", "nothing"], "no such rule: 'nothing'"),
        (["--controls", "nocolon"], "package.module:attribute"),
        (["--controls", "no_such_module:x"], "importing it failed: No module named 'no_such_module'"),
        (["--controls", "os:path"], "it is a module"),
        (["--controls", "os:getcwd"], "failed"),
    ],
)
def test_a_mistake_exits_2_with_what_is_wrong(run, arguments, words):
    result = run("conformance", *arguments)
    assert result.exit_code == 2
    assert words in result.stderr
    assert "Traceback" not in result.output


def test_a_store_that_cannot_be_opened_exits_2_with_its_own_message(run, tmp_path: Path):
    result = run("conformance", f"sqlite://{tmp_path}/no/such/x.db")
    assert result.exit_code == 2
    assert "no/such" in result.stderr


def test_controls_make_more_rules_run(run, tmp_path, monkeypatch):
    (tmp_path / "my_controls.py").write_text(
        "import tenure_memory\n"
        "from tenure.conformance import ServerControls\n"
        "def controls(url):\n"
        "    server = tenure_memory.server(url.removeprefix('memory://'))\n"
        "    return ServerControls(cut=server.cut_watches)\n"
    )
    monkeypatch.chdir(tmp_path)
    name = "restarts.cut_connections_leave_watchers_with_the_truth"
    assert f"not_supported\t{name}" in run("conformance", "memory://driven", "--rule", name).stdout
    assert (
        f"pass\t{name}"
        in run("conformance", "memory://driven", "--rule", name, "--controls", "my_controls:controls").stdout
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_cleans_up_and_says_so(file_url, number):
    command = [sys.executable, "-m", "tenure.cli", "conformance", file_url, "--area", "kv", "--area", "leases"]
    with tenure.connect(file_url) as mine:
        mine.put("precious", b"1")
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            first = process.stdout.readline()
            assert first.startswith("pass\t")
            os.kill(process.pid, number)
            rest, errors = process.communicate(timeout=60)
        assert process.returncode == 130, errors
        assert "interrupted" in rest
        assert "Traceback" not in errors
        assert mine.list("").keys == ("precious",)


@pytest.mark.parametrize("words", [("--help",), ("run", "--help"), ("verify", "--help")])
def test_help_tells_the_exit_codes(run, words):
    told = " ".join(run("conformance", *words).stdout.split())
    assert "Exit code 0: " in told
    assert re.search(r"[;.] 1: ", told)
    assert re.search(r"[;.] 2: ", told)


# -- reports --


def test_json_is_the_report(run, run_json, url, tmp_path):
    path = tmp_path / "report.json"
    printed = run_json("conformance", url, "--rule", RULE, "--report", str(path))
    assert printed == json.loads(path.read_text())
    assert schema.problems(printed) == []
    inconclusive = run("conformance", url, "--rule", RULE, "--budget", "1e-9", "--json")
    assert inconclusive.exit_code == 2
    assert json.loads(inconclusive.stdout)["conclusion"] in ("inconclusive", "unknown")
    failed = run("conformance", "nowhere://x", "--json")
    assert failed.exit_code == 2
    assert "no installed plugin serves nowhere://" in failed.output


@pytest.fixture
def report(run, url, tmp_path) -> Path:
    path = tmp_path / "report.json"
    result = run("conformance", url, "--rule", RULE, "--report", str(path), "--html", str(tmp_path / "report.html"))
    assert result.exit_code == 0, result.output
    return path


def test_a_report_and_its_page_are_written_and_verified(run, run_json, report):
    assert report.with_suffix(".html").read_text().startswith("<!doctype html>")
    result = run("conformance", "verify", str(report))
    assert result.exit_code == 0
    assert "valid\tyes" in result.stdout
    assert run_json("conformance", "verify", str(report))["conclusion"] == "partial"


def test_a_page_can_be_drawn_later(run, report, tmp_path):
    later = tmp_path / "later.html"
    assert run("conformance", "verify", str(report), "--html", str(later)).exit_code == 0
    assert later.read_text() == report.with_suffix(".html").read_text()


def test_json_is_the_report_itself(run_json, url):
    document = run_json("conformance", url, "--rule", RULE)
    assert document["conclusion"] == "partial"
    assert document["digest"].startswith("sha256:")


def test_an_edited_report_is_caught(run, report, tmp_path):
    document = json.loads(report.read_text())
    document["run"]["seed"] += 1
    report.write_text(json.dumps(document))
    page = tmp_path / "never.html"
    result = run("conformance", "verify", str(report), "--html", str(page))
    assert result.exit_code == 2
    assert "the digest is wrong" in result.stdout
    assert not page.exists()
    refused = run("conformance", "matrix", str(report))
    assert refused.exit_code == 2
    assert "the digest is wrong" in refused.stderr


@pytest.mark.parametrize("content", ["no json", "[1]", "{}"])
def test_what_is_no_report_is_told(run, tmp_path, content):
    path = tmp_path / "x.json"
    path.write_text(content)
    result = run("conformance", "verify", str(path))
    assert result.exit_code == 2
    assert "no JSON" in result.stderr or "no report" in result.stderr or "not a report" in result.stdout


def test_a_report_that_cannot_be_written_is_told_before_the_run(run, url, tmp_path):
    result = run("conformance", url, "--rule", RULE, "--report", str(tmp_path / "no" / "such" / "x.json"))
    assert result.exit_code == 2
    assert "no/such" in result.stderr
    assert RULE not in result.stdout


def test_stores_side_by_side(run, report, tmp_path):
    result = run("conformance", "matrix", str(report), str(report))
    assert result.exit_code == 0
    assert result.stdout.startswith("|  | memory | memory |")
    page = tmp_path / "matrix.html"
    assert run("conformance", "matrix", str(report), "--html", str(page)).exit_code == 0
    assert "<table" in page.read_text()


def test_the_matrix_goes_into_a_page_that_has_a_place_for_it(run, report, tmp_path):
    page = tmp_path / "page.md"
    page.write_text("above\n<!-- matrix -->\nwhat was there\n<!-- end of matrix -->\nbelow\n")
    result = run("conformance", "matrix", str(report), "--into", str(page))
    assert (result.exit_code, result.stdout) == (0, "")
    written = page.read_text()
    assert written.startswith("above\n<!-- matrix -->\n|  | memory |\n")
    assert f"| rule | memory |\n| --- | --- |\n| `{RULE}` | ✓ |\n" in written
    assert written.endswith("</details>\n<!-- end of matrix -->\nbelow\n")
    assert "what was there" not in written
    run("conformance", "matrix", str(report), "--into", str(page))
    assert page.read_text() == written
    page.write_text("nothing")
    refused = run("conformance", "matrix", str(report), "--into", str(page))
    assert refused.exit_code == 2
    assert "the page has no place for a matrix" in refused.stderr
    assert page.read_text() == "nothing"


def test_rules_run_through_asyncio_and_the_report_says_so(run, url, tmp_path):
    saved = tmp_path / "report.json"
    words = ("--rule", RULE, "--rule", "spi.servers*", "--rule", "asyncio.callbacks*", "--face", "aio")
    result = run("conformance", url, *words, "--report", str(saved))
    assert result.exit_code == 0, result.output
    lines = [line.split("\t") for line in result.stdout.splitlines()]
    assert [line[0] for line in lines[:3]] == ["pass", "not_supported", "pass"]
    assert lines[1][3].startswith("not applicable to the face aio: ")
    assert ["face", "aio"] in [line[:2] for line in lines]
    assert json.loads(saved.read_text())["run"]["face"] == "aio"
    assert run("conformance", "verify", str(saved)).exit_code == 0
    assert run("conformance", "matrix", str(saved)).stdout.startswith("|  | memory (asyncio) |")
    assert run("conformance", url, "--rule", "asyncio.*").exit_code == 2  # of the other catalogue
    assert "asyncio.callbacks_run_on_the_loop" in run("conformance", "rules", "--face", "aio").stdout


def test_the_catalogue_is_listed(run, run_json):
    rules = run_json("conformance", "rules", "--area", "restarts")
    assert {rule["area"] for rule in rules} == {"restarts"}
    assert next(rule for rule in rules if rule["id"].endswith("lose_no_acknowledged_write"))["required_controls"] == [
        "kill",
        "start",
    ]
    assert "restarts.lose_no_acknowledged_write\tdurable\tkill start\t" in run("conformance", "rules").stdout


def test_commands_are_controls(run, tmp_path):
    name = "restarts.outages_are_told_in_time"
    arguments = ("conformance", "memory://commanded", "--rule", name)
    assert f"not_supported\t{name}" in run(*arguments).stdout
    failing = run(*arguments, "--kill", "echo it broke >&2; exit 3", "--start", "true")
    assert failing.exit_code == 2
    assert "the control 'kill' failed" in failing.stdout
    assert "it broke" in failing.stdout


def test_a_container_that_there_is_not(run):
    result = run("conformance", "memory://contained", "--container", "no-such-container-4711")
    assert result.exit_code == 2
    assert "no-such-container-4711" in result.stderr


def test_two_reports_are_compared_rule_by_rule(run, url, report, tmp_path):
    other = tmp_path / "other.json"
    assert run("conformance", url, "--rule", RULE, "--rule", "kv.revisions*", "--report", str(other)).exit_code == 0
    better = run("conformance", "compare", str(report), str(other))
    assert better.exit_code == 0
    assert "better\tkv.revisions_only_grow\tnot run\tpass" in better.stdout
    worse = run("conformance", "compare", str(other), str(report), "--json")
    assert worse.exit_code == 1
    assert (json.loads(worse.stdout)["worse"], json.loads(worse.stdout)["same"]) == (1, 1)
    report.write_text(report.read_text().replace('"seed": ', '"seed": 1'))
    refused = run("conformance", "compare", str(report), str(other))
    assert refused.exit_code == 2
    assert "the digest is wrong" in refused.stderr
    assert run("conformance", "compare", "--unverified", str(report), str(other)).exit_code == 0


def test_a_claim_its_badge_and_the_index(run, report, tmp_path):
    words = ("--contact", "me@example.org", "--mode", "in process", "--reproduce", "tenure conformance memory://x")
    made, badge = tmp_path / "claim.json", tmp_path / "badge.svg"
    written = run("conformance", "claim", str(report), *words, "--output", str(made), "--badge", str(badge))
    assert written.exit_code == 0, written.output
    assert badge.read_text().startswith("<svg")
    assert run("conformance", "verify", str(report), "--claim", str(made)).exit_code == 0
    assert "| me@example.org |" in run("conformance", "claims", str(made)).stdout
    made.write_text(made.read_text().replace('"level": "none"', '"level": "extended"'))
    refused = run("conformance", "verify", str(report), "--claim", str(made))
    assert refused.exit_code == 2
    assert "the claim says level 'extended', the report 'none'" in refused.stdout
    assert run("conformance", "claim", str(report)).exit_code == 2


def test_the_rules_of_a_level(run_json):
    core, extended, everything = (
        {rule["id"] for rule in run_json("conformance", "rules", *words)}
        for words in (("--level", "core"), ("--level", "extended"), ())
    )
    assert core < extended < everything
    assert "faults.a_full_disk_leaves_no_halves" not in extended
