"""A long answer that keeps arriving is not thrown away at the end of an attempt, and ends with the caller's time."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from tenure import Store
from tenure._runtime import deadline as deadline_module
from tenure.errors import Unavailable
from tenure.plugin_kit import Deadline, ProgressDeadline
from tenure.spi import Page
from tenure_testkit.waiting import until

from .doubles import ScriptedBackend


class Recording(ScriptedBackend):
    """Keeps the patience of each request."""

    def __init__(self, **capabilities):
        super().__init__(**capabilities)
        self.listed: list[float | None] = []
        self.watched: list[float | None] = []

    def list(self, request, *, timeout):
        self.listed.append(request.patience)
        return super().list(request, timeout=timeout)

    def watch(self, request, *, sink, timeout):
        self.watched.append(request.patience)
        return super().watch(request, sink=sink, timeout=timeout)


@pytest.fixture
def now(monkeypatch):
    """The monotonic clock of deadlines, which stands until the test moves it."""
    clock = SimpleNamespace(seconds=1000.0)
    monkeypatch.setattr(deadline_module, "monotonic", lambda: clock.seconds)
    return clock


def test_progress_moves_a_deadline_on_up_to_the_patience(now):
    deadline = ProgressDeadline.of_request(2.0, 5.0)
    for _ in range(3):
        now.seconds += 1.5
        assert not deadline.expired
        deadline.progressed()
    assert deadline.remaining() == pytest.approx(0.5)
    now.seconds += 0.5
    assert deadline.expired


def test_without_patience_progress_moves_nothing(now):
    deadline = ProgressDeadline.of_request(2.0, None)
    assert type(deadline) is Deadline
    now.seconds += 1.5
    deadline.progressed()
    assert deadline.remaining() == pytest.approx(0.5)


def test_a_list_is_given_what_is_left_of_the_callers_time_at_each_attempt():
    backend = Recording()
    backend.script("list", Unavailable("once more"), Page((), False, 1))
    with Store.from_backend(backend, url="double://") as store:
        store.list("x/", timeout=20.0)
    first, second = backend.listed
    assert first is not None
    assert second is not None
    assert 19.0 < first <= 20.0
    assert second < first


def test_a_watch_is_given_the_callers_time_at_first_and_long_when_it_opens_again():
    backend = Recording()
    with Store.from_backend(backend, url="double://") as store:
        store.watch("x/", callback=lambda batch: None, timeout=7.0)
        backend.feed(0).fail(Unavailable("gone"))
        until(lambda: len(backend.watched) > 1, 60, "the second feed")
    first, second = backend.watched
    assert first is not None
    assert 6.0 < first <= 7.0
    assert second == 3600.0
