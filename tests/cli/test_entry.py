"""The entry point: a clear message without click and rich, and nothing imported before it's needed."""

from __future__ import annotations

import subprocess
import sys

import pytest


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
