"""A short trial of random cancels on embedded stores, and that a trial finds what is left, lost or wrong.

``tox -e cancellations`` makes long ones, also on servers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tenure
from tenure import aio
from tenure.aio._bridge import Bridge
from tenure.aio.recipes import _holding
from tenure_testkit.cancellations import acts
from tenure_testkit.cancellations.acts import ACTS, Caller
from tenure_testkit.cancellations.faults import Weather, memory_faults, sqlite_faults
from tenure_testkit.cancellations.trial import Found, Trial
from tenure_testkit.waiting import PATIENCE

SHORT = 1.0
"""Seconds in which a sound store would have removed what is left."""


def tried(folder: Path, *, loop: str = "asyncio", **options: Any) -> Found:
    path = folder / "store.db"
    weather = Weather(sqlite_faults(path), folder.name)
    return Trial(f"sqlite:///{path}", weather, seed="7", loop=loop, seconds=PATIENCE, turns=1, **options).run()


@pytest.mark.parametrize("loop", ["asyncio", "trio"])
def test_cancels_leave_nothing(tmp_path: Path, loop: str) -> None:
    found = tried(tmp_path, loop=loop, cancels=150)
    assert found.problems == []
    assert found.cancels >= 150
    assert len(found.acts) > len(ACTS) / 2


def test_cancels_leave_nothing_in_memory(tmp_path: Path) -> None:
    name = tmp_path.name
    with tenure.connect(f"memory://{name}"):
        weather = Weather(memory_faults(name), name)
        found = Trial(f"memory://{name}", weather, seed="7", cancels=150, seconds=PATIENCE, turns=1).run()
    assert found.problems == []
    assert found.cancels >= 150


def _leave_leases(patch: pytest.MonkeyPatch) -> None:
    sound = Bridge.call

    async def call(bridge: Bridge, function: Any, **options: Any) -> Any:
        options.pop("undo", None)
        return await sound(bridge, function, **options)

    patch.setattr(Bridge, "call", call)


def _leave_locks(patch: pytest.MonkeyPatch) -> None:
    async def release(held: aio.Held, *, timeout: float | None = None) -> bool:
        return True

    patch.setattr(aio.Held, "release", release)


def _steps_hear_of_no_cancel(patch: pytest.MonkeyPatch) -> None:
    sound = _holding.run

    async def run(store: aio.Store, steps: Any) -> Any:
        return await asyncio.shield(asyncio.ensure_future(sound(store, steps)))

    patch.setattr(_holding, "run", run)


def _errors_that_nobody_gets(patch: pytest.MonkeyPatch) -> None:
    async def fail() -> None:
        raise KeyError("nobody awaits this")

    async def read(caller: Caller) -> None:
        asyncio.ensure_future(fail())  # noqa: RUF006 - nobody keeps it
        await asyncio.sleep(0)

    patch.setitem(ACTS, "read", read)  # type: ignore[misc]


def _never_awaited(patch: pytest.MonkeyPatch) -> None:
    async def read(caller: Caller) -> None:
        caller.store.get("a")

    patch.setitem(ACTS, "read", read)  # type: ignore[misc]


def _two_are_inside(patch: pytest.MonkeyPatch) -> None:
    async def lock(caller: Caller) -> None:
        name = f"alone/{caller.notes.number()}"
        await acts._hold(caller, "lock", aio.Lock(caller.store, name))

    patch.setitem(ACTS, "lock", lock)  # type: ignore[misc]


def _items_are_lost(patch: pytest.MonkeyPatch) -> None:
    async def produce(caller: Caller) -> None:
        caller.notes.put.add(b"never put")

    patch.setitem(ACTS, "produce", produce)  # type: ignore[misc]


@pytest.mark.parametrize(
    ("breaks", "act", "seen"),
    [
        (_leave_leases, "lease", "leases more than before"),
        (_leave_locks, "lock", "a ghost: tenure/lock/"),
        (_steps_hear_of_no_cancel, "lock", "a ghost: tenure/lock/"),
        (_errors_that_nobody_gets, "read", "never retrieved"),
        (_never_awaited, "read", "was never awaited"),
        (_two_are_inside, "lock", "are inside, and 1 may be"),
        (_items_are_lost, "produce", "items that were put, and are lost"),
    ],
)
def test_a_trial_finds(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    breaks: Callable[[pytest.MonkeyPatch], None],
    act: str,
    seen: str,
) -> None:
    with monkeypatch.context() as patch:
        breaks(patch)
        found = tried(tmp_path, cancels=80, acts=(act, "write"), gone=SHORT)
    assert any(seen in problem for problem in found.problems), (found.problems, found.ends)
