"""The pool: who gets which connection, limits, closing, and that an interrupt at any line loses nothing."""

from __future__ import annotations

import gc
import os
import random
import signal
import sys
import threading

import pytest

from tenure.errors import DeadlineExceeded, PermissionDenied, StoreClosed, Unavailable
from tenure.plugin_kit import ConnectionPool, Deadline

LONG = 30.0


class FakeConnection:
    def __init__(self, opened):
        self.reusable = True
        self.closed = False
        self.interrupted = False
        self._opened = opened
        opened.append(self)

    def interrupt(self):
        self.interrupted = True

    def close(self):
        self.closed = True


@pytest.fixture
def opened():
    return []


def make(opened, **limits):
    return ConnectionPool(lambda deadline: FakeConnection(opened), **limits)


def take(pool, *, fresh=False, seconds=LONG):
    return pool.take(Deadline(seconds), action="testing", fresh=fresh)


def test_a_connection_given_back_is_used_again(opened):
    pool = make(opened)
    first = take(pool)
    assert first.fresh
    first.give_back()
    second = take(pool)
    assert (second.connection, second.fresh, len(opened)) == (opened[0], False, 1)
    assert take(pool, fresh=True).connection is not opened[0]


def test_an_error_that_somebody_keeps_takes_no_place():
    """An exception has the frames that it went through, and those have what they were working on."""

    def refuse(deadline):
        raise PermissionDenied("not now")

    pool, kept = ConnectionPool(refuse, max_open=1), []
    for _ in range(3):
        with pytest.raises(PermissionDenied) as caught:
            take(pool, seconds=1.0)
        kept.append(caught.value)


def test_a_connection_that_the_server_closed_is_not_used_again(opened):
    pool = make(opened)
    take(pool).give_back()
    opened[0].reusable = False
    assert take(pool).connection is opened[1]
    assert opened[0].closed


def test_dropping_with_idle_closes_what_the_same_fault_has_broken(opened):
    pool = make(opened)
    one, two = take(pool), take(pool)
    two.give_back()
    one.drop(with_idle=True)
    assert [connection.closed for connection in opened] == [True, True]


def test_no_more_idle_ones_are_kept_than_allowed(opened):
    pool = make(opened, max_idle=2)
    for pooled in [take(pool) for _ in range(5)]:
        pooled.give_back()
    assert sum(not connection.closed for connection in opened) == 2


def test_a_with_block_drops_after_any_exception(opened):
    pool = make(opened)
    with pytest.raises(KeyboardInterrupt), pool.connection(Deadline(LONG), action="testing"):
        raise KeyboardInterrupt
    assert opened[0].closed
    with pool.connection(Deadline(LONG), action="testing") as connection:
        assert connection is opened[1]
    assert not opened[1].closed


def test_a_limit_makes_others_wait_and_says_so_when_the_time_is_up(opened):
    pool = make(opened, max_open=2, limit_hint="the option connections allows more")
    held = [take(pool), take(pool)]
    with pytest.raises(DeadlineExceeded, match=r"testing: other calls used all 2 connections.*the option connections"):
        take(pool, seconds=0.05)
    got = []
    waiter = threading.Thread(target=lambda: got.append(take(pool).connection))
    waiter.start()
    held[0].give_back()
    waiter.join(LONG)
    assert got == [opened[0]]


@pytest.mark.parametrize("how", ["dropped", "lost", "not made"])
def test_every_way_to_end_a_connection_frees_its_place(opened, how):
    pool = make(opened, max_open=1)
    if how == "not made":

        def refuse(deadline):
            raise Unavailable("down")

        connect, pool._connect = pool._connect, refuse
        with pytest.raises(Unavailable):
            take(pool)
        pool._connect = connect
    elif how == "dropped":
        take(pool).drop()
    else:
        take(pool)  # its taker was interrupted and has lost it
        gc.collect()
    take(pool, seconds=1.0).give_back()
    assert sum(not connection.closed for connection in opened) == 1


def test_close_wakes_waiters_interrupts_users_and_refuses_newcomers(opened):
    pool = make(opened, max_open=1)
    held = take(pool)
    errors = []

    def wait():
        try:
            take(pool)
        except StoreClosed as exc:
            errors.append(exc)

    waiter = threading.Thread(target=wait)
    waiter.start()
    while not pool._waiters:
        assert waiter.is_alive()
    assert pool.close() is True
    waiter.join(LONG)
    assert len(errors) == 1
    assert opened[0].interrupted
    held.give_back()
    assert opened[0].closed
    assert pool.close() is False
    with pytest.raises(StoreClosed, match="testing"):
        take(pool)


def test_a_forked_child_closes_nothing_of_its_parent(opened):
    pool = make(opened)
    take(pool).give_back()
    real = os.getpid
    os.getpid = lambda: real() + 1
    try:
        assert pool.close() is False
    finally:
        os.getpid = real
    assert not opened[0].closed


class Interrupted(BaseException):
    pass


def test_an_interrupt_at_any_line_loses_no_place_and_leaves_nothing_locked(opened):
    """Every line of a call, one after the other, is interrupted as by a signal handler; then the pool is used."""
    line = 0
    while True:
        line += 1
        pool = make(opened, max_open=2)
        take(pool).give_back()
        seen = 0

        def trace(frame, event, argument, last=line):
            nonlocal seen
            if "connection_pool" not in frame.f_code.co_filename:
                return None
            if event == "line":
                seen += 1
                if seen == last:
                    raise Interrupted
            return trace

        before = sys.gettrace()
        sys.settrace(trace)
        try:
            with pool.connection(Deadline(LONG), action="testing"):
                pass
            finished = True
        except Interrupted:
            finished = False
        finally:
            sys.settrace(before)
        gc.collect()
        both = [take(pool, seconds=1.0), take(pool, seconds=1.0)]
        for pooled in both:
            pooled.give_back()
        if finished:
            break
    assert line > 15  # so many lines were interrupted


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="signals are how this test interrupts")
def test_a_signal_handler_that_uses_the_pool_never_waits_for_the_call_it_interrupts(opened):
    pool = make(opened, max_open=3)
    used = 0

    def handler(number, frame):
        nonlocal used
        with pool.connection(Deadline(LONG), action="in a handler"):
            used += 1

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    try:
        for _ in range(20_000):
            with pool.connection(Deadline(LONG), action="testing"):
                pass
            if used >= 50:
                break
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert used >= 1


def test_many_threads_never_share_a_connection_nor_exceed_the_limit(opened):
    pool = make(opened, max_open=3)
    in_use, trouble = set(), []
    seeds = random.Random(1)

    def work(seed):
        chance = random.Random(seed)
        for _ in range(300):
            pooled = take(pool)
            if pooled.connection in in_use:
                trouble.append("shared")
            in_use.add(pooled.connection)
            if len(in_use) > 3:
                trouble.append("too many")
            in_use.discard(pooled.connection)
            if chance.random() < 0.2:
                pooled.drop()
            else:
                pooled.give_back()

    threads = [threading.Thread(target=work, args=(seeds.random(),)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG)
    assert not any(thread.is_alive() for thread in threads)
    assert trouble == []
    assert sum(not connection.closed for connection in opened) <= 3
