"""Between the SPI's values and etcd's messages: items, and the names of leases.

Items whose keys aren't valid UTF-8 are left out, see ``keys``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tenure.errors import LeaseNotFound
from tenure.spi.types import KeyValue, LeaseId
from tenure_etcd.keys import key_of

_LEASE_BITS = 63
_new = tuple.__new__


def item(kv: Any) -> KeyValue:
    """The SPI's form of etcd's ``KeyValue``. Raises ``UnicodeDecodeError`` for a key that isn't UTF-8."""
    lease = kv.lease
    return KeyValue(
        kv.key.decode(), kv.value, kv.create_revision, kv.mod_revision, lease_name(lease) if lease else None
    )


def items(kvs: Iterable[Any]) -> list[KeyValue]:
    """All of ``kvs`` whose keys are text, in the same order."""
    try:
        # As in ``item``, for a list costs as much as its items.
        return [
            _new(
                KeyValue,
                (
                    kv.key.decode(),
                    kv.value,
                    kv.create_revision,
                    kv.mod_revision,
                    lease_name(lease) if (lease := kv.lease) else None,
                ),
            )
            for kv in kvs
        ]
    except UnicodeDecodeError:
        return [item(kv) for kv in kvs if key_of(kv.key) is not None]


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
