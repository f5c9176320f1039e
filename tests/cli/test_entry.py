"""The entry point: a clear message without click and rich, and nothing imported before it's needed."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import click
import pytest

from tenure.cli import app, summaries
from tenure_testkit.waiting import PATIENCE


def python(code: str, *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize("missing", ["click", "rich"])
def test_without_its_libraries_it_says_what_to_install(missing: str) -> None:
    """Exit code 2, one line, no traceback."""
    ended = python(
        "import importlib.util, sys\n"
        "real = importlib.util.find_spec\n"
        f"importlib.util.find_spec = lambda name, *a: None if name == {missing!r} else real(name, *a)\n"
        f"sys.modules[{missing!r}] = None\n"
        "from tenure.cli.entry import main\n"
        "sys.exit(main())\n"
    )
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr.count("\n") == 1
    assert missing in ended.stderr
    assert "pip install 'tenure[cli]'" in ended.stderr


@pytest.mark.parametrize("arguments", [["--help"], ["kv", "--help"], ["run", "--help"], ["--version"]])
def test_help_imports_neither_rich_nor_the_registry_nor_a_plugin(arguments: list[str]) -> None:
    ended = python(
        "import sys\n"
        "from tenure.cli.app import cli\n"
        "code = 0\n"
        "try: cli.main(sys.argv[1:], prog_name='tenure')\n"
        "except SystemExit as exc: code = exc.code\n"
        "heavy = [m for m in sys.modules if m.split('.')[0] in ('rich', 'tenure_memory', 'tenure_sqlite',"
        " 'tenure_etcd', 'asyncio') or m.startswith('tenure.registry')]\n"
        "print('HEAVY', heavy, code)\n",
        *arguments,
    )
    assert ended.stdout.splitlines()[-1] == "HEAVY [] 0", ended.stderr


def test_the_module_runs_like_the_command() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "tenure.cli", "--version"], capture_output=True, text=True, check=False, timeout=30
    )
    assert (ended.returncode, ended.stdout) == (0, "tenure 0.1.0\n")


def test_the_help_page_says_of_each_command_what_the_command_says() -> None:
    ctx = click.Context(app.cli)
    for name, summary in summaries.SUMMARIES.items():
        command = app.cli.get_command(ctx, name)
        assert command is not None, f"summaries.py names {name!r}, and there is no such command"
        assert summary == (command.short_help or (command.help or "").split("\n\n")[0].strip())


def test_the_help_page_imports_no_command() -> None:
    ended = python(
        "import sys\n"
        "from tenure.cli.app import cli\n"
        "try: cli.main(['--help'], prog_name='tenure')\n"
        "finally: print('COMMANDS', [m for m in sys.modules if m.startswith('tenure.cli.commands')])\n"
    )
    assert ended.stdout.splitlines()[-1] == "COMMANDS []", ended.stderr


@pytest.mark.parametrize("closed", [">&-", "<&- >&- 2>&-"])
def test_without_a_stream_it_works_all_the_same(tmp_path: Path, closed: str) -> None:
    """The store's file doesn't get the number of a closed stream, into which a child would write."""
    command = f"{sys.executable} -m tenure.cli {{}} {closed}"
    file = tmp_path / "store.db"
    for words in (f"kv put --url sqlite://{file} key value", f"lock --url sqlite://{file} name -- true"):
        ended = subprocess.run(
            ["bash", "-c", command.format(words)], capture_output=True, text=True, check=False, timeout=PATIENCE
        )
        assert ended.returncode == 0, (words, ended.stderr)
        assert "Traceback" not in ended.stderr
    with sqlite3.connect(file) as check:
        assert check.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
