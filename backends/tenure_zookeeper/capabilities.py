"""What an opened ZooKeeper promises, and where its limits are."""

from __future__ import annotations

from tenure.spi.capabilities import Capabilities

_OVERHEAD = 20_480
"""Bytes of a packet left for paths: a key of 1,400 bytes may be 4,200 when encoded, and is named four times."""


def declare(
    *,
    may_lag: bool,
    max_packet_bytes: int,
    min_ttl: float,
    max_ttl: float,
    session_timeout: float,
    polling: float | None,
) -> Capabilities:
    """Capabilities for these limits in bytes and seconds. ``may_lag``: a read may be answered by a server that is
    behind another one; ``polling`` is the interval where watches have to poll."""
    return Capabilities(
        durable=True,
        linearizable=not may_lag,
        multi_process=True,
        consistent_list=False,
        consistent_pagination=False,
        # An event doesn't carry what was written: what changes twice in quick succession is read once.
        lossless_watch=False,
        list_leases=True,
        # A packet of reads, which servers with persistent watches have.
        multi_get=polling is None,
        max_value_bytes=max_packet_bytes - _OVERHEAD,
        max_transaction_operations=512,
        # A put on a lease goes over that lease's session, and a request goes over one.
        max_transaction_leases=1,
        # Each key is named up to four times, percent-encoded, so half a packet is left for them.
        max_transaction_bytes=max_packet_bytes // 2,
        min_ttl=min_ttl,
        max_ttl=max_ttl,
        ttl_granularity=0.001,
        expiry_factor=1.0,
        # The server looks for ended sessions once a tick; the shortest session is two ticks by default.
        expiry_slack=min_ttl / 2 + 1.0,
        max_watch_latency=0.5 if polling is None else polling * 2 + 0.5,
        # kazoo asks for a sign of life after a third of the session's time and gives up after another third.
        max_watch_failure_detection=session_timeout,
    )
