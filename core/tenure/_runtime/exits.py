"""The end of the interpreter, and of a signal handler: when nothing can be started, and when something has to wait."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from tenure._runtime.thread_start import start_thread
from tenure.errors import TenureError, Unsupported

_log = logging.getLogger("tenure")


def ending(error: RuntimeError) -> bool:
    """Whether ``error`` says that the interpreter is ending.

    From Python 3.12 on no thread can be started then. On each Python some modules can't be imported any more.
    """
    return any(words in str(error) for words in ("interpreter shutdown", "register atexit after shutdown"))


def no_threads(action: str, error: Exception) -> TenureError | None:
    """Return what to raise for ``error`` if it says that the interpreter is ending; else ``None``."""
    if isinstance(error, RuntimeError) and ending(error):
        return Unsupported(
            f"{action}: the interpreter is ending, and Python starts no thread any more; do it before the program ends"
        )
    return None


def after_interrupted_call(function: Callable[[], object], what: str) -> None:
    """Run ``function`` on another thread, for a signal handler or ``__del__`` that must not wait.

    ``function`` waits for what the interrupted call holds. The interpreter waits for the thread at its end, so that
    a handler may end the program.
    """

    def run() -> None:
        try:
            function()
        except Exception as exc:  # noqa: BLE001 - there is no caller any more
            _log.warning("%s, called in the middle of another call, failed: %s", what, exc)

    try:
        start_thread(threading.Thread(target=run, name="tenure-after-call", daemon=False))
    except RuntimeError as exc:
        _log.warning("%s, called in the middle of another call: no thread can be started for it: %s", what, exc)
