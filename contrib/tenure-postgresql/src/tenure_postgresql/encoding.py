"""Values as they go over the wire, in PostgreSQL's binary format: exact, and nothing has to be quoted.

Statements name the types of their parameters by casts, so what is sent here has to be of just that type.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

_TEXT, _BYTEA, _BIGINT = 25, 17, 20
_HEAD = struct.Struct("!iiIii")
_EMPTY_HEAD = struct.Struct("!iiI")
_LENGTH = struct.Struct("!i")
_NUMBER = struct.Struct("!q")
_NULL = _LENGTH.pack(-1)


def bigint(number: int) -> bytes:
    return _NUMBER.pack(number)


def text(word: str) -> bytes:
    return word.encode()


def texts(words: Sequence[str | None]) -> bytes:
    """A ``text[]``."""
    return _array(_TEXT, [None if word is None else word.encode() for word in words])


def byteas(values: Sequence[bytes]) -> bytes:
    """A ``bytea[]``."""
    return _array(_BYTEA, values)


def bigints(numbers: Sequence[int]) -> bytes:
    """A ``bigint[]``."""
    return _array(_BIGINT, [_NUMBER.pack(number) for number in numbers])


def number(raw: bytes | None) -> int:
    """An integer of whatever size; a missing one is an error."""
    if raw is None:
        raise ValueError("a number is NULL")
    return int.from_bytes(raw, "big", signed=True)


def flag(raw: bytes | None) -> bool:
    return raw == b"\x01"


def word(raw: bytes | None) -> str:
    """Text; a missing one is empty."""
    return (raw or b"").decode()


def words(raw: bytes | None) -> tuple[str, ...]:
    """A ``text[]`` without NULLs."""
    if raw is None:
        return ()
    dimensions = _LENGTH.unpack_from(raw)[0]
    if not dimensions:
        return ()
    count = _LENGTH.unpack_from(raw, 12)[0]
    found = []
    at = _HEAD.size
    for _ in range(count):
        length = _LENGTH.unpack_from(raw, at)[0]
        at += 4
        found.append(raw[at : at + length].decode())
        at += length
    return tuple(found)


def _array(kind: int, items: Sequence[bytes | None]) -> bytes:
    if not items:
        return _EMPTY_HEAD.pack(0, 0, kind)
    parts = [_HEAD.pack(1, int(None in items), kind, len(items), 1)]
    for item in items:
        if item is None:
            parts.append(_NULL)
        else:
            parts += (_LENGTH.pack(len(item)), item)
    return b"".join(parts)
