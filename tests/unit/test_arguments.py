"""What callers can get wrong: told before anything is sent, with the value and the remedy."""

from __future__ import annotations

import copy
import pickle

import pytest

import tenure
from tenure.errors import ConfigError, InvalidArgument, InvalidKey, LimitExceeded
from tenure.recipes.codec import TEXT
from tenure.recipes.lock import Lock
from tenure.registry import Registry
from tenure.spi.keys import namespace_prefix

from .doubles import ScriptedBackend

BAD_KEYS = {
    "": "empty",
    "a\0b": "position 1",
    "k" * 1025: "1024 bytes",
    "ä" * 513: "has 1026",
    "\ud800": "position 0 has a lone surrogate",
    7: "not int",
    b"a": "not bytes",
    None: "not NoneType",
}
CALLS = {
    "get": lambda store, key: store.get(key),
    "put": lambda store, key: store.put(key, b""),
    "put_if_absent": lambda store, key: store.put_if_absent(key, b""),
    "replace": lambda store, key: store.put_if_unchanged(key, b"", revision=1),
    "delete": lambda store, key: store.delete(key),
    "guard": lambda store, key: store.transaction().if_absent(key).delete("a").commit(),
    "operation": lambda store, key: store.transaction().delete("a").put(key, b"").commit(),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("key", BAD_KEYS, ids=repr)
def test_a_key_that_is_none(store, backend, call, key):
    with pytest.raises(InvalidKey, match=BAD_KEYS[key]):
        CALLS[call](store, key)
    assert not backend.calls


def test_a_key_that_cannot_even_be_hashed(store, backend):
    with pytest.raises(InvalidKey, match="not list"):
        store.transaction().put(["a"], b"").commit()
    assert not backend.calls


@pytest.mark.parametrize("key", ["k" * 1024, "ä" * 512, "a//b", "a/", ".", "..", "%", "*", "/a", " ", "\n", "日本"])
def test_odd_keys_are_keys(store, backend, key):
    store.put(key, b"")
    assert backend.calls[0].arguments["transaction"].operations[0].key == key


@pytest.mark.parametrize("prefix", [key for key in BAD_KEYS if key != ""], ids=repr)
@pytest.mark.parametrize("call", ["list", "scan", "watch", "delete_prefix"])
def test_a_prefix_that_is_none(store, backend, call, prefix):
    with pytest.raises((InvalidKey, InvalidArgument)):
        getattr(store, call)(prefix)
    assert not backend.calls


@pytest.mark.parametrize(
    "value", ["text", 7, None, bytearray(b"x"), memoryview(b"x")], ids=lambda value: type(value).__name__
)
def test_a_value_that_is_no_bytes(store, backend, value):
    with pytest.raises(InvalidArgument, match=f"not {type(value).__name__}"):
        store.put("a", value)
    assert not backend.calls


def test_text_as_a_value_gets_the_hint_to_encode(store):
    with pytest.raises(InvalidArgument, match=r"\.encode\(\)"):
        store.put("a", "text")


def test_what_the_opened_store_does_not_take_is_not_sent(store, backend):
    store.put("a", b"x" * 1000)
    backend.calls.clear()
    with pytest.raises(LimitExceeded, match="'a': the value has 1001 bytes, this store takes 1000"):
        store.put("a", b"x" * 1001)
    many = store.transaction()
    for number in range(10):
        many.delete(str(number))
    many.commit()
    backend.calls.clear()
    with pytest.raises(LimitExceeded, match="1 preconditions and 10 operations, this store takes 10 together"):
        many.if_absent("g").commit()
    with pytest.raises(LimitExceeded, match="has 2001 bytes of keys and values"):
        store.transaction().put("a", b"x" * 999).put("b", b"x" * 1000).commit()
    with pytest.raises(LimitExceeded, match="has 2004 bytes"):  # keys count as UTF-8
        store.transaction().put("ä" * 2, b"x" * 998).put("bb", b"x" * 1000).commit()
    assert not backend.calls


@pytest.mark.parametrize("revision", [-1, 1.0, "1", None])
def test_a_revision_that_is_none(store, backend, revision):
    with pytest.raises(InvalidArgument, match="mod_revision"):
        store.put_if_unchanged("a", b"", revision=revision)
    assert not backend.calls


def test_a_key_is_written_once(store, backend):
    with pytest.raises(InvalidArgument, match="each key once, 'a'"):
        store.transaction().put("a", b"").delete("a").commit()
    assert not backend.calls
    store.transaction().if_absent("a").if_absent("a").put("a", b"").commit()


@pytest.mark.parametrize("lease", [7, b"L1", object()], ids=lambda lease: type(lease).__name__)
def test_a_lease_that_is_none(store, backend, lease):
    with pytest.raises(InvalidArgument, match=r"what store\.lease\(\) returned"):
        store.put("a", b"", lease=lease)
    assert not backend.calls


@pytest.mark.parametrize("ttl", [0, -1, float("inf"), float("nan"), "5", None], ids=repr)
def test_a_ttl_that_is_none(store, backend, ttl):
    with pytest.raises(InvalidArgument, match="positive, finite"):
        store.lease(ttl)
    assert not backend.calls


def test_a_ttl_within_the_bounds_of_the_store(open_store):
    backend = ScriptedBackend(min_ttl=2.0, ttl_granularity=0.5, max_ttl=100.0)
    store = open_store(backend)
    with pytest.raises(LimitExceeded, match="at most 100 s"):
        store.lease(100.1)
    assert not backend.calls
    leases = [store.lease(ttl) for ttl in (1, 2, 2.1, 99.9, 100)]
    assert [call.arguments["ttl"] for call in backend.called("grant")] == [2.0, 2.0, 2.5, 100.0, 100.0]
    assert [(lease.requested_ttl, lease.ttl, lease.max_lifetime_after_refresh) for lease in leases][:1] == [
        (1.0, 2.0, 2.5)
    ]


@pytest.mark.parametrize("limit", [0, -1, 1.5, "1"])
def test_limits_that_are_none(store, backend, limit):
    with pytest.raises(InvalidArgument, match="at least 1"):
        store.list("", limit=limit)
    with pytest.raises(InvalidArgument, match="at least 1"):
        store.scan("", page_size=limit)
    assert not backend.calls


def test_namespaces_that_are_neighbours_share_no_prefix():
    names = ["a", "a0", "a/", "a/b", "A", "a%2F", "ä", " ", ".", "..", "a" * 40]
    prefixes = [namespace_prefix(name) for name in names]
    assert not [(x, y) for x in prefixes for y in prefixes if x is not y and x.startswith(y)]
    assert namespace_prefix("") == ""
    assert namespace_prefix("orders") == "orders/"


@pytest.mark.parametrize("name", ["a\0", "\ud800", "x" * 255, "ä" * 50], ids=ascii)
def test_a_namespace_that_is_none(name):
    with pytest.raises(ConfigError, match="namespace"):
        namespace_prefix(name)


def test_what_is_open_says_where_it_belongs_when_it_is_pickled():
    with tenure.connect("memory://pickled") as store, store.lease(5) as lease, store.watch("") as watch:
        for opened in (store, lease, watch, Registry(store), Lock(store, "lock")):
            for attempt in (pickle.dumps, copy.deepcopy):
                with pytest.raises(TypeError, match="pass the store's URL, and open it there"):
                    attempt(opened)


async def _async_callback(*_arguments: object) -> None:
    raise AssertionError("nothing awaits it")


CALLBACKS = {
    "callback": lambda store, function: store.watch("", callback=function),
    "on_error": lambda store, function: store.watch("", callback=print, on_error=function),
    "on_outage": lambda store, function: store.watch("", callback=print, on_outage=function),
    "on_lost": lambda store, function: store.lease(10, on_lost=function),
    "of what is held": lambda store, function: Lock(store, "l").try_acquire().on_lost(function),
    "of a value": lambda store, function: tenure.CachedValue(store, "k", codec=TEXT, default="").on_change(function),
    "of a prefix": lambda store, function: tenure.CachedPrefix(store, "p/", codec=TEXT).on_change(function),
    "on_release": lambda store, function: tenure.Partitioner(store, "p", partitions=1, on_release=function),
    "handler": lambda store, function: Registry(store).add_handler(function),
    "status handler": lambda store, function: Registry(store).add_status_handler(function),
}


@pytest.mark.parametrize("function", ["text", 7, _async_callback], ids=["text", "number", "async"])
@pytest.mark.parametrize("call", CALLBACKS)
def test_a_callback_that_nothing_could_call_is_refused(call, function):
    """At once: on the thread for callbacks, its error would be one line in a log, and each event would be lost."""
    with (
        tenure.connect("memory://") as store,
        pytest.raises(InvalidArgument, match="async function" if callable(function) else "a callback is a function"),
    ):
        CALLBACKS[call](store, function)


TOO_LONG = 10**5000
SHOWN = {
    "get": lambda store: store.get(TOO_LONG),
    "list": lambda store: store.list(TOO_LONG),
    "limit": lambda store: store.list("", limit=-TOO_LONG),
    "timeout": lambda store: store.get("a", timeout=TOO_LONG),
    "wait": lambda store: Lock(store, "l").acquire(timeout=TOO_LONG),
    "ttl": lambda store: store.lease(TOO_LONG),
    "margin": lambda store: store.lease(10, margin=TOO_LONG),
    "lease": lambda store: store.put("a", b"", lease=TOO_LONG),
    "name": lambda store: Lock(store, TOO_LONG),
    "owner": lambda store: Lock(store, "l", owner=TOO_LONG),
    "max_pending": lambda store: store.watch("", max_pending=-TOO_LONG),
    "revision": lambda store: store.put_if_unchanged("a", b"", revision=-TOO_LONG),
}


@pytest.mark.parametrize("call", SHOWN)
def test_a_number_that_python_does_not_write_is_told_all_the_same(store, call):
    with pytest.raises((InvalidArgument, InvalidKey, LimitExceeded), match="a number of 16610 bits"):
        SHOWN[call](store)


WRONG_TYPES = {
    "guard": lambda store: Lock(store, "l").try_acquire().guard(None),
    "gate": lambda store: tenure.Gate(store, "g").guard(None, Lock(store, "l").try_acquire().fence()),
    "partition": lambda store: tenure.Partitioner(store, "p", partitions=1).guard(None, 0),
    "ack": lambda store: (queue := tenure.WorkQueue(store, "q")).put(b"") and queue.claim().ack("no transaction"),
    "dead letter": lambda store: tenure.WorkQueue(store, "q").retry_dead("its id"),
    "no dead letter": lambda store: tenure.WorkQueue(store, "q").drop_dead(None),
    "set": lambda store: tenure.CachedPrefix(store, "p/", codec=TEXT).set(b"key", b""),
    "delete": lambda store: tenure.CachedPrefix(store, "p/", codec=TEXT).delete(b"key"),
}


@pytest.mark.parametrize("call", WRONG_TYPES)
def test_a_recipe_names_what_it_was_given_wrongly(call):
    with tenure.connect("memory://") as store, pytest.raises((InvalidArgument, InvalidKey), match=r"; give|; decode"):
        WRONG_TYPES[call](store)
