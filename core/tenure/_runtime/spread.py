"""How far apart the clients of one store come back after an outage, decided here for watches, leases and registrations.

All clients notice the end of an outage at about the same time. One that only resumes costs the server little, and comes
at the pace of :class:`~tenure._runtime.retry.Backoff`. One that has to read everything again costs as much as it reads.
A thousand of those at once would keep the server busy for so long that attempts fail, and begin again.

* **Reading again.** A client waits for a random part of the time in which :data:`FLEET` clients like itself can read,
  and half as long again. No client waits longer than the outage has lasted, or :data:`_SHORT` if that is longer: a
  short break stays short. Where the server is too busy to answer, the outage lasts, and so the clients spread further.
* **Leases.** Chance only ever makes a refresh earlier than its time, so it costs no lease.
* **Registrations.** Instances register again over a time that grows with the number of instances that are known.

This module has no clock and waits for nothing.
"""

from __future__ import annotations

import random
import weakref
from collections.abc import Callable

Chance = Callable[[], float]
"""Returns a number from 0 up to 1."""

FLEET = 1_000
"""Clients of one server that come back together without a herd. A client can't know how many others there are."""
LONGEST = 30.0
"""Seconds that a client waits at most before it reads again."""

_SECONDS_PER_KEY = 4e-6
_SECONDS_PER_BYTE = 1e-8
"""What a server needs to read a key and to send a byte, etcd or Redis on a common core; see ``tox -e fleet``."""
_ROOM = 1.5
"""A server that serves a fleet again has a third of its time left for writes and leases."""
_SHORT = 1.0
_SECONDS_PER_REGISTRATION = 0.001
_EARLIEST_RETRY = 0.5
_EARLIEST_REFRESH = 0.5
_SPARE = 64
"""Shares of watches that were dropped, at most, beside as many as live."""


class Share:
    """What one watch would have to read again: its keys, and the mean size of a key and its value."""

    __slots__ = ("__weakref__", "bytes_per_key", "keys")

    def __init__(self) -> None:
        self.keys = 0
        self.bytes_per_key = 0.0

    @property
    def seconds(self) -> float:
        """How long the server needs to read it once."""
        return self.keys * (_SECONDS_PER_KEY + self.bytes_per_key * _SECONDS_PER_BYTE)


class Spread:
    """What all watches of one client would have to read again. Thread-safe, and takes no lock.

    A watch that is dropped takes its share along: a finalizer has nothing to do that an interrupt could stop.
    """

    def __init__(self, chance: Chance = random.random) -> None:
        self._chance = chance
        self._shares: dict[int, weakref.ref[Share]] = {}
        self._most = _SPARE

    def add(self, share: Share) -> None:
        """Count ``share`` from now on, as long as its watch lives."""
        self._shares[id(share)] = weakref.ref(share)
        if len(self._shares) > self._most:
            for key, known in list(self._shares.items()):
                if known() is None and self._shares.get(key) is known:
                    self._shares.pop(key, None)
            self._most = 2 * len(self._shares) + _SPARE

    def remove(self, share: Share) -> None:
        """Count it no longer. Does nothing if it isn't counted."""
        self._shares.pop(id(share), None)

    def window(self, away: float) -> float:
        """Return over how many seconds clients like this one come back.

        Args:
            away: seconds since the client lost the store.

        Returns:
            Seconds, 0.0 if there is nothing to read.
        """
        shares = [known() for known in list(self._shares.values())]
        once = sum(share.seconds for share in shares if share is not None)
        return min(once * FLEET * _ROOM, LONGEST, max(away, _SHORT))

    def before_reading(self, away: float, *, first: bool) -> float:
        """Return how many seconds to wait before an attempt to read everything again.

        Args:
            away: seconds since the client lost the store.
            first: whether it is the first attempt since then. The next ones are spread already.

        Returns:
            Seconds.
        """
        window = self.window(away)
        chance = self._chance()
        return window * (chance if first else (1 + chance) / 2)


def before_refresh_again(longest: float, chance: float) -> float:
    """Return how many seconds after a refresh that has failed the next one is sent, at most ``longest``."""
    return longest * (_EARLIEST_RETRY + (1 - _EARLIEST_RETRY) * chance)


def before_refresh_after_outage(interval: float, chance: float) -> float:
    """Return how many seconds after the first refresh that succeeds the next one is sent, at most ``interval``.

    The outage has brought the refreshes of many clients together. They come apart again by this once.
    """
    return interval * (_EARLIEST_REFRESH + (1 - _EARLIEST_REFRESH) * chance)


def of_registrations(known: int, *, shortest: float, longest: float) -> float:
    """Return over how many seconds ``known`` instances register again, within the two limits."""
    return max(shortest, min(known * _SECONDS_PER_REGISTRATION, longest))
