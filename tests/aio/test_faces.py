"""The asyncio face has the names, arguments and documentation of the synchronous one."""

from __future__ import annotations

import inspect
import re
from typing import Any

import pytest

import tenure
from tenure import aio, registry
from tenure.aio._faces import reworded
from tenure.aio.recipes import _bus, _groups, _observing
from tenure.recipes import _observing as sync_observing
from tenure.recipes import bus as sync_bus
from tenure.recipes import group as sync_group

TWINS = [
    pytest.param(getattr(tenure, name, None) or getattr(registry, name), getattr(aio, name), id=name)
    for name in aio.__all__
    if inspect.isclass(getattr(aio, name))
]
TWINS += [
    pytest.param(there, here, id=here.__name__)
    for there, here in (
        (sync_group.Membership, _groups.Membership),
        (sync_bus.Subscription, _bus.Subscription),
        (sync_observing.Changes, _observing.Changes),
    )
]
"""And what their methods return."""
DRIVERS = {"release_steps", "fence_steps", "give_up", "end", "count", "lose", "move"}
"""Methods of what is held that are for the faces."""
ONLY_THERE = {
    "Claim": {"ack_steps", "give_back_steps"} | DRIVERS,
    "Changes": {"__iter__"},
    "Held": DRIVERS,
    "Membership": DRIVERS,
    "Store": {"from_backend"},
    "Subscription": {"__iter__"},
    "Watch": {"__iter__", "poll", "reconnect", "connected", "broken", "mend"},
}
"""For tests of plugins, and for what drives a watch or steps."""
ONLY_HERE = {name: {"__aiter__", "__anext__"} for name in ("Changes", "Subscription", "Watch")}
MADE_BY_OTHERS = {
    "Changes",
    "Claim",
    "Held",
    "Lease",
    "Membership",
    "Session",
    "Store",
    "Subscription",
    "TransactionBuilder",
    "Watch",
}
"""An application doesn't call these classes."""
DATA = {"BYTES", "Codec", "DeadLetter", "Fence", "JSON", "Leader", "Member", "Message", "TEXT", "TransactView"}
"""What recipes take and return is the same on both faces."""


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


@pytest.mark.parametrize(("sync", "face"), TWINS)
def test_both_are_made_with_the_same_arguments(sync: type, face: type) -> None:
    if face.__name__ not in MADE_BY_OTHERS:
        assert parameters(face) == parameters(sync)


def test_every_recipe_has_a_twin() -> None:
    recipes = {
        name for name in tenure.__all__ if getattr(getattr(tenure, name), "__module__", "").startswith("tenure.recipes")
    }
    assert recipes - set(aio.__all__) == DATA


FUNCTIONS = [name for name in aio.__all__ if inspect.iscoroutinefunction(getattr(aio, name))]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_has_the_same_arguments_and_words(name: str) -> None:
    model, twin = getattr(tenure, name), getattr(aio, name)
    assert parameters(model) == parameters(twin)
    assert inspect.getdoc(twin) == reworded(model)


def test_connect_is_the_same() -> None:
    assert parameters(aio.connect) == parameters(tenure.connect)
    assert inspect.getdoc(aio.connect).splitlines()[0] == inspect.getdoc(tenure.connect).splitlines()[0]  # type: ignore[union-attr]
