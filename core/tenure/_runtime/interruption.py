"""Tell an exception that a signal handler raised from one that the interrupted code raised.

A soft time limit, Ctrl-C and their kin are exceptions that a signal handler raises in the middle of whatever the main
thread does. Code that translates or logs every exception must let them pass. The interpreter marks them: it calls a
handler with the frame that it interrupted, which is the caller of the handler's own frame.
"""

from __future__ import annotations

from types import FrameType


def interruption(error: BaseException | None) -> BaseException | None:
    """Find the exception of a signal handler that ``error`` is, or was raised for.

    Args:
        error: an exception that was caught.

    Returns:
        The handler's exception; ``None`` if no signal handler raised any of the chain.
    """
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if _raised_by_handler(error):
            return error
        error = error.__cause__ or error.__context__
    return None


def _raised_by_handler(error: BaseException) -> bool:
    trace = error.__traceback__
    while trace is not None:
        frame = trace.tb_frame
        if frame.f_back is not None and _was_given(frame, frame.f_back):
            return True
        trace = trace.tb_next
    return False


def _was_given(frame: FrameType, interrupted: FrameType) -> bool:
    """Whether ``interrupted`` is among the arguments of ``frame``'s function, or was one of ``*args``."""
    code = frame.f_code
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount + 2]
    for name in names:
        value = frame.f_locals.get(name)
        if value is interrupted or (isinstance(value, tuple) and any(one is interrupted for one in value)):
            return True
    return False
