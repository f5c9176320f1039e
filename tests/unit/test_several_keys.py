"""Reading several keys at one revision, and deleting a prefix: by one request, or without the store's help."""

from __future__ import annotations

import pytest

from tenure.errors import (
    Conflict,
    DeadlineExceeded,
    HistoryReplaced,
    InvalidArgument,
    InvalidKey,
    LimitExceeded,
    OutcomeUnknown,
    PartiallyApplied,
)
from tenure.spi import CommitResult, KeyAbsent, MultiReadResult, Page, PrefixDeletion, ReadResult, RevisionEquals

from .doubles import ScriptedBackend, item


def test_one_request_where_the_store_can(open_store):
    backend = ScriptedBackend(multi_get=True)
    store = open_store(backend, prefix="ns/")
    backend.script("get_many", MultiReadResult((item("ns/b", 2), None), 7))
    assert store.get_many(["b", "a"]) == MultiReadResult((item("b", 2), None), 7)
    assert backend.called("get_many")[0].arguments["keys"] == ("ns/b", "ns/a")


def test_elsewhere_a_transaction_proves_what_was_read(store, backend):
    backend.always("get", lambda key, timeout: ReadResult(item("a", 2) if key == "a" else None, 5))
    backend.script("commit", Conflict("changed", keys=["a"]), HistoryReplaced("another one"), CommitResult(9))
    assert store.get_many(("a", "b")) == MultiReadResult((item("a", 2), None), 9)
    assert backend.count("get") == 6
    proof = backend.called("commit")[0].arguments["transaction"]
    assert (proof.preconditions, proof.operations) == ((RevisionEquals("a", 2), KeyAbsent("b")), ())


def test_keys_that_never_rest_end_it_at_the_deadline(store, backend):
    backend.always("commit", Conflict("changed", keys=["a"]))
    with pytest.raises(DeadlineExceeded, match="others kept changing"):
        store.get_many(["a"], timeout=0.05)


@pytest.mark.parametrize(
    ("keys", "error"),
    [
        ([], InvalidArgument),
        (["a", "a"], InvalidArgument),
        (["a", ""], InvalidKey),
        ([f"{n}" for n in range(11)], LimitExceeded),
    ],
)
def test_keys_are_checked_before_anything_is_read(store, backend, keys, error):
    with pytest.raises(error):
        store.get_many(keys)
    assert not backend.calls


def test_a_list_of_keys_has_no_values_whatever_the_plugin_returns(store, backend):
    backend.script("list", Page((item("a", 1, b"value"), item("b", 2)), False, 3))
    assert [(entry.key, entry.value, entry.mod_revision) for entry in store.list(keys_only=True)] == [
        ("a", b"", 1),
        ("b", b"", 2),
    ]
    assert backend.called("list")[0].arguments["keys_only"]


def test_the_store_deletes_a_prefix_as_long_as_there_is_more(open_store):
    backend = ScriptedBackend(prefix_delete=True)
    store = open_store(backend, prefix="ns/")
    backend.script(
        "delete_prefix",
        PrefixDeletion(deleted=3, revision=5, has_more=True),
        PrefixDeletion(deleted=2, revision=6),
    )
    assert store.delete_prefix("a") == CommitResult(6, 5)
    assert [call.arguments["prefix"] for call in backend.called("delete_prefix")] == ["ns/a", "ns/a"]
    assert not backend.count("list")


def test_an_error_between_two_of_them_counts_what_is_gone(open_store):
    backend = ScriptedBackend(prefix_delete=True)
    store = open_store(backend)
    backend.script(
        "delete_prefix", PrefixDeletion(deleted=3, revision=5, has_more=True), OutcomeUnknown("no answer came")
    )
    with pytest.raises(PartiallyApplied) as caught:
        store.delete_prefix("a")
    assert caught.value.deleted == 3
    assert isinstance(caught.value.__cause__, OutcomeUnknown)
    backend.script("delete_prefix", OutcomeUnknown("no answer came"))
    with pytest.raises(OutcomeUnknown):
        store.delete_prefix("a")
    assert backend.count("delete_prefix") == 3
