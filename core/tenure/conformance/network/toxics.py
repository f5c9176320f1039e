"""The faults of a connection as data, by toxiproxy's names where it has one.

A toxic acts on one direction of every connection of a proxy for as long as it is there. What each counts as an
*effect* is said with it: a fault without effects has not happened. Times are seconds.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from enum import StrEnum


class Direction(StrEnum):
    """Which way the bytes go."""

    UP = "up"
    """From the client to the server: requests."""
    DOWN = "down"
    """From the server to the client: answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Everything arrives ``latency`` later, give or take ``jitter``. Effects: pieces delayed."""

    latency: float
    jitter: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Bandwidth:
    """At most ``rate`` bytes a second get through on each connection. Effects: bytes slowed down."""

    rate: float


@dataclass(frozen=True, slots=True)
class Down:
    """Nobody is there: connections break, new ones are refused. Effects: connections broken, and once for being
    down."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeout:
    """Nothing gets through, and ``timeout`` after the first byte that didn't the connection is closed.

    Effects: bytes lost.
    """

    timeout: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ResetPeer:
    """A connection breaks (RST, no orderly end) ``timeout`` after the next byte on it. Effects: connections broken."""

    timeout: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Slicer:
    """Everything arrives in pieces of ``size`` bytes, ``delay`` apart. Effects: pieces made."""

    size: int = 1
    delay: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitData:
    """A connection ends when ``bytes`` have passed. Effects: connections ended."""

    bytes: int


@dataclass(frozen=True, slots=True)
class BlackHole:
    """Nothing gets through, not even that a connection ended; when the toxic is taken away, what was held back
    arrives. On both directions it is a partition, on one of them a one-way partition. Effects: bytes held back, and
    connections that weren't made."""


class CutPoint(StrEnum):
    """Where in an exchange of request and answer a connection breaks."""

    BEFORE_REQUEST = "before_request"
    """The server never sees the request."""
    AFTER_REQUEST = "after_request"
    """The server gets the request; the client is cut off at once and never sees the answer."""
    AFTER_REPLY = "after_reply"
    """The server has answered, so the request was surely carried out; the client never sees the answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """Break the connection of the next request that contains ``needle``, at ``point``; ``times`` requests in all.

    The needle is found as it is, and in base64 wherever it begins; an empty needle is in every request. It belongs
    on the direction ``UP``. Effects: requests whose connection was broken there.
    """

    point: CutPoint
    needle: bytes = b""
    times: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """Changes nothing. Effects: requests seen that contain ``needle``, as with :class:`Cut`."""

    needle: bytes


Toxic = Latency | Bandwidth | Down | Timeout | ResetPeer | Slicer | LimitData | BlackHole | Cut | Sight


def spellings(needle: bytes) -> tuple[bytes, ...]:
    """How ``needle`` may look on the wire: raw, or inside a text of base64 at any of its three alignments."""
    if not needle:
        return (b"",)
    found = [needle]
    for lead in range(3):
        encoded = base64.b64encode(b"\0" * lead + needle)
        # The characters at either end share bits with whatever stands beside the needle.
        first = (lead * 8 + 5) // 6
        last = (lead + len(needle)) * 8 // 6
        found.append(encoded[first:last])
    return tuple(found)
