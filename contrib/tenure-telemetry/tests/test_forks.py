"""A forked child counts what it does itself, and never waits for a lock that a thread of its parent had."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import os, threading
import tenure
from tenure_telemetry import PrometheusCollector

collector = PrometheusCollector()
store = tenure.connect("memory://parent", observers=[collector])
held, go_on = threading.Event(), threading.Event()

def hold():
    with collector._lock, collector._numbers._lock:
        held.set()
        go_on.wait()

thread = threading.Thread(target=hold)
thread.start()
held.wait()
child = os.fork()
if child == 0:
    with tenure.connect("memory://child", observers=[collector]) as own:
        own.get("key")
        print([line for line in collector.render().splitlines() if line.startswith("tenure_stores_open")], flush=True)
    os._exit(0)
go_on.set()
thread.join()
_, status = os.waitpid(child, 0)
print([line for line in collector.render().splitlines() if line.startswith("tenure_stores_open")], status)
store.close()
"""


def test_a_child_begins_anew() -> None:
    # Newer versions of Python warn of a fork in a process with threads, which this is about.
    program = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", PROGRAM]
    done = subprocess.run(program, capture_output=True, text=True, timeout=120, check=False)
    one = "['tenure_stores_open{db_system_name=\"memory\"} 1.0']"
    assert (done.stdout, done.stderr) == (f"{one}\n{one} 0\n", "")
