"""Commands that other distributions add by the entry-point group ``tenure.commands``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest

import tenure

from .conftest import Run

_MODULE = """
import click
from tenure.cli.options import Settings, common, settings

@click.command(short_help="Count keys.")
@common()
@settings
def count(options: Settings) -> None:
    with options.connect() as store:
        click.echo(len(store.list("").items))

no_command = 7
"""


class Install(Protocol):
    def __call__(self, distribution: str, *entries: str) -> None: ...


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """``install("name", "count = added_by_test:count")``: a distribution that adds commands."""
    (tmp_path / "added_by_test.py").write_text(_MODULE)
    (tmp_path / "broken_by_test.py").write_text("raise RuntimeError('out of order')")
    monkeypatch.syspath_prepend(str(tmp_path))

    def make(distribution: str, *entries: str) -> None:
        folder = tmp_path / f"{distribution}-1.2.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.2\n")
        (folder / "entry_points.txt").write_text("[tenure.commands]\n" + "\n".join(entries) + "\n")

    yield make
    sys.modules.pop("added_by_test", None)


def test_a_distribution_adds_a_command(run: Run, install: Install, store: tenure.Store) -> None:
    install("adds", "count = added_by_test:count")
    store.put("a", b"1")
    assert run("count").stdout == "1\n"
    assert "Count keys." in run("--help").stdout


def test_a_broken_command_says_so_and_breaks_no_other(run: Run, install: Install) -> None:
    install("adds", "count = added_by_test:count")
    install(
        "bad",
        "raises = broken_by_test:it",
        "absent = added_by_test:nothing",
        "number = added_by_test:no_command",
        "kv = broken_by_test:it",
    )
    for name, reason in (
        ("raises", "RuntimeError: out of order"),
        ("absent", "has no attribute 'nothing'"),
        ("number", "of type int, not a click.Command"),
    ):
        ended = run(name, "--any", "thing")
        assert ended.exit_code == 2, ended.output
        assert reason in ended.stderr
        assert "uninstall bad" in ended.stderr
        assert len(ended.stderr.splitlines()) == 1
    shown = run("--help")
    assert shown.exit_code == 0
    assert "raises" in shown.stdout
    assert "(broken: run it for the reason)" in shown.stdout
    assert run("count").stdout == "0\n"
    assert run("kv", "list").exit_code == 0  # Tenure's own, whatever a distribution claims


def test_a_name_that_two_distributions_add_is_refused(run: Run, install: Install) -> None:
    install("one", "count = added_by_test:count")
    install("two", "count = added_by_test:count")
    ended = run("count")
    assert ended.exit_code == 2
    assert "several distributions add it (one, two)" in ended.stderr
