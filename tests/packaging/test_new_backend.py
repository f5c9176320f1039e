"""What `tenure new-backend` writes, tried as a newcomer does: the wheel in a fresh environment, an empty folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .conftest import run

URL_FORMS = ("name", "hosts", "file")


@pytest.fixture(scope="module")
def newcomer(new_environment: Callable[[], Any], wheel: Path) -> Any:
    """The wheel, the generated projects, and two of them installed with what they ask for by their extras."""
    environment = new_environment()
    environment.install(f"tenure[cli] @ {wheel.as_uri()}")
    for url_form in URL_FORMS:
        run(environment.folder / "bin/tenure", "new-backend", url_form, "--url-form", url_form, cwd=environment.folder)
    projects = [f"{environment.folder}/{project}" for project in ("tenure-name[test,lint]", "tenure-hosts")]
    environment.install(*(f"--editable={project}" for project in projects))
    return environment


def do(environment: Any, url_form: str, tool: str, *arguments: str) -> str:
    return run(environment.folder / "bin" / tool, *arguments, cwd=environment.folder / f"tenure-{url_form}")


@pytest.mark.parametrize("url_form", URL_FORMS)
def test_it_passes_its_static_checks_as_it_is(newcomer: Any, url_form: str) -> None:
    do(newcomer, url_form, "ruff", "check")
    do(newcomer, url_form, "ruff", "format", "--check")
    do(newcomer, url_form, "mypy")


def test_the_whole_suite_is_kept_and_check_ends_well(newcomer: Any) -> None:
    # As its README says; the tools come first on the path, as in an activated environment.
    folder = newcomer.folder / "tenure-name"
    said = run("sh", "-c", f'PATH="{newcomer.folder}/bin:$PATH" sh {folder}/check', cwd=newcomer.folder)
    (line,) = [line for line in said.splitlines() if line.startswith("conformance of ")]
    assert ": conformant; " in line
    assert "not run" not in line


def test_a_server_is_killed_and_cut_off(newcomer: Any) -> None:
    said = do(newcomer, "hosts", "pytest", "-q", "-k", "test_restarts or test_spi or test_kv")
    assert "passed" in said
    unchecked = [line for line in said.splitlines() if line.startswith("  not checked: ")]
    # It has no history to compact, and its controls neither lose data nor restore a backup.
    missing = [
        "a_watcher_left_behind_is_resynced",
        "lost_data_are_told_to_every_watch",
        "repeat_no_revision",
        "restored_data_reach_every_watch",
        "restored_data_refuse_later_revisions",
        "revisions_of_lost_data_count_no_more",
    ]
    assert unchecked == ["  not checked: " + ", ".join(f"restarts.{name}" for name in missing)]
