"""Entries that anybody may write: whatever they hold, they cost time by their size and take nothing from the others."""

from __future__ import annotations

import json
import logging
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tenure.registry import Instance, MalformedEntry, Registry, decode, encode, key_of
from tenure.registry.lifecycle.cache import Cache
from tenure.spi.types import KeyValue
from tenure.watch.events import Batch, BatchType, Event, EventType

PREFIX = "/registry/default/"
KEY = PREFIX + "web/1@h"
MEBIBYTE = 1024 * 1024


def nested(levels: int, inside: bytes = b"1") -> bytes:
    return b'{"meta":{"a":' + b"[" * levels + inside + b"]" * levels + b"}}"


HOSTILE = {
    "nested lists with a lone surrogate": nested(600, rb'"\ud800"'),
    "nested lists": nested(90_000),
    "nested lists beside the metadata": b'{"x":' + b"[" * 600 + b"]" * 600 + b"}",
    "a port of nested lists": b'{"port":' + b"[" * 900 + b"]" * 900 + b"}",
    "a host of nested objects": b'{"host":' + b'{"a":' * 900 + b"1" + b"}" * 900 + b"}",
    "open brackets": b"[" * MEBIBYTE,
    "an open text of quotes behind brackets": b"[" * 100 + b"]" * 100 + b'"' + rb"\"" * (MEBIBYTE // 2),
    "a long name above many values": b'{"meta":{"'
    + b"k" * (MEBIBYTE // 2)
    + b'":['
    + b"0," * (MEBIBYTE // 4)
    + b"0]}}",
    "a long whole number": b'{"meta":{"a":' + b"9" * MEBIBYTE + b"}}",
    "a long negative port": b'{"port":-' + b"9" * MEBIBYTE + b"}",
    "a long fraction": b'{"meta":{"a":0.' + b"9" * MEBIBYTE + b"}}",
    "an infinite number": b'{"meta":{"a":1e999999}}',
    "an infinite port": b'{"port":1e999}',
    "NaN": b'{"meta":{"a":NaN}}',
    "one name many times": b"{" + b",".join([b'"meta":{}'] * 100_000) + b"}",
    "many names": json.dumps({"meta": {str(number): number for number in range(50_000)}}).encode(),
    "broken UTF-8": b'{"host_name":"\xff\xfe\xc0\x80"}' + b"\xff" * 1000,
    "lone surrogates": rb'{"id":"\ud800","host":"\udfff","service_name":"\ud800","meta":{"\ud800":"\ud800"}}',
    "a status of a mebibyte": b'{"meta":{"status":["' + b"x" * MEBIBYTE + b'"]}}',
    "controls": b'{"service_name":"\\u0000\\u001b[2J","meta":{"\\u202e":"\\n"}}',
}


def put(key: str, value: bytes, revision: int = 1) -> Event:
    return Event(EventType.CREATE, key, KeyValue(key, value, revision, revision), revision)


def snapshot(*events: Event) -> Batch:
    return Batch(BatchType.SNAPSHOT, events, 1)


def read(value: bytes) -> Instance | None:
    try:
        return decode(PREFIX, KEY, value)
    except MalformedEntry as exc:
        reason = str(exc)
    assert len(reason) < 600
    return None


@pytest.mark.parametrize("value", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_value_is_an_instance_or_malformed_and_takes_time_by_its_size(value):
    # The time that Python's parser alone takes for plain text of this size, on this machine at this moment.
    plain = json.dumps(["x"] * (MEBIBYTE // 5)).encode()
    started = time.process_time()
    for _ in range(5):
        json.loads(plain.decode("utf-8", "replace"))
    parsing = time.process_time() - started
    started = time.process_time()
    instance = read(value)
    if instance is not None:
        assert instance.ready in (True, False)
    assert time.process_time() - started < 50 * parsing


@pytest.mark.parametrize("value", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_value_takes_no_entry_of_its_batch_away(value):
    cache = Cache(PREFIX, lambda told: None)
    good = Instance("good", id="1", host="h")
    cache.apply(snapshot(put(KEY, value), put(key_of(PREFIX, good), encode(good))))
    assert cache.in_sync
    assert cache.services["good"].instances == (good,)
    assert cache.entry(KEY) is not None or KEY in cache.malformed


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None)),
    lambda below: st.lists(below, max_size=4) | st.dictionaries(st.text(st.characters(codec=None)), below, max_size=4),
    max_leaves=20,
)
fields = st.dictionaries(
    st.sampled_from(["id", "host", "host_name", "port", "service_name", "meta", "other"]), json_values
)
values = st.binary() | fields.map(lambda found: json.dumps(found).encode())


@settings(max_examples=50, deadline=None)
@given(value=values, service=st.text(max_size=20), key=st.text(max_size=20))
@example(value=nested(101), service="web", key="1@h")
@example(value=nested(100), service="web", key="1@h")
@example(value=b'{"meta":{"status":["drained"]}}', service="web", key="1@h")
def test_any_value_at_any_key_is_an_instance_or_malformed(value, service, key):
    cache = Cache(PREFIX, lambda told: None)
    good = Instance("good", id="1", host="h")
    full = f"{PREFIX}{service}/{key}"
    cache.apply(snapshot(put(full, value), put(key_of(PREFIX, good), encode(good))))
    assert good in cache.services["good"].instances
    instance = cache.entry(full)
    if instance is None:
        assert len(cache.malformed[full]) < 600
        return
    assert instance.ready in (True, False)
    hash(instance)
    assert decode(PREFIX, full, encode(instance)).to_dict().keys() == instance.to_dict().keys()


def test_bad_entries_are_one_pass_and_named_up_to_a_bound(caplog):
    many = 50_000
    cache = Cache(PREFIX, lambda told: None)
    good = Instance("good", id="1", host="h")
    events = [put(f"{PREFIX}foreign{number}", b"x") for number in range(many)]
    started = time.process_time()
    with caplog.at_level(logging.WARNING, "tenure.registry"):
        cache.apply(snapshot(*events, put(key_of(PREFIX, good), encode(good))))
    # By the square of their number this took minutes.
    assert time.process_time() - started < 10.0
    assert cache.services["good"].instances == (good,)
    assert len(cache.malformed) == 1000
    assert cache.present(f"{PREFIX}foreign{many - 1}")
    assert len(caplog.records) == 11
    assert str(many - 10) in caplog.records[-1].getMessage()

    gone = [Event(EventType.DELETE, event.key, None, 2) for event in events]
    cache.apply(Batch(BatchType.CHANGES, tuple(gone), 2))
    assert cache.malformed == {}


def test_a_registry_on_a_store_starts_and_follows_beside_hostile_entries(registry_store):
    store = registry_store()
    small = {name: value for name, value in HOSTILE.items() if len(value) < 100_000}
    good = Instance("good", id="1", host="h")
    for number, value in enumerate(small.values()):
        store.put(f"{PREFIX}early/{number}@h", value)
    store.put(key_of(PREFIX, good), encode(good))
    with Registry(registry_store()) as registry:
        assert registry.get_service("good").instances == (good,)
        for number, value in enumerate(small.values()):
            store.transaction().put(f"{PREFIX}late/{number}@h", value).put(
                f"{PREFIX}good-{number}/1@h", encode(good.copy(service_name=f"good-{number}"))
            ).commit()
            assert registry.wait_for(f"good-{number}")
        assert registry.error is None
        assert not registry.closed
        assert f"{PREFIX}early/0@h" in registry.malformed_entries
