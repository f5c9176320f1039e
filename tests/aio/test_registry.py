"""The registry on a loop: plain reads of its cache, events on the loop, and no ghost of a cancelled start."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from tenure import aio
from tenure.errors import AlreadyRegistered, ConfigError, ServiceNotFound, StoreClosed
from tenure.registry import Instance, InstanceEvent, InstanceStatus, Status, StatusChange
from tenure_testkit.loops import face_of, run, until_async
from tenure_testkit.waiting import PATIENCE

from .gates import gated


@pytest.fixture(params=["memory", "sqlite"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"memory://{tmp_path.name}" if request.param == "memory" else f"sqlite:///{tmp_path}/store.db"


def test_an_instance_comes_is_found_and_goes(url: str) -> None:
    events: list[tuple[str, threading.Thread]] = []
    statuses: list[Status] = []

    def seen(event: InstanceEvent) -> None:
        events.append((str(event.type), threading.current_thread()))
        raise ZeroDivisionError

    def changed(change: StatusChange) -> None:
        statuses.append(change.status)

    async def main() -> None:
        async with aio.connect(url, timeout=PATIENCE) as store, aio.Registry(store) as watching:
            watching.add_handler(seen, service="web")
            async with aio.connect(url, timeout=PATIENCE) as other:
                async with aio.Registry(other, instance=Instance("web", port=80)) as registered:
                    registered.add_status_handler(changed)
                    assert registered.status is Status.REGISTERED
                    service = await watching.wait_for("web", timeout=PATIENCE)
                    assert [instance.port for instance in service] == [80]
                    assert watching.pick("web").port == 80
                    assert list(watching.get_services()) == ["web"]
                    assert (await registered.drain()).status == InstanceStatus.DRAINING
                    with pytest.raises(AlreadyRegistered):
                        await registered.register(Instance("web"))
                    await until_async(lambda: len(events) == 2)
                await until_async(lambda: len(events) == 3)
            with pytest.raises(ServiceNotFound, match="0 of 1"):
                await watching.wait_for("web", timeout=0.01)
            watching.remove_handler(seen)
            assert watching.staleness == 0.0
            await watching.register(Instance("web"))
            await watching.deregister()
        assert watching.closed

    run(main)
    assert events == [(kind, threading.main_thread()) for kind in ("create", "upsert", "delete")]
    assert statuses


def test_a_wait_ends_with_what_comes_and_with_the_close(url: str) -> None:
    async def main() -> None:
        async with aio.connect(url, timeout=PATIENCE) as store:
            registry = await aio.Registry(store).start()
            waiting = asyncio.create_task(registry.wait_for("web", 2, PATIENCE))
            async with aio.Registry(store, instance=Instance("web")), aio.Registry(store, instance=Instance("web")):
                assert len(await waiting) == 2
            ending = asyncio.create_task(registry.wait_for("db", timeout=PATIENCE))
            await asyncio.sleep(0.01)
            await registry.close()
            await registry.close()
            with pytest.raises(StoreClosed):
                await ending
        with pytest.raises(StoreClosed):
            await registry.register(Instance("web"))

    run(main)


@pytest.mark.parametrize("cancelled_at", range(1, 6))
def test_a_cancelled_start_leaves_no_instance(cancelled_at: int) -> None:
    sync, backend = gated()

    async def main() -> None:
        async with await face_of(sync) as store:
            starting = asyncio.create_task(aio.Registry(store, instance=Instance("web")).start())
            while len(backend.begun) < cancelled_at and not starting.done():
                await asyncio.sleep(0)
            starting.cancel()
            await asyncio.wait([starting])
            if not starting.cancelled():
                await starting.result().close()
            while (await store.list()).keys or sync._open_watches.live:
                await asyncio.sleep(0.005)

    run(main)


def test_a_registry_outlives_its_store_quietly(url: str) -> None:
    async def main() -> None:
        async with aio.connect(url, timeout=PATIENCE) as store:
            registry = await aio.Registry(store, instance=Instance("web")).start()
        assert registry.get_services().keys() == {"web"}
        await registry.close()
        assert registry.closed

    run(main)


def test_it_needs_a_store_of_this_face() -> None:
    sync, _ = gated()
    with pytest.raises(ConfigError, match=r"tenure\.aio"):
        aio.Registry(sync)  # type: ignore[arg-type]
    sync.close()
