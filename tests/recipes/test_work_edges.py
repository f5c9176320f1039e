"""Sharing work at its edges: lost sessions of the store's own, wrong arguments, damaged keys."""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import tenure
import tenure_memory
from tenure import Partitioner, RateLimiter, Store, WorkQueue, aio
from tenure.errors import InvalidArgument, LeaseLost, StoreCorrupted, Unavailable
from tenure.recipes.session import _shared
from tenure.recipes.survey import survey
from tenure_testkit.waiting import PATIENCE, until


@pytest.fixture
def store() -> Iterator[Store]:
    name = f"work-{uuid.uuid4().hex}"
    with tenure.connect(f"memory://{name}") as opened:
        yield opened
    tenure_memory.forget(name)


def _keys(store: Store) -> list[str]:
    return [key for key in store.list().keys if not key.startswith("tenure/mark/")]


def _lose_session(store: Store) -> None:
    session = _shared.present(store)
    assert session is not None
    store.revoke_lease(session.lease.id)
    session.lease.mark_lost("the test ended it")


def test_a_consumer_goes_on_waiting_on_another_session(store: Store) -> None:
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(WorkQueue(store, "q").claim(timeout=PATIENCE)))
    thread.start()
    until(lambda: _shared.present(store))
    _lose_session(store)
    WorkQueue(store, "q").put(b"1")
    thread.join(PATIENCE)
    assert found[0].value == b"1"
    assert found[0].held


def test_a_consumer_whose_session_ended_unnoticed_gets_an_item_at_once(store: Store) -> None:
    queue = WorkQueue(store, "q")
    queue.put(b"1")
    session = _shared.present(store)
    assert session is not None
    store.revoke_lease(session.lease.id)
    claim = queue.try_claim()
    assert claim is not None
    assert claim.session is not session


def test_a_member_joins_again_on_another_session(store: Store) -> None:
    with Partitioner(store, "p", partitions=3) as mine:
        assert mine.wait(timeout=PATIENCE)
        before = {number: held.token for number, held in mine.owned.items()}
        _lose_session(store)
        assert not mine.owned
        assert until(lambda: mine.wait(timeout=PATIENCE) and mine.owned)
        assert all(held.token > before[number] for number, held in mine.owned.items())
    until(lambda: not _keys(store))


def _settle(members: list[Partitioner]) -> dict[int, int]:
    """Let members update until nothing changes. Returns the member that owns each partition."""
    quiet = 0
    while quiet < 2:  # a member that joins changes nothing yet, but then others give something back
        changed = [member.update() for member in members]
        quiet = 0 if any(changed) else quiet + 1
    return {number: at for at, member in enumerate(members) for number in member.owned}


def test_few_partitions_move_when_a_member_comes_or_goes(store: Store) -> None:
    members = [Partitioner(store, "p", partitions=12) for _ in range(5)]
    before = _settle(members[:4])
    assert sorted(before) == list(range(12))
    assert [len(member.owned) for member in members] == [3, 3, 3, 3, 0]
    after = _settle(members)
    assert sorted(after) == list(range(12))
    assert sorted(len(member.owned) for member in members) == [2, 2, 2, 3, 3]
    assert {after[number] for number in after if after[number] != before[number]} == {4}
    members[0].close()
    rest = _settle(members[1:])
    assert sorted(rest) == list(range(12))
    assert all(len(member.owned) == 3 for member in members[1:])
    for member in members:
        member.close()
    assert not _keys(store)


def test_a_partition_whose_work_fails_to_stop_stays_where_it_is(store: Store) -> None:
    broken = True

    def stop(partition: int, held: tenure.Held) -> None:
        if broken:
            raise ZeroDivisionError

    one, two = Partitioner(store, "p", partitions=2, on_release=stop), Partitioner(store, "p", partitions=2)
    one.update()
    two.update()
    with pytest.raises(ZeroDivisionError):
        one.update()
    two.update()
    assert (list(one.owned), list(two.owned)) == ([0, 1], [])
    broken = False
    one.close()
    assert two.wait(timeout=PATIENCE)
    two.close()
    assert not _keys(store)


def test_what_others_wrote_among_the_items_is_no_item(store: Store) -> None:
    for number, value in enumerate((b"", b"no json", b"[]", b"{}", b'{"id": "x", "priority": "high"}', b"\xff")):
        store.put(f"tenure/queue/q/items/{number:05}", value)
    queue = WorkQueue(store, "q", max_items=7)
    queue.put(b"1")
    claim = queue.try_claim()
    assert claim is not None
    assert claim.value == b"1"
    assert queue.try_claim() is None
    assert not queue.dead()


def test_items_of_others_in_a_folder_keep_nobody_from_the_others(store: Store) -> None:
    header = b'{"id": "x", "priority": 9, "due": 0.0, "attempts": 0, "most": 5}'
    for number in range(30):
        store.put(f"tenure/queue/q/items/other/{number:05}", header)
    queue = WorkQueue(store, "q")
    queue.put(b"1")
    claim = queue.try_claim()
    assert claim is not None
    assert claim.value == b"1"
    assert not queue.dead()


NO_NUMBERS = {
    "infinite": b"Infinity",
    "too large": b"1" + 400 * b"0",
    "no number": b"NaN",
    "a word": b'"1"',
    "true": b"true",
}


@pytest.mark.parametrize("field", ["priority", "due", "attempts", "most"])
@pytest.mark.parametrize("number", NO_NUMBERS.values(), ids=NO_NUMBERS)
def test_an_item_with_a_wrong_number_keeps_nobody_from_the_others(store: Store, field: str, number: bytes) -> None:
    good = {b"id": b'"x"', b"priority": b"1", b"due": b"0.0", b"attempts": b"0", b"most": b"5"}
    fields = good | {field.encode(): number}
    text = b", ".join(b'"%b": %b' % (name, value) for name, value in fields.items())
    store.put("tenure/queue/q/items/00000", b"{%b}" % text)
    queue = WorkQueue(store, "q", max_items=2)
    queue.put(b"1")
    claim = queue.try_claim()
    assert claim is not None
    assert claim.value == b"1"
    assert queue.try_claim() is None
    assert not queue.dead()


@pytest.mark.parametrize("number", NO_NUMBERS.values(), ids=NO_NUMBERS)
def test_a_wrong_number_in_a_key_is_told(store: Store, number: bytes) -> None:
    bus = tenure.Bus(store, "b", codec=tenure.TEXT, max_age=60)
    for field in (b"first", b"last"):
        store.put("tenure/bus/b/head", b'{"first": 1, "last": 1, "%b": %b}' % (field, number))
        with pytest.raises(StoreCorrupted, match="head"):
            bus.publish("1")
    store.put("tenure/bus/b/head", b'{"first": 1, "last": 1}')
    store.put(f"tenure/bus/b/{1:020}", b'{"id": "x", "at": %b}\n1' % number)
    with pytest.raises(StoreCorrupted, match="0001"):
        bus.publish("1")
    store.put("tenure/rate/r/bucket", b'{"time": 1e300, "permits": 0}')
    with pytest.raises(StoreCorrupted, match="bucket"):
        RateLimiter(store, "r", rate=1).try_acquire()
    for field in (b"time", b"permits"):
        store.put("tenure/rate/r/bucket", b'{"time": 0, "permits": 1, "%b": %b}' % (field, number))
        with pytest.raises(StoreCorrupted, match="bucket"):
            RateLimiter(store, "r", rate=1).try_acquire()


@pytest.mark.parametrize("number", NO_NUMBERS.values(), ids=NO_NUMBERS)
def test_a_participant_that_tells_no_time_has_no_age(store: Store, number: bytes) -> None:
    store.put(f"tenure/lock/l/{'0' * 16}", b'{"owner": "x", "asked": %b}' % number)
    (place,) = survey(store)
    assert place.owner == "x"
    assert place.asked is None


def test_an_item_without_its_value_is_told_and_kept(store: Store) -> None:
    queue = WorkQueue(store, "q", max_attempts=1)
    queue.put(b"1")
    (data,) = store.list("tenure/queue/q/data/").keys
    store.delete(data)
    with pytest.raises(StoreCorrupted, match="data"):
        queue.try_claim()
    until(queue.dead)
    assert queue.drop_dead(queue.dead()[0])
    assert not _keys(store)


def test_a_lost_lease_of_the_callers_gives_the_item_back(store: Store) -> None:
    queue = WorkQueue(store, "q")
    queue.put(b"1")
    claim = queue.claim(timeout=PATIENCE)
    assert claim is not None
    lease = store.lease(30)
    lease.revoke()
    with pytest.raises(LeaseLost):
        claim.ack(store.transaction().put("result", b"1", lease=lease))
    again = queue.claim(timeout=PATIENCE)
    assert again is not None
    assert again.attempts == 2
    assert store.get("result") is None


WRONG: dict[str, Callable[[Store], object]] = {
    "no items": lambda store: WorkQueue(store, "q", max_items=0),
    "many items": lambda store: WorkQueue(store, "q", max_items=10_001),
    "no attempts": lambda store: WorkQueue(store, "q", max_attempts=0),
    "many attempts": lambda store: WorkQueue(store, "q", max_attempts=10**400),
    "a large priority": lambda store: WorkQueue(store, "q").put(b"", priority=10**400),
    "a long delay": lambda store: WorkQueue(store, "q").put(b"", delay=10**400),
    "a high rate": lambda store: RateLimiter(store, "r", rate=10**400),
    "hardly any rate": lambda store: RateLimiter(store, "r", rate=5e-324, per=1e18),
    "half a character": lambda store: tenure.Lock(store, "l", owner="\ud800"),
    "a half data": lambda store: tenure.Group(store, "g").join(data="\udfff"),
    "an owner": lambda store: tenure.Barrier(store, "b", owner=b"me"),  # type: ignore[arg-type]
    "data": lambda store: tenure.Election(store, "e", data=b"10.0.0.1"),  # type: ignore[arg-type]
    "a position": lambda store: tenure.Bus(store, "b", codec=tenure.TEXT).subscribe(after="9" * 5000 + "-x"),
    "a step": lambda store: tenure.Schedule(store, "s", f"*/{'9' * 5000} * * * *"),
    "no fence": lambda store: tenure.Gate(store, "g").admit("1"),  # type: ignore[arg-type]
    "no name": lambda store: WorkQueue(store, ""),
    "priority": lambda store: WorkQueue(store, "q").put(b"", priority=1.5),  # type: ignore[arg-type]
    "delay": lambda store: WorkQueue(store, "q").put(b"", delay=-1),
    "value": lambda store: WorkQueue(store, "q").put("text"),  # type: ignore[arg-type]
    "partitions": lambda store: Partitioner(store, "p", partitions=0),
    "rate": lambda store: RateLimiter(store, "r", rate=0),
    "per": lambda store: RateLimiter(store, "r", rate=1, per=float("inf")),
    "burst": lambda store: RateLimiter(store, "r", rate=1, burst=-1),
    "permits": lambda store: RateLimiter(store, "r", rate=1).acquire(0),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_argument_changes_nothing(store: Store, wrong: str) -> None:
    with pytest.raises(InvalidArgument):
        WRONG[wrong](store)
    until(lambda: not _keys(store))


def test_a_bucket_that_another_program_wrote_is_told(store: Store) -> None:
    store.put("tenure/rate/r/bucket", b"full")
    with pytest.raises(StoreCorrupted, match="bucket"):
        RateLimiter(store, "r", rate=1).try_acquire()


@pytest.mark.parametrize("error", [Unavailable("the store is away"), KeyboardInterrupt()], ids=["error", "interrupt"])
def test_an_item_whose_block_ends_without_its_acknowledgement_comes_back(
    store: Store, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_args: object) -> None:
        raise error

    queue = WorkQueue(store, "q")
    queue.put(b"1")
    claim = queue.claim(timeout=PATIENCE)
    assert claim is not None
    monkeypatch.setattr(claim, "_acknowledge", failing)
    with pytest.raises(type(error)), claim:
        pass
    again = queue.claim(timeout=PATIENCE)
    assert again is not None
    assert again.attempts == 2


def test_a_task_whose_acknowledgement_fails_gives_the_item_back(monkeypatch: pytest.MonkeyPatch) -> None:
    async def failing(*_args: object, **_kwargs: object) -> None:
        raise Unavailable("the store is away")

    async def main() -> None:
        async with aio.connect("memory://") as own:
            queue = aio.WorkQueue(own, "q")
            await queue.put(b"1")
            claim = await queue.claim(timeout=PATIENCE)
            assert claim is not None
            monkeypatch.setattr(claim, "ack", failing)
            with pytest.raises(Unavailable):
                async with claim:
                    pass
            assert await queue.claim(timeout=PATIENCE) is not None

    asyncio.run(main())


def test_a_member_whose_leaving_is_interrupted_leaves(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(**_kwargs: object) -> bool:
        raise KeyboardInterrupt

    mine = Partitioner(store, "p", partitions=2)
    assert mine.wait(timeout=PATIENCE)
    monkeypatch.setattr(mine, "close", interrupted)
    with pytest.raises(KeyboardInterrupt), mine:
        pass
    until(lambda: not store.list("tenure/partitioner/").keys)
    group = tenure.Group(store, "g")
    member = group.join()
    monkeypatch.setattr(member, "release", interrupted)
    with pytest.raises(KeyboardInterrupt), member:
        pass
    until(lambda: not group.members())
