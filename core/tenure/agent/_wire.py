"""The format between the agent and the programs, version 1. ``core/docs/reference/agent-protocol.md`` describes it.

A message is four bytes with its length, most significant first, and as many bytes of JSON: an array whose first element
is the number that the program gave to its request, or 0. Nothing that arrives is trusted: a length beyond the bound or
a text that is no such message ends the connection, and nothing else.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from tenure import errors
from tenure.errors import TenureError, Unavailable
from tenure.spi.feed import Deleted
from tenure.spi.types import KeyValue

VERSION = 1
NAME = "tenure-agent"
MAX_REQUEST = 64 * 1024
"""Bytes of a message that a program sends."""
MAX_MESSAGE = 256 * 1024 * 1024
"""Bytes of a message that the agent sends: one entry with the largest value that any store takes fits."""
PART = 128 * 1024
"""Bytes of entries after which the agent begins another message, about."""
MARK = "agent:"
"""How the marks of agents begin: those of stores may come back to a program, too."""
_HEADER = 4

_KINDS = (
    "AuthenticationFailed",
    "Compacted",
    "ConfigError",
    "DeadlineExceeded",
    "HistoryReplaced",
    "InvalidArgument",
    "LimitExceeded",
    "PermissionDenied",
    "PluginError",
    "StoreCorrupted",
    "Unavailable",
    "Unsupported",
)
"""Errors that a message may name. Any other one arrives as ``Unavailable``."""


class Broken(Exception):
    """What arrived is no message of this format. Its text says why."""


def frame(*parts: bytes) -> tuple[bytes, ...]:
    """Return what is sent for a message whose JSON is in ``parts``, which are not copied."""
    return (sum(map(len, parts)).to_bytes(_HEADER, "big"), *parts)


def message(*elements: object) -> tuple[bytes, ...]:
    """Return what is sent for the array of ``elements``."""
    return frame(json.dumps(elements, separators=(",", ":")).encode())


class Splitter:
    """Cuts the bytes that arrive into messages, none longer than ``limit``."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._bytes = bytearray()

    def add(self, data: bytes) -> None:
        """Take bytes that have arrived."""
        self._bytes += data

    @property
    def missing(self) -> int:
        """Bytes that are missing for the next message, or for its length; at least 1."""
        have = self._bytes
        size = int.from_bytes(have[:_HEADER], "big") if len(have) >= _HEADER else 0
        return max(1, min(_HEADER + size - len(have), PART))

    def next(self) -> list[Any] | None:
        """Return the next whole message; ``None`` if it hasn't arrived yet. Raises :class:`Broken`."""
        have = self._bytes
        if len(have) < _HEADER:
            return None
        size = int.from_bytes(have[:_HEADER], "big")
        if size > self._limit:
            raise Broken(f"a message of {size} bytes, more than {self._limit}")
        if len(have) < _HEADER + size:
            return None
        body = bytes(have[_HEADER : _HEADER + size])
        del have[: _HEADER + size]
        try:
            found = json.loads(body)
        except (ValueError, RecursionError) as exc:
            raise Broken("a message isn't JSON") from exc
        if not isinstance(found, list) or not found or type(found[0]) is not int:
            raise Broken("a message isn't an array that begins with a number")
        return found


def groups(entries: Iterable[KeyValue | Deleted]) -> Iterator[bytes]:
    """Return the entries as JSON arrays of about :data:`PART` bytes each."""
    part: list[object] = []
    size = 0
    for entry in entries:
        if isinstance(entry, Deleted):
            part.append([entry.key, entry.revision])
            size += len(entry.key)
        else:
            key, value, create, mod, lease = entry
            part.append([key, _text(value), create, mod, lease])
            size += len(key) + len(value)
        size += 40
        if size >= PART:
            yield json.dumps(part, separators=(",", ":")).encode()
            part, size = [], 0
    if part:
        yield json.dumps(part, separators=(",", ":")).encode()


def _text(value: bytes) -> str | list[str]:
    """Values of registries are text, which needs no base64."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return [base64.b64encode(value).decode()]


def entries(found: Any) -> list[KeyValue | Deleted]:
    """Return the entries of an array that :func:`groups` made. Raises :class:`Broken`."""
    made: list[KeyValue | Deleted] = []
    try:
        for each in found:
            if len(each) == 2:
                made.append(Deleted(_str(each[0]), int(each[1])))
                continue
            key, value, create, mod, lease = each
            data = value.encode() if isinstance(value, str) else base64.b64decode(value[0], validate=True)
            made.append(KeyValue(_str(key), data, int(create), int(mod), None if lease is None else _str(lease)))
    except (TypeError, ValueError, LookupError, AttributeError, binascii.Error) as exc:
        raise Broken("an entry isn't one") from exc
    return made


def _str(found: Any) -> str:
    if not isinstance(found, str):
        raise TypeError
    return found


def error_words(error: TenureError) -> tuple[str, str]:
    """Return what a message says of an error: its kind and its text."""
    kind = next((each.__name__ for each in type(error).__mro__ if each.__name__ in _KINDS), Unavailable.__name__)
    return kind, str(error)


def error_of(words: Sequence[Any]) -> TenureError:
    """Return the error that :func:`error_words` described."""
    kind, text = (*map(str, words), "", "")[:2]
    made: TenureError = getattr(errors, kind if kind in _KINDS else Unavailable.__name__)(text)
    return made
