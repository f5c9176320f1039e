"""Settings that reload, while their store is away, loses its data or doesn't answer, and with callbacks that fail."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Iterator

import pytest

from tenure import TEXT, CachedPrefix, CachedValue
from tenure.errors import OutcomeUnknown, Unavailable
from tenure.testing import Sandbox, wait_until
from tenure_testkit.probes import forked


@pytest.fixture
def box() -> Iterator[Sandbox]:
    with Sandbox() as box:
        yield box


def test_an_outage_leaves_the_last_value_and_is_told(box: Sandbox) -> None:
    store, other = box.connect(), box.connect()
    with CachedValue(store, "name", codec=TEXT, default="") as name:
        name.set("before")
        with box.faults.watches_disconnected():
            box.clock.advance(30)
            wait_until(lambda: name.outage is not None)
            assert name.value == "before"
            assert name.staleness >= 30
            name.set("own")
            box.clock.advance(30)
            assert name.value == "own", "its watch could not show it yet"
            other.put("name", b"after")
        wait_until(lambda: (box.clock.advance(1), name.value == "after")[1])
        assert name.staleness == 0
        assert name.outage is None


def test_lost_data_are_seen(box: Sandbox) -> None:
    with CachedPrefix(box.connect(), "settings/", codec=TEXT) as settings:
        settings.set("color", "red")
        told: list[frozenset[str]] = []
        settings.on_change(told.append)
        box.faults.lose_data()
        wait_until(lambda: (box.clock.advance(1), not settings)[1])
        wait_until(lambda: told == [frozenset({"color"})])


@pytest.mark.parametrize("applied", [True, False])
def test_a_lost_answer_is_told_and_the_view_shows_what_the_store_has(box: Sandbox, applied: bool) -> None:
    with CachedValue(box.connect(), "name", codec=TEXT, default="none") as name:
        box.faults.next_write_unknown(applied=applied)
        with pytest.raises(OutcomeUnknown):
            name.set("x")
        wait_until(lambda: name.value == ("x" if applied else "none"))


def test_a_view_needs_its_store_to_begin(box: Sandbox) -> None:
    store = box.connect()
    with box.faults.outage(), pytest.raises(Unavailable):
        CachedValue(store, "name", codec=TEXT, timeout=0.1)


def test_a_callback_that_fails_is_logged_and_called_again(box: Sandbox, caplog: pytest.LogCaptureFixture) -> None:
    called: list[str] = []

    def fail(value: str) -> None:
        called.append(value)
        raise SystemExit(value)

    with CachedValue(box.connect(), "name", codec=TEXT, default="") as name, caplog.at_level(logging.ERROR):
        name.on_change(fail)
        for value in ("a", "b"):
            name.set(value)
            wait_until(lambda value=value: called[-1:] == [value])
        wait_until(lambda: "raised" in caplog.text)


def test_a_validator_that_exits_takes_no_thread_with_it(box: Sandbox) -> None:
    def leave(value: str) -> None:
        if value == "bad":
            raise SystemExit

    other = box.connect()
    with CachedValue(box.connect(), "name", codec=TEXT, default="", validate=leave) as name:
        other.put("name", b"bad")
        wait_until(lambda: isinstance(name.problem, SystemExit))
        other.put("name", b"good")
        wait_until(lambda: name.value == "good")


def test_a_forked_child_reads_what_was_there(box: Sandbox) -> None:
    with CachedPrefix(box.connect(), "settings/", codec=TEXT) as settings:
        settings.set("color", "red")
        held, go = threading.Event(), threading.Event()

        def hold() -> None:
            with settings._view.changed:
                held.set()
                go.wait()

        holder = threading.Thread(target=hold)
        holder.start()
        held.wait()

        def read() -> None:
            signal.alarm(20)  # ends a child that waits for the other thread's lock
            assert settings.snapshot() == {"color": "red"} == dict(settings)
            assert not settings.problems
            assert settings.staleness >= 0

        try:
            assert forked(read) == ""
        finally:
            go.set()
            holder.join()
