"""Fences when the store's data are lost or replaced by a backup that repeats revisions."""

from __future__ import annotations

import dataclasses
import gc
import uuid
import warnings
from collections.abc import Callable, Iterator

import pytest

import tenure
from tenure import Fence, Held, Lock, Store
from tenure.errors import InvalidArgument, LeaseLost, StoreCorrupted
from tenure.recipes._history_number import KEY
from tenure.spi import Capabilities, SystemClock
from tenure_memory.backend import MemoryBackend
from tenure_memory.server import MemoryServer


class Repeating(MemoryBackend):
    """One client of a store that repeats revisions after its data were replaced."""

    name = "0"

    @property
    def capabilities(self) -> Capabilities:
        return dataclasses.replace(super().capabilities, unique_revisions=False)

    @property
    def history(self) -> str:
        return self.name

    def move(self, server: MemoryServer, *, noticed: bool) -> None:
        """Find other data behind the same address."""
        self._server.detach(self)
        self._server = server
        server.attach(self, clock=SystemClock(), history=None)
        self.name = "1" if noticed else "0"


Open = Callable[[MemoryServer], tuple[Store, Repeating]]


@pytest.fixture
def opened() -> Iterator[Open]:
    stores = []

    def open_store(server: MemoryServer) -> tuple[Store, Repeating]:
        backend = Repeating(server, clock=SystemClock(), history=None)
        stores.append(Store.from_backend(backend, url="memory://repeating"))
        return stores[-1], backend

    yield open_store
    for store in stores:
        store.close()


def hold(store: Store) -> Held:
    return Lock(store, "job", session=tenure.Session.open(store)).acquire()


def fence_of(store: Store) -> Fence:
    held = hold(store)
    try:
        return held.fence()
    finally:
        held.release()


def test_fences_grow_although_tokens_repeat_once_the_loss_is_noticed(opened: Open) -> None:
    store, backend = opened(MemoryServer("before"))
    for _ in range(5):
        before = fence_of(store)
    backend.move(MemoryServer("empty"), noticed=True)
    after = fence_of(store)
    assert after.token <= before.token
    assert after > before
    assert str(after) > str(before)


def test_a_backup_with_the_old_number_is_refused_until_a_client_notices(opened: Open) -> None:
    store, backend = opened(MemoryServer("before"))
    number = fence_of(store).history
    before = fence_of(store)
    backup = MemoryServer("backup")
    restoring, _ = opened(backup)
    restoring.put(KEY, str(number).encode())
    unaware, _ = opened(backup)
    assert fence_of(unaware) < before  # refused by every resource that has seen the later one
    backend.move(backup, noticed=True)
    assert fence_of(store) > before
    assert fence_of(unaware) > before


def test_two_clients_that_notice_raise_the_number_once(opened: Open) -> None:
    server, backup = MemoryServer("before"), MemoryServer("backup")
    clients = [opened(server) for _ in range(2)]
    before = {fence_of(store).history for store, _ in clients}
    assert len(before) == 1
    for _, backend in clients:
        backend.move(backup, noticed=True)
    after = {fence_of(store).history for store, _ in clients}
    assert len(after) == 1
    assert min(after) > max(before)


def test_a_holder_whose_key_was_lost_gets_no_fence(opened: Open) -> None:
    store, backend = opened(MemoryServer("before"))
    held = hold(store)
    backend.move(MemoryServer("empty"), noticed=True)
    with pytest.raises(LeaseLost):
        held.fence()


def test_a_fence_of_the_old_history_stays_what_it_is(opened: Open) -> None:
    store, backend = opened(MemoryServer("before"))
    held = hold(store)
    before = held.fence()
    backend.move(MemoryServer("empty"), noticed=True)
    assert fence_of(store) > before == held.fence()


@pytest.mark.parametrize("text", ["", "1.2", "x" * 35, "0" * 35, "000000000000000.000000000000000000\u0661", None])
def test_only_what_str_returns_is_parsed(text: str) -> None:
    with pytest.raises(InvalidArgument):
        Fence.parse(text)


@pytest.mark.parametrize("fence", [(-1, 1), (0, 10**19), (10**15, 0), (0, 1.0), (True, 1)])
def test_what_has_no_text_is_no_fence(fence: tuple[int, int]) -> None:
    with pytest.raises(InvalidArgument):
        Fence(*fence)


def test_what_another_program_wrote_is_no_fence(tenure_store: tenure.Store) -> None:
    gate = tenure.Gate(tenure_store, "g")
    gate.admit(Fence(0, 1))
    (key,) = tenure_store.list("tenure/gate/").keys
    tenure_store.put(key, b"soon")
    with pytest.raises(StoreCorrupted, match="remove the key"):
        gate.admit(Fence(0, 2))


@pytest.mark.parametrize("made", ["lock", "locks", "partition"])
def test_a_guard_that_refuses_is_the_only_complaint(made):
    """Its error says all: the transaction that it was given isn't reported as forgotten, too."""
    with tenure.connect(f"memory://{uuid.uuid4().hex}") as store, warnings.catch_warnings(record=True) as complaints:
        warnings.simplefilter("always")
        if made == "partition":
            with tenure.Partitioner(store, "work", partitions=1) as partitioner, pytest.raises(tenure.LeaseLost):
                partitioner.guard(store.transaction().put("report", b"late"), 7)
        else:
            lock = tenure.Lock(store, "a") if made == "lock" else tenure.MultiLock(store, ["a", "b"])
            held = lock.acquire()
            held.release()
            with pytest.raises(tenure.LeaseLost):
                held.guard(store.transaction().put("report", b"late"))
        gc.collect()
    assert [str(each.message) for each in complaints] == []
