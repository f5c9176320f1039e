"""Signs that another process has written: Linux tells of changes to files by inotify, so that nobody polls for them.

A sign says that something was written, and comes a moment before the commit can be read. So whoever is told looks again
and again for a short while, at growing distances. Signs get lost seldom, and are no replacement for looking at times.

The folder is watched rather than the file: SQLite removes and makes its write-ahead log as processes come and go. Where
there is no inotify, or no more of it (a user has 128 by default), there are no signs.
"""

from __future__ import annotations

import ctypes
import os
import select
import struct
from collections.abc import Callable
from functools import cache

from tenure.plugin_kit import Monitor, Worker

_CLOSE_ON_EXEC, _NO_WAIT = os.O_CLOEXEC, os.O_NONBLOCK
_MODIFIED, _MOVED_HERE, _CREATED, _DELETED = 0x2, 0x80, 0x100, 0x200
_HEADER = struct.Struct("iIII")
_READ = 1 << 16
_PAUSE = 2
"""Milliseconds."""
_LONGEST_END = 10.0
"""Seconds that a close waits for the thread, which ends at once unless the machine is very busy."""


class WriteSigns:
    """Calls ``tell`` when a file named like ``path`` changes, from a thread of its own, until :meth:`close`.

    Args:
        path: the database's file.
        tell: called for each burst of changes. It must not block.
    """

    def __init__(self, path: str, tell: Callable[[], object]) -> None:
        folder, name = os.path.split(os.path.realpath(path))
        self._names = {os.fsencode(name + suffix) for suffix in ("", "-wal")}
        self._tell = tell
        self._lock = Monitor()
        self._inotify = self._stop = -1
        self._worker = Worker(self._run, name="tenure-sqlite-signs", on_error=lambda error: None)
        self.working = False
        """Whether changes are told."""
        try:
            self._inotify = _inotify(folder)
            self._stop = os.eventfd(0, os.EFD_CLOEXEC)
            self.working = True
            self._worker.start("watching")
        except Exception:  # noqa: BLE001 - whatever it is, looking at times does as well
            self._give_back()

    def close(self) -> None:
        """Tell nothing any more, and end the thread."""
        self._worker.stop()
        with self._lock:
            self.working = False
            if self._stop >= 0:
                os.eventfd_write(self._stop, 1)
        self._worker.join(_LONGEST_END)

    def _give_back(self) -> None:
        """Close the descriptors: by the thread that waits for them, or if there is none."""
        with self._lock:
            self.working = False
            for descriptor in (self._inotify, self._stop):
                if descriptor >= 0:
                    os.close(descriptor)
            self._inotify = self._stop = -1

    def _run(self) -> None:
        try:
            self._watch(self._inotify, self._stop)
        finally:
            self._give_back()

    def _watch(self, inotify: int, stop: int) -> None:
        signs, end = select.poll(), select.poll()
        signs.register(inotify, select.POLLIN)
        for poll in (signs, end):
            poll.register(stop, select.POLLIN)
        while self._worker.on_duty:
            if any(descriptor == stop for descriptor, _ in signs.poll()):
                return
            if self._mine(os.read(inotify, _READ)):
                self._tell()
                # Those who write without a pause don't wake this thread for each write: one sign has them looked for.
                if end.poll(_PAUSE):
                    return

    def _mine(self, events: bytes) -> bool:
        """Whether any of the events is about the database. One without a name says that some were dropped."""
        at = 0
        while at < len(events):
            length = _HEADER.unpack_from(events, at)[3]
            at += _HEADER.size + length
            if not length or events[at - length : at].rstrip(bytes(1)) in self._names:
                return True
        return False


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _inotify(folder: str) -> int:
    """Return a descriptor that tells of changes in ``folder``. Raises if the system has none to give."""
    libc = _libc()
    descriptor = libc.inotify_init1(_CLOSE_ON_EXEC | _NO_WAIT)
    if descriptor < 0:
        raise OSError(ctypes.get_errno(), "inotify_init1")
    if libc.inotify_add_watch(descriptor, os.fsencode(folder), _MODIFIED | _MOVED_HERE | _CREATED | _DELETED) < 0:
        os.close(descriptor)
        raise OSError(ctypes.get_errno(), "inotify_add_watch")
    return int(descriptor)
