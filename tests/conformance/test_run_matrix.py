"""The program that runs the suite on every store: what it prints, keeps and exits with."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from .run_matrix import main

PROGRAM = Path(__file__).with_name("run_matrix.py")
PART = ("--rule", "restarts.*told_in_time", "--rule", "kv.a_written*")


def run_matrix(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(PROGRAM), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_each_run_has_a_line_a_report_and_a_place_in_the_matrix(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("above\n<!-- matrix -->\nold\n<!-- end of matrix -->\nbelow\n")
    done = run_matrix(
        "--store", "memory", "--store", "sqlite", *PART, "--repeat", "2", "--reports", tmp_path, "--into", page
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()[1:]
    assert [line.split()[:3] for line in lines] == [
        [store, "quick", number] for store in ("memory", "sqlite") for number in ("1/2", "2/2")
    ]
    assert all("partial" in line for line in lines)
    assert "2 executed, 0 not supported, 0 inconclusive" in lines[0], "the controls were used"
    assert "1 executed, 1 not supported, 0 inconclusive" in lines[-1]
    assert json.loads((tmp_path / "memory-quick-02.json").read_text())["conclusion"] == "partial"
    assert "<html" in (tmp_path / "sqlite-quick-01.html").read_text()
    written = page.read_text()
    assert written.startswith("above\n<!-- matrix -->\n|  | memory | sqlite |")
    assert written.endswith("<!-- end of matrix -->\nbelow\n")
    assert "| `kv.a_written_value_is_read_back` | ✓ | ✓ |" in written
    assert "| `restarts.outages_are_told_in_time` | ✓ | \u2013 |" in written
    assert (
        "| not checked: the controls lack kill, start (see tenure.conformance.ServerControls) | sqlite 1 |" in written
    )


def test_a_part_does_not_take_the_place_of_the_whole_matrix(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.md"
    page.write_text(whole := "<!-- matrix -->\n|  | memory | sqlite |\n| --- | --- | --- |\n<!-- end of matrix -->\n")
    for part, lost in (
        (("--store", "memory"), "the columns of sqlite"),
        (("--store", "sqlite", "--store", "memory", *PART), "the rows of the other rules"),
    ):
        with pytest.raises(SystemExit):
            main([*part, "--reports", str(tmp_path / "reports"), "--into", str(page)])
        assert f"the page's matrix would lose {lost};" in capsys.readouterr().err
        assert page.read_text() == whole


def test_it_stops_where_nothing_was_proved(tmp_path: Path) -> None:
    done = run_matrix("--store", "sqlite", "--rule", "restarts.*told_in_time", "--repeat", "3", "--reports", tmp_path)
    assert done.returncode == 1
    assert "1/3  inconclusive" in done.stdout
    assert "2/3" not in done.stdout
    assert done.stdout.splitlines()[-1] == "the conclusion is inconclusive"


def test_a_run_that_never_began_is_told(tmp_path: Path) -> None:
    done = run_matrix("--store", "memory", "--rule", "no.such", "--reports", tmp_path)
    assert done.returncode == 1
    assert "no report: it ended with 2, see" in done.stdout
    assert "no such rule: 'no.such'" in (tmp_path / "memory-quick.log").read_text()
