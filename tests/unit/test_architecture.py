"""Rules about the code itself: core knows no store by name, files stay small, guarantees are written down."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

import pytest

import tenure
from tenure import spi
from tenure._plugins.discovery import claims
from tenure.leases import Lease
from tenure.watch import Watch

ROOT = Path(__file__).parents[2]
CORE = ROOT / "core" / "tenure"
MODULES = sorted(CORE.rglob("*.py"))
EVERYWHERE = [*MODULES, *sorted((ROOT / "backends").rglob("*.py"))]
PACKAGES = [CORE, *sorted(path.parent for path in (ROOT / "backends").glob("tenure_*/__init__.py"))]
SCHEMES = {"memory", "sqlite", "etcd", "redis", "zookeeper", "consul"}
CLIENTS = {"etcd3", "grpc", "redis", "kazoo", "consul", "sqlite3"}

LONG = {
    "core/tenure/_client/store.py": "the whole API on one page",
    "core/tenure/conformance/rules/watches.py": "one area of the catalogue, one file; each rule stands alone",
    "core/tenure/registry/registry.py": "the registry's whole API on one page",
}


def names(paths):
    return [str(path.relative_to(ROOT)) for path in paths]


def docstrings(tree):
    """The constants that are documentation: they may name stores."""
    found = set()
    for node in ast.walk(tree):
        for first in getattr(node, "body", None) or [] if not isinstance(node, ast.Lambda | ast.IfExp) else []:
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                found.add(id(first.value))
    return found


def docstring_lines(tree):
    """How many lines docstrings have: they are read one at a time, by help(), so they don't make a file long."""
    owners = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    found = [node.body[0] for node in ast.walk(tree) if isinstance(node, owners) and ast.get_docstring(node)]
    return sum((first.end_lineno or first.lineno) - first.lineno + 1 for first in found)


@pytest.mark.parametrize("path", MODULES, ids=names(MODULES))
def test_core_names_no_store(path):
    tree = ast.parse(path.read_text())
    documentation = docstrings(tree)
    schemes = SCHEMES | {claim.scheme for claim in claims()}
    pattern = re.compile(rf"({'|'.join(map(re.escape, schemes))})(\+\w+)?(://.*)?", re.DOTALL)
    literals = [
        f"{node.lineno}: {node.value!r}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation
        if pattern.fullmatch(node.value)
    ]
    assert not literals


@pytest.mark.parametrize("path", MODULES, ids=names(MODULES))
def test_core_imports_no_store_and_no_client(path):
    imported = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, "imports are absolute"
            imported.add(node.module.partition(".")[0])
    assert not {name for name in imported if name in CLIENTS or name.startswith("tenure_")}


@pytest.mark.parametrize("path", EVERYWHERE, ids=names(EVERYWHERE))
def test_files_stay_small(path):
    text = path.read_text()
    lines = text.count("\n") - docstring_lines(ast.parse(text))
    name = str(path.relative_to(ROOT))
    assert lines <= (600 if name in LONG else 400), (
        f"{name} has {lines} lines besides its docstrings: split it, or list it with a reason"
    )


@pytest.mark.parametrize("path", [p for p in EVERYWHERE if p.stat().st_size], ids=lambda p: str(p.relative_to(ROOT)))
def test_each_module_says_its_job(path):
    assert ast.get_docstring(ast.parse(path.read_text()))


@pytest.mark.parametrize("package", PACKAGES, ids=lambda p: p.name)
def test_each_package_says_that_it_is_typed(package):
    assert (package / "py.typed").is_file()


def _public_members(owner):
    for name, member in vars(owner).items():
        plain = getattr(member, "__func__", member)
        if not name.startswith("_") and (inspect.isfunction(plain) or isinstance(plain, property)):
            yield name, plain


PUBLIC = [
    *(getattr(spi, name) for name in spi.__all__ if inspect.isclass(getattr(spi, name))),
    *(getattr(tenure, name) for name in tenure.__all__ if inspect.isclass(getattr(tenure, name))),
]
_OBVIOUS = {"Secret.reveal", "Watch.close"}


@pytest.mark.parametrize("owner", dict.fromkeys(PUBLIC), ids=lambda owner: owner.__name__)
def test_what_is_public_is_documented(owner):
    assert inspect.getdoc(owner)
    bare = [
        f"{owner.__name__}.{name}"
        for name, member in _public_members(owner)
        if not (inspect.getdoc(member) or inspect.getdoc(getattr(owner, name)))
    ]
    assert not set(bare) - _OBVIOUS


@pytest.mark.parametrize("owner", [tenure.Store, spi.Backend, Lease, Watch], ids=lambda owner: owner.__name__)
def test_each_method_of_the_api_and_the_spi_states_its_guarantee(owner):
    short = [name for name, member in _public_members(owner) if len(inspect.getdoc(member) or "") < 20]
    assert not short


def test_everything_exported_exists():
    for module in (tenure, spi):
        assert sorted(module.__all__) == module.__all__ or module is spi
        assert not [name for name in module.__all__ if not hasattr(module, name)]
