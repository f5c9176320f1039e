"""Records: what the values in Redis are made of, and how the entries of its log are read.

A record is: create revision (8 bytes, big-endian), mod revision (8), length of the lease's id (1), the id, the value.
"""

from __future__ import annotations

import secrets
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from tenure.errors import StoreCorrupted
from tenure.spi.feed import Deleted
from tenure.spi.types import KeyValue, LeaseId

_HEADER = struct.Struct(">QQB")
_HEADER_SIZE = _HEADER.size
_unpack = _HEADER.unpack_from


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
        raise StoreCorrupted(
            f"what Redis holds for the key {key!r} isn't a record of Tenure's: another program wrote it; put or delete "
            "the key"
        ) from exc


def items(names: Sequence[bytes], records: Sequence[bytes | None]) -> list[KeyValue]:
    """Names of keys and their records as items."""
    new, unpack, size, found = tuple.__new__, _unpack, _HEADER_SIZE, []
    try:
        for name, record in zip(names, records, strict=True):
            create, mod, held = unpack(record)  # type: ignore[arg-type]  # a record that is missing raises
            if held:
                found.append(item(name.decode(), record))  # type: ignore[arg-type]
            else:  # as in ``item``, for a list costs as much as its items
                found.append(new(KeyValue, (name.decode(), record[size:], create, mod, None)))  # type: ignore[index]
    except (struct.error, TypeError):
        for name, record in zip(names, records, strict=True):
            if record is None:
                raise StoreCorrupted(f"Redis lists the key {name!r} of this store but holds no value for it") from None
            item(name.decode(), record)
        raise
    return found


def is_leased(record: bytes) -> bool:
    """Whether the key of this record ends with a lease."""
    return len(record) >= _HEADER_SIZE and record[_HEADER_SIZE - 1] > 0


def packed_revision(revision: int) -> bytes:
    """A revision as it stands in a record; one that can't be is packed as one that never is."""
    return struct.pack(">Q", revision if 0 <= revision < 1 << 63 else 0)


@dataclass(frozen=True, slots=True)
class Entry:
    """One transaction of the log: its revision, the one before, and what it changed.

    The entry that a store begins with follows itself.
    """

    revision: int
    follows: int
    changes: tuple[KeyValue | Deleted, ...]


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
        return Entry(revision, _follows(fields[1], revision), tuple(changes))
    except (ValueError, AssertionError, IndexError, AttributeError) as exc:
        raise StoreCorrupted(f"an entry of the log in Redis isn't one of Tenure's: {str(raw)[:80]}") from exc


def _follows(head: bytes, revision: int) -> int:
    """The revision before. Older versions wrote heads without it, and revisions without gaps."""
    parts = head.split(b" ")
    return int(parts[0]) if len(parts) == 3 else revision - 1


def lease_of(lease_id: LeaseId) -> str | None:
    """The lease's id in Redis, ``None`` for text that can't be one."""
    return lease_id if len(lease_id) == 16 and lease_id.isascii() and lease_id.isalnum() else None
