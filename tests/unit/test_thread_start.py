"""A signal handler's exception, at any line of a thread's start, neither harms the thread nor is replaced."""

from __future__ import annotations

import sys
import threading
from types import FrameType
from typing import Any

import pytest

from tenure._runtime.thread_start import start_thread


class Interrupted(Exception):
    pass


def _interrupted_at(last: int, thread: threading.Thread) -> bool:
    """Start ``thread``, with an exception at the ``last`` line that this thread executes meanwhile."""
    lines = 0

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal lines
        if event == "line":
            lines += 1
            if lines == last:
                raise Interrupted
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        start_thread(thread)
    except Interrupted:
        return True
    finally:
        sys.settrace(before)
    return False


def test_a_thread_that_has_an_ident_runs_and_the_exception_is_the_handlers(monkeypatch):
    harmed: list[object] = []
    monkeypatch.setattr(threading, "excepthook", harmed.append)
    monkeypatch.setattr(sys, "unraisablehook", harmed.append)
    started = given_up = 0
    for last in range(1, 10_000):
        ran = threading.Event()
        thread = threading.Thread(target=ran.set, daemon=True)
        if not _interrupted_at(last, thread):
            assert ran.wait(60)
            break
        if thread.ident is None:
            given_up += 1
        else:
            assert ran.wait(60), f"interrupted at line {last}, the thread died"
            started += 1
        thread_books = [each for each in threading.enumerate() if each is thread]
        assert thread.ident is not None or not thread_books
    assert started
    assert given_up
    assert harmed == []


def test_a_thread_that_cannot_be_started_is_told(monkeypatch):
    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(RuntimeError, match="can't start"):
        start_thread(threading.Thread(target=int))
