"""What `leasehold new-backend` writes, tried as a newcomer does: the wheel in a fresh environment, an empty folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .conftest import run

ADDRESSES = ("name", "hosts", "file")


@pytest.fixture(scope="module")
def newcomer(new_environment: Callable[[], Any], wheel: Path) -> Any:
    """The wheel, the generated projects, and one of them installed with what it asks for by its extras."""
    environment = new_environment()
    environment.install(f"leasehold[cli] @ {wheel.as_uri()}")
    for address in ADDRESSES:
        run(environment.folder / "bin/leasehold", "new-backend", address, "--address", address, cwd=environment.folder)
    environment.install("--editable", f"{environment.folder}/leasehold-name[test,lint]")
    return environment


def do(environment: Any, address: str, tool: str, *arguments: str) -> str:
    return run(environment.folder / "bin" / tool, *arguments, cwd=environment.folder / f"leasehold-{address}")


@pytest.mark.parametrize("address", ADDRESSES)
def test_it_passes_its_static_checks_as_it_is(newcomer: Any, address: str) -> None:
    do(newcomer, address, "ruff", "check")
    do(newcomer, address, "ruff", "format", "--check")
    do(newcomer, address, "mypy")


def test_the_whole_suite_is_kept_and_check_ends_well(newcomer: Any) -> None:
    # As its README says; the tools come first on the path, as in an activated environment.
    folder = newcomer.folder / "leasehold-name"
    said = run("sh", "-c", f'PATH="{newcomer.folder}/bin:$PATH" sh {folder}/check', cwd=newcomer.folder)
    (line,) = [line for line in said.splitlines() if line.startswith("conformance of ")]
    assert "failed" not in line
    assert "not run" not in line
