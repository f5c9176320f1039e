"""What people should know of SQLite as a store, and what shows that it is so."""

from __future__ import annotations

from tenure.spi.plugin import Caveat

_ERRORS = "tests/backends/sqlite/test_errors.py"
_DATA = "tests/backends/sqlite/test_data.py"
_PLACE = "tests/backends/sqlite/test_default_place.py"
_PROCESSES = "tests/backends/sqlite/test_processes.py"
_WATCH = "tests/backends/sqlite/test_watch.py"

CAVEATS = (
    Caveat(
        "A local disk only",
        "Locks on network file systems can't be relied on; `tenure doctor` warns of one.",
        (f"{_ERRORS}::test_network_filesystems_are_recognised",),
    ),
    Caveat(
        "A loss of power",
        "With `synchronous=normal` (the default) an acknowledged write survives the death of any process, and of all "
        "of them. The last writes before a loss of power may be missing. `synchronous=full` prevents that and costs a "
        "disk flush per write.",
        (f"{_PROCESSES}::test_kill_in_the_middle_of_writes_loses_nothing_acknowledged",),
    ),
    Caveat(
        "Other processes look for changes",
        "Watchers of the same process receive a change at once. Those of others receive it within milliseconds on "
        "Linux, which reports writes, seldom after 0.1 s, and elsewhere within `poll` seconds.",
        (f"{_PROCESSES}::test_a_watch_sees_what_another_process_writes", "watches.are_quick"),
    ),
    Caveat(
        "The folder has to be writable",
        "Processes with different users need write access to the folder too: SQLite keeps two more files "
        "beside the database while it is open.",
        (f"{_ERRORS}::test_permissions", f"{_DATA}::test_the_last_one_to_close_leaves_one_file"),
    ),
    Caveat(
        "Leases live by the time since boot",
        "Sleep included. After a restart of the machine each lease gets its full TTL again. So it does if Linux's "
        "name of the boot is hidden, each time a program opens a file that no other program has open. While a program "
        "has the file open, one that counts by another clock is refused.",
        (
            f"{_DATA}::test_another_time_base_gives_each_lease_its_full_ttl_again",
            f"{_DATA}::test_a_boot_without_a_name_is_another_one_once_nobody_has_the_file_open",
            f"{_DATA}::test_a_program_with_another_clock_is_refused_while_the_file_is_in_use",
        ),
    ),
    Caveat(
        "Pages of a scan aren't pinned",
        "Each page of a `scan` is as of when it was read (`consistent_pagination` isn't declared); a `list` is one "
        "point in time.",
        (
            "lists.by_scan_miss_nothing_that_stays",
            "spi.pages_at_a_revision_work_or_are_refused",
            "transactions.are_whole_in_every_list",
        ),
    ),
    Caveat(
        "A file that was replaced is another history",
        "Programs that have it open continue with what is there now, and watches get a RESYNC batch. No revision of "
        "the lost history is used again, unless the machine's clock is set back. Files that aren't a store, or are "
        "damaged, are left as they are.",
        (
            f"{_WATCH}::test_a_replaced_file_is_another_history",
            f"{_WATCH}::test_restored_backups_are_told_to_every_watch_and_their_revisions_end",
            f"{_ERRORS}::test_the_database_of_another_application_is_left_alone",
            f"{_ERRORS}::test_a_damaged_store_is_left_alone",
        ),
    ),
    Caveat(
        "Only Tenure may write to the tables",
        "Keys that another program removes from the file are gone for reads and for new watches. Watches that run "
        "don't show it. Use `tenure kv delete` instead. Leases that it removes have ended: no client gets their "
        "keys, any client may put them, and the holder's next refresh reports the loss.",
        (
            f"{_DATA}::test_keys_that_another_program_removes_are_told_to_new_watches_alone",
            f"{_DATA}::test_leases_that_another_program_removes_have_ended",
            f"{_DATA}::test_a_description_that_another_program_removes_is_missed",
        ),
    ),
    Caveat(
        "How to restore a backup",
        "SQLite's own `.restore` works while programs run. To copy a file instead, stop every program, delete the "
        "`-wal` and `-shm` files, then put the copy in place. SQLite mixes a copied file with a `-wal` file that was "
        "left beside it. Programs that were running refuse such a file. Programs that start later can't notice it.",
        (
            f"{_WATCH}::test_a_backup_restored_in_place_fails_the_watch",
            f"{_WATCH}::test_a_replaced_file_is_not_mixed_with_the_log_of_the_one_before",
        ),
    ),
    Caveat(
        "A transaction left open",
        "While another program keeps a transaction open, SQLite can't begin its write-ahead log again, and the file "
        "grows with every write. `tenure doctor` names a long one; `PRAGMA wal_checkpoint(TRUNCATE)` empties it once "
        "the transaction has ended. Readers that follow each other without a pause don't keep it from that.",
        (
            f"{_DATA}::test_a_log_that_a_reader_keeps_from_ending_is_told",
            f"{_DATA}::test_readers_that_never_pause_keep_no_log_from_ending",
        ),
    ),
    Caveat(
        "A full disk",
        "It refuses writes by `StoreFull` and still answers reads; with room it takes writes again.",
        (f"{_ERRORS}::test_a_full_disk", "tests/cross_store/test_no_room.py::test_a_file_without_room"),
    ),
    Caveat(
        "The default file of before the rename",
        "`sqlite://` opens `leasehold/leasehold.db` in the user's state folder if that file exists and "
        "`tenure/tenure.db` doesn't. To move the store, stop every program that uses it, then rename the file.",
        (f"{_PLACE}::test_the_default_store_of_before_the_rename_is_opened_where_it_is",),
    ),
)
