"""The pool of callbacks, strands and timers: growing, order, blocking, threads that can't be started, the end."""

from __future__ import annotations

import logging
import signal
import threading
import time

import pytest

from tenure import SystemClock
from tenure._runtime import callback_pool
from tenure._runtime.callback_pool import MOST_THREADS, CallbackPool, Strand
from tenure._runtime.deadline import Deadline, monotonic
from tenure._runtime.timers import Timers
from tenure_testkit.waiting import until

LONG = 30.0


@pytest.fixture
def pool():
    pool = CallbackPool("tenure-test", SystemClock(), Timers("tenure-test"))
    yield pool
    pool.close(Deadline(LONG))


def threads(kind="callbacks"):
    return [thread for thread in threading.enumerate() if thread.name == f"tenure-test-{kind}"]


def test_functions_run_and_one_thread_serves_many_that_are_quick(pool):
    for _ in range(200):
        done = threading.Event()
        pool.submit(done.set)
        assert done.wait(LONG)
    assert len(threads()) <= 2


@pytest.mark.parametrize("blocked", [1, 5, MOST_THREADS - 1])
def test_functions_that_block_delay_no_other(pool, blocked):
    release, started = threading.Event(), threading.Semaphore(0)

    def block():
        started.release()
        release.wait(LONG)

    for _ in range(blocked):
        pool.submit(block)
    done = threading.Event()
    pool.submit(done.set)
    assert done.wait(LONG)
    for _ in range(blocked):
        assert started.acquire(timeout=LONG)
    release.set()


def test_there_are_never_more_threads_than_allowed(pool):
    release, count = threading.Event(), []
    for number in range(100):
        pool.submit(lambda number=number: (release.wait(LONG), count.append(number)))
    ends = monotonic() + LONG
    while len(threads()) < MOST_THREADS and monotonic() < ends:
        time.sleep(0.001)
    assert len(threads()) == MOST_THREADS
    release.set()
    pool.close(Deadline(LONG))
    assert sorted(count) == list(range(100))


@pytest.mark.parametrize("error", [ValueError("x"), SystemExit(3), KeyboardInterrupt()])
def test_whatever_a_function_raises_the_thread_goes_on(pool, caplog, error):
    def fail():
        raise error

    pool.submit(fail)
    done = threading.Event()
    pool.submit(done.set)
    assert done.wait(LONG)
    pool.close(Deadline(LONG))
    assert "a callback raised" in caplog.text


def test_a_thread_that_cannot_be_started_is_started_with_the_next_work(pool, monkeypatch, caplog):
    done = threading.Event()
    with monkeypatch.context() as patch:

        def refuse(thread):
            raise RuntimeError("can't start new thread")

        patch.setattr(threading.Thread, "start", refuse)
        pool.submit(done.set)
    assert "can't start new thread" in caplog.text
    assert not done.is_set()
    pool.ensure()
    assert done.wait(LONG)


def test_where_no_thread_can_be_started_any_more_close_does_what_is_left(monkeypatch):
    pool, done = CallbackPool("tenure-test", SystemClock(), Timers("tenure-test")), []

    def refuse(thread):
        raise RuntimeError("can't start new thread at interpreter shutdown")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    pool.submit(lambda: done.append(1))
    pool.close(Deadline(LONG))
    assert done == [1]
    pool.submit(lambda: done.append(2))
    assert done == [1]


def test_close_waits_for_a_thread_that_is_about_to_start(monkeypatch):
    pool, ran = CallbackPool("tenure-test", SystemClock(), Timers("tenure-test")), []
    about_to_start, closing = threading.Event(), threading.Event()
    start = threading.Thread.start

    def late(thread):
        if thread.name == "tenure-test-callbacks":
            about_to_start.set()
            assert closing.wait(LONG)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", late)
    submitter = threading.Thread(target=pool.submit, args=(lambda: ran.append(1),))
    submitter.start()
    assert about_to_start.wait(LONG)
    closer = threading.Thread(target=pool.close, args=(Deadline(LONG),))
    closer.start()
    while not pool._queue.qsize() > 1:  # the function, and the end that close asks of the thread
        time.sleep(0.001)
    closing.set()
    for thread in (submitter, closer):
        thread.join(LONG)
        assert not thread.is_alive()
    assert ran == [1]
    assert not threads()


def test_close_does_not_wait_for_a_thread_whose_end_another_took(monkeypatch):
    monkeypatch.setattr(callback_pool, "_IDLE_SECONDS", LONG)
    pool = CallbackPool("tenure-test", SystemClock(), Timers("tenure-test"))
    started, go = threading.Event(), threading.Event()
    pool.submit(lambda: (started.set(), go.wait(LONG)))
    assert started.wait(LONG)
    # Taken with the end behind it, this starts another thread, which takes that end.
    pool._queue.put(lambda: until(lambda: len(pool._threads) == 1))
    closing = threading.Thread(target=pool.close, args=(Deadline(LONG),))
    closing.start()
    until(lambda: pool._queue.qsize() == 2)
    go.set()
    closing.join(LONG / 2)
    assert not closing.is_alive()
    assert not threads()


def test_close_waits_no_longer_than_its_deadline_for_a_function_that_blocks(caplog):
    pool, release = CallbackPool("tenure-test", SystemClock(), Timers("tenure-test")), threading.Event()
    pool.submit(lambda: release.wait(LONG))
    started = monotonic()
    pool.close(Deadline(0.05))
    assert monotonic() - started < 5.0
    assert "1 callbacks are still running" in caplog.text
    release.set()


def test_a_function_may_close_its_own_pool(pool):
    done = threading.Event()
    pool.submit(lambda: (pool.close(Deadline(LONG)), done.set()))
    assert done.wait(LONG)


# -- strands -------------------------------------------------------------------------------------------


def test_a_strand_runs_once_more_after_the_last_wake_up_and_never_twice_at_a_time(pool):
    work, seen, running, trouble = [], [], threading.Semaphore(1), []

    def drain():
        if not running.acquire(blocking=False):
            trouble.append("twice at a time")
        while work:
            seen.append(work.pop(0))
        running.release()

    strand = Strand(pool.submit, drain)
    for number in range(5_000):
        work.append(number)
        strand.wake()
    ends = monotonic() + LONG
    while len(seen) < 5_000 and monotonic() < ends:
        time.sleep(0.001)
    assert seen == list(range(5_000))
    assert trouble == []


def test_a_strand_whose_function_raises_runs_again(pool):
    runs, done = [], threading.Event()

    def fail_first():
        runs.append(1)
        if len(runs) == 1:
            raise ValueError("x")
        done.set()

    strand = Strand(pool.submit, fail_first)
    strand.wake()
    while not runs or strand._scheduled:
        time.sleep(0.001)
    strand.wake()
    assert done.wait(LONG)


def test_a_signal_handler_may_wake_what_it_interrupts(pool):
    woken = []
    strand = Strand(pool.submit, lambda: woken.append(1))
    handled = 0

    def handler(number, frame):
        nonlocal handled
        handled += 1
        strand.wake()

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    try:
        ends = monotonic() + LONG
        while handled < 50 and monotonic() < ends:
            strand.wake()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert handled >= 50
    count = len(woken)
    strand.wake()
    while len(woken) <= count:
        time.sleep(0.001)


# -- timers --------------------------------------------------------------------------------------------


def test_timers_call_in_the_order_of_their_times(caplog):
    timers, seen, done = Timers("tenure-test"), [], threading.Event()
    now = monotonic()
    timers.call_at(now + 0.06, lambda: (seen.append(3), done.set()))
    timers.call_at(now + 0.02, lambda: seen.append(1))
    timers.call_at(now + 0.04, lambda: 1 / 0)
    timers.call_at(now + 0.05, lambda: seen.append(2))
    assert done.wait(LONG)
    assert seen == [1, 2, 3]
    assert "a timer's function raised" in caplog.text
    assert len(threads("timers")) == 1
    timers.close()
    timers.call_at(now, lambda: seen.append(4))


def test_a_timers_thread_that_cannot_be_started_is_started_with_the_next_function(monkeypatch):
    timers, done = Timers("tenure-test"), threading.Event()
    with monkeypatch.context() as patch:

        def refuse(thread):
            raise RuntimeError("can't start new thread")

        patch.setattr(threading.Thread, "start", refuse)
        timers.call_at(monotonic(), lambda: None)
    timers.call_at(monotonic(), done.set)
    assert done.wait(LONG)
    timers.close()


@pytest.fixture(autouse=True)
def quiet(caplog):
    caplog.set_level(logging.WARNING)
