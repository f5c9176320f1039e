"""What the store makes of a plugin's answers: what is tried again, what never, and when a call is over."""

from __future__ import annotations

import threading
import time

import pytest

from tenure.errors import (
    Compacted,
    Conflict,
    DeadlineExceeded,
    InvalidArgument,
    LeaseNotFound,
    OutcomeUnknown,
    PartiallyApplied,
    PermissionDenied,
    PluginError,
    RetryAdvice,
    StoreClosed,
    StoreFull,
    Unavailable,
    Unsupported,
)
from tenure.spi import CommitResult, LeaseInfo, Page, Put, ReadResult, RevisionEquals, ServerInfo

from .doubles import ScriptedBackend, item

READS = {
    "get": lambda store, **t: store.get("a", **t),
    "list": lambda store, **t: store.list("a", **t),
    "scan": lambda store, **t: list(store.scan("a", **t)),
    "grant": lambda store, **t: store.lease(5, **t),
    "leases": lambda store, **t: store.leases(**t),
    "revoke": lambda store, **t: store.revoke_lease("L1", **t),
    "server_info": lambda store, **t: store.server_info(**t),
}
METHOD = {"scan": "list"}
WRITES = {
    "put": lambda store, **t: store.put("a", b"", **t),
    "put_if_absent": lambda store, **t: store.put_if_absent("a", b"", **t),
    "replace": lambda store, **t: store.put_if_unchanged("a", b"", revision=1, **t),
    "delete": lambda store, **t: store.delete("a", **t),
    "transaction": lambda store, **t: store.transaction().if_exists("b").put("a", b"").commit(**t),
}


@pytest.mark.parametrize("name", READS)
def test_a_read_is_tried_again(store, backend, name):
    method = METHOD.get(name, name)
    backend.script(method, Unavailable("1"), DeadlineExceeded("2"), OutcomeUnknown("3"))
    READS[name](store)
    assert backend.count(method) == 4


@pytest.mark.parametrize("name", WRITES)
def test_a_write_that_was_surely_not_applied_is_tried_again_and_applied_once(store, backend, name):
    backend.script("commit", Unavailable("1"), DeadlineExceeded("2"), CommitResult(7))
    assert WRITES[name](store).revision == 7
    assert backend.count("commit") == 3


@pytest.mark.parametrize("name", WRITES)
def test_a_write_of_unknown_outcome_is_never_repeated(store, backend, name):
    backend.script("commit", Unavailable("surely not"), OutcomeUnknown("who knows"))
    with pytest.raises(OutcomeUnknown, match="who knows"):
        WRITES[name](store)
    assert backend.count("commit") == 2


@pytest.mark.parametrize("error", [Conflict("no", revision=3), StoreFull("full"), LeaseNotFound("gone")])
@pytest.mark.parametrize("name", WRITES)
def test_a_refusal_is_final(store, backend, name, error):
    backend.script("commit", error)
    with pytest.raises(type(error)) as caught:
        WRITES[name](store)
    assert caught.value is error
    assert backend.count("commit") == 1


@pytest.mark.parametrize("name", READS)
def test_a_read_ends_by_its_deadline_with_the_last_error(store, backend, name):
    method = METHOD.get(name, name)
    backend.always(method, Unavailable("down"))
    before = time.monotonic()
    with pytest.raises(Unavailable, match="down"):
        READS[name](store, timeout=0.3)
    assert time.monotonic() - before < 1
    assert 3 <= backend.count(method) <= 12


@pytest.mark.parametrize("name", [*READS, *WRITES])
def test_a_call_to_a_store_that_hangs_ends_by_its_deadline(store, backend, name):
    never = threading.Event()

    def hang(timeout, **arguments):
        never.wait(timeout)
        raise DeadlineExceeded("no answer")

    method = "commit" if name in WRITES else METHOD.get(name, name)
    backend.always(method, hang)
    before = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        {**READS, **WRITES}[name](store, timeout=0.3)
    assert time.monotonic() - before < 1
    assert all(0 < call.timeout <= 0.3 for call in backend.called(method))


def test_the_first_try_of_a_read_leaves_time_for_another_and_a_write_gets_all(open_store, backend):
    store = open_store(backend, timeout=9.0)
    store.get("a")
    store.put("a", b"")
    assert [call.timeout for call in backend.calls] == [2.0, 9.0]


@pytest.mark.parametrize("name", READS)
def test_a_plugins_bug_in_a_read_is_its_own(store, backend, name):
    bug = ValueError("oops")
    backend.script(METHOD.get(name, name), bug)
    with pytest.raises(PluginError, match="untranslated ValueError") as caught:
        READS[name](store)
    assert caught.value.__cause__ is bug


@pytest.mark.parametrize("name", WRITES)
def test_after_a_plugins_bug_in_a_write_nobody_knows_whether_it_was_applied(store, backend, name):
    backend.script("commit", ValueError("oops"))
    with pytest.raises(OutcomeUnknown, match="untranslated ValueError"):
        WRITES[name](store)
    assert backend.count("commit") == 1


@pytest.mark.parametrize("name", [*READS, *WRITES])
def test_a_closed_store_says_so(store, backend, name):
    store.close()
    store.close()
    with pytest.raises(StoreClosed, match="double:// is closed"):
        {**READS, **WRITES}[name](store)
    assert not [call for call in backend.calls if call.method != "revoke"]
    assert repr(store) == "<Store double:// (closed)>"
    assert backend.closed


def test_a_plugin_that_fails_to_close_is_logged(store, backend, caplog):
    backend.close = lambda: 1 / 0
    store.close()
    assert "failed to close double://" in caplog.text


# -- lists -------------------------------------------------------------------------------------------------


def test_pages_stay_at_the_revision_of_the_first(store, backend):
    backend.script("list", Page((item("a", 1), item("b", 2)), True, 9), Page((item("c", 3),), False, 9))
    listing = store.list("")
    assert (listing.keys, listing.revision, listing.has_more, len(listing), listing[2]) == (
        ("a", "b", "c"),
        9,
        False,
        3,
        item("c", 3),
    )
    assert [(c.arguments["after"], c.arguments["revision"]) for c in backend.calls] == [(None, None), ("b", 9)]


def test_pages_where_they_cannot_be_pinned(open_store):
    backend = ScriptedBackend(consistent_pagination=False)
    backend.script("list", Page((item("a", 1),), True, 9), Page((item("c", 3),), False, 10))
    assert open_store(backend).list("").revision == 10
    assert backend.calls[1].arguments["revision"] is None


def test_a_history_compacted_in_the_middle_of_a_list_starts_it_again(store, backend):
    backend.script("list", Page((item("a", 1),), True, 9), Compacted("gone"), Page((item("b", 10),), False, 11))
    assert store.list("").keys == ("b",)


def test_a_scan_says_that_the_history_is_gone(store, backend):
    backend.script("list", Page((item("a", 1),), True, 9), Compacted("gone"))
    scan = store.scan("", page_size=1)
    assert next(scan).key == "a"
    with pytest.raises(Compacted):
        next(scan)


def test_a_limit_and_whether_there_is_more(store, backend):
    backend.script("list", Page((item("a", 1), item("b", 2)), True, 9), Page((item("c", 3),), True, 9))
    listing = store.list("", limit=3)
    assert (listing.keys, listing.has_more) == (("a", "b", "c"), True)
    assert [call.arguments["limit"] for call in backend.calls] == [3, 1]


def test_a_list_without_end_ends_by_its_deadline(store, backend):
    def page(timeout, after, **arguments):
        return Page((item(f"{after or ''}a"[-900:], 1),), True, 9)

    backend.always("list", page)
    with pytest.raises(DeadlineExceeded, match="keys had been read"):
        store.list("", timeout=0.1)


# -- delete_prefix -----------------------------------------------------------------------------------------


def test_delete_prefix_goes_in_transactions_that_the_store_takes(store, backend):
    keys = [item(f"k{number:02}", 1) for number in range(25)]
    backend.script("list", Page(tuple(keys), False, 9))
    backend.always("commit", lambda timeout, transaction: CommitResult(9, len(transaction.operations)))
    assert store.delete_prefix("k").deleted == 25
    assert [len(call.arguments["transaction"].operations) for call in backend.called("commit")] == [10, 10, 5]


def test_delete_prefix_of_everything_has_to_be_meant(store, backend):
    with pytest.raises(InvalidArgument, match="allow_empty_prefix=True"):
        store.delete_prefix("")
    assert not backend.calls
    assert store.delete_prefix("", allow_empty_prefix=True).deleted == 0


def test_delete_prefix_sends_nothing_after_its_deadline(store, backend):
    backend.script("list", Page(tuple(item(f"k{number}", 1) for number in range(30)), False, 9))

    def slow(timeout, transaction):
        time.sleep(timeout + 0.01)
        return CommitResult(9, len(transaction.operations))

    backend.always("commit", slow)
    with pytest.raises(PartiallyApplied, match="10 of 30 were deleted") as caught:
        store.delete_prefix("k", timeout=1.0)
    assert (caught.value.deleted, caught.value.retry) == (10, RetryAdvice.SAFE)
    assert isinstance(caught.value.__cause__, DeadlineExceeded)
    assert backend.count("commit") == 1


@pytest.mark.parametrize("error", [OutcomeUnknown("no answer"), PermissionDenied("not these")])
def test_delete_prefix_that_stops_half_way_says_how_far_it_came(store, backend, error):
    backend.script("list", Page(tuple(item(f"k{number:02}", 1) for number in range(25)), False, 9))
    backend.script("commit", CommitResult(10, 10), error)
    with pytest.raises(PartiallyApplied) as caught:
        store.delete_prefix("k")
    assert (caught.value.deleted, caught.value.__cause__) == (10, error)


def test_delete_prefix_that_deleted_nothing_raises_what_stopped_it(store, backend):
    backend.script("list", Page((item("k", 1),), False, 9))
    backend.script("commit", OutcomeUnknown("no answer"))
    with pytest.raises(OutcomeUnknown):
        store.delete_prefix("k")


def test_a_transaction_that_was_never_committed_is_reported(store):
    builder = store.transaction().put("a", b"1")
    with pytest.warns(ResourceWarning, match="its 1 operations were never committed"):
        del builder
    store.transaction()  # nothing in it, nothing to report


# -- leases by id, and the rest ----------------------------------------------------------------------------


def test_revoking_by_id(store, backend):
    store.revoke_lease("L1")
    backend.script("revoke", frozenset())
    with pytest.raises(LeaseNotFound, match="'L2'"):
        store.revoke_lease("L2")
    backend.script("revoke", OutcomeUnknown("the answer got lost"), frozenset())
    store.revoke_lease("L3")
    lease = store.lease(5)
    store.revoke_lease(lease)
    assert not lease.alive


@pytest.mark.parametrize("call", ["revoke_lease", "describe_lease"])
@pytest.mark.parametrize("nobody", [None, "", 7])
def test_no_lease_is_not_some_lease(store, backend, call, nobody):
    with pytest.raises(InvalidArgument, match="lease"):
        getattr(store, call)(nobody)
    assert not backend.calls


def test_describing_leases_shows_the_keys_of_the_namespace(open_store, backend):
    store = open_store(backend, prefix="ns/")
    backend.always("leases", (LeaseInfo("L1", 5.0, 4.0, ("ns/a", "other/b")),))
    assert store.leases() == (LeaseInfo("L1", 5.0, 4.0, ("a",)),)
    assert store.describe_lease("L1").keys == ("a",)
    backend.always("leases", ())
    with pytest.raises(LeaseNotFound):
        store.describe_lease("L1")


def test_keys_get_their_namespace_and_lose_it(open_store, backend):
    store = open_store(backend, prefix="ns/")
    backend.script("get", ReadResult(item("ns/a", 3, b"v"), 9))
    assert store.get("a") == item("a", 3, b"v")
    store.put_if_unchanged("a", b"w", revision=3)
    store.transaction().if_absent("b").if_exists("c").put("d", b"").delete("e").commit()
    first, second = (call.arguments["transaction"] for call in backend.called("commit"))
    assert (first.preconditions, first.operations) == ((RevisionEquals("ns/a", 3),), (Put("ns/a", b"w"),))
    assert [each.key for each in (*second.preconditions, *second.operations)] == ["ns/b", "ns/c", "ns/d", "ns/e"]


def test_what_a_store_tells_of_itself(store, backend):
    assert store.server_info() == ServerInfo("double", "1", 1)
    assert (store.url, store.timeout, store.closed) == ("double://", 1.0, False)
    assert store.capabilities is backend.capabilities
    with pytest.raises(Unsupported):
        _ = store.native


@pytest.mark.parametrize("timeout", [0, -1, float("inf"), float("nan"), "5", None])
def test_a_timeout_is_a_positive_finite_number(open_store, backend, timeout):
    store = open_store(backend)
    if timeout is None:
        store.get("a", timeout=None)
        return
    with pytest.raises(InvalidArgument, match="positive, finite"):
        store.get("a", timeout=timeout)
    with pytest.raises(InvalidArgument, match="positive, finite"):
        open_store(backend, timeout=timeout)
    assert not backend.calls


def test_requirements_of_the_wrong_kind():
    import tenure

    with pytest.raises(tenure.ConfigError, match=r"require=\['durable'\]"):
        tenure.connect("memory://", require="durable")
