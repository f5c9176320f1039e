"""What people should know of a JSON file as a store, and what shows that it is so."""

from __future__ import annotations

from tenure.spi import Caveat

_TESTS = "tests/test_file.py"

CAVEATS = (
    Caveat(
        "Every write costs as much as all keys",
        "It replaces the whole file and flushes it to the disk first: a few hundred keys are fine, a hundred thousand "
        "are not. A crash at any moment loses nothing that was acknowledged, and never leaves a half-written file.",
        (f"{_TESTS}::test_a_killed_writer_takes_nothing_with_it", f"{_TESTS}::test_a_write_that_fails_is_refused"),
    ),
    Caveat(
        "A watch looks from time to time",
        "Every `poll` seconds. Two changes of a key between two looks are one event to it, so `lossless_watch` is not "
        "declared.",
        ("watches.watchers_converge", "watches.after_a_revision_work_or_are_refused"),
    ),
    Caveat(
        "An older copy may be put in the file's place",
        "Revisions follow the clock, so none of those that the copy lacks is used again. A compare-and-set on one is "
        "refused, and watches deliver the difference.",
        (f"{_TESTS}::test_revisions_stay_unique_when_a_copy_is_put_back",),
    ),
    Caveat(
        "Leases end with the machine's run",
        "They live by its clock since it started; after a restart of the machine all of them have ended.",
        (f"{_TESTS}::test_leases_end_with_the_machines_run",),
    ),
    Caveat(
        "Writers take turns by a lock",
        "It is `flock` on `state.json.lock`, so the file has to be on a local disk. Don't edit it while a program has "
        "it open: an editor doesn't take the lock.",
        (f"{_TESTS}::test_processes_take_turns", f"{_TESTS}::test_a_held_lock_ends_the_call_in_time"),
    ),
)
