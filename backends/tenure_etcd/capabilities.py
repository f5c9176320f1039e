"""What an opened etcd promises, and where its limits are.

The limits are etcd's defaults; a server can't be asked for them, so the URL says where they were changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tenure.spi.capabilities import Capabilities

_REQUEST_SHARE = 0.97
"""Part of a request left for keys and values; the rest is framing: some 40 bytes for each of 128 operations,
their preconditions, and the headers that the server adds before it measures."""

_MAX_TTL = 9_000_000_000.0
"""Larger ones are refused by the server."""


def declare(options: Mapping[str, Any]) -> Capabilities:
    """Capabilities of a store opened with these URL options."""
    transaction_bytes = int(options["max_request_bytes"] * _REQUEST_SHARE)
    return Capabilities(
        durable=True,
        linearizable=True,
        multi_process=True,
        consistent_list=True,
        consistent_pagination=True,
        lossless_watch=True,
        list_leases=True,
        multi_get=True,
        prefix_delete=True,
        max_value_bytes=transaction_bytes - 4096,
        # etcd counts compares and operations apart and allows so many of each; together is the safe reading.
        max_transaction_operations=options["max_txn_ops"],
        max_transaction_leases=options["max_txn_ops"],
        max_transaction_bytes=transaction_bytes,
        min_ttl=options["min_ttl"],
        max_ttl=_MAX_TTL,
        ttl_granularity=1.0,
        expiry_factor=1.0,
        # The leader looks for ended leases twice a second, then the revocation is a raft proposal like any other.
        expiry_slack=1.5,
        max_watch_latency=0.5,
        max_watch_failure_detection=options["keepalive"] + options["keepalive_timeout"] + 1.0,
    )
