"""Watches with a callback: one thread per watch receives the batches and calls the callback.

Each watch has a thread of its own, so that a slow or blocked callback delays no other watch. A callback may call the
store, open and close watches, or close its own watch.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TypeVar

from tenure.errors import StoreClosed, TenureError
from tenure.watch.engine import Watch
from tenure.watch.events import Batch

_log = logging.getLogger("tenure.watch")

T = TypeVar("T")
WatchCallback = Callable[[Batch], object]
ErrorCallback = Callable[[TenureError], object]


def start(watch: Watch, callback: WatchCallback, on_error: ErrorCallback | None, *, name: str) -> threading.Thread:
    """Call ``callback`` with each batch of ``watch``, in order, until the watch ends; then ``on_error`` with its error.

    What a callback raises is logged, and the watch continues. Without ``on_error`` the watch's error is logged.
    """
    thread = threading.Thread(target=_run, args=(watch, callback, on_error), name=f"{name}-watch", daemon=True)
    thread.start()
    return thread


def _run(watch: Watch, callback: WatchCallback, on_error: ErrorCallback | None) -> None:
    while True:
        try:
            batch = watch.next()
        except StoreClosed:
            return
        except TenureError as exc:
            if on_error is None:
                _log.error("a watch ended: %s", exc)
            else:
                _call(on_error, exc, "the error that ended the watch")
            return
        if batch is not None:
            _call(callback, batch, f"a {batch.type} batch at revision {batch.revision}")


def _call(function: Callable[[T], object], argument: T, description: str) -> None:
    try:
        function(argument)
    except Exception:  # noqa: BLE001 - the application's own error, logged
        _log.exception("the callback of a watch raised on %s", description)
