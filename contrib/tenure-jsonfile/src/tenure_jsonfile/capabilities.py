"""What a JSON file promises."""

from __future__ import annotations

from tenure.spi import Capabilities


def declare(*, poll: float) -> Capabilities:
    """``poll``: seconds between two looks of a watch."""
    return Capabilities(
        durable=True,
        linearizable=True,
        multi_process=True,
        consistent_list=True,
        consistent_pagination=False,  # the file has no past
        lossless_watch=False,  # a watch sees the states it happens to look at
        list_leases=False,
        unique_revisions=True,  # also if the file is replaced by an older copy
        multi_get=True,
        prefix_delete=True,
        max_value_bytes=1024 * 1024,
        max_transaction_operations=1000,
        max_transaction_leases=1000,
        max_transaction_bytes=4 * 1024 * 1024,
        min_ttl=0.5,
        max_ttl=365 * 86_400.0,
        ttl_granularity=0.001,
        expiry_factor=1.0,
        expiry_slack=0.25,
        max_watch_latency=poll + 0.5,
        max_watch_failure_detection=poll + 2.5,
    )
