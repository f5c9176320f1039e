"""Who holds something, as a text for people who look."""

from __future__ import annotations

import functools
import json
import os
import socket
import sys
from collections.abc import Mapping

from tenure._runtime.deadline import wall_clock
from tenure._text import shown
from tenure.errors import InvalidArgument

_ASKED = "asked"
MOST = 10**18
"""The largest whole number that recipes write into their keys, or take from them."""
MOST_HISTORY = 10**15
"""The number of a store's history is less than this."""
_LEAST_FLOAT = -sys.float_info.max


@functools.cache
def _host() -> str:
    return socket.gethostname()


def owner_value(owner: str | None, **fields: str | int) -> bytes:
    """Return the value of a ticket: JSON with the owner, by default host and process id, and more fields.

    Raise ``InvalidArgument`` for what is no text, or can't be written as UTF-8.
    """
    wrong: list[object] = [text for text in fields.values() if not isinstance(text, str | int)]
    if wrong or not isinstance(owner, str | None):
        raise InvalidArgument(f"describing a participant: {shown((*wrong, owner)[0])} is no text; give a str")
    try:
        return json.dumps({"owner": owner or f"{_host()}:{os.getpid()}", **fields}, ensure_ascii=False).encode()
    except UnicodeEncodeError as exc:
        raise InvalidArgument(
            f"describing a participant: {exc.object[exc.start : exc.end]!r} can't be written as UTF-8; give a text "
            "without it"
        ) from exc


def stamped(value: bytes) -> bytes:
    """Return a value of :func:`owner_value` with the time of day, by which people see how old it is.

    Nothing is decided by it. It is appended to the text: reading and writing JSON would be a tenth of a cycle's time.
    """
    return b'%b, "%b": %.3f}' % (value[:-1], _ASKED.encode(), wall_clock())


def asked_at(fields: Mapping[str, object]) -> float | None:
    """Return when a participant asked, in seconds since 1970 by its own clock."""
    try:
        return finite(fields.get(_ASKED))
    except ValueError:
        return None


def fields_of(value: bytes) -> dict[str, object]:
    """Return the fields of a ticket's value; none if another program wrote it."""
    try:
        fields = json.loads(value)
    except (ValueError, RecursionError):
        return {}
    return fields if isinstance(fields, dict) else {}


def with_mark(value: bytes, mark: str) -> bytes:
    """Return a ticket's value with one more field, which is true."""
    return json.dumps({**fields_of(value), mark: True}).encode()  # ASCII: another's value may hold half a character


def decimal(number: int, key: str) -> bytes:
    """Return the text of a number in ``key``. Raise ``InvalidArgument`` for more digits than Python reads."""
    try:
        return str(number).encode()
    except ValueError as exc:
        raise InvalidArgument(
            f"writing {key!r}: the number would have {shown(number).removeprefix('a number of ')}, more than can be "
            "read again; add less, or delete the key"
        ) from exc


def whole(value: object) -> int:
    """Return a whole number of a JSON text. Raise ``ValueError`` if it is none, or larger than recipes count."""
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) > MOST:
        raise ValueError(f"{value!r:.40} is no whole number")
    return value


def finite(value: object) -> float:
    """Return a number of a JSON text, which may hold infinite ones. Raise ``ValueError`` if it is none."""
    if isinstance(value, int | float) and not isinstance(value, bool) and _LEAST_FLOAT <= value <= sys.float_info.max:
        return float(value)
    raise ValueError(f"{value!r:.40} is no number")
