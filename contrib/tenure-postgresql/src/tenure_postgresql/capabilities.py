"""What an opened PostgreSQL promises, by the settings that its server says it has."""

from __future__ import annotations

from tenure.spi import Capabilities
from tenure_postgresql.server_settings import ServerSettings


def declare(settings: ServerSettings, *, failover: bool, poll: float, silence: float) -> Capabilities:
    """Capabilities of a store. ``failover``: another server may take over with a copy that lags behind.

    With several hosts a replica may have less than its primary had acknowledged, unless it is a synchronous one. An
    old primary that doesn't know yet that it was replaced may continue to answer.
    """
    return Capabilities(
        durable=settings.flushes
        and (not failover or (bool(settings.standbys) and settings.synchronous_commit != "local")),
        linearizable=not failover,
        multi_process=True,
        consistent_list=True,
        consistent_pagination=False,  # PostgreSQL keeps old rows only for transactions that are open
        lossless_watch=True,
        list_leases=True,
        unique_revisions=True,
        multi_get=True,
        prefix_delete=True,
        max_value_bytes=4 << 20,
        max_transaction_operations=1000,
        max_transaction_leases=1000,
        max_transaction_bytes=16 << 20,
        min_ttl=0.5,
        max_ttl=10 * 365 * 86_400.0,
        ttl_granularity=0.001,
        expiry_factor=1.0,
        expiry_slack=poll + 0.5,
        max_watch_latency=0.5,
        # The wait for a tick, then the wait for its answer.
        max_watch_failure_detection=poll + silence + 0.5,
    )
