"""Start a thread in such a way that an exception of a signal handler, raised meanwhile, neither harms nor loses it.

``Thread.start`` keeps books of threads that are about to run. An exception of a signal handler inside of it makes the
books wrong: the new thread then dies by a ``KeyError`` before its first line, or the caller gets that in place of the
handler's exception. The same is true of an exception that a time limit sets in a thread. So a thread that no such
exception can know starts the new one.
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
    claimed: dict[str, object] = {}
    ended: list[BaseException | None] = []
    woken: queue.SimpleQueue[None] = queue.SimpleQueue()

    def help_out() -> None:
        try:
            if claimed.setdefault("started", mine := object()) is not mine:
                return  # another helper does it, or the caller was interrupted and has given up
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
                if not claimed:
                    # Python may have set in the helper what was meant for this thread, and so have ended it.
                    _thread.start_new_thread(help_out, ())

    try:
        _thread.start_new_thread(help_out, ())
        wait()
    except BaseException:
        if claimed.setdefault("started", None) is not None:
            wait()
        raise
    if ended[0] is not None:
        raise ended[0]
