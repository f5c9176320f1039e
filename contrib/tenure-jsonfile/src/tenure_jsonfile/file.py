"""The file on the disk: read without a lock, changed under one, replaced as a whole.

A change is written beside the file, flushed to the disk and moved over it. So whoever reads sees the state before or
after it and nothing between, and a crash at any moment leaves one of the two. Writers take turns by a lock on a file
of its own, which the system releases when its holder dies.
"""

from __future__ import annotations

import errno
import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from tenure.errors import (
    ConfigError,
    DeadlineExceeded,
    OutcomeUnknown,
    PermissionDenied,
    StoreCorrupted,
    StoreFull,
    TenureError,
    Unavailable,
)
from tenure.plugin_kit import monotonic
from tenure.spi import Clock
from tenure_jsonfile.state import State, dump, load, this_boot

T = TypeVar("T")

_LOOK_AGAIN = 0.002  # seconds between two tries for a lock that another process holds


class StateFile:
    """One state file, shared with all processes that have it open. Thread-safe."""

    def __init__(self, path: Path, clock: Clock, *, timeout: float) -> None:
        self.path = path
        self._lock_path = path.with_name(path.name + ".lock")
        self._clock = clock
        self._boot = this_boot()
        self._mutex = threading.Lock()  # threads of this process take turns without polling
        if path.is_dir() or not path.parent.is_dir():
            problem = "is a folder" if path.is_dir() else "is in a folder that doesn't exist"
            raise ConfigError(f"{path} {problem}: name a file in an existing folder, as in jsonfile:///tmp/state.json")
        with self._locked(timeout):
            if not path.exists():
                self._save(State(self._boot))
        self.read()

    def read(self) -> State:
        """The present state, leases that are overdue still in it."""
        try:
            text = self.path.read_bytes()
        except OSError as exc:
            raise _translated(exc, self.path) from exc
        try:
            return load(text, self._boot)
        except (ValueError, KeyError, TypeError, AttributeError) as exc:
            raise StoreCorrupted(
                f"{self.path} isn't a state file of tenure-jsonfile ({type(exc).__name__}: {exc}): "
                "restore it from a copy, or move it away to begin with an empty one"
            ) from exc

    def current(self, timeout: float) -> State:
        """The present state after every overdue lease was ended."""
        state = self.read()
        return self.update(lambda fresh: fresh, timeout) if state.overdue(self._clock.now()) else state

    def update(self, change: Callable[[State], T], timeout: float) -> T:
        """Run ``change`` on the present state and save what it did, alone among all writers.

        Overdue leases are ended first. What ``change`` raises is raised, and nothing of it is saved.
        """
        with self._locked(timeout):
            state = self.read()
            for lease_id in state.overdue(self._clock.now()):
                state.end_lease(lease_id)
            self._save_changed(state)
            answer = change(state)
            self._save_changed(state)
            return answer

    def _save_changed(self, state: State) -> None:
        if state.changed:
            self._save(state)
            state.changed = False

    @contextmanager
    def _locked(self, timeout: float) -> Iterator[None]:
        deadline = monotonic() + timeout
        if not self._mutex.acquire(timeout=timeout):
            raise DeadlineExceeded(f"{self.path}: another thread held the lock for {timeout:g} s; nothing was changed")
        try:
            try:
                lock = os.open(self._lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            except OSError as exc:
                raise _translated(exc, self._lock_path) from exc
            try:
                while not _try_lock(lock):
                    if monotonic() >= deadline:
                        raise DeadlineExceeded(
                            f"{self.path}: another process held the lock for {timeout:g} s; nothing was changed"
                        )
                    time.sleep(_LOOK_AGAIN)
                yield
            finally:
                # Closing alone wouldn't do if a child was forked meanwhile: it has the same open file.
                fcntl.flock(lock, fcntl.LOCK_UN)
                os.close(lock)
        finally:
            self._mutex.release()

    def _save(self, state: State) -> None:
        beside = self.path.with_name(self.path.name + ".new")
        if self.path.exists() and not self.path.is_file():
            raise ConfigError(f"{self.path}: it is a folder, a device or a pipe; name a file")
        try:
            with open(beside, "wb") as file:
                file.write(dump(state))
                file.flush()
                os.fsync(file.fileno())
            beside.replace(self.path)
        except OSError as exc:
            raise _translated(exc, self.path) from exc
        try:
            folder = os.open(self.path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as exc:
            raise OutcomeUnknown(f"{self.path} was replaced, but may not survive a power failure: {exc}") from exc


def _try_lock(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _translated(exc: OSError, path: Path) -> TenureError:
    if exc.errno in (errno.ENOSPC, errno.EDQUOT):
        return StoreFull(f"{path}: no room left on the disk; nothing was changed")
    if exc.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return PermissionDenied(f"{path}: {exc.strerror}; the file and its folder have to be writable")
    return Unavailable(f"{path}: {exc.strerror or exc}; nothing was changed")
