"""``help()`` on the registry, on ``tenure.testing`` and on the conformance suite is complete, and its examples run."""

from __future__ import annotations

import ast
import dataclasses
import doctest
import enum
import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tenure import conformance, registry, testing
from tenure.conformance.controls import ready_made
from tenure.testing import fixtures

NAMED: dict[str, Any] = {
    **{name: getattr(package, name) for package in (registry, testing, conformance) for name in package.__all__},
    **{
        name: member
        for module in (ready_made, fixtures)
        for name, member in vars(module).items()
        if not name.startswith("_") and getattr(member, "__module__", module.__name__) == module.__name__
    },
}
CLASSES = [value for value in NAMED.values() if inspect.isclass(value)]

UNEXPLAINED = {
    "VirtualClock.resting": "documented by tenure.spi.Clock, which it overrides",
    "VirtualClock.wait": "documented by tenure.spi.Clock, which it overrides",
    "VirtualClock.wait_for_real": "documented by tenure.spi.Clock, which it overrides",
}
MADE_BY_TENURE = {
    "Faults": "Sandbox.faults",
    "Refusal": "Faults.fail_calls",
    "LostAnswer": "Faults.next_write_unknown",
}
EXAMPLES = [
    "tenure.registry",
    "tenure.registry.default",
    "tenure.registry.registry",
    "tenure.registry.model.config",
    "tenure.registry.model.health",
    "tenure.registry.model.instance",
    "tenure.registry.model.service",
    "tenure.registry.model.wire_format",
    "tenure.testing",
    "tenure.testing.clock",
    "tenure.testing.sandbox",
]


def sections(text: str) -> dict[str, list[str]]:
    """The Google-style sections of a docstring: title -> the names of its entries."""
    found: dict[str, list[str]] = {}
    entries: list[str] | None = None
    for line in inspect.cleandoc(text).splitlines():
        if match := re.fullmatch(r"(Args|Returns|Raises|Attributes):", line):
            entries = found.setdefault(match[1], [])
        elif line and not line.startswith(" "):
            entries = None
        elif entries is not None and (match := re.match(r" {4}([\w.]+): \S", line)):
            entries.append(match[1])
    return found


def functions() -> Iterator[tuple[str, Any]]:
    """Each public function and method that one of our modules defines; fixtures as the function behind them."""
    for name, member in NAMED.items():
        plain = _plain(member)
        if inspect.isfunction(plain):
            yield name, plain
    for owner in CLASSES:
        for name, member in vars(owner).items():
            plain = _plain(member)
            if inspect.isfunction(plain) and not name.startswith(("_", "test_")):
                yield f"{owner.__name__}.{name}", plain


def _plain(member: Any) -> Any:
    """The function itself: of a fixture, a static method or a decorated function."""
    member = getattr(member, "_get_wrapped_function", lambda: member)()
    return inspect.unwrap(getattr(member, "__func__", member))


FUNCTIONS = [pytest.param(name, function, id=name) for name, function in functions() if name not in UNEXPLAINED]


@pytest.mark.parametrize(("name", "function"), FUNCTIONS)
def test_each_parameter_is_explained(name: str, function: Any) -> None:
    assert function.__doc__, "no docstring"
    parameters = [parameter for parameter in inspect.signature(function).parameters if parameter not in ("self", "cls")]
    assert sections(function.__doc__).get("Args", []) == parameters


@pytest.mark.parametrize(("name", "function"), FUNCTIONS)
def test_the_first_line_is_one_imperative_sentence(name: str, function: Any) -> None:
    first = inspect.cleandoc(function.__doc__).splitlines()[0]
    assert first.endswith(".")
    assert re.match(r"[A-Z][a-z]+\b", first)
    assert not re.match(r"(The|A|An|Whether|Like|Returns|Raises|Does|Makes|Sets|Gets|Reads|What|How)\b", first)


@pytest.mark.parametrize("owner", CLASSES, ids=lambda owner: owner.__name__)
def test_each_field_is_explained(owner: type) -> None:
    assert owner.__doc__, "no docstring"
    explained = sections(owner.__doc__)
    if issubclass(owner, enum.Enum):
        assert explained.get("Attributes") == list(owner.__members__)
    elif dataclasses.is_dataclass(owner):
        fields = [field.name for field in dataclasses.fields(owner) if not field.name.startswith("_")]
        assert fields in (explained.get("Attributes"), explained.get("Args"))


@pytest.mark.parametrize("owner", CLASSES, ids=lambda owner: owner.__name__)
def test_each_constructor_is_explained(owner: type) -> None:
    made = vars(owner).get("__init__")
    if not inspect.isfunction(made) or owner.__name__ in MADE_BY_TENURE:
        return
    if dataclasses.is_dataclass(owner) and owner is not registry.Instance:
        return
    parameters = [name for name in inspect.signature(made).parameters if name != "self"]
    assert sections(owner.__doc__ or "").get("Args", []) == parameters


@pytest.mark.parametrize("owner", CLASSES, ids=lambda owner: owner.__name__)
def test_each_property_is_explained(owner: type) -> None:
    assert not [name for name, member in vars(owner).items() if isinstance(member, property) and not member.__doc__]


def test_the_exceptions_are_still_needed() -> None:
    names = {name for name, _ in functions()}
    assert not set(UNEXPLAINED) - names
    assert not set(MADE_BY_TENURE) - {owner.__name__ for owner in CLASSES}


@pytest.mark.parametrize("module", EXAMPLES)
def test_examples_run(module: str) -> None:
    result = doctest.testmod(importlib.import_module(module))
    assert result.attempted > 0
    assert result.failed == 0


def test_no_example_is_forgotten() -> None:
    core = Path(registry.__file__).parents[1]
    found = set()
    for folder in ("registry", "testing", "conformance"):
        for path in (core / folder).rglob("*.py"):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            owners = (ast.Module, ast.ClassDef, ast.FunctionDef)
            if any(">>> " in (ast.get_docstring(node) or "") for node in ast.walk(tree) if isinstance(node, owners)):
                parts = path.relative_to(core).with_suffix("").parts
                found.add(".".join(("tenure", *parts)).removesuffix(".__init__"))
    assert found == set(EXAMPLES)
