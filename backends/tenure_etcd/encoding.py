"""Between the SPI's values and etcd's: keys, prefixes, lease names, items.

Keys that aren't valid UTF-8 can only come from another application in the same etcd; they have no name in
Tenure, so conversions leave them out.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tenure.errors import LeaseNotFound
from tenure.spi.types import KeyValue, LeaseId

_LEASE_BITS = 63


def prefix_range(prefix: str) -> tuple[bytes, bytes]:
    """First key and end (exclusive) of all keys that start with ``prefix``, as etcd's ranges want them."""
    start = prefix.encode()
    # UTF-8 never has the byte 0xff, so adding one to the last byte can't overflow.
    return (start, start[:-1] + bytes((start[-1] + 1,))) if start else (b"\0", b"\0")


def item(kv: Any) -> KeyValue:
    """The SPI's form of etcd's ``KeyValue``. Raises ``UnicodeDecodeError`` for a key that isn't UTF-8."""
    lease = kv.lease
    return KeyValue(
        kv.key.decode(), kv.value, kv.create_revision, kv.mod_revision, lease_name(lease) if lease else None
    )


def items(kvs: Iterable[Any]) -> list[KeyValue]:
    """All of ``kvs`` whose keys are text, in the same order."""
    try:
        return [item(kv) for kv in kvs]
    except UnicodeDecodeError:
        return [item(kv) for kv in kvs if text(kv.key) is not None]


def text(key: bytes) -> str | None:
    """The key as text, ``None`` where it isn't UTF-8."""
    try:
        return key.decode()
    except UnicodeDecodeError:
        return None


def lease_name(number: int) -> LeaseId:
    """etcd's number of a lease as ``etcdctl`` prints it."""
    return f"{number:016x}"


def lease_number(lease_id: LeaseId) -> int | None:
    """The number behind a lease's name, ``None`` for a text that can't be one."""
    try:
        number = int(lease_id, 16)
    except ValueError:
        return None
    return number if 0 < number < 1 << _LEASE_BITS else None


def attached_lease(lease_id: LeaseId) -> int:
    """Like :func:`lease_number`, for a put: raises ``LeaseNotFound`` where no such lease can exist."""
    number = lease_number(lease_id)
    if number is None:
        raise LeaseNotFound(f"no lease {lease_id!r}: etcd's leases are named by sixteen hex digits")
    return number
