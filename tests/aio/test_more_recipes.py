"""Values, queues, meetings and schedules on a loop: the same results, and cancels that leave nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tenure import TransactView, aio
from tenure.errors import InvalidArgument
from tenure_testkit.loops import run
from tenure_testkit.waiting import PATIENCE


@pytest.fixture(params=["memory", "sqlite"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"memory://{tmp_path.name}" if request.param == "memory" else f"sqlite:///{tmp_path}/store.db"


def test_tasks_that_compete_change_values_exactly_once(url: str) -> None:
    def move(view: TransactView) -> int:
        left = int(view.get("a") or 0) - 1
        view.put("a", str(left).encode())
        view.put("b", str(int(view.get("b") or 0) + 1).encode())
        return left

    async def main() -> None:
        async with aio.connect(url, timeout=PATIENCE) as store:
            counters = [aio.Counter(store, "c") for _ in range(10)]
            sums = await asyncio.gather(*(counter.add() for counter in counters))
            assert sorted(sums) == list(range(1, 11))
            assert await counters[0].value() == 10
            with pytest.raises(InvalidArgument):
                await counters[0].add("1")  # type: ignore[arg-type]

            value = aio.AtomicValue(store, "v")
            assert await value.get() is None
            await value.set(b"")
            await asyncio.gather(*(value.update(lambda old: (old or b"") + b"x") for _ in range(10)))
            assert await value.get() == b"x" * 10
            assert not await value.compare_and_set(None, b"y")
            assert await value.compare_and_set(b"x" * 10, b"y")

            blocks = [aio.IdBlock(store, "i", size=3) for _ in range(3)]
            ids = await asyncio.gather(*(block.next() for block in blocks for _ in range(5)))
            assert len(set(ids)) == 15

            left = await asyncio.gather(*(aio.transact(store, move) for _ in range(10)))
            assert sorted(left) == list(range(-10, 0))
            item = await store.get("b")
            assert item is not None
            assert item.value == b"10"

    run(main)
