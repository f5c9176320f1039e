"""The faults of a connection as data, by toxiproxy's names where it has one.

A toxic acts on one direction of every connection of a proxy until it is removed. Its docstring defines what counts as
an *effect*: a fault without effects has not happened. Times are seconds.
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
    """Refuse connections: present ones break, new ones are refused.

    Effects: connections broken, and one for being down.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeout:
    """Hold back all bytes, and close the connection ``timeout`` after the first of them.

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


@dataclass(frozen=True, slots=True, kw_only=True)
class BlackHole:
    """Hold back all bytes, and the ends of connections; when the toxic is removed, they arrive.

    In both directions it is a partition, in one direction a one-way partition. ``passes`` pieces and new connections
    get through before, in each direction. Effects: bytes held back, and connections that weren't made.
    """

    passes: int = 0


class CutPoint(StrEnum):
    """The point in an exchange of request and answer at which a connection breaks."""

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
class Late:
    """Break the client's connection under the next request that contains ``needle``, and keep the request.

    It arrives when the toxic is removed. The needle is found as with :class:`Cut`. Effects: the request that was kept,
    and its answer.
    """

    needle: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """Changes nothing. Effects: requests seen that contain ``needle``, as with :class:`Cut`."""

    needle: bytes


Toxic = Latency | Bandwidth | Down | Timeout | ResetPeer | Slicer | LimitData | BlackHole | Cut | Late | Sight


def spellings(needle: bytes) -> tuple[bytes, ...]:
    """Return how ``needle`` may look on the wire: raw, or in base64 at any of the three alignments."""
    if not needle:
        return (b"",)
    found = [needle]
    for lead in range(3):
        encoded = base64.b64encode(b"\0" * lead + needle)
        # The characters at either end share bits with the bytes beside the needle.
        first = (lead * 8 + 5) // 6
        last = (lead + len(needle)) * 8 // 6
        found.append(encoded[first:last])
    return tuple(found)
