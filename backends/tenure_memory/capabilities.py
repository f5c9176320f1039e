"""What the memory store promises: everything but to outlive its process or to be seen from another."""

from __future__ import annotations

import math

from tenure.spi import Capabilities

CAPABILITIES = Capabilities(
    durable=False,
    linearizable=True,
    multi_process=False,
    consistent_list=True,
    consistent_pagination=True,
    lossless_watch=True,
    list_leases=True,
    unique_revisions=True,
    multi_get=True,
    prefix_delete=True,
    max_value_bytes=16 * 1024 * 1024,
    max_transaction_operations=10_000,
    max_transaction_leases=10_000,
    max_transaction_bytes=64 * 1024 * 1024,
    min_ttl=0.05,
    max_ttl=10 * 365 * 86_400.0,
    ttl_granularity=0.001,
    expiry_factor=1.0,
    expiry_slack=0.25,  # no reader sees an ended lease's keys; this is for the reaper's thread to get its turn
    max_watch_latency=0.1,
    max_watch_failure_detection=0.1,
)


def effective_ttl(ttl: float) -> float:
    """``ttl`` within the declared bounds, rounded up to the quantum (not by a float's last digit)."""
    steps = math.ceil(round(max(ttl, CAPABILITIES.min_ttl) / CAPABILITIES.ttl_granularity, 6))
    return round(steps * CAPABILITIES.ttl_granularity, 6)
