"""What becomes of open stores when the process is forked.

SQLite keeps, per process and file, a note of the locks that the process holds. A forked child inherits
the note but not the locks, so neither the inherited connections nor new ones to the same file can be trusted there.
Therefore idle connections are closed just before a fork and reopened on demand, and calls under way get a second to
finish. If one doesn't, the child leaks its copy on purpose (closing it could move the log into the file under locks
the child doesn't have), and refuses to open that file.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import weakref
from collections.abc import Iterable
from typing import Protocol


class Forkable(Protocol):
    """What this module calls of each open database. The names say when."""

    @property
    def closed(self) -> bool: ...

    def before_fork(self) -> None: ...

    def after_fork_in_parent(self) -> None: ...

    def after_fork_in_child(self) -> None: ...


FileIdentity = tuple[int, int] | None
"""Device and inode of a file; ``None`` for one that isn't there."""

_databases: tuple[weakref.ref[Forkable], ...] = ()  # replaced, never changed: a fork may come at any moment
_remembering = threading.RLock()
_leaked: list[sqlite3.Connection] = []  # never closed, see above and ``Database``
_distrusted: set[FileIdentity] = set()  # files whose locks this process has a wrong idea of
_forking: list[Forkable] = []


def remember(database: Forkable) -> None:
    """Prepare this database for every fork until it is closed."""
    global _databases  # noqa: PLW0603 - the process has one set of forks to prepare for
    with _remembering:
        alive = [reference for reference in _databases if (known := reference()) is not None and not known.closed]
        _databases = (*alive, weakref.ref(database))


def leak(connections: Iterable[sqlite3.Connection]) -> None:
    """Keep connections from ever being closed: the parent's in a child, and those to a log that was removed."""
    _leaked.extend(connections)


def is_leaked(connection: sqlite3.Connection) -> bool:
    """Whether this connection must never be closed."""
    return any(connection is each for each in _leaked)


def distrust(file: FileIdentity) -> None:
    """A call of the parent was using this file when the process was forked."""
    _distrusted.add(file)


def is_distrusted(file: FileIdentity) -> bool:
    """Whether this process must not open the file."""
    return file in _distrusted


def _before_fork() -> None:
    _remembering.acquire()
    _forking[:] = [database for reference in _databases if (database := reference()) is not None]
    for database in _forking:
        database.before_fork()


def _after_fork_in_parent() -> None:
    for database in _forking:
        database.after_fork_in_parent()
    _forking.clear()
    _remembering.release()


def _after_fork_in_child() -> None:
    for database in _forking:
        database.after_fork_in_child()
    _forking.clear()
    _remembering.release()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
