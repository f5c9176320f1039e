"""The judges ``leases-not-early`` and ``leases-in-time``: when leases that nobody kept ended, against their ttls.

Data: ``endings``, each with ``name``, ``ttl``, ``worst`` (the longest that keys may stay), and moments in seconds on
one clock: the last grant or refresh was ``sent`` and ``answered``, a watcher was ``told`` of the end, a reader
``missed`` the key; ``None`` for what never came. The store counts from some moment between sent and answered.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def not_early(data: Mapping[str, Any]) -> list[str]:
    """Nobody sees a key gone before its lease's ttl, clocks apart by ``clocks`` seconds."""
    problems = []
    for ending in data["endings"]:
        for what, moment in (("a watcher was told", ending["told"]), ("a reader saw", ending["missed"])):
            lived = None if moment is None else moment - ending["sent"]
            if lived is not None and lived < ending["ttl"] - data["clocks"]:
                problems.append(
                    f"{what} that the key of the lease {ending['name']!r} is gone after {lived:.3f} s, "
                    f"its ttl is {ending['ttl']:g} s"
                )
    return problems


def in_time(data: Mapping[str, Any]) -> list[str]:
    """``seen_by`` readers, or watchers ``latency`` later, each end comes by the worst case and ``noise`` seconds."""
    problems = []
    for ending in data["endings"]:
        for who in data["seen_by"]:
            moment = ending["missed" if who == "reader" else "told"]
            limit = ending["worst"] + (0.0 if who == "reader" else data["latency"])
            after = None if moment is None else moment - ending["answered"]
            if after is None or after > limit + data["noise"]:
                what = "a reader found it gone" if who == "reader" else "a watcher was told of it"
                seen = "not at all" if after is None else f"after {after:.3f} s"
                problems.append(
                    f"the key of the lease {ending['name']!r} had to go within {limit:g} s (and {data['noise']:g} s "
                    f"for a busy machine): {what} {seen}"
                )
    return problems
