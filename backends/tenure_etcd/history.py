"""What tells one history of a cluster's data from another: what was seen of it, and marks of feeds.

A restored backup or lost data start another history. Revisions begin again where the backup ends, the cluster's id and
its members' ids stay (unless the operator gave the restored cluster another token), the raft term begins again at 2.
What only grows within one history: the term, the revision, and the *surplus*, which is the raft index minus the
revision. Each revision costs an entry in the raft log, and elections, leases and refused transactions cost entries
without a revision. A restored backup begins a new log, so its surplus falls by the backup's revision.

Here is only what was seen and how it is compared; ``proof`` asks the servers.
"""

from __future__ import annotations

import logging
import threading
from typing import Any, NamedTuple

from tenure.spi.types import KeyValue

_log = logging.getLogger("tenure.etcd")
_new = tuple.__new__


class Moment(NamedTuple):
    """A moment of the present history, as the header of an answer told it.

    ``generation``: the number of histories that were replaced before, as far as this process has noticed.
    """

    generation: int
    cluster: int
    term: int
    revision: int


class Witness(NamedTuple):
    """The last change under a prefix. ``content`` is a hash of the item that was put, ``None`` for a delete.

    A witness without a key says that nothing was there.
    """

    key: str
    revision: int
    content: int | None


class Mark(NamedTuple):
    """What proves at a later time that a feed's history is still there.

    ``surplus``: a number that the history's surplus had reached; ``None`` if this user may not know it.
    ``quiet_since``: nothing under the prefix changed from this revision to the item's own.
    ``witness``: the last change that was seen; ``None`` if none was.
    """

    generation: int
    cluster: int
    term: int
    surplus: int | None
    quiet_since: int
    witness: Witness | None


def mark_head(moment: Moment, surplus: int | None) -> str:
    """The part of a mark's text that stays the same over many items."""
    return f"{moment.generation},{moment.cluster},{moment.term},{'' if surplus is None else surplus}"


def mark_tail(witness: Witness | None) -> str:
    """The rest of the text, after the revision since which the prefix is quiet."""
    return (
        ""
        if witness is None
        else f",{witness.revision},{'' if witness.content is None else witness.content},{witness.key}"
    )


def parse_mark(text: str) -> Mark:
    """Read a mark's text: head, quiet revision and tail."""
    generation, cluster, term, surplus, quiet_since, *rest = text.split(",", 7)
    witness = Witness(rest[2], int(rest[0]), int(rest[1]) if rest[1] else None) if rest else None
    return Mark(int(generation), int(cluster), int(term), int(surplus) if surplus else None, int(quiet_since), witness)


def content_of(item: KeyValue) -> int:
    """A hash of everything that etcd says of a key. It differs between processes, as marks don't leave theirs."""
    return hash(item)


class History:
    """The history that the answers belong to, as far as this process has noticed. Thread-safe.

    ``latest``: the highest revision and term that an answer told.
    ``surplus``: a number that the surplus had reached; ``None`` where it isn't known.
    ``seen``: the latest key that a call of this process read or wrote; a ``create_revision`` of 0 isn't known.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.latest = Moment(0, 0, 0, 0)
        self.surplus: int | None = None
        self.seen: KeyValue | None = None

    @property
    def name(self) -> str:
        """``Backend.history``."""
        return str(self.latest.generation)

    def note(self, header: Any, before: Moment) -> None:
        """Take in the header of a linearizable answer to a call that was sent after the moment ``before``."""
        cluster, term, revision = header.cluster_id, header.raft_term, header.revision
        if before.cluster and (cluster != before.cluster or term < before.term or revision < before.revision):
            self.replace(before, Moment(0, cluster, term, revision), "an answer went back behind an earlier one")
            return
        _, _, known_term, known = self.latest
        if revision > known or term > known_term:
            with self._lock:
                latest = self.latest
                if latest[0] == before[0]:
                    self.latest = _new(
                        Moment,
                        (
                            latest[0],
                            cluster,
                            term if term > latest[2] else latest[2],
                            revision if revision > latest[3] else latest[3],
                        ),
                    )

    def learn_surplus(self, surplus: int, generation: int) -> None:
        """Take in that the history of this generation has had this surplus."""
        with self._lock:
            if generation == self.latest.generation and (self.surplus is None or surplus > self.surplus):
                self.surplus = surplus

    def see(self, item: KeyValue) -> None:
        """Take in what was read or written just now."""
        seen = self.seen
        if seen is None or item.mod_revision >= seen.mod_revision:
            self.seen = item

    def replace(self, before: Moment, now: Moment, reason: str) -> None:
        """Begin another generation with the moment ``now``, unless the one of ``before`` has ended already."""
        with self._lock:
            if self.latest.generation != before.generation:
                return
            self.latest = now._replace(generation=before.generation + 1)
            self.surplus = self.seen = None
        _log.warning("the data of etcd were lost or replaced by a backup: %s", reason)
