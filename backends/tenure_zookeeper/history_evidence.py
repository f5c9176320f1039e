"""Whether the servers still have the history that this store has read, as far as a client of ZooKeeper can see.

ZooKeeper has no name for a history, and servers that lost their data count zxids from the beginning. Three things show
it. A server that has no peers answers with a lower zxid after a new connection. The leader of an ensemble and most of
its servers say that they are behind what they once answered this client (:func:`lost`). A node shows the mzxid that it
had, with another time of modification: the clock of the server distinguishes one write from every other.

While a connection lasts, its server lasts with its data. A commit after a lost connection reads its keys again before
it writes, so a revision that was read here is never taken for one of another history.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable

from tenure.errors import TenureError
from tenure.plugin_kit import Deadline, Monitor
from tenure.spi.plugin import Host
from tenure_zookeeper import encoding
from tenure_zookeeper.endpoints import Servers
from tenure_zookeeper.session import ask_server

_MOST_KEYS = 10_000
"""Keys remembered. A revision of one that was forgotten is compared by its number alone."""
_LOOK = 1.0
"""Seconds that one server has to say how far it is."""
_ZXID = re.compile(r"^Zxid: 0x([0-9a-f]+)$", re.MULTILINE)
_MODE = re.compile(r"^Mode: (\w+)$", re.MULTILINE)


class History:
    """The last write of each key that one backend has seen. Thread-safe."""

    def __init__(self) -> None:
        self._lock = Monitor()
        self._number = 0
        self._seen: dict[str, tuple[int, int]] = {}

    @property
    def name(self) -> str:
        """``Backend.history``: another text after each replacement that was noticed."""
        return str(self._number)

    def note(self, key: str, stat: encoding.Stat) -> None:
        """Remember the last write of a key as it was just seen."""
        self.note_all(((key, stat),))

    def note_all(self, found: Iterable[tuple[str, encoding.Stat]]) -> None:
        """The same for many keys."""
        with self._lock:
            for key, stat in found:
                mzxid, mtime = self._seen.get(key, (0, 0))
                if mzxid == stat.mzxid and mtime != stat.mtime:
                    self._forget()
                self._seen[key] = stat.mzxid, stat.mtime
            surplus = len(self._seen) - _MOST_KEYS
            if surplus > 0:
                for key in list(itertools.islice(self._seen, surplus + _MOST_KEYS // 4)):
                    del self._seen[key]

    def replaced(self) -> None:
        """The data are known to be lost or replaced: no revision that was read before counts."""
        with self._lock:
            self._forget()

    def _forget(self) -> None:
        self._number += 1
        self._seen = {}


def lost(endpoints: Servers, seen: int) -> bool:
    """Whether the servers say that they have lost what this client has seen, up to the zxid ``seen``.

    A leader has everything that was ever acknowledged. One that was replaced and doesn't know it has no majority, so
    most servers of the URL have to be behind as well, and none may be further.
    """
    answers = [answer for host in endpoints.hosts if (answer := _how_far(endpoints, host)) is not None]
    behind = all(zxid < seen for zxid, _ in answers)
    leads = any(mode in ("leader", "standalone") for _, mode in answers)
    return behind and leads and len(answers) * 2 > len(endpoints.hosts)


def _how_far(endpoints: Servers, host: Host) -> tuple[int, str] | None:
    """The zxid and the mode of a server, ``None`` for one that serves no clients or doesn't answer."""
    try:
        said = ask_server(endpoints, host, "srvr", Deadline(_LOOK))
    except (OSError, TenureError):
        return None
    zxid, mode = _ZXID.search(said), _MODE.search(said)
    return None if zxid is None or mode is None else (int(zxid[1], 16), mode[1])
