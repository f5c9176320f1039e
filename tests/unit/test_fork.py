"""A forked child finds out at once that what it inherited isn't its own, and leaves the parent's alone."""

from __future__ import annotations

import subprocess
import sys

_SCRIPT = """
import os, sys, threading, time, traceback

import tenure
from tenure.errors import UsedAfterFork

def must_fork(what, call):
    started = time.monotonic()
    try:
        call()
    except UsedAfterFork:
        pass
    else:
        raise AssertionError(f"{what} did not raise UsedAfterFork")
    assert time.monotonic() - started < 1, what

def child(store, lease, watch, builder, listing):
    must_fork("get", lambda: store.get("a"))
    must_fork("read", lambda: store.get_with_revision("a"))
    must_fork("list", lambda: store.list(""))
    must_fork("scan", lambda: list(store.scan("")))
    must_fork("a scan begun by the parent", lambda: list(listing))
    must_fork("put", lambda: store.put("a", b""))
    must_fork("put with a lease", lambda: store.put("a", b"", lease=lease))
    must_fork("put_if_absent", lambda: store.put_if_absent("z", b""))
    must_fork("replace", lambda: store.put_if_unchanged("a", b"", revision=1))
    must_fork("delete", lambda: store.delete("a"))
    must_fork("delete_prefix", lambda: store.delete_prefix("a"))
    must_fork("transaction", store.transaction)
    must_fork("a transaction begun by the parent", builder.commit)
    must_fork("lease", lambda: store.lease(5))
    must_fork("leases", store.leases)
    must_fork("describe_lease", lambda: store.describe_lease(lease))
    must_fork("revoke_lease", lambda: store.revoke_lease(lease.id))
    must_fork("watch", lambda: store.watch(""))
    must_fork("server_info", store.server_info)
    must_fork("native", lambda: store.native)
    must_fork("watch.next", lambda: watch.next(5))
    must_fork("iterating a watch", lambda: next(iter(watch)))
    must_fork("lease.refresh", lease.refresh)
    must_fork("lease.ensure_valid", lease.ensure_valid)
    assert lease.state == "lost" and not lease.alive and lease.remaining == 0
    repr(store), repr(lease), store.capabilities, watch.closed, watch.staleness
    lease.revoke()
    with lease:
        pass
    watch.close()
    store.close()
    own = tenure.connect("memory://own")
    own.put("a", b"1")
    assert own.get("a").value == b"1"
    own.close()

def main():
    store = tenure.connect("memory://parent/ns")
    lease = store.lease(5)
    store.put("leased", b"1", lease=lease)
    for number in range(3):
        store.put(f"k{number}", b"")
    watch = store.watch("")
    seen, waiting = [], threading.Event()

    def consume():
        for batch in watch:
            seen.append(batch)
            if batch.type == "synced":
                waiting.set()

    consumer = threading.Thread(target=consume)
    consumer.start()
    assert waiting.wait(60.0)
    listing = store.scan("", page_size=1)
    next(listing)
    builder = store.transaction().put("t", b"")
    # Worst case: other threads hold what locks there are at the moment of the fork.
    held = [store._lock, store._keeper._condition, watch._state, watch._buffer._condition]
    for lock in [*held, lease._lock]:
        lock.acquire()
    pid = os.fork()
    if pid == 0:
        try:
            child(store, lease, watch, builder, listing)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    for lock in [*held, lease._lock]:
        lock.release()
    deadline = time.monotonic() + 30
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            break
        if time.monotonic() > deadline:
            os.kill(pid, 9)
            raise AssertionError("the child hangs")
        time.sleep(0.01)
    assert os.waitstatus_to_exitcode(status) == 0, status
    assert lease.alive and store.get("leased").value == b"1"
    lease.refresh()
    store.put("after", b"")
    while not any(event.key == "after" for batch in seen for event in batch.events):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    store.close()
    consumer.join(60.0)
    assert not [t for t in threading.enumerate() if t.name.startswith("tenure")]
    print("fine")

main()
"""


def test_a_child_gets_an_error_at_once_and_the_parent_goes_on():
    ignoring = ["-W", "ignore:This process:DeprecationWarning"]  # newer Pythons warn of forks beside threads
    done = subprocess.run(
        [sys.executable, "-W", "error", *ignoring, "-c", _SCRIPT],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "fine\n"), done.stderr
