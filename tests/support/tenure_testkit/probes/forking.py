"""Forking on purpose in a process that has threads, as an application with an open store does."""

import os
import traceback
import warnings
from collections.abc import Callable


def forked(work: Callable[[], object]) -> str:
    """Run `work` in a forked child; answers what it raised there, and nothing when all is well.

    From 3.12 on Python warns of a fork beside threads, since the child may find locks held that nobody releases. What
    a store does about its own locks is what the tests here are about, so this one warning is ignored, and only while
    the fork lasts. Up to 3.14 it's harmless even as an error; from 3.15 on it's raised in the parent, with the child
    there already.
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
    with os.fdopen(reader, "rb") as said:
        text = said.read().decode(errors="replace")
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return text or (f"the child ended with {code}" if code else "")
