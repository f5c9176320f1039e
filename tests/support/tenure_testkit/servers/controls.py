"""The controls over a test server that the conformance suite can use."""

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

from tenure.spi import KeyValue, Put
from tenure_testkit.servers.container import ServerContainer

if TYPE_CHECKING:
    from tenure.conformance import ServerControls
    from tenure_memory import MemoryServer


class MemoryBackup:
    """A copy of what a memory server has, which comes back with revisions of its own."""

    def __init__(self, server: "MemoryServer") -> None:
        self._server = server
        self._items: tuple[KeyValue, ...] = ()

    def back_up(self) -> None:
        """Keep the present keys; those on leases are left out, since leases end."""
        with self._server._monitor.alone("backing up"):
            self._items = tuple(item for item in self._server._state.under("") if item.lease_id is None)

    def restore(self) -> None:
        """Bring these keys back and no others, also while the server is paused."""
        self._server.lose_data()
        with self._server._monitor.alone("restoring"):
            self._server._write([Put(item.key, item.value) for item in self._items])


def file_controls(file: str) -> "ServerControls":
    """Of a store in an SQLite file: a backup and its restoration by SQLite's own means, while clients have it open."""
    from tenure.conformance import ServerControls

    def copy(source: str, target: str) -> None:
        with closing(sqlite3.connect(source, timeout=30)) as old, closing(sqlite3.connect(target, timeout=30)) as new:
            old.backup(new)

    return ServerControls(backup=lambda: copy(file, f"{file}.saved"), restore=lambda: copy(f"{file}.saved", file))


def memory_controls(name: str) -> "ServerControls":
    """Of the memory store with this name. Killed, it doesn't answer; there is no process to freeze."""
    import tenure_memory
    from tenure.conformance import ServerControls

    server = tenure_memory.server(name)
    backup = MemoryBackup(server)
    return ServerControls(
        kill=server.pause,
        start=server.resume,
        wipe=server.lose_data,
        cut=server.cut_watches,
        compact=server.compact,
        backup=backup.back_up,
        restore=backup.restore,
    )


def controls(server: ServerContainer | None, **others: Any) -> "ServerControls":
    """Kill, start, freeze and empty it, and whatever else it can do; none for a server that isn't ours."""
    from tenure.conformance import ServerControls

    if server is None:
        return ServerControls()
    return ServerControls(
        kill=server.kill, start=server.start, pause=server.pause, resume=server.resume, wipe=server.wipe, **others
    )
