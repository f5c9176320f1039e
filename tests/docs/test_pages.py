"""Runs the code of the pages at the top, in core/docs and in contrib, so that it can't become untrue.

The blocks of one page run in order and share their names and a folder. Python blocks are executed; a line of a console
block that starts with ``$`` is run by a shell, and the lines below it have to appear in what it prints, in their order
(``...`` stands for anything). JSON and TOML have to parse. ``pages.py`` tells how to mark a block otherwise.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import os
import re
import subprocess
import sys
import tomllib
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import tenure
import tenure_memory
from tenure.registry import Registry

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "core/docs").rglob("*.md"), *(ROOT / "contrib").glob("*/README.md")],
)
TIME_LIMIT = 120.0  # seconds for one command
_PAUSE = "time.sleep(1)"  # in the middle of the work of an example: readers need it, and the test doesn't
# What a page installs goes beside the tests' own packages, not among them. If editable, the package is the folder's.
PIP = """
pip() {
    shift
    if [ "$1" != -e ]; then python -m pip install --quiet --no-deps --target "$SITE" "$@"; return; fi
    python -m pip install --quiet --no-deps --target "$SITE" . || return
    for package in */__init__.py; do
        package=${package%/*}
        if [ -d "$SITE/$package" ]; then rm -r "$SITE/$package"; ln -s "$PWD/$package" "$SITE/$package"; fi
    done
}
"""


def _load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


pages = _load("pages")


class Runner:
    """Runs the blocks of one page in a folder of its own."""

    def __init__(self, folder: Path, url_of: Callable[[str], str]) -> None:
        self._folder = folder
        self._url_of = url_of
        self._names: dict[str, Any] = {"__name__": "__page__"}
        self._printed = ""
        self._stores: set[str] = set()
        self._environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "XDG_STATE_HOME": str(folder / "state"),
            "COLUMNS": "120",
            "NO_COLOR": "1",
            "SITE": str(folder / "site"),
            "PYTHONPATH": str(folder / "site"),
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        }

    def close(self) -> None:
        """Close what the page left open; a page that failed didn't come to it. The next page finds empty stores."""
        for value in list(self._names.values()):
            if isinstance(value, tenure.Store | Registry):
                value.close()
        self._names.clear()
        for name in self._stores:
            tenure_memory.forget(name)

    def run(self, block: Any) -> None:
        text = block.text
        self._stores.update(re.findall(r"memory://([\w-]+)", text))
        if block.rule == "not run":
            assert block.argument, "give a reason: <!-- not run: REASON -->"
            return
        if block.rule == "output":
            assert text == self._printed, f"the page says\n{text}\nthe block before it printed\n{self._printed}"
            return
        if block.rule in ("file", "append"):
            self._write(self._folder / block.argument, text, append=block.rule == "append")
            return
        if block.rule == "excerpt":
            written = (self._folder / block.argument).read_text()
            assert text in written, f"{block.argument} has no such lines; it is\n{written}"
            return
        if block.rule == "needs":
            text = re.sub(rf"\b{block.argument}://127\.0\.0\.1:\d+", self._url_of(block.argument), text)
        if block.language == "python":
            self._python(text, block.line)
        elif block.language == "console":
            self._console(text)
        elif block.language == "json":
            json.loads(text)
        elif block.language == "toml":
            tomllib.loads(text)
        else:
            # A name in braces is a directive of the site, whose build checks it.
            assert block.language in ("text", "mermaid") or re.fullmatch(r"\{[a-z-]+\}", block.language), (
                f"a block is python, console, json, toml or text, not {block.language!r}"
            )

    def _write(self, path: Path, text: str, *, append: bool) -> None:
        assert path.exists() == append, f"{path.name} {'has to be begun first' if append else 'is there already'}"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as file:
            file.write(text)
        if path.suffix == ".toml":
            tomllib.loads(path.read_text())

    def _python(self, text: str, line: int) -> None:
        text = text.replace(_PAUSE, "time.sleep(0)")
        # Empty lines in front: so the line numbers of a traceback are those of the page.
        code = compile("\n" * (line - 1) + text, "<page>", "exec", dont_inherit=True)
        printed = io.StringIO()
        try:
            with contextlib.redirect_stdout(printed):
                exec(code, self._names)
        finally:
            self._printed = printed.getvalue()

    def _console(self, text: str) -> None:
        for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
            command, _, wanted = re.sub(r"\\\n", "", part).partition("\n")
            if command.startswith("cd "):
                self._folder /= command.removeprefix("cd ")
                assert self._folder.is_dir(), f"$ {command}\nthere is no such folder"
                continue
            done = subprocess.run(
                ["bash", "-c", PIP + command],
                cwd=self._folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=TIME_LIMIT,
                check=False,
            )
            assert done.returncode == 0, f"$ {command}\nended with exit code {done.returncode}:\n{done.stdout}"
            _appears(wanted, done.stdout, command)


def _appears(wanted: str, printed: str, command: str) -> None:
    lines = iter(printed.splitlines())
    for line in filter(None, map(str.strip, wanted.splitlines())):
        pattern = re.escape(line).replace(re.escape("..."), ".*")
        assert any(re.fullmatch(pattern, got.strip()) for got in lines), (
            f"$ {command}\nthe page shows the line\n{line}\nwhich isn't (or not in this order) in\n{printed}"
        )


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_code_of_the_page_runs(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    def url_of(name: str) -> str:
        return str(request.getfixturevalue(f"{name}_own_url"))

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.syspath_prepend(tmp_path / "site")
    before = dict(os.environ)

    def restore() -> None:
        """Take back the variables that the page set: the next page's commands would inherit them."""
        os.environ.clear()
        os.environ.update(before)

    request.addfinalizer(restore)
    page = pages.read(path)
    runner = Runner(tmp_path, url_of)
    request.addfinalizer(runner.close)
    # What needs a server comes last, so that without one everything else has been run before the skip.
    for block in sorted(page.blocks, key=lambda block: block.rule == "needs"):
        try:
            runner.run(block)
        except Exception as exc:  # noqa: BLE001 - whatever a page raises is told with its place in the page
            if isinstance(exc, AssertionError) and block.language != "python":
                told = str(exc)
            else:
                frames = [frame for frame in traceback.extract_tb(exc.__traceback__) if frame.filename == "<page>"]
                at = f"line {frames[-1].lineno}: " if frames else ""
                told = f"{at}{type(exc).__name__}: {exc}"
            pytest.fail(f"{path.relative_to(ROOT)}, block at line {block.line}: {told}", pytrace=False)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(path: Path) -> None:
    local = [link.partition("#")[0] for link in pages.read(path).links if "://" not in link]
    broken = [link for link in local if link and not (path.parent / link).exists()]
    assert broken == [], f"{path.relative_to(ROOT)} links to files that aren't there"


def test_the_runner_notices_what_is_wrong(tmp_path: Path) -> None:
    def run(text: str) -> None:
        page = tmp_path / "page.md"
        page.write_text(text)
        runner = Runner(tmp_path, lambda name: name)
        for block in pages.read(page).blocks:
            runner.run(block)

    run("```python\nx = 1\n```\ntext\n```python\nprint(x)\n```\n<!-- output -->\n```text\n1\n```\n")
    run("```console\n$ echo one; echo and two\none\nand ...\n```\n")
    run("```console\n$ mkdir in && echo one > in/file\n$ cd in\n```\n<!-- excerpt: file -->\n```text\none\n```\n")
    for wrong in (
        "```python\nassert False\n```\n",
        "```python\nprint(1)\n```\n<!-- output -->\n```text\n2\n```\n",
        "```console\n$ false\n```\n",
        "```console\n$ echo one\ntwo\n```\n",
        "<!-- not run: -->\n```python\n1 / 0\n```\n",
        "```json\n{]\n```\n",
        "```sh\nls\n```\n",
        "```python\n",
        "<!-- skip -->\n```python\n```\n",
        "```console\n$ cd nowhere\n```\n",
        "```console\n$ echo one > file\n```\n<!-- excerpt: file -->\n```text\ntwo\n```\n",
    ):
        with pytest.raises((AssertionError, ValueError)):
            run(wrong)
