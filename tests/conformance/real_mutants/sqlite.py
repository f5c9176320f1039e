"""Faults of the SQLite store."""

from __future__ import annotations

from .model import Kind, RealMutant

_FOLDER = "backends/tenure_sqlite"
_DATA = ("tests/backends/sqlite/test_data.py",)
_WATCH = ("tests/backends/sqlite/test_watch.py",)

MUTANTS = (
    RealMutant(
        id="sqlite-get-shows-ended-keys",
        kind=Kind.ENDED_READ,
        file=f"{_FOLDER}/reads.py",
        old="    if deadline <= database.time.now():\n",
        new="    if deadline + 5.0 <= database.time.now():\n",
        wrong="A get shows a key after the end of its lease, until a writer or a watcher ends it.",
        rules=("leases.*",),
        tests=_DATA,
    ),
    RealMutant(
        id="sqlite-list-shows-ended-keys",
        kind=Kind.ENDED_READ,
        file=f"{_FOLDER}/reads.py",
        old="if not hiding and next_deadline is not None and next_deadline <= now:",
        new="if not hiding and next_deadline is not None and next_deadline <= now - 5.0:",
        wrong="A list shows keys after the end of their lease, until a writer or a watcher ends it.",
        rules=("leases.*",),
        tests=_DATA,
    ),
    RealMutant(
        id="sqlite-one-lease-ended-at-a-time",
        kind=Kind.MANY_LEASES,
        file=f"{_FOLDER}/leases.py",
        old='ORDER BY deadline", (now,)).fetchall()',
        new='ORDER BY deadline LIMIT 1", (now,)).fetchall()',
        wrong="Of several leases that are over a write ends one: it puts a key on another that is over.",
        rules=("leases.*",),
        tests=_DATA,
    ),
    RealMutant(
        id="sqlite-resume-anywhere",
        kind=Kind.REPLACED,
        file=f"{_FOLDER}/change_log.py",
        old="return start < revision < present and connection.execute(_HAS, (revision,)).fetchone() is not None",
        new="return start < revision < present",
        wrong="A watch resumes after a revision that a restored backup doesn't have, and is told nothing.",
        unnoticeable="The reader of the log asks the same once more, and ends the watch with the same error.",
        rules=("restarts.restored_data_refuse_later_revisions",),
        tests=_WATCH,
    ),
    RealMutant(
        id="sqlite-restored-under-a-watch",
        kind=Kind.REPLACED,
        file=f"{_FOLDER}/watch.py",
        old="found = {hindmost: hindmost in (log_start, revision) or (bool(has_hindmost) and hindmost > log_start)}",
        new="found = {hindmost: True}",
        wrong="A running watch goes on in a restored backup that doesn't have its revision.",
        rules=("restarts.restored_data_reach_every_watch",),
        tests=_WATCH,
    ),
    RealMutant(
        id="sqlite-create-revision-moves",
        kind=Kind.ABA,
        file=f"{_FOLDER}/transactions.py",
        old="UPDATE SET value = excluded.value, modified",
        new="UPDATE SET created = iif(excluded.lease IS NULL, created, modified + 1), value = excluded.value, modified",
        wrong="A key that is put on a lease looks as if it had been deleted and made again.",
        rules=("leases.changing_keeps_the_create_revision", "kv.put_replaces_and_keeps_the_create_revision"),
        tests=_DATA,
    ),
    RealMutant(
        id="sqlite-delete-prefix-stops-early",
        kind=Kind.PAGES,
        file=f"{_FOLDER}/transactions.py",
        old="revision=revision, has_more=last is not None)",
        new="revision=revision, has_more=False)",
        wrong="Deleting a prefix of more than 10,000 keys leaves the rest and reports success.",
        rules=("bulk.*",),
        tests=_DATA,
    ),
    RealMutant(
        id="sqlite-leases-by-the-wall-clock",
        kind=Kind.CLOCK,
        file=f"{_FOLDER}/lease_clock.py",
        old="return LeaseTime(clock.now if not shift else lambda: clock.now() - shift, base)",
        new="return LeaseTime(__import__('time').time, base)",
        wrong="An operator who sets the clock ends leases that live, or lets dead ones live on.",
        rules=("faults.a_client_whose_clock_is_ahead_ends_no_lease",),
        tests=("tests/unit/test_frozen_time.py", *_DATA),
    ),
    RealMutant(
        id="sqlite-other-processes-seen-late",
        kind=Kind.DETECTION,
        file=f"{_FOLDER}/watch.py",
        old="            if version != self._version or not self._hub:\n",
        new="            if self._version is None or not self._hub:\n",
        wrong="A watch hears of what another process writes when its own process writes.",
        rules=("watches.are_quick",),
        tests=_WATCH,
    ),
    RealMutant(
        id="sqlite-history-unbounded-in-bytes",
        kind=Kind.BOUNDS,
        file=f"{_FOLDER}/change_log.py",
        old="    if count <= 0 and size > MAX_BYTES:\n",
        new="    if count <= 0 and size > MAX_BYTES * 1000:\n",
        wrong="The change log grows without a bound in bytes until the disk is full.",
        unnoticeable="Only the file is larger; each answer is as before.",
        tests=_WATCH,
    ),
)
