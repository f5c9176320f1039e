"""A channel to one address, whose state is known at any time: before a call, so that nothing is sent in vain.

gRPC's own errors don't tell: a server may answer with the very words that the client uses for a failed connection.
"""

from __future__ import annotations

import threading
import time
from collections import deque

import grpc

from tenure.plugin_kit import Deadline, Worker

_READY = grpc.ChannelConnectivity.READY
_LAST_LOOK, _MOMENT = 2.0, 0.01
"""Seconds that a close waits for gRPC's thread, which looks every 0.2 s, and between looks at that."""
_FAILED = (grpc.ChannelConnectivity.TRANSIENT_FAILURE, grpc.ChannelConnectivity.SHUTDOWN)


class Link:
    """Follows a channel's state. gRPC has a thread of its own for that, one for each channel.

    Args:
        channel: the channel, to one address. It begins to connect at once.
    """

    def __init__(self, channel: grpc.Channel) -> None:
        self.channel = channel
        self._state = grpc.ChannelConnectivity.IDLE
        self._changed = threading.Condition()
        channel.subscribe(self._follow, try_to_connect=True)

    def _follow(self, state: grpc.ChannelConnectivity) -> None:
        with self._changed:
            self._state = state
            self._changed.notify_all()

    @property
    def connected(self) -> bool:
        """Whether there is a connection."""
        return bool(self._state is _READY)

    def connect(self, seconds: float) -> bool:
        """Wait for a connection; not longer than until an attempt has failed. Returns whether there is one."""
        if self.connected:
            return True
        limit = Deadline(seconds)
        if self._state is grpc.ChannelConnectivity.IDLE:
            self._wake_up()
        with self._changed:
            self._changed.wait_for(lambda: self._state is _READY or self._state in _FAILED, limit.remaining())
            return self.connected

    def _wake_up(self) -> None:
        def nothing(_state: grpc.ChannelConnectivity) -> None: ...

        self.channel.subscribe(nothing, try_to_connect=True)
        self.channel.unsubscribe(nothing)

    def close(self) -> None:
        """Close the channel. Calls that are under way are cancelled."""
        self.leave()
        limit = Deadline(_LAST_LOOK)
        while self._is_looked_at() and not limit.expired:
            time.sleep(_MOMENT)
        self.channel.close()

    def leave(self) -> None:
        """Follow the state no longer. gRPC's thread ends soon; until then a close makes it fail with a traceback."""
        self.channel.unsubscribe(self._follow)

    def _is_looked_at(self) -> bool:
        state = getattr(self.channel, "_connectivity_state", None)  # gRPC tells it nowhere else
        return bool(getattr(state, "polling", False))


class Closer:
    """Closes links on a thread of its own.

    gRPC reports a call's end on the channel's thread. A close there waits for that thread without end if another event
    of the call is still to come. A caller that finds a link unused would wait for gRPC's threads, too.
    """

    def __init__(self) -> None:
        self._waiting: deque[Link] = deque()
        self._worker = Worker(self._run, name="tenure-grpc-close")

    def close(self, link: Link) -> None:
        """Close a link soon. Doesn't wait. Where no thread can be started, the next close tries again."""
        link.leave()
        self._waiting.append(link)
        self._worker.request()

    def wait(self, seconds: float) -> None:
        """Wait until all are closed, for at most N ``seconds``."""
        self._worker.request()
        limit = Deadline(seconds)
        while self._worker.running and not limit.expired:
            time.sleep(_MOMENT)

    def _run(self) -> None:
        while self._waiting:
            self._waiting.popleft().close()
