"""What people should know of etcd as a store, and what shows that it is so."""

from __future__ import annotations

from tenure.spi.plugin import Caveat

_FAULTS = "tests/backends/etcd/test_faults.py"
_HISTORY = "tests/backends/etcd/test_history.py"
_LEASES = "tests/backends/etcd/test_leases.py"
_MESSAGES = "tests/backends/etcd/test_messages.py"
_THROUGH = "tests/backends/etcd/test_store_through_faults.py"

CAVEATS = (
    Caveat(
        "Name all members in the URL",
        "A client uses one of them, chosen at random, and another one if that fails. The death of the leader costs "
        "about as long as an election. With TLS each member's certificate has to name its host of the URL, or all "
        "have to have the name that `server_name` gives. A learner may be among them.",
        (
            f"{_FAULTS}::test_work_goes_on_without_the_leader",
            "tests/backends/etcd/test_members.py::test_each_member_is_verified_by_its_own_name",
            "tests/backends/etcd/test_members.py::test_a_learner_among_the_hosts_costs_no_call",
            "tests/backends/etcd/test_open.py::test_one_of_several_endpoints_is_enough",
        ),
    ),
    Caveat(
        "Whole seconds, and two at least",
        "Its shortest lease is 2 s, and ttls are whole seconds.",
        (f"{_LEASES}::test_a_ttl_is_never_shorter_than_asked", "leases.have_a_truthful_ttl"),
    ),
    Caveat(
        "A new leader gives leases their full TTL again",
        "So does a restart: keys may outlive their holder for longer than their TTL, never shorter.",
        (f"{_LEASES}::test_a_restart_gives_the_full_ttl_again",),
    ),
    Caveat(
        "The URL names changed limits",
        "A server can't be asked for its limits: where `--max-request-bytes` or `--max-txn-ops` were changed, "
        "say so by `max_request_bytes` and `max_txn_ops`.",
        (f"{_FAULTS}::test_the_largest_value_and_transaction_fit_and_more_is_refused",),
    ),
    Caveat(
        "History ends where an operator compacted it",
        "A watch that falls behind that gets a RESYNC batch, not an error.",
        (f"{_THROUGH}::test_compaction_under_a_lagging_watcher_is_a_resync_with_its_deletes",),
    ),
    Caveat(
        "Restore a backup with another token",
        "A restored backup uses revisions again. If it gets an `--initial-cluster-token` that was never used, every "
        "client notices it. Watches deliver the difference as a RESYNC batch. A write on a revision that was read "
        "before raises `Conflict`.",
        (
            f"{_HISTORY}::test_a_cluster_that_was_restored_with_another_token_is_another_one",
            f"{_HISTORY}::test_each_watch_of_a_store_is_told",
            f"{_HISTORY}::test_an_old_revision_changes_nothing",
        ),
    ),
    Caveat(
        "Lost data under the same token",
        "Clients notice also a backup that was restored with the old token, and a data directory that was emptied. "
        "They compare the raft term, the revision, the number of raft entries beyond the revisions, and the last "
        "change that they saw. A watch does not notice a replaced history if three things are true when it reconnects."
        " The first three of these are at least as high as before. The last change of its prefix is compacted, or "
        "there again at the same revision with the same value and lease. No other change of the prefix is among the "
        "1,000 revisions before its position. A write on a revision does not notice it if the same is true of the last"
        " key that the process read or wrote. `watch(after=...)` with a revision that the application kept is refused "
        "in two cases only. The connection is the first one to notice, or the store has not reached the revision. "
        "Where this user may not ask for etcd's status, raft entries are not compared.",
        (
            f"{_HISTORY}::test_a_history_that_repeats_all_that_was_seen_is_not_noticed",
            f"{_HISTORY}::test_a_change_at_a_revision_that_was_quiet_is_another_history",
            f"{_HISTORY}::test_after_a_lost_revision",
        ),
    ),
    Caveat(
        "A large prefix is deleted in parts",
        "`delete_prefix` deletes 10,000 keys at once, since nothing else is written meanwhile.",
        ("tests/backends/etcd/test_several_keys.py::test_a_large_prefix_is_deleted_in_parts",),
    ),
    Caveat(
        "Keys that aren't text aren't seen",
        "Keys of other programs that aren't UTF-8 are left out of lists and watches.",
        ("tests/backends/etcd/test_watch.py::test_keys_that_are_not_text_are_left_out",),
    ),
    Caveat(
        "A leased key that others write is free",
        "One that another program writes without the lease is no longer bound to it. That is so on every "
        "store; on a shared etcd it happens.",
        ("leases.leave_what_is_not_theirs",),
    ),
    Caveat(
        "A full disk or quota",
        "At its quota etcd refuses puts by `StoreFull` and lets deletes through. The put that reaches the quota may "
        "have been applied, and is `OutcomeUnknown` then. This lasts until you compact the database and run `etcdctl "
        "alarm disarm`. On a full disk its process ends: what was under way is `OutcomeUnknown`, then it is "
        "`Unavailable` until an operator makes room and starts it.",
        ("tests/cross_store/test_no_room.py::test_a_server_without_room", f"{_FAULTS}::test_a_full_database_is_told"),
    ),
    Caveat(
        "Any protobuf",
        "It works beside any `protobuf` from 4.22 to 7, although the client library `etcd3` 0.12.0 alone doesn't "
        "import with those.",
        (f"{_MESSAGES}::test_every_field_is_what_etcd3_ships", f"{_MESSAGES}::test_in_a_process_of_its_own"),
    ),
    Caveat(
        "The client underneath",
        "`store.native` is the `etcd3` client of the member in use, logged in, for what this interface lacks. It knows "
        "that member alone: ask for it again after an error.",
        ("tests/backends/etcd/test_auth.py::test_the_native_client_is_logged_in",),
    ),
)
