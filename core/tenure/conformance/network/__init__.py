"""User-space TCP proxy with toxics (toxiproxy's vocabulary), between client and server; it needs no rights.

::

    with Network.in_front_of(url) as network:
        store = tenure.connect(network.url)
        with network.add(Latency(latency=0.1), Direction.UP, Direction.DOWN) as slow:
            store.get("key")
        assert slow.effects
        network.cut()
"""

from tenure.conformance.network.applied import Applied, Together
from tenure.conformance.network.connection import Traffic
from tenure.conformance.network.network import BOTH, Network
from tenure.conformance.network.proxy import Proxy
from tenure.conformance.network.toxics import (
    Bandwidth,
    BlackHole,
    Cut,
    CutPoint,
    Direction,
    Down,
    Late,
    Latency,
    LimitData,
    ResetPeer,
    Sight,
    Slicer,
    Timeout,
    Toxic,
)

__all__ = [
    "BOTH",
    "Applied",
    "Bandwidth",
    "BlackHole",
    "Cut",
    "CutPoint",
    "Direction",
    "Down",
    "Late",
    "Latency",
    "LimitData",
    "Network",
    "Proxy",
    "ResetPeer",
    "Sight",
    "Slicer",
    "Timeout",
    "Together",
    "Toxic",
    "Traffic",
]
