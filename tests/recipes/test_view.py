"""What a view shows when batches come late, twice, or not at all. Without a watch: batches are made by hand."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import pytest

import tenure
from tenure import TEXT, Batch, BatchType, Event, EventType, KeyValue, ManualClock, Store
from tenure._runtime.clock import TimeLimit
from tenure.recipes._view import View
from tenure.spi import CommitResult
from tenure_testkit.waiting import until


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def store(clock: ManualClock) -> Iterator[Store]:
    with tenure.connect("memory://", clock=clock) as store:
        yield store


@pytest.fixture(params=[True, False], ids=["lossless", "coalescing"])
def view(store: Store, request: pytest.FixtureRequest) -> View[str]:
    view = View(store, TEXT, None)
    view._lossless = request.param
    view.apply(Batch(BatchType.SNAPSHOT, (), 10))
    return view


def put(key: str, value: str, revision: int) -> Event:
    item = KeyValue(key, value.encode(), revision, revision, None)
    return Event(EventType.UPDATE, key, item, revision)


def changes(*events: Event) -> Batch:
    return Batch(BatchType.CHANGES, events, events[-1].revision)


def test_a_late_batch_takes_nothing_back(view: View[str]) -> None:
    view.apply(changes(put("a", "old", 11)))
    view._wrote("a", b"own", 20)
    view.apply(changes(put("a", "late", 15)))
    assert view.values()["a"] == "own"
    view.apply(changes(put("a", "own", 20)))
    view.apply(changes(put("a", "newer", 21)))
    assert view.values()["a"] == "newer"


def test_an_answer_that_comes_after_a_later_batch_takes_nothing_back(view: View[str]) -> None:
    view.apply(changes(put("a", "newer", 21)))
    view._wrote("a", b"own", 20)
    assert view.values()["a"] == "newer"


def test_a_deleted_key_stays_deleted(view: View[str]) -> None:
    view.apply(changes(put("a", "old", 11)))
    view._wrote("a", None, 20)
    view.apply(changes(put("a", "late", 15)))
    assert "a" not in view.values()
    view.apply(changes(put("a", "again", 22)))
    assert view.values()["a"] == "again"


def test_a_key_that_a_coalescing_watch_never_shows_goes_after_a_while(store: Store, clock: ManualClock) -> None:
    view = View(store, TEXT, None)
    view._lossless = False
    connected = False
    view.follows = lambda: connected
    view._wrote("a", b"own", 20)  # and another client deletes it before the watch looks
    clock.jump(60)
    assert view.values()["a"] == "own", "the watch could not show it"
    connected = True
    assert "a" not in view.values()


def test_what_a_lossless_watch_has_not_shown_stays(store: Store, clock: ManualClock) -> None:
    view = View(store, TEXT, None)
    view._wrote("a", b"own", 20)
    clock.jump(60)
    assert view.values()["a"] == "own"


def test_a_difference_shows_what_the_store_has_now(view: View[str]) -> None:
    view._wrote("a", b"own", 20)
    view.apply(Batch(BatchType.RESYNC, (), 19, "a gap"))  # read before the write
    assert view.values()["a"] == "own"
    view.apply(Batch(BatchType.RESYNC, (), 30, "a gap"))
    assert "a" not in view.values()


def test_a_write_that_a_gap_has_not_shown_goes_after_a_while(view: View[str], clock: ManualClock) -> None:
    """A replica that took over had not got it, and nothing else is written."""
    view._wrote("a", b"own", 20)
    view.apply(Batch(BatchType.RESYNC, (), 19, "another primary"))
    assert view.values()["a"] == "own", "the difference may have been read before the write"
    clock.jump(60)
    assert "a" not in view.values()


def test_a_write_during_which_there_was_a_gap_goes_after_a_while(store: Store, view: View[str]) -> None:
    clock = store.clock
    assert isinstance(clock, ManualClock)
    steps = view.put("a", "own", TimeLimit(clock, None))
    next(steps)
    view.apply(Batch(BatchType.RESYNC, (), 5, "another primary"))
    with pytest.raises(StopIteration):
        steps.send(CommitResult(20))
    assert view.values()["a"] == "own"
    clock.jump(60)
    assert "a" not in view.values()


def test_a_write_of_a_replaced_history_goes_at_once(view: View[str]) -> None:
    view._history = SimpleNamespace(name="one")  # type: ignore[assignment]
    view._wrote("a", b"own", 20)
    view._history = SimpleNamespace(name="two")  # type: ignore[assignment]
    view.apply(Batch(BatchType.RESYNC, (put("a", "restored", 7),), 9, "a restored backup"))
    assert view.values()["a"] == "restored"
    view.apply(changes(put("a", "later", 20)))
    assert view.values()["a"] == "later"


def test_a_subscriber_hears_of_a_write_that_was_undone_although_nobody_reads(store: Store, clock: ManualClock) -> None:
    told: list[frozenset[str]] = []
    with tenure.CachedPrefix(store, "v/", codec=TEXT) as settings:
        settings.on_change(told.append)
        settings._view._lossless = False
        settings._view._wrote("v/a", b"own", store.put("other", b"").revision)  # another client deletes it at once
        until(lambda: told == [{"a"}])
        clock.jump(60)
        until(lambda: told == [{"a"}, {"a"}])
        assert "a" not in settings


def test_a_lossless_watch_that_has_come_further_is_right(store: Store) -> None:
    view = View(store, TEXT, None)
    view._wrote("a", b"own", 20)
    view.apply(changes(put("b", "x", 25)))
    assert dict(view.values()) == {"b": "x"}


def test_a_batch_that_comes_twice_changes_nothing(view: View[str]) -> None:
    batch = changes(put("a", "x", 11), put("b", "y", 11))
    view.apply(batch)
    view.apply(batch)
    assert dict(view.values()) == {"a": "x", "b": "y"}


def test_settings_may_go_while_they_are_read(store: Store) -> None:
    with tenure.CachedPrefix(store, "v/", codec=TEXT) as settings:
        settings.set("a", "1")
        settings.set("b", "2")
        items, values = iter(settings.items()), iter(settings.values())
        settings.delete("b")
        assert (list(items), list(values)) == ([("a", "1"), ("b", "2")], ["1", "2"])
        assert settings == {"a": "1"}
