"""What people should know of PostgreSQL as a store, and what shows that it is so."""

from __future__ import annotations

from tenure.spi import Caveat

_DATA = "tests/test_data.py"
_FAILOVER = "tests/test_failover.py"
_FAULTS = "tests/test_faults.py"
_OLD = "tests/test_written_before_the_rename.py"
_OPEN = "tests/test_open.py"
_PROCESSES = "tests/test_processes.py"
_WATCH = "tests/test_watch.py"

CAVEATS = (
    Caveat(
        "Writes to one store take turns",
        "A writer locks the one row that has the revision. So revisions are committed in their order, and no reader "
        "sees one before those below it. The price is one flush of the disk after another. Stores in different schemas"
        " don't wait for each other.",
        ("watches.watchers_converge", f"{_PROCESSES}::test_processes_take_turns_and_watchers_see_each"),
    ),
    Caveat(
        "It is as durable as the server",
        "`durable` is declared if `fsync`, `full_page_writes` and `synchronous_commit` are on, asked when it is "
        "opened. With several hosts it takes synchronous standbys, too, and `linearizable` is not declared: a server "
        "that was replaced may answer until it knows. If a standby that lagged took over, watches receive a RESYNC "
        "batch.",
        (
            "restarts.lose_no_acknowledged_write",
            f"{_OPEN}::test_what_the_server_is_set_to_is_declared",
            f"{_FAILOVER}::test_a_watch_over_such_a_loss_ends_with_the_truth",
        ),
    ),
    Caveat(
        "Revisions follow the server's clock",
        "A revision is the time in microseconds since 1970, and in any case larger than the last one. So a restored "
        "backup, or a standby that lagged and took over, uses no revision of the lost history again. That assumes "
        "that clocks of servers that replace each other agree, and that no clock is set back before a restore.",
        (
            "restarts.repeat_no_revision",
            f"{_WATCH}::test_revisions_follow_the_clock_and_only_grow",
            f"{_WATCH}::test_revisions_of_a_lost_history_are_refused",
            f"{_WATCH}::test_watches_over_a_lost_history_end_with_the_truth",
            f"{_FAILOVER}::test_a_replica_that_lagged_is_another_history",
        ),
    ),
    Caveat(
        "A store of an earlier version",
        "The first client that opens it adds a column and replaces the functions, which takes the rights of their "
        "owner. Programs of the earlier version may run beside new ones, and revisions grow all the same.",
        (
            f"{_OLD}::test_an_old_process_and_a_new_one_write_side_by_side",
            f"{_OLD}::test_the_owner_brings_an_old_store_up_to_date",
        ),
    ),
    Caveat(
        "NOTIFY is a hint",
        "Watches read every revision from a change log; should a notification be lost, they read it `poll` seconds "
        "later all the same. Who falls behind `history`, or behind 256 MiB of values, gets a RESYNC batch.",
        (
            f"{_WATCH}::test_a_lost_notification_only_costs_time",
            f"{_WATCH}::test_the_log_is_bounded_by_bytes",
            f"{_WATCH}::test_a_store_above_such_a_watcher_resyncs",
        ),
    ),
    Caveat(
        "Leases live by the clock on the server's wall",
        "That is `clock_timestamp()`: if an operator sets it forward, leases end early by as much; backward, late. An "
        "ended lease takes its keys with it when any client reads, writes or watches, and while the client that "
        "granted it is there.",
        (
            "leases.left_alone_end_in_time",
            f"{_WATCH}::test_a_lease_ends_though_nobody_reads",
            f"{_WATCH}::test_leases_of_a_killed_process_end_before_a_watcher",
        ),
    ),
    Caveat(
        "A write that waits is refused",
        "Deadlines are the client's own, also on a server that is frozen. The server refuses a write that waits for "
        "others shortly before its time is up. So it is known not to be applied. It is done when the server has said "
        "that it is committed, not when it has sent the result.",
        (
            f"{_FAULTS}::test_a_write_that_waits_for_others_is_refused_in_time",
            f"{_FAULTS}::test_a_write_is_done_when_it_is_committed_and_not_before",
        ),
    ),
    Caveat(
        "A server that came back without its data",
        "Another cluster behind the same address is known by its system identifier. The tables are made again, watches"
        " get a RESYNC batch, leases are lost, and registered instances come back. After a drop of the schema in the "
        "same cluster, calls raise `StoreCorrupted` instead, until the store is opened again. An operator did that, "
        "and may not want it used again.",
        (
            "faults.a_store_that_forgot_gets_its_instances_back",
            f"{_FAULTS}::test_a_server_that_comes_back_empty_is_used_again",
            f"{_OPEN}::test_a_store_whose_tables_are_dropped_is_told_and_can_be_made_anew",
        ),
    ),
    Caveat(
        "Tables that an operator empties",
        "After a `TRUNCATE` of Tenure's tables watches get a RESYNC batch with what is missing, leases are lost, and "
        "the store can be used again. Rows that another program removes by `DELETE` are gone for reads and for new "
        "watches; watches that run don't show it. Use `tenure kv delete` instead.",
        (f"{_WATCH}::test_tables_that_an_operator_empties_are_told",),
    ),
    Caveat(
        "A full disk",
        "The write that meets it is `StoreFull`; reads are answered. A server that finds no room for its own log ends."
        " Everything is then `Unavailable` until there is room and it is started. Nothing acknowledged is lost.",
        (
            "faults.a_full_disk_leaves_no_halves",
            f"{_DATA}::test_a_full_disk_refuses_writes_and_serves_reads",
            f"{_DATA}::test_a_server_without_room_for_its_log_ends_and_comes_back_with_everything",
        ),
    ),
    Caveat(
        "Pages of a scan are not of one revision",
        "`consistent_pagination` isn't declared: PostgreSQL keeps old rows for open transactions only, and this plugin "
        "never leaves one open.",
        ("lists.by_scan_show_one_revision",),
    ),
)
