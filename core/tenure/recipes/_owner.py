"""Who holds something, as a text for people who look."""

from __future__ import annotations

import functools
import json
import os
import socket
from collections.abc import Mapping

from tenure._runtime.deadline import wall_clock

_ASKED = "asked"


@functools.cache
def _host() -> str:
    return socket.gethostname()


def owner_value(owner: str | None, **fields: str | int) -> bytes:
    """Return the value of a ticket: JSON with the owner, by default host and process id, and more fields."""
    return json.dumps({"owner": owner or f"{_host()}:{os.getpid()}", **fields}, ensure_ascii=False).encode()


def stamped(value: bytes) -> bytes:
    """Return a value of :func:`owner_value` with the time of day, by which people see how old it is.

    Nothing is decided by it. It is appended to the text: reading and writing JSON would be a tenth of a cycle's time.
    """
    return b'%b, "%b": %.3f}' % (value[:-1], _ASKED.encode(), wall_clock())


def asked_at(fields: Mapping[str, object]) -> float | None:
    """Return when a participant asked, in seconds since 1970 by its own clock."""
    asked = fields.get(_ASKED)
    return float(asked) if isinstance(asked, int | float) else None


def fields_of(value: bytes) -> dict[str, object]:
    """Return the fields of a ticket's value; none if another program wrote it."""
    try:
        fields = json.loads(value)
    except (ValueError, RecursionError):
        return {}
    return fields if isinstance(fields, dict) else {}
