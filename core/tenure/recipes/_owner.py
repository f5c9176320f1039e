"""Who holds something, as a text for people who look."""

from __future__ import annotations

import functools
import json
import os
import socket


@functools.cache
def _host() -> str:
    return socket.gethostname()


def owner_value(owner: str | None, **fields: str | int) -> bytes:
    """Return the value of a ticket: JSON with the owner, by default host and process id, and more fields."""
    return json.dumps({"owner": owner or f"{_host()}:{os.getpid()}", **fields}, ensure_ascii=False).encode()


def fields_of(value: bytes) -> dict[str, object]:
    """Return the fields of a ticket's value; none if another program wrote it."""
    try:
        fields = json.loads(value)
    except (ValueError, RecursionError):
        return {}
    return fields if isinstance(fields, dict) else {}
