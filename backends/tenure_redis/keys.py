"""What is kept in Redis, and under which names. All of a store has one hash tag, so it is on one shard of a cluster.

A store holds all its namespaces: they share its revision, and opened without a namespace it shows them all. Who wants
their load apart, on shards or in logs of their own, gives them stores of different names (option ``store``).

==================  ===========  ==================================================================================
``{tag}:data``      hash         key -> record; ``\\0`` -> revision, ``\\0op`` -> head of its log entry, ``\\0id`` ->
                                 the store's identity, for older versions, ``\\0server`` -> the run id of the server
                                 whose clock ``expiry`` is by, ``\\0late`` -> there while ended leases are left
``{tag}:keys``      sorted set   the keys, all with score 0, for ranges in byte order
``{tag}:log``       stream       entry ``REVISION-0`` for each transaction: ``op`` -> head, then ``p<key>`` -> record
                                 for each put, and ``d`` -> the deleted keys with NUL between them. The head is: the
                                 revision before, the bytes and the number of all entries up to this one
``{tag}:leases``    hash         lease -> ttl in milliseconds
``{tag}:expiry``    sorted set   lease -> when it ends, by the server's clock in milliseconds
``{tag}:held``      sorted set   lease and key in one, all with score 0: the keys of each lease
``{tag}:op:SLOT``   string       the last commit of one slot of one client, for an hour
==================  ===========  ==================================================================================

The records are described in ``encoding``.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

REVISION = b"\0"
"""The field of ``data`` that holds the store's revision."""
LATE = b"\0late"
"""The field of ``data`` that is there while leases are left that have ended."""


@dataclass(frozen=True, slots=True)
class Names:
    """The names of the keys in Redis of one store."""

    tag: str
    data: str
    log: str
    all: tuple[str, ...]
    """In the order in which every script expects them."""

    @classmethod
    def of(cls, store: str) -> Names:
        """Names for the store so named. The brace that would end the hash tag is encoded away."""
        tag = "{" + quote(store, safe="/:") + "}"
        parts = ("data", "keys", "log", "leases", "expiry", "held")
        return cls(tag, f"{tag}:data", f"{tag}:log", tuple(f"{tag}:{part}" for part in parts))

    def slot(self, slot: str) -> str:
        """The key that remembers the last commit of ``slot``."""
        return f"{self.tag}:op:{slot}"


def bounds(prefix: str, after: str | None) -> tuple[bytes, bytes]:
    """The keys under ``prefix`` that are greater than ``after``, as ZRANGEBYLEX takes ranges.

    No byte of UTF-8 is as high as 0xff, so that ends every prefix.
    """
    start = prefix.encode()
    low = b"[" + start if start else b"-"
    if after is not None and after.encode() >= start:
        low = b"(" + after.encode()
    return low, b"(" + start + b"\xff" if start else b"+"
