"""Start a thread in such a way that an exception of a signal handler, raised meanwhile, neither harms nor loses it.

``Thread.start`` keeps books of threads that are about to run. An exception of a signal handler inside of it makes the
books wrong: the new thread then dies by a ``KeyError`` before its first line, or the caller gets that in place of the
handler's exception. Handlers run on the main thread alone, so another thread starts the new one.
"""

from __future__ import annotations

import _thread
import queue
import threading

_LOOK_AGAIN = 0.05


def start_thread(thread: threading.Thread) -> None:
    """Start ``thread``. An exception of a signal handler passes, and ``thread`` then runs if it has an ``ident``.

    It raises what ``Thread.start`` raises if there are too many threads, or the interpreter is ending.

    Args:
        thread: a thread that has not been started.
    """
    if threading.get_ident() != threading.main_thread().ident:
        thread.start()
        return
    claimed: dict[str, bool] = {}
    ended: list[BaseException | None] = []
    woken: queue.SimpleQueue[None] = queue.SimpleQueue()

    def help_out() -> None:
        if not claimed.setdefault("started", True):
            return  # the caller was interrupted, and has given up
        try:
            thread.start()
        except BaseException as exc:  # noqa: BLE001 - raised in the caller
            ended.append(exc)
        else:
            ended.append(None)
        woken.put(None)

    def wait() -> None:
        while not ended:
            try:
                woken.get(timeout=_LOOK_AGAIN)
            except queue.Empty:
                continue

    try:
        _thread.start_new_thread(help_out, ())
        wait()
    except BaseException:
        if claimed.setdefault("started", False):
            wait()
        raise
    if ended[0] is not None:
        raise ended[0]
