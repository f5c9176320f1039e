"""The pages for those who know another library name each of its public calls, and name only what Tenure has."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import tenure
from tenure import registry, testing

FOLDER = Path(__file__).parents[2] / "core/docs/coming-from"
PAGES = sorted(path for path in FOLDER.glob("*.md") if path.stem not in ("index", "comparison"))
_ROW = re.compile(r"^\| (.+?) \| (.*?) \| (.*?) ?\|$", re.MULTILINE)
_NAME = re.compile(r"`([\w.]+)`")


def rows(name: str) -> list[tuple[list[str], list[str], str]]:
    """Each row of the page's tables: their names, ours, and what is different."""
    text = (FOLDER / f"{name}.md").read_text(encoding="utf-8")
    found = [(_NAME.findall(theirs), _NAME.findall(ours), why) for theirs, ours, why in _ROW.findall(text)]
    return [row for row in found if row[0]]


def named(name: str) -> list[str]:
    return [theirs for row in rows(name) for theirs in row[0]]


def methods(owner: type, name: str = "") -> set[str]:
    """Public methods and properties of a class, as ``Class.method``."""
    found = set()
    for member in dir(owner):
        plain = inspect.getattr_static(owner, member)
        if not member.startswith("_") and (callable(getattr(owner, member, None)) or isinstance(plain, property)):
            found.add(f"{name or owner.__name__}.{member}")
    return found


def kazoo() -> set[str]:
    from kazoo.client import KazooClient, TransactionRequest

    found = methods(KazooClient) | methods(TransactionRequest)
    # Parts of TreeCache that no application makes, and the enumeration of a partitioner's states.
    internal = {"TreeNode", "TreeEvent", "NodeData", "PartitionState", "BaseQueue"}
    package = importlib.import_module("kazoo.recipe")
    for module in pkgutil.iter_modules(package.__path__):
        if module.name == "tests":
            continue
        loaded = importlib.import_module(f"kazoo.recipe.{module.name}")
        for name, owner in vars(loaded).items():
            if not inspect.isclass(owner) or owner.__module__ != loaded.__name__ or name.startswith("_"):
                continue
            if name not in internal:
                found |= methods(owner) or {name}  # a recipe without methods is used by calling it
    return found


def redis() -> set[str]:
    from redis.lock import Lock

    arguments = set(inspect.signature(Lock.__init__).parameters) - {"self", "redis", "name"}
    return methods(Lock) | arguments


def consul() -> set[str]:
    from consul import Consul

    def walk(value: object, path: str) -> Iterator[str]:
        for name in dir(value):
            part = getattr(value, name)
            if name.startswith("_") or name == "agent" or inspect.isclass(part):
                continue
            if inspect.ismethod(part):
                yield f"{path}{name}"
            elif type(part).__module__.startswith("consul"):
                yield from walk(part, f"{path}{name}.")

    client = Consul()
    found = {name for name in walk(client, "") if name.count(".") >= 1}
    return found | {f"agent.{name}" for name in walk(client.agent, "")}


def etcd3() -> set[str]:
    """Read from the source: the package doesn't import beside a protobuf of today."""
    spec = importlib.util.find_spec("etcd3")
    assert spec is not None
    (folder,) = map(Path, spec.submodule_search_locations or ())
    skipped = {"Transactions", "KVMetadata", "Status", "Alarm", "EtcdTokenCallCredentials", "WatchResponse"}
    found = {"client"}
    for module in ("client", "locks", "leases", "members", "watch", "transactions"):
        for owner in ast.parse((folder / f"{module}.py").read_text(encoding="utf-8")).body:
            if not isinstance(owner, ast.ClassDef) or owner.name in skipped or owner.name.startswith("_"):
                continue
            own = [each.name for each in owner.body if isinstance(each, ast.FunctionDef)]
            public = {f"{owner.name}.{name}" for name in own if not name.startswith("_")}
            found |= public or {owner.name}
    return found


PEERS = {"kazoo": kazoo, "redis-lock": redis, "python-consul": consul, "etcd3": etcd3}


@pytest.mark.parametrize("name", PEERS)
def test_every_public_call_of_the_installed_package_is_in_the_table(name: str) -> None:
    wanted = PEERS[name]()
    there = named(name)
    assert sorted(wanted - set(there)) == [], "these are missing"
    assert sorted(set(there) - wanted) == [], "the package has no such calls"
    assert sorted({each for each in there if there.count(each) > 1}) == [], "these are there twice"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_our_names_exist_and_a_call_without_a_counterpart_has_a_reason(page: Path) -> None:
    assert rows(page.stem)
    for theirs, ours, why in rows(page.stem):
        assert ours or why, f"{theirs}: give a reason"
        for name in ours:
            first, *rest = name.split(".")
            found = next((getattr(home, first) for home in (tenure, registry, testing) if hasattr(home, first)), None)
            assert found is not None, name
            for part in rest:
                assert hasattr(found, part) or part in getattr(found, "__annotations__", {}), name
                found = getattr(found, part, None)


def test_the_comparison_has_a_date_on_every_page() -> None:
    assert re.search(r"^As of \w+ 20\d\d\.", (FOLDER / "comparison.md").read_text("utf-8"), re.MULTILINE)
    for page in PAGES:
        assert re.search(r"^## What .+ better\n\nAs of \w+ 20\d\d:\n", page.read_text("utf-8"), re.MULTILINE), page.name
