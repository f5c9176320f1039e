"""A client in a process of its own, which executes commands from its pipe. Run it as a module with ``python -m``.

The suite stops the process (SIGSTOP) and resumes it, which it can't do to a thread. Each line of its input is a
command in JSON, each line of its output the answer. The URL comes by the pipe, never by the command line, since it may
contain a password. An error of the store is an answer too: ``{"error": "LeaseLost", ...}``. It ends with its input.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

from tenure._client.store import Store
from tenure.conformance.harness.face import FACES, Face
from tenure.errors import TenureError
from tenure.leases import Lease

_TIMEOUT = 10.0


class Client:
    """The store and the lease that the commands act on."""

    def __init__(self, face: Face) -> None:
        self._face = face
        self._store: Store | None = None
        self._lease: Lease | None = None
        self._lost = 0

    def do(self, command: dict[str, Any]) -> dict[str, Any]:
        """Execute one command and return its answer."""
        commands: dict[str, Callable[..., dict[str, Any]]] = {
            "open": self._open,
            "hold": self._hold,
            "state": self._state,
            "write": self._write,
            "replace": self._replace,
            "puts": self._puts,
            "leave": self._leave,
            "read": self._read,
        }
        try:
            return commands[command.pop("do")](**command)
        except TenureError as exc:
            return {"error": type(exc).__name__, "message": str(exc)}

    def close(self) -> None:
        """Close the store, which revokes the lease."""
        if self._store is not None:
            self._store.close()
        self._face.close()

    @property
    def _opened(self) -> Store:
        if self._store is None:
            raise SystemExit("the first command is 'open'")
        return self._store

    def _open(self, url: str) -> dict[str, Any]:
        self._store = self._face.connect(url, timeout=_TIMEOUT)
        return {}

    def _hold(self, key: str, value: str, ttl: float) -> dict[str, Any]:
        """Grant a lease, keep it alive, and put a key on it."""
        self._lease = self._opened.lease(ttl, on_lost=self._count)
        revision = self._opened.put_if_absent(key, value.encode(), lease=self._lease).revision
        return {
            "revision": revision,
            "ttl": self._lease.ttl,
            "max_lifetime_after_refresh": self._lease.max_lifetime_after_refresh,
        }

    def _count(self, lease: Lease) -> None:
        self._lost += 1

    def _state(self) -> dict[str, Any]:
        """Return the lease's state, without a call to the store, and the number of ``on_lost`` calls."""
        return {"state": "none" if self._lease is None else self._lease.state.value, "lost_calls": self._lost}

    def _write(self, key: str, value: str) -> dict[str, Any]:
        return {"revision": self._opened.put(key, value.encode(), lease=self._lease).revision}

    def _puts(self, key: str, value: str, count: int, lease: str | None = None) -> dict[str, Any]:
        """Put a key repeatedly, on a lease that another process may hold."""
        data = value.encode()
        return {"revisions": [self._opened.put(key, data, lease=lease).revision for _ in range(count)]}

    def _leave(self, key: str, value: str, ttl: float) -> dict[str, Any]:
        """Put a key on a lease that is not kept alive."""
        lease = self._opened.lease(ttl, keep_alive=False)
        self._opened.put(key, value.encode(), lease=lease)
        return {"ttl": lease.ttl, "max_lifetime_after_refresh": lease.max_lifetime_after_refresh}

    def _read(self, key: str) -> dict[str, Any]:
        """Return the value as get and list show it; the values differ only in a broken store."""
        item = self._opened.get(key)
        listed = {each.key: each.value for each in self._opened.list(key)}
        found = None if item is None else item.value.decode()
        return {"value": found if listed.get(key) == (item and item.value) else f"{found!r}, listed {listed!r}"}

    def _replace(self, key: str, value: str, revision: int) -> dict[str, Any]:
        return {"revision": self._opened.put_if_unchanged(key, value.encode(), revision=revision).revision}


def _advance_clock(seconds: float) -> None:
    """Let the wall clock of this process be ahead; the one that counts from the machine's start isn't concerned."""
    now, now_ns = time.time, time.time_ns
    time.time = lambda: now() + seconds
    time.time_ns = lambda: now_ns() + int(seconds * 1e9)


def main() -> None:
    """Answer each line of the input, until it ends.

    The arguments are the face that it uses, and by how many seconds the wall clock is ahead.
    """
    face, ahead = sys.argv[1:]
    _advance_clock(float(ahead))
    client = Client(FACES[face]())
    try:
        for line in sys.stdin:
            print(json.dumps(client.do(json.loads(line))), flush=True)
    finally:
        client.close()


if __name__ == "__main__":
    main()
