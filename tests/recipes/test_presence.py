"""A key that is gone while its lease lives: its holder learns of it after the next refresh, and no other does."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import tenure
import tenure_memory
from tenure import Store, SystemClock, aio
from tenure._runtime.clock import TimeLimit
from tenure._steps.effects import Commit, Steps
from tenure._steps.threads import perform
from tenure.errors import LeaseLost, Unavailable
from tenure.recipes._held_state import HeldState
from tenure.recipes._presence import Presence
from tenure.recipes.once import one_run
from tenure.spi import Capabilities
from tenure_memory.backend import MemoryBackend
from tenure_memory.server import MemoryServer
from tenure_testkit.waiting import PATIENCE, until


@pytest.fixture
def url() -> Iterator[str]:
    name = f"presence-{uuid.uuid4().hex}"
    yield f"memory://{name}"
    tenure_memory.forget(name)


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    with tenure.connect(url, timeout=PATIENCE) as opened:
        yield opened


def _claimed(store: Store, session: tenure.Session) -> HeldState:
    queue = tenure.WorkQueue(store, "q", session=session)
    queue.put(b"1")
    claim = queue.claim(timeout=PATIENCE)
    assert claim is not None
    return claim


def _partition(store: Store, session: tenure.Session) -> HeldState:
    partitions = tenure.Partitioner(store, "p", partitions=1, session=session)
    assert partitions.wait(timeout=PATIENCE)
    return partitions.owned[0]


HELD: dict[str, Callable[[Store, tenure.Session], HeldState]] = {
    "lock": lambda store, session: tenure.Lock(store, "l", session=session).acquire(),
    "unfair lock": lambda store, session: tenure.Lock(store, "l", session=session, fair=False).acquire(),
    "reader": lambda store, session: tenure.ReadWriteLock(store, "l", session=session).read.acquire(),
    "several locks": lambda store, session: tenure.MultiLock(store, ["l", "m"], session=session).acquire(),
    "permit": lambda store, session: tenure.Semaphore(store, "s", limit=1, session=session).acquire(),
    "term": lambda store, session: tenure.Election(store, "e", session=session).campaign(),
    "membership": lambda store, session: tenure.Group(store, "g", session=session).join(),
    "claim": _claimed,
    "partition": _partition,
}


@pytest.mark.parametrize("change", ["removed", "replaced"])
@pytest.mark.parametrize("what", HELD)
def test_a_holder_learns_that_its_key_is_gone(store: Store, what: str, change: str) -> None:
    session = tenure.Session.open(store, ttl=300)
    held, beside = HELD[what](store, session), tenure.Lock(store, "beside", session=session).acquire()
    told: list[str] = []
    for one, name in ((held, what), (beside, "beside")):
        one.on_lost(lambda name=name: told.append(name))  # type: ignore[misc]
    session.lease.refresh()
    key, _ = next(iter(held._revisions))
    store.delete(key)
    if change == "replaced":
        store.put(key, b'{"owner": "another"}')
    until(lambda: _refreshed(session, lambda: told))
    assert told == [what]
    assert held.lost
    assert not held.held
    assert held.remaining == 0
    assert held.wait_until_lost(0)
    with pytest.raises(LeaseLost, match="no longer has its key"):
        held.check()
    late = threading.Event()
    held.on_lost(late.set)
    assert late.wait(PATIENCE)
    assert beside.held
    assert beside.release()
    assert told == [what]


def _refreshed(session: tenure.Session, done: Callable[[], object]) -> object:
    session.lease.refresh()
    return done()


def test_leaving_the_block_tells_of_it(store: Store) -> None:
    def block() -> None:
        with tenure.Lock(store, "l").hold() as held:
            store.delete(held.key)
            held.session.lease.refresh()
            assert held.wait_until_lost(PATIENCE)
            assert "lost" in repr(held)

    with pytest.raises(LeaseLost, match="before the end"):
        block()


def test_a_block_of_a_task_is_cancelled(url: str) -> None:
    async def main() -> None:
        async with aio.connect(url, timeout=PATIENCE) as store:

            async def block() -> None:
                async with aio.Lock(store, "l").hold() as held:
                    await store.delete(held.key)
                    await held.session.lease.refresh()
                    await asyncio.sleep(PATIENCE)

            with pytest.raises(LeaseLost, match="before the end"):
                await block()

    asyncio.run(main())


def _looked_at(store: Store, steps: Steps[Any], presence: Presence) -> None:
    """Perform steps; look when their last commit was applied, and its answer has not arrived."""
    result = None
    while True:
        try:
            effect = steps.send(result)
        except StopIteration:
            return
        result = perform(store, effect)
        if isinstance(effect, Commit):
            presence.look()


def test_what_its_holder_ends_is_not_lost(store: Store) -> None:
    """Each of these removes or changes the key, before the holder knows that it did."""
    limit = TimeLimit(store.clock, None)
    session = tenure.Session.open(store, ttl=300)
    claim = _claimed(store, session)
    run = one_run(store, "once", session)
    files = tenure.ReadWriteLock(store, "l", session=session)
    running, writing = tenure._steps.threads.run(store, run.enter(limit)), files.write.acquire()
    term = tenure.Election(store, "e", session=session)
    term.campaign()
    assert isinstance(claim, tenure.Claim)
    assert isinstance(running, HeldState)
    ended = {"claim": claim, "run": running, "writer": writing, "term": term.term}
    told: list[str] = []
    for name, one in ended.items():
        assert one is not None
        one.on_lost(lambda name=name: told.append(name))  # type: ignore[misc]
    presence = session._presence
    assert presence is not None
    _looked_at(store, claim.ack_steps(None, limit), presence)
    _looked_at(store, run.finish(running, b""), presence)
    _looked_at(store, files.read._steps.move(lambda held: files._queue.change(held, b"{}", limit)), presence)
    heir = tenure.Election(store, "e", candidate="heir", session=session)
    waiting = threading.Thread(target=heir.campaign)
    waiting.start()
    until(lambda: len(store.list("tenure/election/").keys) == 2)
    _looked_at(store, term._steps.hand_over("heir", limit), presence)
    waiting.join(PATIENCE)
    store.close()  # ends the callbacks: those that were to be told have been
    assert not told


def test_an_acknowledgement_that_was_refused_leaves_the_claim_looked_for(store: Store) -> None:
    session = tenure.Session.open(store, ttl=300)
    claim = _claimed(store, session)
    assert isinstance(claim, tenure.Claim)
    with pytest.raises(tenure.Conflict):
        claim.ack(store.transaction().if_exists("missing").put("done", b""))
    assert claim.held
    store.delete(claim.key)
    session.lease.refresh()
    assert claim.wait_until_lost(PATIENCE)
    assert claim.lost


def test_an_outage_during_the_look_ends_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    held = tenure.Lock(store, "l").acquire()
    presence = held.session._presence
    assert presence is not None

    def away(*_args: object, **_kwargs: object) -> None:
        raise Unavailable("the store is away")

    with monkeypatch.context() as patch:
        patch.setattr(store, "_commit_built", away)
        presence.look()
    assert held.held
    store.delete(held.key)
    presence.look()
    assert held.lost


class Restored(MemoryBackend):
    """A store that repeats revisions, whose data can be those of a backup from one moment to the next."""

    name = "0"

    @property
    def capabilities(self) -> Capabilities:
        return dataclasses.replace(super().capabilities, unique_revisions=False)

    @property
    def history(self) -> str:
        return self.name


@pytest.mark.parametrize("how", ["a look", "a release"])
@pytest.mark.parametrize("what", HELD)
def test_what_a_backup_has_of_a_former_holder_is_removed(what: str, how: str) -> None:
    """Its session may live on, and its revision is refused, so nobody else would ever get it."""
    backend = Restored(MemoryServer("restored"), clock=SystemClock(), history=None)
    with Store.from_backend(backend, url="memory://restored") as store:
        held = HELD[what](store, tenure.Session.open(store, ttl=300))
        keys = [key for key, _ in held._revisions]
        backend.name = "1"
        if how == "a look":
            held.session.lease.refresh()
            assert held.wait_until_lost(PATIENCE)
            assert held.lost
        elif isinstance(held, tenure.Held | tenure.Claim):
            assert not held.release()
        until(lambda: not [key for key in keys if store.get(key) is not None])
