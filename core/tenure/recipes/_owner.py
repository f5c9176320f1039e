"""Who holds something, as a text for people who look."""

from __future__ import annotations

import functools
import json
import os
import socket


@functools.cache
def _host() -> str:
    return socket.gethostname()


def owner_value(owner: str | None) -> bytes:
    """Return the value of a ticket: JSON with the owner, by default host and process id."""
    return json.dumps({"owner": owner or f"{_host()}:{os.getpid()}"}, ensure_ascii=False).encode()
