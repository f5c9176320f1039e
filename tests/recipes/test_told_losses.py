"""``on_lost`` is called once for each loss, also if the holder has seen it first and left its block."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import tenure
import tenure_memory
from tenure import aio
from tenure._runtime.clock import ManualClock
from tenure.errors import LeaseLost
from tenure_testkit.waiting import PATIENCE, until

TTL = 10.0
BLOCKS: dict[str, Callable[[Any, Any], Any]] = {
    "lock": lambda store, face: face.Lock(store, "l").hold(),
    "unfair lock": lambda store, face: face.Lock(store, "l", fair=False).hold(),
    "reader": lambda store, face: face.ReadWriteLock(store, "l").read.hold(),
    "writer": lambda store, face: face.ReadWriteLock(store, "l").write.hold(),
    "several locks": lambda store, face: face.MultiLock(store, ["l", "m"]).hold(),
    "permit": lambda store, face: face.Semaphore(store, "s", limit=1).hold(),
    "term": lambda store, face: face.Election(store, "e").lead(),
}
SEES: dict[str, Callable[[Any, Any], object]] = {
    "guard": lambda store, held: held.guard(store.transaction().put("k", b"v")),
    "check": lambda store, held: held.check(),
    "the end of the block": lambda store, held: None,
}


@pytest.fixture
def url() -> Iterator[str]:
    name = f"told-{uuid.uuid4().hex}"
    yield f"memory://{name}"
    tenure_memory.forget(name)


def _stopped(store: tenure.Store, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Stop the process for longer than the TTL, and let its other threads run only when this is called."""
    late: list[Callable[[], object]] = []
    monkeypatch.setattr(store._losses, "submit", late.append)
    assert isinstance(store.clock, ManualClock)
    store.clock.jump(2 * TTL)

    def run() -> None:
        monkeypatch.undo()
        for call in late:
            call()

    return run


@pytest.mark.parametrize("sees", SEES)
@pytest.mark.parametrize("what", BLOCKS)
def test_a_holder_that_leaves_its_block_is_told(
    url: str, what: str, sees: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    others: list[Callable[[], None]] = []

    def work(store: tenure.Store) -> None:
        with BLOCKS[what](store, tenure) as held:
            held.on_lost(lambda: told.append(what))
            others.append(_stopped(store, monkeypatch))
            SEES[sees](store, held)

    with tenure.connect(url, clock=ManualClock()) as store:
        with pytest.raises(LeaseLost):
            work(store)
        until(lambda: told)
        others[0]()
    assert told == [what]


@pytest.mark.parametrize("what", BLOCKS)
def test_a_task_that_leaves_its_block_is_told(url: str, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    others: list[Callable[[], None]] = []

    async def work(store: aio.Store, called: asyncio.Event) -> None:
        async with BLOCKS[what](store, aio) as held:
            held.on_lost(lambda: (told.append(what), called.set()))
            others.append(_stopped(store._bridge.sync, monkeypatch))
            held.check()

    async def main() -> None:
        called = asyncio.Event()
        async with aio.connect(url, clock=ManualClock()) as store:
            with pytest.raises(LeaseLost):
                await work(store, called)
            await asyncio.wait_for(called.wait(), PATIENCE)
            others[0]()
        assert told == [what]

    asyncio.run(main())


def test_a_holder_is_told_whose_key_was_gone_when_it_gave_it_back(url: str) -> None:
    told: list[str] = []
    with tenure.connect(url) as store:
        held = tenure.Lock(store, "l").acquire()
        held.on_lost(lambda: told.append("lost"))
        store.delete(held.key)
        assert not held.release()
        until(lambda: told)
    assert told == ["lost"]


def test_a_holder_is_told_whose_store_is_closed_at_once(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    store = tenure.connect(url, clock=ManualClock())
    tenure.Lock(store, "l").acquire().on_lost(lambda: told.append("lost"))
    run = _stopped(store, monkeypatch)
    close = store._losses.close
    monkeypatch.setattr(store._losses, "close", lambda deadline: (run(), close(deadline)))
    store.close()
    assert told == ["lost"]


def test_a_lease_that_is_overdue_when_its_block_ends_is_lost(url: str) -> None:
    told: list[tenure.Lease] = []
    clock = ManualClock()
    with tenure.connect(url, clock=clock) as store:
        with store.lease(TTL, keep_alive=False, on_lost=told.append) as lease:
            clock.jump(2 * TTL)
        until(lambda: told)
        assert lease.state is tenure.LeaseState.LOST
    assert told == [lease]
