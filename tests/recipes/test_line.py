"""Waiters of one process share a watch of the queue's folder, and each hears when it is the first."""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections.abc import Callable, Iterator

import pytest

import tenure
import tenure_memory
from tenure import Lock, Semaphore, Store, aio
from tenure.errors import InvalidArgument, LeaseLost, Unavailable, WaitTimeout
from tenure.recipes import _line
from tenure.recipes._line import SHARE, Line, lines_of
from tenure.spi.feed import Away, Bookmark, Changes, Deleted, Snapshot
from tenure.spi.types import KeyValue
from tenure_memory.servers import server
from tenure_testkit.waiting import PATIENCE, until

FOLDER = "tenure/lock/l/"


@pytest.fixture
def name() -> Iterator[str]:
    name = f"line-{uuid.uuid4().hex}"
    yield name
    tenure_memory.forget(name)


@pytest.fixture
def store(name: str) -> Iterator[Store]:
    with tenure.connect(f"memory://{name}", timeout=PATIENCE) as opened:
        yield opened


def _waiting(store: Store, folder: str = FOLDER) -> int:
    """Return how many wait in the line of a folder."""
    line = lines_of(store).find(folder)
    return 0 if line is None else len(line._spots)


class Waiting:
    """Threads that wait for one lock, and note its tokens in the order in which they held it."""

    def __init__(self, store: Store, number: int) -> None:
        self.tokens: list[int] = []
        self.errors: list[BaseException] = []
        self._store = store
        self._threads = [threading.Thread(target=self._hold, args=(store,)) for _ in range(number)]
        for thread in self._threads:
            thread.start()

    def all_in_line(self) -> bool:
        """Whether each of them waits in the line."""
        return _waiting(self._store) == len(self._threads)

    def join(self) -> None:
        """Wait until all have held it."""
        for thread in self._threads:
            thread.join(PATIENCE)

    def _hold(self, store: Store) -> None:
        try:
            with Lock(store, "l").hold(timeout=PATIENCE) as held:
                self.tokens.append(held.token)
        except BaseException as exc:  # noqa: BLE001 - looked at by the test
            self.errors.append(exc)


def test_they_hold_one_after_the_other_and_share_one_watch(store: Store) -> None:
    with Lock(store, "l").hold():
        waiting = Waiting(store, 5)
        until(waiting.all_in_line)
        assert not store._open_watches.live
    waiting.join()
    assert len(waiting.tokens) == 5
    assert waiting.tokens == sorted(waiting.tokens)
    assert not store.list(FOLDER).keys


def test_the_next_one_reads_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with Lock(store, "l").hold():
        waiting = Waiting(store, 1)
        until(waiting.all_in_line)
        reads: list[str] = []
        monkeypatch.setattr(store, "_list", lambda prefix, *args, **more: reads.append(prefix))
        further = Waiting(store, 1)
        until(lambda: _waiting(store) == 2)
    waiting.join()
    further.join()
    assert waiting.tokens < further.tokens
    assert not reads


def test_after_a_gap_they_go_on_alone(store: Store, name: str) -> None:
    with Lock(store, "l").hold():
        waiting = Waiting(store, 3)
        until(waiting.all_in_line)
        server(name).cut_watches()
        until(lambda: len(store._open_watches.live) == 3, what="each watches the ticket before its own")
    waiting.join()
    assert waiting.tokens == sorted(waiting.tokens)
    assert len(waiting.tokens) == 3


def test_one_whose_ticket_was_removed_is_told(store: Store) -> None:
    with Lock(store, "l").hold() as held:
        waiting = Waiting(store, 1)
        until(waiting.all_in_line)
        (ticket,) = (key for key in store.list(FOLDER).keys if key != held.key)
        store.delete(ticket)
        waiting.join()
    assert [type(error) for error in waiting.errors] == [LeaseLost]


def test_a_wait_in_line_ends_with_its_time(store: Store) -> None:
    with Lock(store, "l").hold():
        for _ in range(2):
            with pytest.raises(WaitTimeout):
                Lock(store, "l").acquire(timeout=0.01)
    until(lambda: not store.list(FOLDER).keys)


def test_a_line_ends_when_nobody_has_used_it_for_a_while(
    store: Store, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_line, "_LINGER", 0.01)
    with Lock(store, "l").hold():
        waiting = Waiting(store, 2)
        until(waiting.all_in_line)
    waiting.join()
    until(lambda: lines_of(store).find(FOLDER) is None)
    until(lambda: not len(server(name)._watches), what="its feed is closed")


def test_permits_are_given_in_line(store: Store) -> None:
    first, second = (Semaphore(store, "s", limit=2).acquire() for _ in range(2))
    got: list[int] = []
    threads = [
        threading.Thread(target=lambda: got.append(Semaphore(store, "s", limit=2).acquire(timeout=PATIENCE).token))
        for _ in range(2)
    ]
    for number, thread in enumerate(threads, 1):
        thread.start()
        until(lambda number=number: _waiting(store, "tenure/semaphore/s/") == number)
    second.release()
    until(lambda: len(got) == 1)
    first.release()
    for thread in threads:
        thread.join(PATIENCE)
    assert len(got) == 2


def test_one_with_another_limit_is_refused_although_the_others_wait_in_line(store: Store) -> None:
    with Semaphore(store, "s", limit=1).hold():
        thread = threading.Thread(target=lambda: Semaphore(store, "s", limit=1).acquire(timeout=PATIENCE).release())
        thread.start()
        until(lambda: _waiting(store, "tenure/semaphore/s/") == 1)
        with pytest.raises(InvalidArgument, match="limit=2"):
            Semaphore(store, "s", limit=2).acquire(timeout=PATIENCE)
    thread.join(PATIENCE)


def test_a_changed_limit_is_seen_by_those_in_line(store: Store) -> None:
    holder = Semaphore(store, "s", limit=1)
    with holder.hold():
        other = Semaphore(store, "s", limit=1)
        thread = threading.Thread(target=lambda: other.acquire(timeout=PATIENCE))
        thread.start()
        until(lambda: _waiting(store, "tenure/semaphore/s/") == 1)
        holder.resize(2)
        thread.join(PATIENCE)
        assert other.held is not None


def test_tasks_share_a_watch_too(name: str) -> None:
    async def main() -> None:
        tokens: list[int] = []

        async def wait(store: aio.Store) -> None:
            async with aio.Lock(store, "l").hold(timeout=PATIENCE) as held:
                tokens.append(held.token)

        async with aio.connect(f"memory://{name}") as store:
            held = await aio.Lock(store, "l").acquire()
            tasks = [asyncio.create_task(wait(store)) for _ in range(3)]
            while _waiting(store._sync) < 3:
                await asyncio.sleep(0)
            assert not store._sync._open_watches.live
            await held.release()
            await asyncio.gather(*tasks)
        assert len(tokens) == 3
        assert tokens == sorted(tokens)

    asyncio.run(main())


def _key(number: int) -> str:
    return f"{FOLDER}{number:016x}"


def _put(number: int, place: int, lease: str = "1") -> KeyValue:
    return KeyValue(_key(number), b"", place, place, lease)


def _gone(number: int, revision: int) -> Deleted:
    return Deleted(_key(number), revision)


def _seen(*items: KeyValue) -> Line:
    line = Line(FOLDER)
    line.deliver(Snapshot(items, max((item.mod_revision for item in items), default=0)))
    return line


def _change(line: Line, revision: int, *entries: KeyValue | Deleted) -> None:
    line.deliver(Changes(entries, revision))


def _nothing() -> None:
    """Be told."""


def test_the_order_is_that_of_revisions() -> None:
    line = _seen(_put(1, 12), _put(2, 11), _put(3, 10))
    third, second = line.join(_key(1), 12, "1", _nothing), line.join(_key(2), 11, "1", _nothing)
    assert third is not None
    assert second is not None
    _change(line, 13, _gone(3, 13))
    assert (second.first, third.first) == (True, None)
    _change(line, 14, _gone(2, 14))
    assert third.first


def test_one_waits_until_its_own_ticket_was_seen() -> None:
    line = _seen(_put(1, 10))
    spot = line.join(_key(2), 11, "1", _nothing)
    assert spot is not None
    _change(line, 12, _gone(1, 12), _put(3, 12))
    assert spot.first is None or not spot.first
    assert _seen().join(_key(2), 11, "1", _nothing) is None, "a read is quicker"
    assert _seen(_put(1, 10), _put(3, 12)).join(_key(2), 11, "1", _nothing) is None, "it is gone"


def test_a_process_with_a_small_part_of_the_queue_follows_no_folder() -> None:
    others = [_put(number, 10 + number, "2") for number in range(SHARE)]
    line = _seen(*others, _put(90, 90))
    assert line.join(_key(90), 90, "1", _nothing) is None
    _change(line, 91, _put(91, 91))
    assert line.join(_key(91), 91, "1", _nothing) is not None


ENDS: dict[str, Callable[[Line], None]] = {
    "gap": lambda line: line.fail(Unavailable("gone")),
    "new state": lambda line: line.deliver(Snapshot((), 20)),
    "away": lambda line: line.deliver(Bookmark(20, away=Away(1.0, Unavailable("gone")))),
    "another key": lambda line: line.deliver(Changes((KeyValue(FOLDER + "holder", b"", 20, 20),), 20)),
}


@pytest.mark.parametrize("end", ENDS)
def test_the_end_of_a_line_is_told_once(end: str) -> None:
    told: list[None] = []
    line = _seen(_put(1, 10), _put(2, 11))
    spot = line.join(_key(2), 11, "1", lambda: told.append(None))
    assert spot is not None
    ENDS[end](line)
    ENDS[end](line)
    assert spot.first is False
    assert len(told) == 1
    assert line.join(_key(2), 11, "1", _nothing) is None
