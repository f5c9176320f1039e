"""Keys and prefixes as etcd has them: the same text, as bytes of UTF-8.

Keys that aren't valid UTF-8 can only come from another application in the same etcd. They have no name in
Tenure, so that reads and watches leave them out.
"""

from __future__ import annotations

from tenure.spi.types import WatchRequest


def prefix_range(prefix: str) -> tuple[bytes, bytes]:
    """First key and end (exclusive) of all keys that start with ``prefix``, as etcd's ranges want them."""
    start = prefix.encode()
    # UTF-8 never has the byte 0xff, so adding one to the last byte can't overflow.
    return (start, start[:-1] + bytes((start[-1] + 1,))) if start else (b"\0", b"\0")


def watched_range(request: WatchRequest) -> tuple[bytes, bytes]:
    """First key and end of what a watch is about; an empty end means the first key alone."""
    return (request.prefix.encode(), b"") if request.exact else prefix_range(request.prefix)


def key_of(raw: bytes) -> str | None:
    """The key that etcd has as ``raw``; ``None`` where it isn't UTF-8."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return None
