"""What an opened Redis promises, by what it says of itself. What it doesn't say counts as the worse of both."""

from __future__ import annotations

from tenure.spi.capabilities import Capabilities
from tenure_redis.server_settings import ServerSettings

MIN_TTL = 0.5
_MAX_VALUE = 4 << 20
"""Redis takes more, but each of the revisions kept in the log holds its values, and one thread serves everybody."""
_SLACK = 1.0
"""Half a second between ticks at most, a quarter for which a read trusts the last one, and the machine's share."""


def declare(settings: ServerSettings, *, failover: bool, silence: float) -> Capabilities:
    """Capabilities of a store. ``failover``: another server may take over with a copy that lags behind.

    Only ``appendfsync always`` is durable: with ``everysec`` the server answers up to two seconds before it has
    handed the data to the system, whenever its disk is busy.
    """
    alone = not failover and settings.replicas == 0
    return Capabilities(
        durable=alone and settings.aof is True and settings.fsync == "always",
        linearizable=alone,
        multi_process=True,
        consistent_list=True,
        consistent_pagination=False,
        lossless_watch=True,
        list_leases=True,
        unique_revisions=True,
        multi_get=True,
        prefix_delete=True,
        max_value_bytes=min(_MAX_VALUE, settings.largest_string - 4096),
        max_transaction_operations=1000,
        max_transaction_leases=1000,
        max_transaction_bytes=16 << 20,
        min_ttl=MIN_TTL,
        max_ttl=10 * 365 * 86_400.0,
        ttl_granularity=0.001,
        expiry_factor=1.0,
        expiry_slack=_SLACK,
        max_watch_latency=0.5,
        # It waits for an answer for the time a tick may block, plus the silence allowed.
        max_watch_failure_detection=silence + 1.0,
    )
