"""A mirror in a thread of the test's process, and what tests of it look at."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from typing import Any, Self

import tenure
from tenure.migration.mirror import Mirror
from tenure.migration.mirror_lock import NOT_MIRRORED

DEADLINE = 60.0
TTL = 30.0


class Running:
    """A mirror in a thread of this process; for use in ``with``, whose end stops it. ``error`` is what ended it."""

    def __init__(self, source: tenure.Store, target: tenure.Store, *, ttl: float = TTL) -> None:
        self._end = threading.Event()
        self._told: queue.SimpleQueue[tuple[str, dict[str, Any]]] = queue.SimpleQueue()
        self.error: tenure.TenureError | None = None
        self.mirror = Mirror(source, target, ttl=ttl, tell=self._tell, stop=self._end.wait)
        self._thread = threading.Thread(target=self._run)

    def _tell(self, kind: str, text: str, **fields: Any) -> None:
        assert text
        self._told.put((kind, fields))

    def _run(self) -> None:
        try:
            self.mirror.run()
        except tenure.TenureError as exc:
            self.error = exc
        self._told.put(("ended", {}))

    def until(self, wanted: str, **fields: Any) -> dict[str, Any]:
        """What is told next of this kind with these fields."""
        seen: list[tuple[str, dict[str, Any]]] = []
        while True:
            try:
                kind, found = self._told.get(timeout=DEADLINE)
            except queue.Empty:
                raise AssertionError(f"{wanted} was not told, but {seen}") from None
            seen.append((kind, found))
            if kind == wanted and fields.items() <= found.items():
                return found
            assert kind != "ended", (seen, self.error)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join(DEADLINE)
        assert not self._thread.is_alive()


def content(store: tenure.Store) -> dict[str, bytes]:
    return {item.key: item.value for item in store.list() if item.key not in NOT_MIRRORED}


def lease_of(store: tenure.Store, key: str) -> str:
    item = store.get(key)
    assert item is not None
    assert item.lease_id is not None
    return item.lease_id


def wait_until(store: tenure.Store, holds: Callable[[], bool]) -> None:
    """Wait for changes of ``store`` until it ``holds``."""
    deadline = time.monotonic() + DEADLINE
    with store.watch() as watch:
        while not holds():
            assert time.monotonic() < deadline, content(store)
            watch.next(1.0)


def equal(source: tenure.Store, target: tenure.Store) -> None:
    wait_until(target, lambda: content(target) == content(source))
