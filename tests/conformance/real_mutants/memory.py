"""Faults of the memory store."""

from __future__ import annotations

from .model import Kind, RealMutant

_FOLDER = "backends/tenure_memory"
_TESTS = ("tests/backends/memory/test_memory.py",)

MUTANTS = (
    RealMutant(
        id="memory-half-a-refresh",
        kind=Kind.LEASE_TIME,
        file=f"{_FOLDER}/leases.py",
        old="        lease.deadline = now + lease.ttl\n",
        new="        lease.deadline = max(lease.deadline, now + lease.ttl / 2)\n",
        wrong="A refresh gives half of the TTL: the key goes while its holder counts on it.",
        rules=("leases.are_extended_by_refreshing", "leases.kept_alive_live_on"),
        tests=_TESTS,
    ),
    RealMutant(
        id="memory-key-stays-with-its-former-lease",
        kind=Kind.LEASE_RACE,
        file=f"{_FOLDER}/server.py",
        old="left.keys.discard(before.key)",
        new="left.keys.add(before.key)",
        wrong="A key that was put again without its lease, or on another one, goes with the former lease.",
        rules=("leases.leave_what_is_not_theirs",),
        tests=_TESTS,
    ),
    RealMutant(
        id="memory-resume-from-the-future",
        kind=Kind.REPLACED,
        file=f"{_FOLDER}/history.py",
        old="        if revision > present:\n",
        new="        if revision < 0:\n",
        wrong="A watch that resumes after a revision the store never had waits in silence.",
        rules=("watches.resume_from_the_future_is_compacted",),
        tests=_TESTS,
    ),
    RealMutant(
        id="memory-page-of-the-past-begins-anew",
        kind=Kind.PAGES,
        file=f"{_FOLDER}/server.py",
        old="if item is not None and key.startswith(prefix) and (after is None or key > after)",
        new="if item is not None and key.startswith(prefix)",
        wrong="A page at a past revision shows keys of earlier pages again if they changed meanwhile.",
        rules=("lists.by_scan_show_one_revision", "spi.pages_at_a_revision_work_or_are_refused"),
        tests=_TESTS,
    ),
    RealMutant(
        id="memory-revisions-come-again",
        kind=Kind.REPLACED,
        file=f"{_FOLDER}/server.py",
        old='with self._monitor.alone("losing data"):\n            self._revision += 1\n',
        new='with self._monitor.alone("losing data"):\n            self._revision = 0\n',
        wrong="A store that lost its data counts from the beginning: an old revision fits another change.",
        rules=("restarts.repeat_no_revision", "restarts.leave_watchers_with_the_truth"),
        tests=_TESTS,
    ),
    RealMutant(
        id="memory-lease-checked-too-late",
        kind=Kind.ENDED_LEASE,
        file=f"{_FOLDER}/server.py",
        old="                self._leases.require(operation.lease_id)\n        return self._write",
        new="                self._leases.find(operation.lease_id)\n        return self._write",
        wrong="A transaction on an ended lease is refused after half of it was applied.",
        rules=("transactions.on_an_ended_lease_change_nothing",),
        tests=_TESTS,
    ),
    RealMutant(
        id="memory-compaction-forgets-one-too-few",
        kind=Kind.TRIMMED,
        file=f"{_FOLDER}/history.py",
        old="            self.start = self._changes[-1].revision\n        self._changes.clear()",
        new="            self.start = self._changes[0].revision\n        self._changes.clear()",
        wrong="After a compaction a watch resumes from a forgotten revision, without the changes after it.",
        rules=("watches.resume_from_a_forgotten_revision_is_compacted", "restarts.a_watcher_left_behind_is_resynced"),
        tests=_TESTS,
    ),
)
