"""The entry point's module: describes the plugin, imports the rest when a store is opened."""

from __future__ import annotations

from tenure.hookspecs import hookimpl
from tenure.spi import Backend, BackendPlugin, Caveat, OpenRequest, Option, UrlForm

_TESTS = "tests/test_file.py"
NOTES = (
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
        "Leases end with the machine's run",
        "They live by its clock since it started; after a restart of the machine all of them have ended.",
        (f"{_TESTS}::test_leases_end_with_the_machines_run",),
    ),
    Caveat(
        "Writers take turns by a lock",
        "It is `flock` on `state.json.lock`, so the file has to be on a local disk, and an editor, which doesn't take "
        "the lock, has no business in it while a program has it open.",
        (f"{_TESTS}::test_processes_take_turns", f"{_TESTS}::test_a_held_lock_ends_the_call_in_time"),
    ),
)


def _open(request: OpenRequest) -> Backend:
    from tenure_jsonfile.backend import JsonFileBackend  # noqa: PLC0415 - only who opens a store pays for it

    return JsonFileBackend(request)


@hookimpl
def tenure_backend() -> BackendPlugin:
    return BackendPlugin(
        scheme="jsonfile",
        summary="one JSON file on a local disk, for a few hundred keys that people like to read",
        open=_open,
        url_form=UrlForm.FILE,
        options=(Option("poll", float, 0.2, "seconds between two looks of a watch", minimum=0.01, maximum=60),),
        caveats=NOTES,
    )
