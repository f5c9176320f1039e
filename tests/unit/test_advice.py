"""What a newcomer writes first, and what the error then advises."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import tenure
from tenure import aio
from tenure.errors import TenureError

RECIPES: dict[str, Callable[[Any, Any], Any]] = {
    "lock.hold(": lambda face, store: face.Lock(store, "x"),
    "multilock.hold(": lambda face, store: face.MultiLock(store, ["x", "y"]),
    "semaphore.hold(": lambda face, store: face.Semaphore(store, "x", limit=2),
    "lock.read.hold(": lambda face, store: face.ReadWriteLock(store, "x"),
    "side.hold(": lambda face, store: face.ReadWriteLock(store, "x").write,
    "election.lead(": lambda face, store: face.Election(store, "x"),
}


@pytest.fixture
def store() -> Iterator[tenure.Store]:
    with tenure.connect("memory://advice") as opened:
        yield opened


@pytest.mark.parametrize("call", RECIPES)
def test_a_recipe_that_is_entered_itself_names_the_call(store: tenure.Store, call: str) -> None:
    one = RECIPES[call](tenure, store)
    with pytest.raises(TypeError) as caught, one:
        pass
    assert f"`with {call}" in str(caught.value)

    async def main() -> None:
        async with aio.connect("memory://advice") as opened:
            other = RECIPES[call](aio, opened)
            with pytest.raises(TypeError) as caught:
                await other.__aenter__()
            assert f"`async with {call}" in str(caught.value)

    asyncio.run(main())


@pytest.mark.parametrize("call", [call for call in RECIPES if "read" not in call])
def test_a_block_that_is_not_entered_says_so(store: tenure.Store, call: str) -> None:
    one = RECIPES[call](tenure, store)
    block = getattr(one, call.rsplit(".", maxsplit=1)[-1][:-1])()
    assert "not entered" in repr(block)
    with pytest.raises(AttributeError, match=r"not entered.*as held.*held\.check"):
        block.check()
    with pytest.raises(AttributeError, match="no attribute 'chekc'"):
        _ = block.chekc
    kept = [block]
    del block
    with pytest.warns(ResourceWarning, match="nothing was acquired"):
        kept.clear()
    with pytest.raises(AttributeError, match=r"\.release\(\)"):
        _ = one.release


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda store: tenure.Session(store, ttl=2), r"Session\.open\(store, ttl=5\)"),  # type: ignore[call-arg]
        (lambda store: tenure.Lock(store, ""), "must not be empty"),
        (lambda store: tenure.connect("rediss://x"), r"Did you mean redis\+tls://\?"),
        (lambda store: tenure.connect("https://x"), r"Name the store.* as in SCHEME\+tls://"),
        (lambda store: tenure.connect("sqli:///x"), r"Did you mean sqlite://\?"),
        (lambda store: tenure.connect("etcd+ssl://x"), r"did you mean \+tls\?"),
        (lambda store: tenure.connect("localhost:6391"), "as in 'scheme://localhost:PORT'"),
    ],
)
def test_the_error_leads_on(store: tenure.Store, call: Callable[[tenure.Store], object], words: str) -> None:
    with pytest.raises((TenureError, TypeError), match=words):
        call(store)


@pytest.mark.parametrize("module", [tenure, aio])
def test_a_name_in_small_letters_leads_to_the_class(module: Any) -> None:
    with pytest.raises(AttributeError, match="Did you mean: 'Lock'") as caught:
        _ = module.lock
    assert "Clock" not in "".join(traceback.format_exception(caught.value))
