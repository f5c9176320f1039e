"""A signal handler may raise in the middle of a call: no later call gets the old answer, and none is stuck."""

from __future__ import annotations

import gc
import signal
import sys
import time

import pytest

from tenure.spi import ListRequest, Put, RevisionEquals, Transaction
from tenure_testkit.servers.redis import RedisServer

T = 5.0
pytestmark = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="signals are how these tests interrupt")


class Interrupted(BaseException):
    pass


class SoftLimit(Exception):
    pass


@pytest.fixture
def interrupt_after():
    """Raise in the main thread after so many seconds."""
    before = signal.getsignal(signal.SIGALRM)

    def arm(seconds: float, error: type[BaseException]) -> None:
        def handler(number, frame):
            raise error

        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, seconds)

    yield arm
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SoftLimit, TimeoutError, Interrupted])
def test_a_call_that_was_interrupted_leaves_its_answer_to_nobody(
    open_redis, redis_node: RedisServer, put, interrupt_after, error
):
    backend = open_redis(redis_node.url)
    put(backend, "a", b"a")
    before = put(backend, "b", b"b")

    def interrupted(call) -> None:
        redis_node.ask("CLIENT", "PAUSE", "300", "ALL")
        started = time.monotonic()
        interrupt_after(0.1, error)
        with pytest.raises(error):
            call()
        assert time.monotonic() - started < 0.3, "it came out while the answer was still to come"

    interrupted(lambda: backend.get("a", timeout=T))
    assert backend.get("b", timeout=T).item.value == b"b"
    interrupted(lambda: put(backend, "a", b"interrupted"))
    revision = put(backend, "b", b"after")
    found = backend.get("b", timeout=T).item
    assert (found.value, found.mod_revision) == (b"after", revision)
    assert revision > before
    interrupted(lambda: backend.list(ListRequest(prefix=""), timeout=T))
    assert backend.get("b", timeout=T).item == found


def test_an_interrupt_at_any_line_gives_no_call_an_answer_that_is_not_its_own(open_redis, fresh):
    backend = open_redis(fresh)
    pool = backend._pool
    slots: list[tuple[str, int]] = []
    revision = backend.commit(Transaction((), (Put("n", b"0"), Put("other", b"other"))), timeout=T).revision
    original = pool._run_once

    def spy(script, slot, args, deadline, action):
        slots.append((slot.name, slot.number))
        return original(script, slot, args, deadline, action)

    pool._run_once = spy
    count = interrupted = 0

    def work() -> None:
        backend.commit(Transaction((), (Put("n", b"%d" % count),)), timeout=T)
        backend.get("other", timeout=T)

    while True:
        count += 1
        finished = _interrupt_at(count, work)
        gc.collect()
        assert backend.get("other", timeout=T).item.value == b"other"
        found = backend.get("n", timeout=T).item
        assert found.value in (b"%d" % count, b"%d" % (count - 1), b"after%d" % (count - 1))
        # A commit that got another's answer, or another's slot, would have the wrong revision or be refused.
        after = b"after%d" % count
        committed = backend.commit(
            Transaction((RevisionEquals("n", found.mod_revision),), (Put("n", after),)), timeout=T
        )
        assert committed.revision > revision
        revision = committed.revision
        found = backend.get("n", timeout=T).item
        assert (found.value, found.mod_revision) == (after, revision)
        assert len(pool._connections._idle) == 1
        if finished:
            break
        interrupted += 1
    assert interrupted > 60
    assert len(slots) == len(set(slots)), "a slot was used twice with the same number"


def _interrupt_at(last: int, work) -> bool:
    """Raise at so many lines of the plugin and the kit; answers whether ``work`` was done before."""
    seen = 0

    def trace(frame, event, argument):
        nonlocal seen
        name = frame.f_code.co_filename
        if "tenure_redis" not in name and "plugin_kit" not in name:
            return None
        if event == "line":
            seen += 1
            if seen == last:
                raise Interrupted
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    except Interrupted:
        return False
    finally:
        sys.settrace(before)
    return True
