"""In a forked child no recipe waits for a thread of the parent, and each works on a store of the child's own."""

from __future__ import annotations

import gc
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

import tenure
from tenure._runtime.monitor import Monitor
from tenure.errors import UsedAfterFork
from tenure.recipes import _janitor, _marks, session
from tenure_testkit.probes import forked

REFUSED: dict[str, Callable[[Any], object]] = {
    "acquire": lambda of: tenure.Lock(of.store, "new").acquire(timeout=5),
    "acquire again": lambda of: of.lock.acquire(timeout=5),
    "on_lost": lambda of: of.held.on_lost(print),
    "wait_until_lost": lambda of: of.held.wait_until_lost(5),
    "hand_over": lambda of: of.election.hand_over("other"),
    "downgrade": lambda of: of.files.downgrade(),
    "update": lambda of: of.share.update(),
    "leave the partitions": lambda of: of.share.close(),
    "leave the barrier": lambda of: of.barrier.leave(timeout=5),
    "put a key": lambda of: tenure.PersistentKey(of.store, "k", b"").start(),
    "claim": lambda of: of.queue.claim(timeout=5),
    "ack": lambda of: of.claim.ack(),
    "give back": lambda of: of.claim.release(),
    "add": lambda of: tenure.Counter(of.store, "c").add(),
    "once": lambda of: tenure.once(of.store, "o", lambda held: b""),
    "set": lambda of: of.view.set("a", "2"),
    "on_change": lambda of: of.view.on_change(print),
    "wait_for": lambda of: of.view.wait_for(lambda values: False, timeout=5),
}


class Parent:
    """What the parent has when it forks."""

    def __init__(self, store: tenure.Store) -> None:
        self.store = store
        self.lock = tenure.Lock(store, "l", reentrant=True)
        self.held = self.lock.acquire()
        self.election = tenure.Election(store, "e")
        self.term = self.election.campaign()
        self.files = tenure.ReadWriteLock(store, "f")
        self.writes = self.files.write.acquire()
        self.member = tenure.Group(store, "g").join()
        self.share = tenure.Partitioner(store, "p", partitions=2)
        self.share.update()
        self.barrier = tenure.DoubleBarrier(store, "d", count=1)
        self.barrier.enter()
        self.key = tenure.PersistentKey(store, "key", b"")
        self.key.start()
        self.queue = tenure.WorkQueue(store, "q")
        self.queue.put(b"1")
        self.claim = self.queue.claim()
        self.view = tenure.CachedPrefix(store, "v/", codec=tenure.TEXT)
        self.view.set("a", "1")


def child(of: Parent) -> None:
    signal.alarm(20)  # ends a child that waits for the other thread
    for what, call in REFUSED.items():
        print(what)  # shown if it is not refused
        with pytest.raises(UsedAfterFork):
            call(of)
    for held in (of.held, of.term, of.writes, of.member):
        assert not held.held
        assert held.release() is False
    assert of.share.owned == {}
    assert not of.barrier.inside
    assert of.view["a"] == "1"
    of.key.close()
    of.view.close()
    with tenure.connect("memory://child") as own, tenure.Lock(own, "l").hold(timeout=5):
        assert tenure.Counter(own, "c").add() == 1
        assert tenure.WorkQueue(own, "q").put(b"")


@contextmanager
def held_by_another_thread(monitors: list[Monitor]) -> Iterator[None]:
    """Another thread of the parent is inside all of ``monitors`` at once, as some thread may be inside any."""
    ready, go = threading.Event(), threading.Event()

    def hold() -> None:
        for monitor in monitors:
            monitor.acquire()
        ready.set()
        go.wait()
        for monitor in monitors:
            monitor.release()

    holder = threading.Thread(target=hold)
    holder.start()
    assert ready.wait(20)
    try:
        yield
    finally:
        go.set()
        holder.join()


def monitors() -> list[Monitor]:
    return [one for one in gc.get_objects() if isinstance(one, Monitor)]


@pytest.mark.filterwarnings("ignore:dropping a transaction")
def test_a_child_waits_for_no_thread_of_the_parent() -> None:
    others = monitors()  # a fork waits for calls of stores that other tests have left
    known = {id(one) for one in others}
    of_modules = [_janitor._janitors._lock, _marks._free_marks._lock, session._shared._lock]
    with tenure.connect("memory://", timeout=20) as store:
        of = Parent(store)
        with held_by_another_thread([*of_modules, *(one for one in monitors() if id(one) not in known)]):
            assert forked(lambda: child(of)) == ""
        assert of.held.held
        assert of.claim is not None
        of.claim.ack()


def test_the_end_of_a_block_in_a_child_is_told() -> None:
    with tenure.connect("memory://", timeout=20) as store:
        block = tenure.Lock(store, "l").hold()
        with block as held:

            def leave() -> None:
                with pytest.raises(UsedAfterFork):
                    block.__exit__(None, None, None)

            assert forked(leave) == ""
            assert held.held
