"""Numbered messages: trimming by age, and a reader whose store shows one key after the other."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

import tenure
from tenure import KeyValue, Store
from tenure._runtime.clock import TimeLimit
from tenure._steps.threads import run
from tenure.errors import StoreCorrupted
from tenure.recipes._messages import Messages, Position, Reader
from tenure.recipes.bus import Subscription
from tenure.testing import Sandbox
from tenure_testkit.waiting import PATIENCE, until


@pytest.fixture
def store() -> Iterator[Store]:
    with tenure.connect("memory://") as store:
        yield store


def publish(store: Store, messages: Messages, data: bytes) -> Position:
    return run(store, messages.publish(data, TimeLimit(store.clock, None)))


def present(store: Store) -> dict[str, KeyValue]:
    return {item.key: item for item in store.list("b/").items}


def numbers(store: Store, messages: Messages) -> list[int]:
    return [messages.read(item).position.number for item in present(store).values() if item.key != messages.head]


def test_publishing_removes_what_is_too_old(store: Store) -> None:
    now = 1000.0
    messages = Messages("b/", "it", 100, 60.0, lambda: now)
    for _ in range(12):
        publish(store, messages, b"")
    now += 61
    publish(store, messages, b"")
    assert numbers(store, messages) == [9, 10, 11, 12, 13], "8 at a time"
    publish(store, messages, b"")
    assert numbers(store, messages) == [13, 14]


def test_a_smaller_bound_is_reached_after_some_messages(store: Store) -> None:
    for _ in range(20):
        publish(store, Messages("b/", "it", 100), b"")
    for _ in range(3):
        publish(store, Messages("b/", "it", 2), b"")
    assert numbers(store, Messages("b/", "it", 2)) == [22, 23]


def test_a_reader_waits_for_what_the_store_does_not_show_yet(store: Store) -> None:
    messages = Messages("b/", "it", 100)
    for data in (b"1", b"2"):
        publish(store, messages, data)
    old = present(store)
    publish(store, messages, b"3")
    new = present(store)
    only_head = {**old, messages.head: new[messages.head]}
    only_message = {**new, messages.head: old[messages.head]}
    assert not Reader(messages, None).start(only_head)
    for torn in (only_head, only_message):
        reader = Reader(messages, messages.read(new[messages.key(2)]).position)
        assert reader.next(torn) is None
        entry = reader.next(new)
        assert entry is not None
        assert entry.data == b"3"


def test_what_no_publisher_wrote_is_told_and_passed(store: Store) -> None:
    messages = Messages("b/", "it", 100)
    publish(store, messages, b"1")
    store.put(messages.key(1), b"nonsense")
    publish(store, messages, b"2")
    reader = Reader(messages, Position())
    with pytest.raises(StoreCorrupted, match="no publisher"):
        reader.next(present(store))
    entry = reader.next(present(store))
    assert entry is not None
    assert entry.data == b"2"
    store.put(messages.head, b"nonsense")
    with pytest.raises(StoreCorrupted):
        publish(store, messages, b"3")


@pytest.mark.parametrize("removed", [2, 3])
def test_a_message_that_another_program_removed_is_told_and_passed(removed: int) -> None:
    with Sandbox() as box:
        store = box.connect()
        bus = tenure.Bus(store, "b", codec=tenure.TEXT)
        for number in (1, 2, 3):
            bus.publish(f"{number}")
        store.delete(f"tenure/bus/b/{removed:020}")
        with bus.subscribe(after=bus.BEGINNING) as messages:
            read: list[str] = []

            def follow() -> None:
                while read[-1:] != ["4"]:
                    try:
                        read.append(messages.next().value)
                    except StoreCorrupted as exc:
                        read.append(str(exc))

            reader = threading.Thread(target=follow)
            reader.start()
            until(lambda: len(read) == removed - 1)
            box.clock.advance(4)
            assert len(read) == removed - 1
            until(lambda: box.clock.advance(1) or len(read) >= removed)
            assert f"another program removed message {removed}" in read[removed - 1]
            bus.publish("4")
            reader.join(PATIENCE)
        assert read[removed:] == ["3", "4"][removed - 2 :]


def test_a_subscription_begins_although_the_last_message_was_removed() -> None:
    with Sandbox() as box:
        store = box.connect(timeout=60)
        bus = tenure.Bus(store, "b", codec=tenure.TEXT)
        bus.publish("1")
        store.delete(f"tenure/bus/b/{1:020}")
        subscribed: list[Subscription[str]] = []
        subscriber = threading.Thread(target=lambda: subscribed.append(bus.subscribe()))
        subscriber.start()
        until(lambda: box.clock.advance(1) or subscribed)
        subscriber.join(PATIENCE)
        bus.publish("2")
        with subscribed[0] as messages:
            assert messages.next(10).value == "2"
