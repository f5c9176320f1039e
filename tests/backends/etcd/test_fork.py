"""Forks in the middle of calls and watches: child and parent both go on."""

import subprocess
import sys

import pytest

_PROGRAM = """
import os, select, signal, sys, threading, time
from tenure._plugins import url as urls
from tenure._runtime.clock import SystemClock
from tenure.spi import Put, Transaction, WatchRequest
from tenure_etcd.plugin import tenure_backend

plugin = tenure_backend()
def open_store():
    return plugin.open(urls.parse(sys.argv[1], plugin, timeout=5, clock=SystemClock()))
def put(store, key):
    return store.commit(Transaction((), (Put(key, b"x"),)), timeout=5).revision

class Sink:
    revision, error = 0, None
    def deliver(self, item): self.revision = item.revision
    def fail(self, error): self.error = error

store, sink = open_store(), Sink()
store.watch(WatchRequest(prefix="fork/"), sink=sink, timeout=5)
stop, failed = threading.Event(), []
def work(n):
    try:
        while not stop.is_set():
            put(store, f"fork/{n}")
            store.get("fork/1", timeout=5)
    except Exception as exc:
        failed.append(exc)
workers = [threading.Thread(target=work, args=(n,), daemon=True) for n in range(3)]
for worker in workers: worker.start()
outcomes = []
for attempt in range(12):
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        signal.alarm(20)
        own = open_store()
        put(own, "child")
        own.close()
        store.close()
        os.write(write, b"k")
        if attempt % 2: os._exit(0)
        sys.exit(0)
    os.close(write)
    said = os.read(read, 1)
    os.close(read)
    outcomes.append((said, os.waitpid(child, 0)[1]))
stop.set()
for worker in workers: worker.join(60.0)
assert outcomes == [(b"k", 0)] * 12, outcomes
assert not failed, failed
last = put(store, "fork/last")
deadline = time.monotonic() + 10
while sink.revision < last and time.monotonic() < deadline: time.sleep(0.01)
assert sink.error is None, sink.error
assert sink.revision >= last
store.close()
print("done")
"""


@pytest.mark.faults
def test_a_process_may_fork_while_its_store_is_busy(etcd_url: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", _PROGRAM, etcd_url],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")
