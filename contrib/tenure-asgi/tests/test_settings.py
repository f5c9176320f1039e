"""Settings of a lifespan follow the store."""

from __future__ import annotations

import asyncio

import pytest
from asgi_driver import until
from tenure_asgi import Lifespan

import tenure
from tenure import ConfigError


def test_a_setting_follows_its_key_and_keeps_the_last_good_value(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        lifespan = Lifespan("memory://settings")
        limit = lifespan.setting("settings/limit", default=10, validate=lambda value: value > 0)
        name = lifespan.setting("settings/name", default="-", codec=tenure.TEXT)
        assert limit.value == 10
        with tenure.connect("memory://settings") as store:
            store.put("settings/name", b"before")
            async with lifespan:
                assert (limit.value, await limit(), name.value) == (10, 10, "before")
                store.put("settings/limit", b"20")
                await until(lambda: limit.value == 20)
                for wrong, problem in ((b"a lot", ValueError), (b"-1", ValueError)):
                    store.put("settings/limit", wrong)
                    await until(lambda: limit.problem is not None)
                    assert isinstance(limit.problem, problem)
                    assert limit.value == 20
                    store.put("settings/limit", b"20")
                    await until(lambda: limit.problem is None)
                assert limit.view is not None
                await limit.view.set(30)
                assert limit.value == 30
                store.delete("settings/limit")
                await until(lambda: limit.value == 10)
        assert "The last good one stays" in caplog.text

    asyncio.run(main())


def test_a_setting_begins_anew_when_the_lifespan_opens_again() -> None:
    async def main() -> None:
        lifespan = Lifespan("memory://anew")
        color = lifespan.setting("color", default="red")
        with tenure.connect("memory://anew") as store:
            store.put("color", b'"blue"')
            async with lifespan:
                assert color.value == "blue"
                with pytest.raises(ConfigError, match="before it starts"):
                    lifespan.setting("late", default=1)
            store.delete("color")
            async with lifespan:
                assert color.value == "red"

    asyncio.run(main())
