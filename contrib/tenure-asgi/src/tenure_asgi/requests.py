"""The requests and websockets that are under way, so that a stop can end those that take too long."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Requests:
    """The tasks that serve requests, on one event loop."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self._cut: set[asyncio.Task[Any]] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    @contextmanager
    def under_way(self) -> Iterator[asyncio.Task[Any]]:
        """Count the current task within the block."""
        task = asyncio.current_task()
        assert task is not None, "an ASGI application runs in a task"
        self._tasks.add(task)
        try:
            yield task
        finally:
            self._tasks.discard(task)
            self._cut.discard(task)

    def cut(self) -> int:
        """Cancel all that are under way. Returns their number."""
        for task in self._tasks:
            self._cut.add(task)
            task.cancel("the application stops")
        return len(self._tasks)

    def was_cut(self, task: asyncio.Task[Any]) -> bool:
        """Whether :meth:`cut` has cancelled the task, rather than its client or the server."""
        return task in self._cut
