"""Ends leases in time while this backend has granted some: a thread that sleeps until the next one is due.

Whoever reads or writes ends what is overdue, and so does who watches. This is for a store that nobody touches: its
keys should go all the same, for people who look with ``psql``. The thread ends when no lease is left.
"""

from __future__ import annotations

import threading

from tenure.errors import TenureError
from tenure.plugin_kit import Monitor, monotonic, start_thread
from tenure_postgresql import encoding
from tenure_postgresql.context import BackendContext

_TIME = 2.0  # seconds for one look
_PAUSE = 1.0  # seconds after one that failed
_LEAST = 0.1
_MOST = 60.0


class LeaseReaper:
    """One backend's thread for leases."""

    def __init__(self, context: BackendContext) -> None:
        self._context = context
        self._changed = Monitor()
        self._thread: threading.Thread | None = None
        self._at: float | None = None  # of the monotonic clock: when something may be due
        self._closed = False

    def granted(self, ttl: float) -> None:
        """This backend has granted a lease."""
        with self._changed:
            if self._closed:
                return
            self._look_in(ttl)
            if self._thread is None or self._thread.ident is None:  # an interrupt may have kept it from starting
                self._thread = threading.Thread(target=self._run, name="tenure-postgresql-leases", daemon=True)
                start_thread(self._thread)
            else:
                self._changed.notify_all()

    def close(self) -> None:
        """End the thread; a look under way is interrupted by closing the pool first."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            thread = self._thread
        if thread is not None and thread.ident is not None and thread is not threading.current_thread():
            thread.join(_TIME + 1.0)

    def _run(self) -> None:
        while self._sleep():
            try:
                due = self._look()
            except TenureError:
                due = _PAUSE  # who uses the store is told; here it is enough to try again
            if due is not None:
                with self._changed:
                    self._look_in(max(due, _LEAST))

    def _look_in(self, seconds: float) -> None:
        at = monotonic() + min(seconds, _MOST)
        self._at = at if self._at is None else min(at, self._at)

    def _sleep(self) -> bool:
        """Until something may be due; false when the thread is to end."""
        with self._changed:
            while self._at is not None and not self._closed:
                left = self._at - monotonic()
                if left <= 0:
                    self._at = None
                    return True
                self._changed.wait(left)
            self._thread = None
            return False

    def _look(self) -> float | None:
        """End what is overdue; seconds until the next one is due, ``None`` without any."""
        action = "ending leases"
        for _ in range(2):
            row = self._context.rows(self._context.statements.due, timeout=_TIME, action=action)[0]
            due = None if row[0] is None else encoding.number(row[0]) / 1000
            if due is None or due > 0:
                break
            self._context.tick(timeout=_TIME, action=action)
        return due
