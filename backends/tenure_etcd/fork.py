"""Lets a process fork while its stores are in use.

A fork in the middle of a gRPC call copies locks of gRPC's core in whatever state they are, and crashes or
hangs the child when it opens a store of its own. So every call passes a gate: before a fork all gates are
held until the calls in flight have ended (two seconds at most, a hung server mustn't hang the fork), after it
the parent's open again. Streams that wait for the server stay open: measured to be harmless in both processes.
The child never touches what it inherited, not even to free it. Core refuses inherited stores anyway.

gRPC polls by ``poll`` (``etcd3_import``): with epoll, a child of a process that had a stream open died by SIGABRT when
it connected. ``GRPC_ENABLE_FORK_SUPPORT`` prevents that too, but closes what the child inherited and cost a lease in
the parent; it is left alone.
"""

from __future__ import annotations

import os
import weakref
from typing import Any

from tenure.errors import StoreClosed
from tenure.plugin_kit import Monitor, monotonic

_DRAIN_SECONDS = 2.0

_gates: weakref.WeakSet[Gate] = weakref.WeakSet()
_inherited: list[object] = []
"""In a child: what must never be freed, since freeing would talk to gRPC threads that only the parent has."""


class Gate:
    """Counts the calls in flight; held during a fork, shut for good at close."""

    def __init__(self) -> None:
        self._condition = Monitor()
        self._in_flight = 0
        self._held = False
        self._shut = False
        self._kept: Any = None
        self.forked = False
        _gates.add(self)

    def keep(self, resource: object) -> None:
        """Name what a child must not free."""
        self._kept = resource

    def enter(self) -> None:
        """Begin a call. Raises ``StoreClosed`` after :meth:`shut`."""
        with self._condition:
            while self._held:
                self._condition.wait()
            if self._shut:
                raise StoreClosed("this store was closed")
            self._in_flight += 1

    def leave(self) -> None:
        """End a call."""
        with self._condition:
            self._in_flight -= 1
            if self._held and not self._in_flight:
                self._condition.notify_all()

    @property
    def is_shut(self) -> bool:
        """Whether :meth:`shut` was called."""
        return self._shut

    def shut(self) -> bool:
        """Let no further call begin. Answers whether this was the first time."""
        with self._condition:
            first, self._shut = not self._shut, True
            return first

    def hold(self, until: float) -> None:
        """Stop new calls and wait for the ones in flight, at most ``until`` on the monotonic clock."""
        with self._condition:
            self._held = True
            while self._in_flight and (remaining := until - monotonic()) > 0:
                self._condition.wait(remaining)

    def release(self) -> None:
        """Let calls begin again."""
        with self._condition:
            self._held = False
            self._condition.notify_all()

    def abandon(self) -> None:
        """In a child: the lock may be held by a thread that isn't here, and the calls are the parent's."""
        self._condition = Monitor()
        self._in_flight, self._held, self._shut, self.forked = 0, False, True, True
        _inherited.append(self._kept)


def _before() -> None:
    until = monotonic() + _DRAIN_SECONDS
    for gate in list(_gates):
        gate.hold(until)


def _after_in_parent() -> None:
    for gate in list(_gates):
        gate.release()


def _after_in_child() -> None:
    for gate in list(_gates):
        gate.abandon()


os.register_at_fork(before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child)
