"""What people should know of Consul as a store, and what shows that it is so."""

from __future__ import annotations

from tenure.spi.plugin import Caveat

_BULK = "tests/backends/consul/test_bulk.py"
_HISTORY = "tests/backends/consul/test_history.py"
_LEASES = "tests/backends/consul/test_leases.py"
_OPEN = "tests/backends/consul/test_open.py"
_TRANSACTIONS = "tests/backends/consul/test_transactions.py"
_WATCH = "tests/backends/consul/test_watch.py"

CAVEATS = (
    Caveat(
        "A lease left alone ends after twice its TTL",
        "Consul doubles it. The holder gives up after one TTL all the same, so there are moments in which no client "
        "holds what the store still shows. The shortest TTL is 10 s unless the agent allows less.",
        ("leases.left_alone_end_in_time", f"{_OPEN}::test_default_limits_are_told"),
    ),
    Caveat(
        "A change costs its whole prefix",
        "Every change below a watched prefix transfers the whole prefix, to each client: keep watched "
        "prefixes below some thousand keys.",
        (f"{_WATCH}::test_ten_thousand_keys", f"{_WATCH}::test_feeds_of_a_prefix_share_one_thread"),
    ),
    Caveat(
        "Quick changes arrive as one",
        "That is `lossless_watch=False`; and after a reconnect there is a RESYNC batch.",
        (
            "watches.watchers_converge",
            "watches.after_a_revision_work_or_are_refused",
            f"{_WATCH}::test_kill_and_restart_under_a_writer",
        ),
    ),
    Caveat(
        "Lost or restored data",
        "Indexes start again in servers that lost their data. The store refuses a revision of the lost data once it "
        "has a new connection, and watches show the difference. It can't refuse a revision that it has not read. "
        "Behind a client agent whose connections outlast the servers' data, it accepts an old revision until a read "
        "or a watch has shown the loss. A backup restored into running servers repeats no index.",
        (
            f"{_HISTORY}::test_a_revision_of_lost_data_is_refused",
            f"{_HISTORY}::test_a_revision_that_was_not_read_here_is_a_number",
            f"{_HISTORY}::test_all_watches_are_told_the_truth",
            f"{_HISTORY}::test_a_feed_whose_agent_stays",
            f"{_HISTORY}::test_an_agent_that_stays_hides_that_a_revision_is_of_lost_data",
            f"{_HISTORY}::test_a_backup_restored_into_running_servers_repeats_no_revision",
        ),
    ),
    Caveat(
        "A deleted prefix may be delivered late",
        "A watch below a prefix that `delete_prefix` deletes, with more than 31 keys, gets the deletes up to `wait` "
        "seconds later. This happens if another key below the watched prefix was deleted in the 15 minutes before. "
        "Deleting that many keys also sends their values once.",
        (
            f"{_BULK}::test_a_deleted_tree_may_be_told_late_below",
            f"{_BULK}::test_a_prefix_is_deleted_by_one_transaction",
        ),
    ),
    Caveat(
        "Lists and ACLs",
        "Consul leaves out of a list what the token may not read. The store raises `PermissionDenied` instead if the "
        "token may not read the prefix. Before Consul 1.11 it can't see that a rule hides keys further below, and with "
        "ACLs a list takes one more request.",
        (
            f"{_BULK}::test_a_right_that_was_taken_away_is_no_delete",
            f"{_BULK}::test_rights_on_a_part_are_no_rights_on_the_whole",
            f"{_BULK}::test_a_reader_is_not_told_of_a_rule_further_below",
        ),
    ),
    Caveat(
        "Locks in Consul are advisory",
        "Keys are below `leasehold/kv/` of Consul's own key space, and another program that writes there "
        "without Tenure isn't held back by anything.",
        (
            f"{_TRANSACTIONS}::test_others_that_change_what_was_planned_for_make_no_conflict",
            "tests/backends/consul/test_keys.py::test_ordinary_keys_stay_as_they_are",
        ),
    ),
    Caveat(
        "Half as many operations",
        "A transaction has 64 operations of Consul's, which is about half as many of ours.",
        (
            f"{_TRANSACTIONS}::test_the_plan_is_never_larger_than_consul_takes",
            f"{_TRANSACTIONS}::test_the_largest_transactions_that_are_declared",
        ),
    ),
    Caveat(
        "Sessions outlive the agent",
        "A restart ends no lease; one that an operator destroys is lost, and its holder learns of it.",
        (f"{_LEASES}::test_a_restart_keeps_sessions", f"{_LEASES}::test_a_session_destroyed_by_somebody_is_noticed"),
    ),
    Caveat(
        "A full disk under the leader",
        "The write that meets it is `StoreFull`. Consul then looks for another leader. If none can write, writes are "
        "`Unavailable` or `OutcomeUnknown`. Until there is room, Consul answers reads with `consistency=stale` alone.",
        (
            "tests/cross_store/test_no_room.py::test_a_server_without_room",
            "tests/backends/consul/test_errors.py::test_a_refused_write",
        ),
    ),
)
