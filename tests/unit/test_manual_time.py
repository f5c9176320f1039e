"""On a clock that is moved by hand nothing waits for real: pauses between tries, limits of waits, sleepers."""

from __future__ import annotations

import threading
import time
import uuid

import pytest

import tenure
from tenure import BatchType, ServiceNotFound, Unavailable
from tenure._runtime.clock import ManualClock, SystemClock, TimeLimit
from tenure.registry import Registry
from tenure_memory import forget, server
from tenure_testkit.waiting import until

AN_HOUR = 3600.0
A_MINUTE = 60.0
REAL = 5.0  # seconds; far more than anything here takes, far less than a minute


@pytest.fixture
def name():
    name = uuid.uuid4().hex
    yield name
    forget(name)


@pytest.fixture
def store(name, clock):
    with tenure.connect(f"memory://{name}", clock=clock, timeout=A_MINUTE) as store:
        yield store


class InThread:
    """Runs a function in a thread, for its answer or its error."""

    def __init__(self, function):
        self.answer = None
        self.error = None
        self._thread = threading.Thread(target=self._run, args=(function,))
        self._thread.start()

    def _run(self, function):
        try:
            self.answer = function()
        except Exception as exc:  # noqa: BLE001 - the test looks at it
            self.error = exc

    def ended(self):
        self._thread.join(REAL)
        return not self._thread.is_alive()


@pytest.mark.parametrize(
    "call", [lambda s: s.get("a"), lambda s: s.put("a", b""), lambda s: s.lease(5), lambda s: s.watch()]
)
def test_a_call_uses_up_its_time_without_waiting(store, name, clock, call):
    started = time.monotonic()
    with server(name).outage(), pytest.raises(Unavailable):
        call(store)
    assert time.monotonic() - started < REAL
    assert clock.now() == ManualClock().now()


def test_a_call_on_the_machines_clock_still_waits():
    assert SystemClock().pause(1.5) == 1.5
    assert ManualClock().pause(1.5) < 0.01


def test_a_wait_for_a_batch_ends_with_the_clock(store, clock):
    with store.watch() as watch:
        assert [watch.next().type, watch.next().type] == [BatchType.SNAPSHOT, BatchType.SYNCED]
        waiting = InThread(lambda: watch.next(timeout=AN_HOUR))
        until(lambda: clock._sleepers)
        clock.jump(AN_HOUR)
        assert waiting.ended()
        assert (waiting.answer, waiting.error) == (None, None)


def test_a_wait_for_instances_ends_with_the_clock(store, clock):
    with Registry(store) as registry:
        waiting = InThread(lambda: registry.wait_for("web", timeout=AN_HOUR))
        until(lambda: registry._cache.changed in clock._sleepers)
        clock.jump(AN_HOUR)
        assert waiting.ended()
        assert isinstance(waiting.error, ServiceNotFound)


def test_a_limit_ends_by_itself_where_time_stands_still(clock):
    limit = TimeLimit(clock, 0.02)
    until(lambda: limit.left() <= 0)
    assert TimeLimit(clock, None).left() is None


def test_all_who_sleep_on_one_condition_wake_up(clock):
    condition = threading.Condition()

    def sleep():
        ends = clock.now() + AN_HOUR
        with condition:
            while clock.now() < ends:
                clock.wait(condition, ends - clock.now())

    sleepers = [InThread(sleep) for _ in range(3)]
    until(lambda: clock._sleepers[condition] == 3)
    clock.jump(AN_HOUR)
    assert all(sleeper.ended() for sleeper in sleepers)
    assert not clock._sleepers


def test_who_read_the_time_before_it_moved_looks_again(clock):
    class Waited(threading.Condition):
        def wait(self, timeout=None):
            pytest.fail(f"slept for {timeout} s though the time had moved")

    condition = Waited()
    clock.now()
    assert InThread(lambda: clock.jump(1)).ended()
    with condition:
        clock.wait(condition, AN_HOUR)
