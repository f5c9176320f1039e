"""A module's name means the same in every backend, and the page that explains the names is up to date."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[2] / "core/docs/make_module_table.py"


@pytest.fixture(scope="module")
def modules() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_module_table", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_module_of_a_backend_has_a_meaning(modules: ModuleType) -> None:
    found = modules.backends()
    assert {"memory", "sqlite", "etcd", "redis", "zookeeper", "consul", "postgresql", "jsonfile"} <= set(found)
    assert not modules.problems(found, modules.meanings())


def test_the_page_shows_the_modules_that_there_are(modules: ModuleType) -> None:
    assert modules.main(["--check"]) == 0, "python core/docs/make_module_table.py brings the page up to date"


def test_a_module_without_a_meaning_and_a_meaning_without_a_module_are_found(modules: ModuleType) -> None:
    wrong = modules.problems({"one": frozenset({"pool", "link"})}, {"pool": "Connections.", "minder": "A thread."})
    assert ["'link'" in wrong[0], "'minder'" in wrong[1], len(wrong)] == [True, True, 2]
