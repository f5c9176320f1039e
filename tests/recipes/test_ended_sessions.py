"""A session that its own process ends under a holder is lost for the holder, who learns of it at once."""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections.abc import Awaitable, Callable, Iterator

import pytest

import tenure
import tenure_memory
from tenure import aio
from tenure.errors import LeaseLost
from tenure.recipes import persistent_key
from tenure_testkit.waiting import PATIENCE, until

LONG = 300.0
"""No refresh is due within the time that a test waits."""


@pytest.fixture
def url() -> Iterator[str]:
    name = f"ended-{uuid.uuid4().hex}"
    yield f"memory://{name}"
    tenure_memory.forget(name)


ENDS: dict[str, Callable[[tenure.Store, tenure.Session], object]] = {
    "close of the session": lambda store, session: session.close(),
    "close of the store": lambda store, session: store.close(),
    "revoke": lambda store, session: session.lease.revoke(),
    "revoke by id": lambda store, session: store.revoke_lease(session.lease.id),
    "abandon": lambda store, session: session.lease.abandon(),
}


@pytest.mark.parametrize("end", ENDS)
def test_a_holder_is_told_when_its_session_is_ended(url: str, end: str) -> None:
    with tenure.connect(url, timeout=PATIENCE) as store:
        session = tenure.Session.open(store, ttl=LONG)
        held = tenure.Lock(store, "l", session=session).acquire()
        told: list[str] = []
        held.on_lost(lambda: told.append("lost"))
        woken: list[bool] = []
        waiter = threading.Thread(target=lambda: woken.append(held.wait_until_lost()))
        waiter.start()
        ENDS[end](store, session)
        waiter.join(PATIENCE)
        assert woken == [True]
        until(lambda: told == ["lost"])
        assert held.lost
        assert not held.held
        late = threading.Event()
        if not store.closed:
            held.on_lost(late.set)
            assert late.wait(PATIENCE)
    assert told == ["lost"]


def test_a_released_lock_is_lost_by_nobody(url: str) -> None:
    with tenure.connect(url, timeout=PATIENCE) as store:
        told: list[str] = []
        with tenure.Session.open(store, ttl=LONG) as session, tenure.Lock(store, "l", session=session).hold() as held:
            held.on_lost(lambda: told.append("lost"))
    assert not told


AIO_ENDS: dict[str, Callable[[aio.Store, aio.Session], Awaitable[object]]] = {
    "close of the session": lambda store, session: session.close(),
    "close of the store": lambda store, session: store.close(),
    "revoke by id": lambda store, session: store.revoke_lease(session.lease.id),
}


@pytest.mark.parametrize("end", AIO_ENDS)
def test_a_block_is_cancelled_when_its_session_is_ended(url: str, end: str) -> None:
    async def main() -> None:
        async with aio.connect(url, timeout=PATIENCE) as store:
            session = await aio.Session.open(store, ttl=LONG)
            entered = asyncio.Event()

            async def body() -> None:
                async with aio.Lock(store, "l", session=session).hold():
                    entered.set()
                    await asyncio.sleep(PATIENCE)

            task = asyncio.create_task(body())
            await entered.wait()
            await AIO_ENDS[end](store, session)
            with pytest.raises(LeaseLost, match="before the end of the block"):
                await asyncio.wait_for(task, PATIENCE / 2)

    asyncio.run(main())


def test_a_session_can_be_closed_while_its_store_closes(url: str) -> None:
    """As a callback may that hears of the loss, which closing the store brings."""
    store = tenure.connect(url, timeout=PATIENCE)
    session = tenure.Session.open(store, ttl=LONG)
    held = tenure.Lock(store, "l", session=session).acquire()
    came: list[BaseException | None] = []

    def close() -> None:
        try:
            session.close()
            came.append(None)
        except BaseException as exc:  # noqa: BLE001 - looked at below
            came.append(exc)

    held.on_lost(close)
    store.close()
    until(lambda: bool(came))
    close()
    assert came == [None, None]
    other = tenure.connect(url, timeout=PATIENCE)
    # Closed before its lease was revoked: the same as in a race that the session's own close loses.
    late = tenure.Session.open(other, ttl=LONG)
    other._closed = True
    try:
        late.close()
    finally:
        other._closed = False
        other.close()


def test_a_persistent_key_that_is_started_again_is_put_once(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits for another client's key since an earlier start is over, though the object keeps its key again."""
    monkeypatch.setattr(persistent_key, "_FIRST_PAUSE", 0.02)
    monkeypatch.setattr(persistent_key, "_LONGEST_PAUSE", 0.02)
    looks: list[str] = []
    with tenure.connect(url) as store, tenure.connect(url) as other:
        key = tenure.PersistentKey(store, "up", b"", ttl=LONG)
        key.start()
        other.put("up", b"of another client")
        look = store._backend.get
        monkeypatch.setattr(store._backend, "get", lambda *args, **more: (looks.append("look"), look(*args, **more))[1])
        key._kept._session.lease.revoke()  # it waits for the other client's key to go
        until(lambda: looks, PATIENCE, "it looks for the key")
        key.close()
        other.delete("up")
        key.start()
        with other.watch("up", exact=True) as watch:
            assert [watch.next(PATIENCE).type for _ in range(2)] == [tenure.BatchType.SNAPSHOT, tenure.BatchType.SYNCED]
            assert watch.next(10 * 0.02) is None, "nothing puts it again"
        assert len(other.leases()) == 1
        key.close()
        assert not other.leases()
