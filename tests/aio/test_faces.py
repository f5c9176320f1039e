"""The asyncio face has the names, arguments and documentation of the synchronous one."""

from __future__ import annotations

import inspect
import re
from typing import Any

import pytest

import tenure
from tenure import aio, registry
from tenure.aio._faces import reworded

TWINS = [
    pytest.param(getattr(tenure, name, None) or getattr(registry, name), getattr(aio, name), id=name)
    for name in aio.__all__
    if inspect.isclass(getattr(aio, name))
]
ONLY_THERE = {
    "Claim": {"ack_steps", "give_back_steps", "release_steps", "fence_steps", "give_up", "end", "count", "move"},
    "Held": {"release_steps", "fence_steps", "give_up", "end", "count", "move"},
    "Store": {"from_backend"},
    "Watch": {"__iter__", "poll", "reconnect", "connected", "broken", "mend"},
}
"""For tests of plugins, and for what drives a watch or steps."""
ONLY_HERE = {"Watch": {"__aiter__", "__anext__"}}


def members(owner: type) -> dict[str, Any]:
    """Public functions and properties, and how one iterates."""
    return {
        name: member
        for name, member in inspect.getmembers(owner)
        if (not name.startswith("_") or name in ("__iter__", "__aiter__", "__anext__"))
        and (inspect.isfunction(member) or isinstance(member, property) or inspect.ismethod(member))
    }


def parameters(function: Any) -> list[tuple[str, Any, Any]]:
    return [(one.name, one.kind, one.default) for one in inspect.signature(function).parameters.values()]


@pytest.mark.parametrize(("sync", "face"), TWINS)
def test_the_names_are_the_same(sync: type, face: type) -> None:
    there, here = set(members(sync)), set(members(face))
    assert there - here == ONLY_THERE.get(face.__name__, set())
    assert here - there == ONLY_HERE.get(face.__name__, set())


@pytest.mark.parametrize(("sync", "face"), TWINS)
def test_arguments_and_words_are_the_same(sync: type, face: type) -> None:
    there, here = members(sync), members(face)
    for name in there.keys() & here.keys():
        model, twin = there[name], here[name]
        assert isinstance(model, property) == isinstance(twin, property), name
        if not isinstance(model, property):
            assert parameters(model) == parameters(twin), name
        if model is not twin:
            assert inspect.getdoc(twin) == reworded(model), name
            assert not re.search(r"\bthread\b", reworded(model)), name


@pytest.mark.parametrize(("sync", "face"), TWINS)
def test_a_class_says_what_its_twin_guarantees(sync: type, face: type) -> None:
    text = inspect.getdoc(face) or ""
    assert "async" in text
    assert reworded(sync) in text


FUNCTIONS = [name for name in aio.__all__ if inspect.iscoroutinefunction(getattr(aio, name))]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_has_the_same_arguments_and_words(name: str) -> None:
    model, twin = getattr(tenure, name), getattr(aio, name)
    assert parameters(model) == parameters(twin)
    assert inspect.getdoc(twin) == reworded(model)


def test_connect_is_the_same() -> None:
    assert parameters(aio.connect) == parameters(tenure.connect)
    assert inspect.getdoc(aio.connect).splitlines()[0] == inspect.getdoc(tenure.connect).splitlines()[0]  # type: ignore[union-attr]
