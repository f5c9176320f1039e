"""Do something before the server's own handler of SIGTERM and SIGINT, such as draining while it still listens.

A server that sets its handlers with ``signal.signal``, such as uvicorn, has set them when the lifespan starts. The
chain takes their place and calls them later. A handler of an event loop can't be chained: the loop is woken up by the
signal's number, whatever function is set.
"""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable
from types import FrameType

_log = logging.getLogger("tenure.asgi")
_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_LOOPS = ("asyncio", "uvloop")
"""Modules of event loops; what they set as a handler does nothing itself."""

Handler = Callable[[int, FrameType | None], object]


class SignalChain:
    """Takes the place of the server's handlers until :meth:`restore`.

    ``first`` is called once, in the signal handler, so it may only hand work to the loop. Its work ends with
    :meth:`pass_on`. Another SIGINT meanwhile is passed on at once: a person at a terminal doesn't want to wait. Another
    SIGTERM is not: a supervisor and a parent process may each send one.
    """

    def __init__(self, first: Callable[[], object]) -> None:
        self._first = first
        self._before: dict[int, Handler] = {}
        self._held: int | None = None

    def install(self) -> bool:
        """Take the place of the server's handlers. Returns ``False`` if there are none that can be chained."""
        if threading.current_thread() is not threading.main_thread():
            return False  # such as a test's client, or a server that somebody runs in a thread
        found = {number: signal.getsignal(number) for number in _SIGNALS}
        server = found[signal.SIGTERM]
        if not callable(server):
            return False  # no server
        if getattr(server, "__module__", "").startswith(_LOOPS):
            _log.warning(
                "the server handles SIGTERM on its event loop: it closes its listeners before the instance is drained; "
                "call drain() before you send the signal, or use uvicorn"
            )
            return False
        for number, before in found.items():
            if callable(before):
                self._before[number] = before
                signal.signal(number, self._handle)
        return True

    def restore(self) -> None:
        """Put the server's handlers back, unless other code has taken their place."""
        for number, before in self._before.items():
            if signal.getsignal(number) == self._handle:
                signal.signal(number, before)
        self._before = {}

    def pass_on(self) -> None:
        """Call the server's handler of the signal that came."""
        if self._held is not None and self._held in self._before:
            self._before[self._held](self._held, None)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._held is None:
            self._held = number
            self._first()
        elif number == signal.SIGINT:
            self._before[number](number, frame)
