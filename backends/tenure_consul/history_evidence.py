"""Whether the servers still have the history that this store has read, as far as a client of Consul can see.

Consul has no name for a history. But each put of the plugin's goes with a random number in Flags, so a key's
ModifyIndex and Flags together identify one put among all histories. A key that shows its old ModifyIndex
with other Flags proves that the data were lost or replaced. An index of the whole store that went back proves it too.

While a connection lasts, the server behind it lasts, and a server that restores a backup while it runs uses no index
again. So a revision is in doubt only after a connection was made again. Then its key is read again before a
compare-and-set on it is sent.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Mapping
from typing import Any

from tenure.plugin_kit import Monitor
from tenure.spi.types import Precondition, RevisionEquals

_MOST_KEYS = 10_000
"""Keys remembered. A compare-and-set on one that was forgotten is sent without being verified."""
_FLAGS_BITS = 64
_numbers = itertools.count(random.SystemRandom().getrandbits(62))


def next_flags() -> int:
    """A number to put with a key that no other put has. It also makes a change of a put of the present value."""
    return next(_numbers)


def identity_of(entry: Mapping[str, Any]) -> int:
    """One number for a key's last put, as Consul describes the key: its revision, followed by its Flags."""
    known: int = entry["ModifyIndex"] << _FLAGS_BITS | entry["Flags"]
    return known


def identity(revision: int, flags: int) -> int:
    """The same for a put that this client made."""
    return revision << _FLAGS_BITS | flags


def revision_of(known: int) -> int:
    """The revision in an identity."""
    return known >> _FLAGS_BITS


def contradict(one: int, other: int) -> bool:
    """Whether two identities of a key belong to different histories: the revision of both stands for two puts."""
    return one != other and one >> _FLAGS_BITS == other >> _FLAGS_BITS


class History:
    """The identities of the keys that one backend has read or written. Thread-safe."""

    def __init__(self) -> None:
        self._lock = Monitor()
        self._number = 0
        self._doubts = 0
        self._seen: dict[str, int] = {}
        self._doubted: dict[str, int] = {}

    @property
    def name(self) -> str:
        """``Backend.history``: another text after each replacement that was noticed."""
        return str(self._number)

    @property
    def doubts(self) -> int:
        """How often a connection was made: what was proven at one number isn't at the next."""
        return self._doubts

    def note(self, key: str, found: int) -> None:
        """Remember how a key was just seen or written."""
        if self._doubted:
            self.note_all({key: found})
            return
        with self._lock:
            known = self._seen.get(key)
            if known is not None and contradict(known, found):
                self._forget()
            self._seen[key] = found
            _shorten(self._seen)

    def note_all(self, found: dict[str, int]) -> None:
        """The same for many keys."""
        with self._lock:
            if _contradicted(self._seen, found) or _contradicted(self._doubted, found):
                self._forget()
            if self._doubted:
                for key in self._doubted.keys() & found.keys():
                    del self._doubted[key]
            self._seen.update(found)
            _shorten(self._seen)

    def doubt(self) -> None:
        """A connection was made: the servers may have lost their data since the one before."""
        with self._lock:
            self._doubts += 1
            self._doubted.update(self._seen)
            self._seen = {}
            _shorten(self._doubted)

    def replaced(self) -> None:
        """The data are known to be lost or replaced: no revision that was read before counts."""
        with self._lock:
            self._forget()

    def doubtful(self, preconditions: Iterable[Precondition]) -> list[str]:
        """The keys to read again before these preconditions are sent."""
        if not self._doubted:
            return []
        with self._lock:
            return [
                precondition.key
                for precondition in preconditions
                if isinstance(precondition, RevisionEquals)
                and revision_of(self._doubted.get(precondition.key, 0)) == precondition.revision
            ]

    def settle(self, keys: Iterable[str]) -> None:
        """These keys were read again: one that is missing now contradicts nothing."""
        with self._lock:
            for key in keys:
                self._doubted.pop(key, None)

    def _forget(self) -> None:
        self._number += 1
        self._seen, self._doubted = {}, {}


def _contradicted(known: dict[str, int], found: dict[str, int]) -> bool:
    # A list may have thousands of keys, most of which are as they were.
    if not known or found.items() <= known.items():
        return False
    changed = found.items() - known.items() if len(found) <= len(known) else found.items()
    return any(contradict(known[key], last) for key, last in changed if key in known)


def _shorten(known: dict[str, int]) -> None:
    surplus = len(known) - _MOST_KEYS
    if surplus > 0:
        for key in list(itertools.islice(known, surplus + _MOST_KEYS // 4)):
            del known[key]
