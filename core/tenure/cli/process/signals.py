"""Take signals one by one, in order, in the main thread: there are no handlers that interrupt other code.

While a :class:`SignalInbox` is open, the signals are blocked, also in threads started meanwhile. A thread of its own
receives them, and they wait until the main thread takes them. A signal that the parent ignored (``nohup``, background
jobs of a shell) stays ignored.

The main thread doesn't receive them itself, by ``signal.sigtimedwait``: if the process is stopped and continued, and
the time is up by then, that returns signals which nobody has sent (seen with Python 3.11).
"""

from __future__ import annotations

import queue
import signal
import threading
from types import TracebackType
from typing import Self

from tenure._runtime.deadline import monotonic

ENDING = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGQUIT})
"""Signals that ask a program to end."""

PASSED_ON = frozenset({signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2})
"""Other signals that mean something to the program that is run."""

_FROM_KERNEL = 128  # si_code SI_KERNEL: a key pressed on the terminal, sent to its whole foreground group


class Ended(Exception):
    """A signal that ends the program came while there was nothing to clean up. Has its number."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class SignalInbox:
    """Signals that arrived, for use in ``with``, from the main thread, before other threads are started."""

    def __init__(self) -> None:
        wanted = ENDING | PASSED_ON
        self._signals = {number for number in wanted if signal.getsignal(number) is not signal.SIG_IGN}
        self._signals.add(signal.SIGCHLD)
        self._before: set[int] = set()
        self._taken: queue.SimpleQueue[signal.struct_siginfo | None] = queue.SimpleQueue()
        self._closing = False
        self._receiver = threading.Thread(target=self._receive, name="tenure-signals", daemon=True)

    def __enter__(self) -> Self:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # a parent that ignores it would take our children's exit codes
        self._before = {int(number) for number in signal.pthread_sigmask(signal.SIG_BLOCK, self._signals)}
        self._receiver.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._closing = True
        assert self._receiver.ident is not None
        signal.pthread_kill(self._receiver.ident, signal.SIGCHLD)  # to it: other threads may not block it
        self._receiver.join()
        while signal.sigtimedwait(self._signals, 0) is not None:
            pass  # a signal that came during the clean-up asked for the same
        signal.pthread_sigmask(signal.SIG_SETMASK, self._before)

    def take(self, seconds: float | None) -> signal.struct_siginfo | None:
        """Wait for the next signal, at most this long (``None``: indefinitely). ``None``: none, or :meth:`wake`."""
        try:
            return self._taken.get(timeout=None if seconds is None else max(0.0, seconds))
        except queue.Empty:
            return None

    def wake(self) -> None:
        """End the present or the next :meth:`take`. Any thread may call it."""
        self._taken.put(None)

    def _receive(self) -> None:
        while True:
            taken = signal.sigwaitinfo(self._signals)
            if self._closing:
                return
            self._taken.put(taken)

    def pause(self, seconds: float) -> None:
        """Sleep; raises :class:`Ended` at once when a signal asks to end."""
        deadline = monotonic() + seconds
        while True:
            taken = self.take(deadline - monotonic())
            if taken is None:
                return
            if taken.si_signo in ENDING or taken.si_signo == signal.SIGHUP:
                raise Ended(taken.si_signo)


def typed_on_terminal(taken: signal.struct_siginfo) -> bool:
    """Whether the signal came from a key of the terminal: then the command that is run has got it already."""
    return taken.si_code == _FROM_KERNEL
