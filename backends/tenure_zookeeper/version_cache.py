"""What was seen of nodes, so that a compare-and-set needs no read before it writes.

What is kept here never becomes untrue: at the zxid ``seen`` a node had this ``mzxid`` and ``version``. If every folder
above a key was seen before the key's leaf was, and all have their versions still, then none of these nodes was made
again in between, since that would have touched the folder above it: a leaf that has its version still is the same node,
last written at that mzxid. Whether the versions are still so is for the multi to find out; old ones only make it fail.
A server that lost its data counts from the beginning again; that takes a broken connection, and then all is forgotten.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tenure_zookeeper import encoding, keys

_MOST = 4096


class _SeenVersion(NamedTuple):
    seen: int
    mzxid: int
    version: int


class Proof(NamedTuple):
    """Versions which, if they still hold, prove that a leaf wasn't written since."""

    folders: dict[str, int]
    leaf: int


class VersionCache:
    """Versions by path; forgets all when there are too many. Safe to use from many threads."""

    def __init__(self) -> None:
        self._versions: dict[str, _SeenVersion] = {}

    def forget(self) -> None:
        """The connection broke: the server that comes back may have lost its data, and count from the beginning."""
        self._versions = {}

    def note(self, path: str, stat: encoding.Stat, seen: int) -> None:
        """``stat`` came with an answer whose zxid was ``seen``."""
        known = self._versions.get(path)
        leaf = keys.is_leaf(path.rpartition("/")[2])
        if known is not None and not leaf and known.version == stat.version and known.seen <= seen:
            return  # of a folder the earliest sight of a version proves most, of a leaf the latest
        if len(self._versions) >= _MOST:
            self._versions = {}
        self._versions[path] = _SeenVersion(seen, stat.mzxid, stat.version)

    def proof(self, folders: Sequence[str], leaf: str, mzxid: int) -> Proof | None:
        """What proves that ``leaf`` in these folders is as it was at ``mzxid``; ``None`` if too little is known."""
        versions = self._versions
        found = versions.get(leaf)
        if found is None or found.mzxid != mzxid:
            return None
        held = {}
        for folder in folders:
            above = versions.get(folder)
            if above is None or above.seen > found.seen:
                return None
            held[folder] = above.version
        return Proof(held, found.version)
