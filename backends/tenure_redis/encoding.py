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

A record is: create revision (8 bytes, big-endian), mod revision (8), length of the lease's id (1), the id, the value.
"""

from __future__ import annotations

import secrets
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

from tenure.errors import StoreCorrupted
from tenure.spi.feed import Changes, Deleted
from tenure.spi.types import KeyValue, LeaseId

REVISION = b"\0"
_HEADER = struct.Struct(">QQB")
_HEADER_SIZE = _HEADER.size
_unpack = _HEADER.unpack_from


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


def new_id() -> str:
    """A random name of 16 characters: of a client, or of a lease."""
    return secrets.token_hex(8)


def item(key: str, record: bytes) -> KeyValue:
    """The record of ``key`` as an item."""
    try:
        create, mod, held = _unpack(record)
        if not held:
            return KeyValue(key, record[_HEADER_SIZE:], create, mod)
        end = _HEADER_SIZE + held
        return KeyValue(key, record[end:], create, mod, record[_HEADER_SIZE:end].decode())
    except (struct.error, UnicodeDecodeError) as exc:
        raise StoreCorrupted(f"what Redis holds for the key {key!r} isn't a record of Tenure's") from exc


def is_leased(record: bytes) -> bool:
    """Whether the key of this record ends with a lease."""
    return len(record) >= _HEADER_SIZE and record[_HEADER_SIZE - 1] > 0


def packed_revision(revision: int) -> bytes:
    """A revision as it stands in a record; one that can't be is packed as one that never is."""
    return struct.pack(">Q", revision if 0 <= revision < 1 << 63 else 0)


@dataclass(frozen=True, slots=True)
class Entry:
    """One transaction of the log: its revision, who made it, and what it changed."""

    revision: int
    op: bytes
    changes: tuple[KeyValue | Deleted, ...]

    def under(self, prefix: str) -> Changes | None:
        """What it changed under ``prefix``, ``None`` if nothing."""
        found = self.changes
        if prefix:
            found = tuple(change for change in found if change.key.startswith(prefix))
        return Changes(found, self.revision) if found else None


def entry(raw: Sequence[object]) -> Entry:
    """An entry of the stream, as Redis answers it: ``[id, [field, value, ...]]``."""
    try:
        name, fields = raw
        assert isinstance(name, bytes)
        assert isinstance(fields, list)
        revision = int(name[: name.index(b"-")])
        changes: list[KeyValue | Deleted] = []
        for field, value in zip(fields[2::2], fields[3::2], strict=True):
            if field == b"d":
                changes += [Deleted(key.decode(), revision) for key in value.split(b"\0")]
            else:
                changes.append(item(field[1:].decode(), value))
        return Entry(revision, fields[1], tuple(changes))
    except (ValueError, AssertionError, IndexError, AttributeError) as exc:
        raise StoreCorrupted(f"an entry of the log in Redis isn't one of Tenure's: {str(raw)[:80]}") from exc


def lease_of(lease_id: LeaseId) -> str | None:
    """The lease's id in Redis, ``None`` for text that can't be one."""
    return lease_id if len(lease_id) == 16 and lease_id.isascii() and lease_id.isalnum() else None
