"""The checkers ``leases-not-early`` and ``leases-in-time``: when unrefreshed leases expired, against their TTLs.

Data: ``endings``, each with ``name``, ``ttl`` and ``worst`` (the longest that keys may stay), and times in seconds on
one clock. The client ``sent`` the last grant or refresh, and the store ``answered`` it. A watcher was ``notified`` of
the end, and a reader ``missed`` the key; ``None`` if that never happened. The store counts from some moment between
sent and answered.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def not_early(data: Mapping[str, Any]) -> list[str]:
    """Check that no client sees a key gone before its lease's TTL; clocks may differ by ``clocks`` seconds."""
    problems = []
    for ending in data["endings"]:
        for what, moment in (("a watcher was notified", ending["notified"]), ("a reader saw", ending["missed"])):
            lived = None if moment is None else moment - ending["sent"]
            if lived is not None and lived < ending["ttl"] - data["clocks"]:
                problems.append(
                    f"{what} that the key of the lease {ending['name']!r} is gone after {lived:.3f} s, "
                    f"its TTL is {ending['ttl']:g} s"
                )
    return problems


def in_time(data: Mapping[str, Any]) -> list[str]:
    """Check that readers, or watchers ``latency`` later, see each end by the worst case plus ``tolerance`` seconds."""
    problems = []
    for ending in data["endings"]:
        for who in data["seen_by"]:
            moment = ending["missed" if who == "reader" else "notified"]
            limit = ending["worst"] + (0.0 if who == "reader" else data["latency"])
            after = None if moment is None else moment - ending["answered"]
            if after is None or after > limit + data["tolerance"]:
                what = "a reader found it gone" if who == "reader" else "a watcher was notified"
                seen = "not at all" if after is None else f"after {after:.3f} s"
                problems.append(
                    f"the key of the lease {ending['name']!r} had to go within {limit:g} s "
                    f"(and {data['tolerance']:g} s for a busy machine): {what} {seen}"
                )
    return problems
