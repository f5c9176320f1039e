"""Finalizers that run when the interpreter has stopped the store's threads: each call is refused, and none waits."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tenure_testkit.waiting import PATIENCE

PROGRAM = """
import sys, threading
import tenure
from tenure import registry

store = tenure.connect("memory://")
counter = tenure.Counter(store, "c")
lease, held = store.lease(30), tenure.Lock(store, "l").acquire()
view = tenure.CachedPrefix(store, "s/", codec=tenure.JSON)
watch, session = store.watch("w/"), tenure.Session.open(store, ttl=30)
services = registry.Registry(store)
services.start()

# Threads of the store may be stopped while they hold its locks. These have other globals, or they would keep ours.
elsewhere = {}
exec("def stay(monitor, locked, ever):\\n with monitor:\\n  locked.set()\\n  ever.wait()", elsewhere)
for monitor in (store._lock, store._keeper._condition, lease._lock, session._lock, watch._state, view._view.changed):
    locked = threading.Event()
    arguments = monitor, locked, threading.Event()
    threading.Thread(target=elsewhere["stay"], args=arguments, daemon=True).start()
    locked.wait()

CALLS = {
    "get": lambda: store.get("a"),
    "put": lambda: store.put("a", b"1"),
    "lease": lambda: store.lease(30),
    "watch": lambda: store.watch("w/"),
    "next": lambda: watch.next(1),
    "acquire": lambda: tenure.Lock(store, "m").acquire(),
    "add": lambda: counter.add(),
    "check": lambda: held.check(),
    "refresh": lambda: lease.refresh(),
    "services": lambda: services.add_handler(print),
}
ENDS = {
    "release": lambda: held.release(),
    "revoke": lambda: lease.revoke(),
    "abandon": lambda: lease.abandon(),
    "session": lambda: session.close(),
    "close of the watch": lambda: watch.close(),
    "close of the view": lambda: view.close(),
    "close of the registry": lambda: services.close(),
    "close": lambda: store.close(),
}

class Last:
    def __init__(self, errors, calls, ends, write):
        self.errors, self.calls, self.ends, self.write = errors, calls, ends, write

    def __del__(self):
        for name, call in self.calls.items():
            try:
                self.write(f"{name} returned {call()}")
            except self.errors as exc:
                self.write(f"{name}: {'the interpreter is ending' in str(exc)}")
        for name, call in self.ends.items():
            self.write(f"{name} returned {call()}")
        self.write(f"{held.held} {lease.alive} {dict(view)}")

def write(text, out=sys.stdout):
    out.write(text + "\\n")
    out.flush()

# A name that begins with an underscore is the first that is taken away.
_last = Last((tenure.StoreClosed, tenure.LeaseLost), CALLS, ENDS, write)
"""
CALLS = ("get", "put", "lease", "watch", "next", "acquire", "add", "check", "refresh", "services")
ENDS = ("release", "revoke", "abandon", "session", "close of the watch", "close of the view", "close of the registry")


def test_a_finalizer_is_refused_when_the_threads_are_gone() -> None:
    try:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=PATIENCE, check=False
        )
    except subprocess.TimeoutExpired as exc:
        pytest.fail(f"it waits for ever: {exc.stdout!r} {exc.stderr!r}")
    lines = done.stdout.splitlines()
    assert [line for line in lines if line.endswith(": True")] == [f"{name}: True" for name in CALLS], done
    assert [line.partition(" returned")[0] for line in lines if " returned" in line] == [*ENDS, "close"], done
    assert lines[-1] == "False False {}"
    assert not done.returncode, done
