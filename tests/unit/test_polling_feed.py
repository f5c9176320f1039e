"""The feed for stores that can only be asked: what it tells, how it ends, and that it is silent once it is closed."""

from __future__ import annotations

import threading

import pytest

from tenure.errors import PluginError, Unavailable
from tenure.spi import PollingFeed, Snapshot
from tenure_testkit.probes import Recorder


def failing(error):
    def read():
        raise error

    return read


@pytest.fixture
def sink():
    return Recorder()


def test_an_error_ends_it_once(sink):
    feed = PollingFeed(failing(Unavailable("away")), sink, interval=0.001, name="tenure")
    sink.error()
    feed.close()
    assert [str(error) for error in sink.errors] == ["away"]


def test_a_bug_of_the_plugin_is_told_as_one(sink):
    feed = PollingFeed(failing(ZeroDivisionError("oh")), sink, interval=0.001, name="tenure")
    sink.error()
    feed.close()
    assert isinstance(sink.errors[0], PluginError)
    assert isinstance(sink.errors[0].__cause__, ZeroDivisionError)


@pytest.mark.parametrize("error", [Unavailable("away"), ZeroDivisionError("oh")])
def test_what_fails_while_it_is_being_closed_is_nobodys_business(sink, error):
    asked, closing = threading.Event(), threading.Event()

    def read() -> Snapshot:
        asked.set()
        assert closing.wait(60.0)
        raise error

    feed = PollingFeed(read, sink, interval=0.001, name="tenure")
    assert asked.wait(60.0)
    feed._stop.set()  # what close() does first; it then waits for the thread
    closing.set()
    feed.close()
    assert sink.errors == []
