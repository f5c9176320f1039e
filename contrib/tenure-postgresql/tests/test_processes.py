"""Several processes on one store: they take turns, and one that dies or stands still holds up nobody."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable

import tenure
from tenure_testkit.waiting import until

COUNT = """
import sys, tenure
with tenure.connect(sys.argv[1]) as store:
    done = 0
    while done < int(sys.argv[2]):
        item = store.get("count")
        try:
            store.put_if_unchanged("count", str(int(item.value) + 1).encode(), revision=item.mod_revision)
        except tenure.Conflict:
            continue
        done += 1
        print(done, flush=True)
"""

FORK = """
import gc, os, sys, tenure
store = tenure.connect(sys.argv[1])
watch = store.watch("")
watch.next(5), watch.next(5)
lease = store.lease(30)
store.put("held", b"", lease=lease)
watch.next(5)
child = os.fork()
if not child:
    try:
        store.get("held")
    except tenure.UsedAfterFork:
        print("told", flush=True)
    watch.close()
    store.close()
    del store, watch, lease
    gc.collect()
    sys.exit()
assert os.waitpid(child, 0)[1] == 0
revision = store.put("key", b"").revision
batch = watch.next(5)
print(batch.type.value, batch.revision == revision, lease.state.value, flush=True)
store.close()
"""


def counter(url: str, times: int) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", COUNT, url, str(times)], stdout=subprocess.PIPE, text=True)


def test_processes_take_turns_and_watchers_see_each(url: str, store: tenure.Store) -> None:
    store.put("count", b"0")
    with store.watch("count") as watch:
        watch.next(5), watch.next(5)
        counters = [counter(url, 40) for _ in range(3)]
        for process in counters:
            process.communicate(timeout=60)
            assert process.returncode == 0
        assert store.get("count").value == b"120"
        told: list[int] = []
        while len(told) < 120:
            batch = watch.next(5)
            assert batch is not None, told
            told += [int(event.item.value) for event in batch.events]
        assert told == list(range(1, 121))


def test_a_killed_writer_takes_nothing_with_it(url: str, store: tenure.Store) -> None:
    store.put("count", b"0")
    process = counter(url, 1_000_000)
    assert process.stdout is not None
    for _ in range(20):
        acknowledged = int(process.stdout.readline())
    process.send_signal(signal.SIGKILL)
    rest = process.communicate(timeout=60)[0].split()
    acknowledged = int(rest[-1]) if rest else acknowledged
    # One more may have been applied without the news having come out.
    assert int(store.get("count").value) - acknowledged in (0, 1)
    store.put("next", b"goes on", timeout=2)


def test_a_stopped_writer_holds_up_nobody(url: str, store: tenure.Store) -> None:
    store.put("count", b"0")
    process = counter(url, 1_000_000)
    try:
        assert process.stdout is not None
        for _ in range(10):
            for _ in range(10):
                process.stdout.readline()
            process.send_signal(signal.SIGSTOP)
            store.put("next", b"goes on", timeout=2)
            process.send_signal(signal.SIGCONT)
    finally:
        process.kill()
        process.communicate(timeout=60)


def test_several_make_the_same_store_at_once(url: str, open_store: Callable[..., tenure.Store]) -> None:
    makers = [counter(url, 1) for _ in range(4)]
    until(lambda: all(process.poll() is not None for process in makers), 30.0, "all have opened it or failed")
    for process in makers:
        process.communicate(timeout=60)
    # None could count, there being no key; but there is one store, whole.
    assert open_store().put("key", b"").revision > 0


def test_a_fork_leaves_the_parents_connections_alone(url: str) -> None:
    command = [sys.executable, "-W", "ignore", "-c", FORK, url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout.split("\n")) == (0, ["told", "changes True alive", ""]), done.stderr
