"""Do something before the process's own handler of SIGTERM, such as draining while its server still listens.

A handler runs in the middle of whatever the main thread does, so it only gives a word to another thread. That thread
does the work, and then has the main thread call the handler that was there before.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

_EXIT_STATUS = 128 + signal.SIGTERM
"""What a shell reports for a process that SIGTERM has ended."""


class SigtermChain:
    """Takes the place of the handler of SIGTERM until :meth:`restore`.

    ``first`` is called once, in the signal handler, so it may only put something into a ``SimpleQueue``. Later SIGTERMs
    are not passed on before :meth:`pass_on`: gunicorn repeats them until the worker has gone.
    """

    def __init__(self, first: Callable[[], object]) -> None:
        self._first = first
        self._before: Any = None
        self._installed = False
        self._held = False
        self._passing = False
        self._pid = os.getpid()

    def install(self) -> bool:
        """Take the handler's place. Returns ``False`` on a thread that can set no handler."""
        if threading.current_thread() is not threading.main_thread():
            return False
        self._before = signal.signal(signal.SIGTERM, self._handle)
        self._installed = True
        return True

    def restore(self) -> None:
        """Put the handler back that was there, unless other code has taken the place. For the main thread."""
        if not self._installed or threading.current_thread() is not threading.main_thread():
            return
        self._installed = False
        if signal.getsignal(signal.SIGTERM) == self._handle:
            signal.signal(signal.SIGTERM, self._before if self._before is not None else signal.SIG_DFL)

    def pass_on(self) -> None:
        """Have the main thread do what a SIGTERM did before: call the handler, or end the process by ``SystemExit``.

        May be called from any thread.
        """
        main = threading.main_thread().ident
        if self._installed and main is not None:
            self._passing = True
            signal.pthread_kill(main, signal.SIGTERM)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._pid != os.getpid() or self._passing:
            self._do_as_before(number, frame)
        elif not self._held:
            self._held = True
            self._first()

    def _do_as_before(self, number: int, frame: FrameType | None) -> None:
        if callable(self._before):
            self._before(number, frame)
        elif self._before is not signal.SIG_IGN:
            raise SystemExit(_EXIT_STATUS)  # `finally` runs, which the system's own way leaves out
