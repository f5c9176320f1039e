"""A supervised thread: the one place where threads of stores are made.

* A start that fails is reported as an outage, which core tries again, and the next request tries again, too.
* An exception of any kind, ``SystemExit`` included, is reported as an error of the store. It never ends the thread in
  silence, and it doesn't end a lasting worker at all.
* A request is never missed: one that comes while the thread is leaving keeps it, or starts another one.
* A fork leaves the thread behind; the child's first request starts its own. At the end of the interpreter, when Python
  starts no thread any more, the error says so.
* An exception of a signal handler that interrupts a start leaves no thread half made
  (:mod:`tenure._runtime.thread_start`).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from tenure._runtime.exits import ending, no_threads
from tenure._runtime.fork import fork_generation
from tenure._runtime.monitor import Monitor
from tenure._runtime.thread_start import start_thread
from tenure.errors import PluginError, TenureError, Unavailable

_log = logging.getLogger("tenure.worker")
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0
"""Seconds between two runs of a lasting worker that fails."""


class Worker:
    """Runs a function on a daemon thread of its own, from when that is requested until the function returns.

    Args:
        run: does the work and returns when there is none left, or when :attr:`on_duty` is false.
        name: the thread's name.
        on_error: called on the thread with what ``run`` raised. An error that ``run`` did not translate arrives as
            ``PluginError``. Not called after :meth:`stop`. Without it errors are logged.
        lasting: whether ``run`` is called again, after a pause, when it has raised.
    """

    def __init__(
        self,
        run: Callable[[], object],
        *,
        name: str,
        on_error: Callable[[TenureError], object] | None = None,
        lasting: bool = False,
    ) -> None:
        self._run = run
        self._name = name
        self._on_error = on_error
        self._lasting = lasting
        self._lock = Monitor()
        self._thread: threading.Thread | None = None
        self._generation = fork_generation.value
        self._stopped: list[threading.Thread] = []
        self._requests = 0

    @property
    def running(self) -> bool:
        """Whether there is a thread. It may be about to leave: who has work for it calls :meth:`start` in any case."""
        return self._thread is not None and self._generation == fork_generation.value

    @property
    def on_duty(self) -> bool:
        """Whether the calling thread is this worker's and was not stopped. ``run`` returns soon when it is false."""
        return self._thread is threading.current_thread()

    def start(self, action: str) -> None:
        """Have ``run`` called, unless it runs: then it is called again if it returns without having seen the request.

        Args:
            action: what the caller is doing, such as ``"watching"``.

        Raises:
            Unavailable: no thread can be started now. The next call tries again.
            Unsupported: the interpreter is ending, and starts no thread any more.
        """
        with self._lock:
            self._requests += 1
            if self.running:
                return
            thread = threading.Thread(target=self._main, name=self._name, daemon=True)
            try:
                self._thread, self._generation = thread, fork_generation.value
                start_thread(thread)
            except BaseException as exc:
                self._thread = None  # one that was started all the same sees that it isn't on duty
                if not isinstance(exc, RuntimeError):
                    raise
                error = no_threads(action, exc) or Unavailable(
                    f"{action}: no thread can be started now ({exc}); raise the limit of threads"
                )
                raise error from exc

    def request(self) -> bool:
        """Have ``run`` called like :meth:`start`, for work that can wait for the next request if no thread starts.

        Returns:
            Whether there is a thread. If not, this was logged.
        """
        try:
            self.start("starting a thread")
        except TenureError as exc:
            quiet = isinstance(exc.__cause__, RuntimeError) and ending(exc.__cause__)
            _log.log(logging.DEBUG if quiet else logging.WARNING, "%s: %s", self._name, exc)
            return False
        return True

    def stop(self) -> None:
        """Take the thread off duty, without waiting for it. A later request starts another one."""
        with self._lock:
            thread, self._thread = self._thread, None
            if thread is not None:
                self._stopped = [*(old for old in self._stopped if old.is_alive()), thread]
            self._lock.notify_all()

    def join(self, seconds: float) -> None:
        """Wait for threads that were stopped, except for the calling one.

        Args:
            seconds: the longest wait for each, in seconds.
        """
        for thread in list(self._stopped):
            # One without an identity was not started yet, and will see that it isn't on duty.
            if thread is not threading.current_thread() and thread.ident is not None:
                thread.join(seconds)

    def _main(self) -> None:
        pause = _FIRST_PAUSE
        while self.on_duty:
            requests, failed = self._requests, False
            try:
                self._run()
            except BaseException as exc:  # noqa: BLE001 - SystemExit must not end what others depend on in silence
                failed = True
                self._report(exc)
            with self._lock:
                if not self.on_duty:
                    return
                if failed and self._lasting:
                    self._lock.wait(pause)
                    pause = min(pause * 2, _LONGEST_PAUSE)
                elif failed or requests == self._requests:
                    self._thread = None
                    return

    def _report(self, exc: BaseException) -> None:
        if not self.on_duty:
            _log.debug("%s: failed after it was stopped", self._name, exc_info=exc)
            return
        if self._on_error is None:
            _log.error("%s: failed", self._name, exc_info=exc)
            return
        error = exc if isinstance(exc, TenureError) else untranslated(self._name, exc)
        try:
            self._on_error(error)
        except BaseException:  # noqa: BLE001 - as above
            _log.exception("%s: reporting an error failed", self._name)


def untranslated(what: str, exc: BaseException) -> PluginError:
    """Return the error for an exception that a plugin should have translated.

    Args:
        what: what failed.
        exc: the exception.

    Returns:
        The error, with ``exc`` as its cause.
    """
    error = PluginError(
        f"{what}: failed with an untranslated {type(exc).__name__}: {exc}; report the traceback to the plugin's author"
    )
    error.__cause__ = exc
    return error
