"""Calls that a signal handler interrupts at any line: what they had begun ends by itself, and nothing stays held."""

from __future__ import annotations

import gc
import os
import threading
import uuid
from collections.abc import Callable
from functools import lru_cache, partial
from importlib import metadata
from types import FunctionType
from typing import Any

import pytest

import tenure
import tenure_memory
from tenure import Lease, ManualClock
from tenure._plugins import discovery
from tenure._runtime.clock import TimeLimit
from tenure._steps import threads
from tenure._steps.threads import run
from tenure.leases.machine import LeaseMachine
from tenure.recipes.group import Membership
from tenure.recipes.session import _shared, session_for
from tenure.recipes.work_queue import Claim
from tenure.spi import LeaseGrant
from tenure_testkit.interrupts import Interrupts, Limit
from tenure_testkit.waiting import until as until_seldom

INTERRUPTS = Interrupts(
    f"{os.sep}tenure{os.sep}",
    f"{os.sep}tenure_memory{os.sep}",
    uninterruptible=(
        "except StopIteration as stop:",
        "ended.append(stop.value)",
        "if self._caller is caller:",
        "self._caller = None",
    ),
)
every_line = INTERRUPTS.every_line
until = partial(until_seldom, interval=0.001)
TTL = 1.0
LONG = 300.0
"""Nothing ends by itself within the time that a test waits."""


@pytest.fixture
def url():
    name = f"interrupted-{uuid.uuid4().hex}"
    yield f"memory://{name}"
    tenure_memory.forget(name)
    gc.collect()  # what an interrupt dropped is warned of here, and not in a test that comes later


def test_an_interrupted_close_ends_leases_and_threads(url):
    before, kept = set(threading.enumerate()), []
    with tenure.connect(url) as other:

        def close(last: int) -> tuple[Callable[[], object], Callable[[], object]]:
            store = tenure.connect(url, timeout=20)
            kept.append(store)
            store.put(f"k/{last}", b"", lease=store.lease(LONG))
            store.watch("", callback=lambda batch: None)
            # One that was interrupted before it began is called again, as the application would.
            return store.close, lambda: None if store.closed else store.close()

        assert every_line(close) > 30
        until(lambda: not other.list("k/"), what="the leases of stores whose close was interrupted end")
    until(lambda: set(threading.enumerate()) <= before, what="no thread is left")


def test_an_interrupted_revoke_refreshes_the_lease_no_more(url):
    kept: list[tenure.Lease] = []
    with tenure.connect(url, timeout=20) as store:

        def revoke(last: int) -> tuple[Callable[[], object], Callable[[], object]]:
            lease = store.lease(TTL)
            kept.append(lease)
            store.put(f"k/{last}", b"", lease=lease)
            return lease.revoke, lambda: lease.revoke() if lease.alive else None

        assert every_line(revoke) > 10
        until(lambda: not store.list("k/"), what="leases whose revoke was interrupted end")


@pytest.mark.parametrize("others", [0, 1])
def test_an_interrupted_lease_is_held_by_nobody(url, others):
    """With another lease the thread that refreshes runs already. So a call always has the same lines, to its last."""
    with tenure.connect(url, timeout=20) as store:
        taken: list[tenure.Lease] = []
        for _ in range(others):
            store.lease(LONG)

        def give_up() -> None:
            while taken:
                taken.pop().abandon()

        assert every_line(lambda last: (lambda: taken.append(store.lease(TTL)), give_up)) > 10
        until(lambda: len(store.leases()) == others, what="leases that nobody got end")


SESSIONS: dict[str, Callable[[tenure.Store], tenure.Session]] = {
    "open": lambda store: tenure.Session.open(store, ttl=LONG),
    "shared": lambda store: run(store, session_for(store, None, TimeLimit(store.clock, None))),
}


@pytest.mark.parametrize("session", SESSIONS)
def test_an_interrupted_session_is_refreshed_for_nobody(url, session, monkeypatch):
    monkeypatch.setattr("tenure.recipes.session.DEFAULT_TTL", LONG)
    with tenure.connect(url, timeout=20) as store:
        store.lease(LONG)  # the thread that refreshes runs already
        taken: list[tenure.Session] = []

        def give_up() -> None:
            while taken:
                taken.pop().lease.abandon()

        assert every_line(lambda last: (lambda: taken.append(SESSIONS[session](store)), give_up)) > 10
        shared = _shared.present(store)
        if shared is not None:
            shared.lease.abandon()
        assert len(store._keeper._machine.leases) == 1


RETURNS: dict[str, Callable[[tenure.Store], object]] = {
    "lock": lambda store: tenure.Lock(store, "l").acquire(),
    "try": lambda store: tenure.Lock(store, "l").try_acquire(),
    "unfair": lambda store: tenure.Lock(store, "l", fair=False).acquire(),
    "locks": lambda store: tenure.MultiLock(store, ["l", "m"]).acquire(),
    "permit": lambda store: tenure.Semaphore(store, "l", limit=2).acquire(),
    "term": lambda store: tenure.Election(store, "l").campaign(),
    "membership": lambda store: tenure.Group(store, "l").join(),
    "claim": lambda store: tenure.WorkQueue(store, "l").claim(),
    "run": lambda store: tenure.once(store, "l", lambda held: b""),
    "session": lambda store: tenure.Session.open(store, ttl=LONG),
    "key": lambda store: tenure.PersistentKey(store, "l", b"", ttl=0.5).start(),
}


@pytest.mark.parametrize("call", RETURNS)
def test_what_an_interrupt_keeps_from_its_caller_is_given_back(url, call, monkeypatch):
    """The interrupt comes as the steps have ended, when nothing of theirs could see to it."""
    go_on = threads._go_on

    def ends_interrupted(*arguments: Any) -> None:
        go_on(*arguments)
        raise Limit

    with tenure.connect(url, timeout=20) as store:
        queue = tenure.WorkQueue(store, "l")
        queue.put(b"1")
        with tenure.Lock(store, "other").hold():  # the store has its session
            pass
        before = len(store._keeper._machine.leases)
        monkeypatch.setattr(threads, "_go_on", ends_interrupted)
        with pytest.raises(Limit):
            RETURNS[call](store)
        monkeypatch.undo()
        until(lambda: all("/queue/" in key or key.endswith("/mark") for key in store.list().keys), what="it is left")
        assert len(store._keeper._machine.leases) == before, "no lease is refreshed for nobody"
        assert queue.claim(timeout=20) is not None


def test_an_interrupted_watch_calls_back_no_more(url):
    """Another watch is open, so that the threads for callbacks run already and a call has the same lines each time."""
    with tenure.connect(url, timeout=20) as store, store.watch("other", callback=lambda batch: None) as other:
        taken: list[tenure.Watch] = []

        def give_up() -> None:
            while taken:
                taken.pop().close()
            until(lambda: store._open_watches.held == {other}, what="watches that nobody got are closed")

        call = partial(store.watch, "k", callback=lambda batch: None)
        assert every_line(lambda last: (lambda: taken.append(call()), give_up)) > 10


ACQUISITIONS: dict[str, Callable[[tenure.Store], Callable[[], tenure.Held | None]]] = {
    "unfair": lambda store: tenure.Lock(store, "l", fair=False).acquire,
    "try": lambda store: tenure.Lock(store, "l").try_acquire,
    "lead": lambda store: tenure.Election(store, "l").lead().__enter__,
    "again": lambda store: _the_lock_of(store).acquire,
}


@lru_cache(maxsize=1)
def _the_lock_of(store: tenure.Store) -> tenure.Lock:
    return tenure.Lock(store, "l")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:dropping a transaction", "ignore:dropping <Holding")
@pytest.mark.parametrize("acquisition", ACQUISITIONS)
def test_an_interrupted_acquisition_is_held_by_nobody(url, acquisition):
    with tenure.connect(url, timeout=20) as store:
        tenure.Session.open(store)  # the thread that refreshes runs already, so that a call always has the same lines
        with tenure.Lock(store, "other").hold():  # and the store has its session
            pass
        held: list[tenure.Held | None] = []

        def give_back() -> None:
            while held:
                kept = held.pop()
                assert kept is not None
                kept.release()
            until(lambda: not store.list(), what="what nobody got is given back")

        acquire = ACQUISITIONS[acquisition]
        assert every_line(lambda last: (lambda: held.append(acquire(store)()), give_back)) > 30


def _with(store: tenure.Store) -> None:
    with tenure.Lock(store, "l").hold():
        pass


def _inside(store: tenure.Store) -> tenure.DoubleBarrier:
    barrier = tenure.DoubleBarrier(store, "b", count=1)
    barrier.enter()
    return barrier


def _join(store: tenure.Store) -> None:
    with tenure.Group(store, "g").join():
        pass


ENDINGS: dict[str, Callable[[tenure.Store], Callable[[], object]]] = {
    "with": lambda store: partial(_with, store),
    "release": lambda store: tenure.Lock(store, "l").acquire().release,
    "leave": lambda store: _inside(store).leave,
    "membership": lambda store: partial(_join, store),
    "once": lambda store: partial(tenure.once, store, "o", lambda held: b""),
}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:dropping a transaction", "ignore:dropping <Holding")
@pytest.mark.parametrize("ending", ENDINGS)
def test_an_interrupted_end_leaves_nothing_held(url, ending):
    with tenure.connect(url, timeout=20) as store:
        tenure.Session.open(store)
        with tenure.Lock(store, "other").hold():
            pass

        def afterwards() -> None:
            store.delete("tenure/once/o/done")
            until(lambda: not store.list(), what="what was held is given back")

        assert every_line(lambda last: (ENDINGS[ending](store), afterwards)) > 30


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:dropping a transaction")
def test_an_interrupted_member_is_inside_or_gone(url):
    with tenure.connect(url, timeout=20) as store:
        tenure.Session.open(store)
        with tenure.Lock(store, "other").hold():
            pass

        def act(last: int) -> tuple[Callable[[], object], Callable[[], object]]:
            barrier = tenure.DoubleBarrier(store, "b", count=1)

            def afterwards() -> None:
                if barrier.inside:
                    barrier.leave()
                until(lambda: not store.list(), what="a member whose call was interrupted has left")

            return barrier.enter, afterwards

        assert every_line(act) > 30


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:dropping a transaction")
@pytest.mark.parametrize("call", ["put", "claim", "ack", "partitions"])
def test_interrupted_work_is_done_by_nobody_or_once(url, call):
    with tenure.connect(url, timeout=20) as store:
        tenure.Session.open(store)
        with tenure.Lock(store, "other").hold():
            pass
        queue = tenure.WorkQueue(store, "q", max_items=1, max_attempts=10**6)

        def act(last: int) -> tuple[Callable[[], object], Callable[[], object]]:
            kept: list[Any] = []
            share = tenure.Partitioner(store, "p", partitions=2)
            if call != "put":
                queue.put(b"1")
            item = queue.claim() if call == "ack" else None

            def afterwards() -> None:
                for one in (*kept, item):
                    if one is not None:
                        one.release()  # as an application would with what it got
                share.close()
                until(
                    lambda: all(key.endswith(("/00000", "/mark")) for key in store.list().keys), what="it is given back"
                )
                found = queue.try_claim()
                assert found is not None or call in {"put", "ack"}
                if found is not None:
                    found.ack()
                assert not store.list("tenure/queue/").keys

            calls: dict[str, Callable[[], object]] = {
                "put": lambda: queue.put(b"1"),
                "claim": lambda: kept.append(queue.claim()),
                "partitions": share.update,
            }
            return item.ack if item is not None else calls[call], afterwards

        assert every_line(act) > 30


@pytest.mark.parametrize("kind", [Claim, Membership])
def test_no_interrupt_comes_before_the_block_of_what_was_acquired(kind):
    """The end of the block releases it. A signal is looked for where a function of Python begins, so there is none."""
    entering = type(kind.__dict__["__enter__"])
    assert entering is not FunctionType


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:dropping a transaction")
def test_an_interrupted_release_counts_once(url):
    """Where an object holds twice, an interrupt at any line of the first release leaves one more to be made."""
    with tenure.connect(url, timeout=20) as store:
        tenure.Session.open(store)
        lock = tenure.Lock(store, "l", reentrant=True)

        def act(last: int) -> tuple[Callable[[], object], Callable[[], object]]:
            lock.acquire()
            held = lock.acquire()

            def afterwards() -> None:
                assert lock.held is held
                assert held.release()
                assert lock.held is None
                until(lambda: not store.list(), what="it is given back")

            return held.release, afterwards

        assert every_line(act) > 10


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:dropping a transaction")
def test_an_interrupted_release_of_work_leaves_it_to_nobody(url):
    with tenure.connect(url, timeout=20) as store:
        tenure.Session.open(store)
        with tenure.Lock(store, "other").hold():
            pass
        queue = tenure.WorkQueue(store, "q", max_attempts=10**6)
        queue.put(b"1")

        def act(last: int) -> tuple[Callable[[], object], Callable[[], object]]:
            item = queue.claim(timeout=20)
            return item.release, lambda: until(
                lambda: (again := queue.try_claim()) is not None and again.release(), what="it is there again"
            )

        assert every_line(act) > 10


def test_an_interrupted_connect_leaves_no_thread(url):
    before = set(threading.enumerate())

    opened: list[tenure.Store] = []

    def close() -> None:
        while opened:
            opened.pop().close()

    def connect(last: int) -> tuple[Callable[[], object], Callable[[], object]]:
        return lambda: opened.append(tenure.connect(url, timeout=20)), close

    assert every_line(connect) > 30
    until(lambda: set(threading.enumerate()) <= before, what="no thread is left")


@pytest.mark.parametrize("library", ["gevent.thread", "eventlet.green.thread"])
def test_green_threads_are_refused_at_once(monkeypatch, library):
    def start_new_thread(*arguments: object) -> int:
        raise AssertionError("a store was opened")

    start_new_thread.__module__ = library
    monkeypatch.setattr("_thread.start_new_thread", start_new_thread)
    with pytest.raises(tenure.Unsupported, match="thread=False"):
        tenure.connect("memory://")


def test_plugins_are_looked_for_where_no_signal_handler_runs(monkeypatch):
    looked: list[threading.Thread] = []
    entry_points = metadata.entry_points

    def look(**selection: Any) -> Any:
        looked.append(threading.current_thread())
        return entry_points(**selection)

    monkeypatch.setattr(metadata, "entry_points", look)
    assert "memory" in {claim.scheme for claim in discovery.claims()}
    assert looked
    assert threading.main_thread() not in looked


class _Keeper:
    """A lease's keeper that does nothing."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *arguments: None


def _forget_all(machine: LeaseMachine, leases: list[Lease]) -> None:
    for lease in leases:
        machine.forget(lease)


def test_an_interrupted_forget_leaves_the_books_in_order():
    """Leases that end out of order leave heap entries that are cleared at times: at any line of that, and then all."""

    def books() -> tuple[LeaseMachine, list[Lease], ManualClock]:
        machine, clock, leases = LeaseMachine(), ManualClock(), []
        for number in range(160):
            ttl = 30.0 + (number * 37) % 160  # in no order
            leases.append(
                Lease(
                    LeaseGrant(str(number), ttl),
                    requested_ttl=ttl,
                    max_lifetime_after_refresh=ttl,
                    keep_alive=True,
                    margin=0.0,
                    started=clock.now(),
                    clock=clock,
                    keeper=_Keeper(),  # type: ignore[arg-type]
                    on_lost=None,
                )
            )
            machine.add(leases[-1])
        for lease in leases[:112]:  # one more, and the entries are cleared
            machine.forget(lease)
        return machine, leases, clock

    def forget(last: int) -> tuple[Callable[[], object], Callable[[], object]]:
        machine, leases, clock = books()

        def all_are_due() -> None:
            left = machine.leases
            clock.jump(30.0 - 0.001)  # a third of the longest TTL is later; of those of 30 to 90 s it has passed
            due = {lease.id for lease in left if clock.now() >= lease.deadline - lease.ttl * 2 / 3}
            assert {lease.id for lease in machine.step(clock.now()).batch} >= due, f"interrupted at line {last}"

        return partial(_forget_all, machine, leases[112:115]), all_are_due

    assert every_line(forget) >= 10
