"""What is kept in Redis, and under which names. All of a store has one hash tag, so it is on one shard of a cluster.

A store holds all its namespaces: they share its revision, and opened without a namespace it shows them all. Who wants
their load apart, on shards or in logs of their own, gives them stores of different names (option ``store``).

==================  ===========  ==================================================================================
``{tag}:data``      hash         key -> record; ``\\0`` -> revision, ``\\0op`` -> who made it, ``\\0id`` -> the identity
``{tag}:keys``      sorted set   the keys, all with score 0, for ranges in byte order
``{tag}:log``       stream       entry ``REVISION-0`` for each transaction: ``op``, then ``p<key>`` -> record for each
                                 put, and ``d`` -> the deleted keys with NUL between them
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
