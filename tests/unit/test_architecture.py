"""Rules about the code that no linter knows.

``lint-imports`` checks layers and circles; ruff checks docstrings of modules and the order in ``__all__``.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import tenure
import tenure.aio
import tenure.conformance
import tenure.registry
import tenure.spi
import tenure.testing
from tenure._plugins.discovery import claims
from tenure.leases import HeldLease, Lease
from tenure.watch import Watch

ROOT = Path(__file__).parents[2]
CORE = ROOT / "core" / "tenure"
BACKENDS = sorted(path.parent for path in (ROOT / "backends").glob("*/__init__.py"))
CONTRIB = sorted(path.parent for path in (ROOT / "contrib").glob("*/src/*/__init__.py"))

PUBLIC: tuple[ModuleType, ...] = (tenure, tenure.aio, tenure.spi, tenure.registry, tenure.testing, tenure.conformance)

MOST_MODULES = 14
"""So many modules of a folder can be taken in at a glance."""
OF_LIKE_THINGS = {
    "core/tenure/cli/commands": "one command to a module",
    "core/tenure/conformance/rules": "one area of the catalogue to a module",
    "core/tenure/recipes": "one recipe to a module, and what recipes share",
    "tests/cli": "one command to a module",
    "tests/backends/etcd": "one part of the backend, or one thing in front of the servers, to a module",
    "tests/backends/zookeeper": "one part of the backend, or one kind of server, to a module",
    "contrib/tenure-postgresql/tests": "one part of the backend, or one thing in front of the servers, to a module",
    "tests/benchmarks": "one thing that is measured to a module, and what they share",
    "tests/docs": "one kind of statement that pages make to a module",
    "tests/cross_store": "one scenario on every store to a module",
    "tests/conformance": "one part of the suite to a module",
    "tests/conformance/mutants": "one area's broken stores to a module",
    "tests/registry": "one part of the registry to a module",
    "tests/recipes": "one kind of recipes to a module",
    "tests/support/tenure_testkit/servers": "one kind of server to a module, and its fixtures",
    "tests/unit": "one part of core to a module",
    **{str(folder.relative_to(ROOT)): "one backend" for folder in (*BACKENDS, *CONTRIB)},
}


def test_core_has_no_scheme_of_a_store_as_a_literal() -> None:
    schemes = {path.name.removeprefix("tenure_") for path in BACKENDS} | {claim.scheme for claim in claims()}
    pattern = re.compile(rf"({'|'.join(map(re.escape, sorted(schemes)))})(\+\w+)?(://.*)?", re.DOTALL)
    found = []
    for path in sorted(CORE.rglob("*.py")):
        tree = ast.parse(path.read_text())
        docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}  # they may name stores
        found += [
            f"{path.relative_to(ROOT)}:{node.lineno}: {node.value!r}"
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings
            if pattern.fullmatch(node.value)
        ]
    assert not found


def test_each_package_says_that_it_is_typed() -> None:
    assert [str(package) for package in (CORE, *BACKENDS, *CONTRIB) if not (package / "py.typed").is_file()] == []


def test_a_folder_has_few_modules_or_modules_of_one_kind() -> None:
    folders: dict[str, int] = {}
    for top in ("core", "backends", "contrib", "tests"):
        for path in (ROOT / top).rglob("*.py"):
            if path.name != "__init__.py":
                folder = str(path.parent.relative_to(ROOT))
                folders[folder] = folders.get(folder, 0) + 1
    assert {folder: count for folder, count in folders.items() if count > MOST_MODULES}.keys() <= OF_LIKE_THINGS.keys()
    assert OF_LIKE_THINGS.keys() <= folders.keys(), "a folder of this list is gone"


def exporting() -> Iterator[ModuleType]:
    """Every module of core and the backends that has ``__all__``."""
    for root, packages in ((ROOT / "core", [CORE]), (ROOT / "backends", BACKENDS)):
        for path in (path for package in packages for path in sorted(package.rglob("*.py"))):
            if re.search(r"^__all__\b", path.read_text(), re.MULTILINE):
                yield importlib.import_module(
                    ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
                )


def test_what_is_exported_exists() -> None:
    modules = list(exporting())
    assert set(PUBLIC) <= set(modules)
    for module in modules:
        assert [name for name in module.__all__ if not hasattr(module, name)] == [], module.__name__


def members(owner: type) -> Iterator[tuple[str, Any]]:
    """The public methods and properties that a class itself defines."""
    for name, member in vars(owner).items():
        plain = getattr(member, "__func__", member)
        if not name.startswith("_") and (inspect.isfunction(plain) or isinstance(plain, property)):
            yield name, plain


def test_what_is_public_is_documented() -> None:
    bare = []
    for module in PUBLIC:
        for name in module.__all__:
            exported = getattr(module, name)
            if inspect.isclass(exported) or inspect.isfunction(exported):
                if not inspect.getdoc(exported):
                    bare.append(f"{module.__name__}.{name}")
                if inspect.isclass(exported):
                    bare += [
                        f"{module.__name__}.{name}.{attribute}"
                        for attribute, member in members(exported)
                        if not inspect.getdoc(member) and not inspect.getdoc(getattr(exported, attribute))
                    ]
    assert bare == []


def test_each_method_of_the_api_and_the_spi_states_its_guarantee() -> None:
    assert [
        f"{owner.__name__}.{name}"
        for owner in (tenure.Store, tenure.spi.Backend, HeldLease, Lease, Watch)
        for name, member in members(owner)
        if len(inspect.getdoc(member) or "") < 20
    ] == []
