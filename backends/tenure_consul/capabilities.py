"""What an opened Consul promises, by the settings that its agent tells."""

from __future__ import annotations

from tenure.spi.capabilities import Capabilities
from tenure_consul.server_settings import ServerSettings
from tenure_consul.transactions import MOST

MARGIN = 1.5
"""Seconds that an answer may take beyond the time that a long poll was asked to last."""
_AROUND = 64 * 1024
"""Bytes of a request left for what surrounds keys and values; those go as base64, four bytes for three."""


def poll_limit(wait: float) -> float:
    """Seconds after which a long poll of ``wait`` seconds should have answered: Consul adds up to a sixteenth."""
    return wait + wait / 16 + MARGIN


def declare(settings: ServerSettings, *, consistency: str, wait: float) -> Capabilities:
    """Capabilities of a store. Consul ends a session at twice its ttl, give or take the leader's timers."""
    bytes_at_once = max((settings.largest_request - _AROUND) * 3 // 4, 1024)
    return Capabilities(
        durable=not settings.dev,
        linearizable=consistency == "consistent",
        multi_process=True,
        consistent_list=True,
        consistent_pagination=False,
        lossless_watch=False,
        list_leases=True,
        multi_get=True,
        prefix_delete=True,
        max_value_bytes=min(settings.largest_value, bytes_at_once - 16 * 1024),
        max_transaction_operations=MOST,
        max_transaction_leases=MOST,
        max_transaction_bytes=bytes_at_once,
        min_ttl=settings.min_ttl,
        max_ttl=86_400.0,
        ttl_granularity=0.001,
        expiry_factor=2.0,
        expiry_slack=2.0,
        max_watch_latency=1.0,
        max_watch_failure_detection=poll_limit(wait) + 0.5,
    )
