"""What a real mutant is: one small fault in the source of a backend or of core, as a patch.

A mutant of the first family wraps the memory store. One of this family changes a line of a package as a slip of its
author would, and is tried on a server of the store. It is data: ``old`` occurs exactly once in its file, and ``new``
takes its place.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
"""The top of the checkout."""

SOURCES = ("core", "backends", "contrib/tenure-postgresql/src")
"""Folders with packages, which a patched copy has as well."""


class Kind(StrEnum):
    """What kind of fault it is: which question a rule or a test has to ask to find it."""

    LATE_ANSWER = "an answer that comes late by a known part of the TTL"
    LEASE_RACE = "puts with and without a lease on one key, and deletes"
    MANY_LEASES = "leases that end together, or that nobody watches, and who meets them first"
    LEASE_TIME = "when a lease ends, and that it does"
    ENDED_LEASE = "a lease that ended, met by a refresh, a revoke or a commit"
    ENDED_READ = "keys of ended leases in reads"
    GUARD = "preconditions, and what a refused transaction changes"
    ABA = "a key that is deleted and made again between a read and a guarded write"
    LOST_ANSWER = "answers of writes that are lost on the way"
    PAGES = "lists and snapshots larger than a page or message"
    BACKLOG = "a watch that resumes over a backlog"
    BOUNDS = "bounds in bytes or entries"
    IDENTICAL = "identical values, also from several processes"
    REPLACED = "data that were lost, wiped, restored or refilled"
    TRIMMED = "history that was trimmed under a watch"
    GAP = "a gap in a watch, and how it is told"
    DETECTION = "how soon a silent break or a change is noticed"
    CLOCK = "clocks that are set or differ"
    ORDER = "revisions that go back"
    LITERAL = "keys and prefixes taken literally"
    REGISTRY = "registrations that come and go"
    RECIPE = "whose turn it is, and what recipes leave behind"


@dataclass(frozen=True, slots=True, kw_only=True)
class RealMutant:
    """One fault."""

    id: str
    kind: Kind
    file: str
    """Path from the top of the checkout."""
    old: str
    new: str
    wrong: str
    """What goes wrong for an application, in one sentence."""
    rules: tuple[str, ...] = ()
    """Rules of the suite that are tried first, since they ask for this."""
    tests: tuple[str, ...] = ()
    """Tests that have to find it where no rule does: names as pytest takes them, from the top of the checkout."""
    unnoticeable: str = ""
    """Why no client can notice it on a server of the kind used here; empty if one can."""
    stores: tuple[str, ...] = ()
    """Stores whose servers it is tried on; none: the store of its package."""

    @property
    def store(self) -> str:
        """The store that it is a fault of, or ``core``."""
        return self.id.partition("-")[0]

    @property
    def tried_on(self) -> tuple[str, ...]:
        """Stores whose servers it is tried on."""
        return self.stores or (self.store,)

    def occurrences(self, root: Path = ROOT) -> int:
        """How often the text to replace stands in the file; it has to be once."""
        return (root / self.file).read_text().count(self.old)

    def patched(self, root: Path = ROOT) -> str:
        """The file's text with the fault in it."""
        return (root / self.file).read_text().replace(self.old, self.new)


def copy_sources(folder: Path, mutant: RealMutant | None, root: Path = ROOT) -> tuple[Path, ...]:
    """Copy all packages below ``folder``, with the fault in them. Returns what to put into ``PYTHONPATH``."""
    for source in SOURCES:
        shutil.copytree(root / source, folder / source, ignore=shutil.ignore_patterns("docs", "*.egg-info"))
    if mutant is not None:
        if mutant.occurrences(root) != 1:
            raise ValueError(f"{mutant.id}: its text stands {mutant.occurrences(root)} times in {mutant.file}")
        (folder / mutant.file).write_text(mutant.patched(root))
    return tuple(folder / source for source in SOURCES)
