"""Settings that reload, on every store: changes, one's own writes, values that are not valid, and outages."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from tenure import JSON, TEXT, CachedPrefix, CachedValue, Store
from tenure.errors import InvalidArgument, StoreClosed, WaitTimeout
from tenure_testkit.waiting import PATIENCE, until

Opener = Callable[..., Store]


@pytest.fixture
def store(store_url: str, opened: Opener) -> Store:
    return opened(store_url, timeout=PATIENCE)


@pytest.fixture
def other(store_url: str, opened: Opener) -> Store:
    return opened(store_url, timeout=PATIENCE)


def test_a_value_follows_the_store(store: Store, other: Store, short: float) -> None:
    told: list[object] = []
    with CachedValue(store, "limit", codec=JSON, default=10) as limit:
        limit.on_change(told.append)
        assert limit.value == 10
        other.put("limit", b"20")
        assert limit.wait_for(lambda value: value == 20, timeout=PATIENCE) == 20
        until(lambda: told == [20])
        other.put("limits", b"of another key")
        other.delete("limit")
        limit.wait_for(lambda value: value == 10, timeout=PATIENCE)
        until(lambda: told == [20, 10])
        assert limit.staleness == 0.0
        assert limit.outage is None
        with pytest.raises(WaitTimeout):
            limit.wait_for(lambda value: value == 30, timeout=short)


def test_a_thread_reads_what_it_has_set(store: Store, other: Store) -> None:
    with (
        CachedValue(store, "name", codec=TEXT, default="") as name,
        CachedValue(other, "name", codec=TEXT) as elsewhere,
    ):
        for number in range(20):
            name.set(str(number))
            assert int(name.value) == number
        assert elsewhere.wait_for(lambda value: value == "19", timeout=PATIENCE) == "19"
        elsewhere.set("20")
        name.wait_for(lambda value: value == "20", timeout=PATIENCE)


def test_a_value_that_is_not_valid_leaves_the_last_good_one(store: Store, other: Store) -> None:
    with CachedValue(store, "limit", codec=JSON, default=1, validate=lambda value: value > 0) as limit:
        for bad in (b"-1", b"no JSON", b'"text"'):
            other.put("limit", bad)
            until(lambda: limit.problem is not None)
            assert limit.value == 1
            other.delete("limit")
            until(lambda: limit.problem is None)
        limit.set(5)
        other.put("limit", b"-1")
        until(lambda: limit.problem is not None)
        assert limit.value == 5
        with pytest.raises(InvalidArgument, match="limit"):
            limit.set(-2)
        with pytest.raises(InvalidArgument, match="limit"):
            limit.set(object())
        assert limit.value == 5
        other.put("limit", b"6")
        limit.wait_for(lambda value: value == 6, timeout=PATIENCE)
        assert limit.problem is None


def test_a_prefix_is_a_mapping_that_follows_the_store(store: Store, other: Store) -> None:
    told: list[frozenset[str]] = []
    other.put("settings/color", b"red")
    other.put("other", b"not of the prefix")
    with CachedPrefix(store, "settings/", codec=TEXT) as settings:
        assert settings == {"color": "red"}
        settings.on_change(told.append)
        other.transaction().put("settings/color", b"blue").put("settings/size", b"4").commit()
        found = settings.wait_for(lambda values: len(values) == 2 and values["color"] == "blue", timeout=PATIENCE)
        assert found == {"color": "blue", "size": "4"} == settings.snapshot()
        until(lambda: frozenset().union(*told) == {"color", "size"})
        other.put("settings/bad", b"\xff")
        until(lambda: list(settings.problems) == ["bad"])
        assert "bad" not in settings
        settings.delete("color")
        assert "color" not in settings
        settings.set("color", "green")
        assert (settings["color"], len(settings)) == ("green", 2)
        other.delete("settings/size")
        settings.wait_for(lambda values: dict(values) == {"color": "green"}, timeout=PATIENCE)


def test_a_view_ends_with_its_store(store_url: str, opened: Opener) -> None:
    failed: list[BaseException] = []

    def wait() -> None:
        try:
            name.wait_for(lambda value: value == "never", timeout=PATIENCE)
        except StoreClosed as exc:
            failed.append(exc)

    store = opened(store_url, timeout=PATIENCE)
    name = CachedValue(store, "name", codec=TEXT, default="")
    name.set("x")
    thread = threading.Thread(target=wait)
    thread.start()
    store.close()
    thread.join(PATIENCE)
    assert failed
    assert name.closed
    assert name.value == "x"
    with pytest.raises(StoreClosed):
        name.set("y")
