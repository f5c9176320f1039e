"""The command that proves a store: what it prints, what it exits with, what it leaves behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import leasehold

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


def test_what_cannot_be_judged_exits_2(run, url):
    result = run("conformance", url, "--rule", RULE, "--budget", "1e-9")
    assert result.exit_code == 2
    assert "conclusion\tinvalid" in result.stdout or "conclusion\tunknown" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere://x"], "no installed plugin serves nowhere://"),
        (["--area", "nowhere"], "there is no area 'nowhere'"),
        (["--rule", "nothing"], "there is no rule 'nothing'"),
        (["--driver", "nocolon"], "package.module:attribute"),
        (["--driver", "no_such_module:x"], "can't be imported: No module named 'no_such_module'"),
        (["--driver", "os:path"], "names a module"),
        (["--driver", "os:getcwd"], "failed"),
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


def test_a_driver_makes_more_rules_run(run, tmp_path, monkeypatch):
    (tmp_path / "my_driver.py").write_text(
        "import leasehold_memory\n"
        "from leasehold.conformance import Driver\n"
        "def driver(url):\n"
        "    server = leasehold_memory.server(url.removeprefix('memory://'))\n"
        "    return Driver(cut=server.cut_watches)\n"
    )
    monkeypatch.chdir(tmp_path)
    name = "restarts.cut_connections_leave_watchers_with_the_truth"
    assert f"not_supported\t{name}" in run("conformance", "memory://driven", "--rule", name).stdout
    assert (
        f"pass\t{name}" in run("conformance", "memory://driven", "--rule", name, "--driver", "my_driver:driver").stdout
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_cleans_up_and_says_so(file_url, number):
    command = [sys.executable, "-m", "leasehold.cli", "conformance", file_url, "--area", "kv", "--area", "leases"]
    with leasehold.connect(file_url) as mine:
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
