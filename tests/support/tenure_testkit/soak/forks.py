"""A forked child with a limit: it has to come to its end by itself."""

from __future__ import annotations

import os
import signal
import time
import traceback
import warnings
from collections.abc import Callable

from tenure.plugin_kit import monotonic


def forked(work: Callable[[], object], limit: Callable[[], float]) -> str:
    """Run ``work`` in a forked child; answers what went wrong there, and nothing when all is well.

    A child that doesn't end within ``limit`` seconds is killed. Its tracebacks come through a pipe.
    """
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"This process .* is multi-threaded", DeprecationWarning)
        child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        except BaseException:  # noqa: BLE001 - the parent is told
            os.write(writer, traceback.format_exc().encode()[-4000:])
        finally:
            os._exit(code)
    os.close(writer)
    began = monotonic()
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            break
        if monotonic() - began > limit():
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            os.close(reader)
            return f"it hung for {monotonic() - began:.1f} s"
        time.sleep(0.01)
    with os.fdopen(reader, "rb") as said:
        text = said.read().decode(errors="replace")
    code = os.waitstatus_to_exitcode(status)
    return text or (f"it ended with {code}" if code else "")
