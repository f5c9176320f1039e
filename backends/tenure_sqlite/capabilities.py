"""What a SQLite store promises."""

from __future__ import annotations

import math

from tenure.spi import Capabilities

MIN_TTL = 0.1
TTL_QUANTUM = 0.001


def declare(*, poll: float) -> Capabilities:
    """``poll`` is how often other processes' commits are looked for."""
    return Capabilities(
        durable=True,
        linearizable=True,
        multi_process=True,
        consistent_list=True,
        consistent_pagination=False,
        lossless_watch=True,
        list_leases=True,
        unique_revisions=True,
        multi_get=True,
        prefix_delete=True,
        max_value_bytes=16 * 1024 * 1024,
        max_transaction_operations=10_000,
        max_transaction_leases=10_000,
        max_transaction_bytes=64 * 1024 * 1024,
        min_ttl=MIN_TTL,
        max_ttl=10 * 365 * 86_400.0,
        ttl_granularity=TTL_QUANTUM,
        expiry_factor=1.0,
        expiry_slack=0.5,  # no reader sees an ended lease's keys; this is for a reaper's thread to get its turn
        max_watch_latency=poll + 0.25,
        max_watch_failure_detection=poll + 1.5,  # a file that was removed or replaced; there is no server to lose
    )


def effective_ttl(ttl: float) -> float:
    """``ttl`` within the declared bounds, rounded up to the quantum (not by a float's last digit)."""
    steps = math.ceil(round(max(ttl, MIN_TTL) / TTL_QUANTUM, 6))
    return round(steps * TTL_QUANTUM, 6)
