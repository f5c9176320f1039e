"""Several processes on one file: watches across them, kill -9, forks."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest

from tenure.errors import UsedAfterFork
from tenure.spi import Changes, Delete, Deleted, ListRequest, Put, Transaction, WatchRequest
from tenure_testkit.probes import forked

T = 30.0
WORKER = Path(__file__).with_name("worker.py")


@pytest.fixture
def start():
    """Starts workers; kills them at the end."""
    running = []

    def start(*arguments):
        worker = subprocess.Popen(
            [sys.executable, str(WORKER), *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        running.append(worker)
        return worker

    yield start
    for worker in running:
        worker.kill()
        worker.communicate()


def put(store, key, value=b""):
    return store.commit(Transaction((), (Put(key, value),)), timeout=T).revision


def changes(items):
    return [item for item in items if isinstance(item, Changes)]


def test_a_watch_sees_what_another_process_writes(open_store, path, start, sink):
    store = open_store()
    worker = start("put", path, "a")
    assert worker.stdout.readline() == "ready\n"
    store.watch(WatchRequest(prefix=""), sink=sink, timeout=T)
    for number in range(1, 20):
        worker.stdin.write("value\n")
        worker.stdin.flush()
        revision = int(worker.stdout.readline())
        assert store.get("a", timeout=T).item.mod_revision == revision
        assert changes(sink.items_when(lambda items, n=number: len(changes(items)) == n))[-1].revision == revision


def test_opening_a_store_twice_keeps_its_file_locked_for_other_processes(open_store, path, start):
    store = open_store()
    open_store()
    worker = start("put", path, "a")
    worker.communicate("value\n", timeout=T)  # it closes the store: as the last one, it would delete the log
    assert worker.returncode == 0
    assert path.with_name(f"{path.name}-wal").exists()
    revision = put(store, "b", b"acknowledged")
    worker = start("put", path, "c")
    assert int(worker.communicate("value\n", timeout=T)[0].split()[-1]) > revision
    assert store.get("c", timeout=T).item.value == b"value\n"


def test_a_lease_of_a_killed_process_ends(open_store, path, start, sink):
    store = open_store()
    store.watch(WatchRequest(prefix=""), sink=sink, timeout=T)
    worker = start("lease", path, "a", 0.5)
    lease_id = worker.stdout.readline().strip()
    worker.kill()
    born, ended = changes(sink.items_when(lambda items: len(changes(items)) == 2))
    assert born.entries[0].lease_id == lease_id
    assert isinstance(ended.entries[0], Deleted)
    assert store.leases(None, timeout=T) == ()


def test_kill_in_the_middle_of_writes_loses_nothing_acknowledged(open_store, path, start, sink):
    store = open_store()
    store.watch(WatchRequest(prefix=""), sink=sink, timeout=T)
    acknowledged = {}
    for batch in range(3):
        workers = {f"{batch}-{number}": start("write", path, f"{batch}-{number}") for number in range(2)}
        for worker in workers.values():
            for _ in range(40):
                worker.stdout.readline()
            worker.send_signal(signal.SIGKILL)
        for name, worker in workers.items():
            rest = worker.stdout.read().split("\n")[:-1]
            acknowledged[name] = max(map(int, rest), default=39)
    for name, last in acknowledged.items():
        found = {item.key for item in store.list(ListRequest(prefix=f"{name}/"), timeout=T).items}
        written = int(store.get(f"{name}/last", timeout=T).item.value)
        assert last <= written <= last + 1  # one more may have been on its way
        assert found == {f"{name}/{number}" for number in range(written + 1)} | {f"{name}/last"}
    present = store.get("x", timeout=T).revision
    seen = changes(sink.items_when(lambda items: items[-1].revision >= present))
    assert len(seen) == sum(int(store.get(f"{name}/last", timeout=T).item.value) + 1 for name in acknowledged)
    assert seen[-1].revision == present
    assert {len(item.entries) for item in seen} == {2}
    assert store.server_info(timeout=T).details["integrity"] == "ok"


def test_a_child_opens_the_file_anew_and_refuses_the_inherited_store(open_store, path, sink):
    store = open_store()
    store.watch(WatchRequest(prefix=""), sink=sink, timeout=T)
    put(store, "parent")

    def work():
        with pytest.raises(UsedAfterFork):
            store.get("parent", timeout=T)
        store.close()
        mine = open_store()
        for number in range(50):
            put(mine, f"child/{number}")
        found = mine.get("parent", timeout=T).item
        mine.close()
        assert found is not None

    for _ in range(3):
        assert forked(work) == ""
        put(store, "parent")
    sink.items_when(lambda items: len(changes(items)) == 154)
    assert store.server_info(timeout=T).details["integrity"] == "ok"


def test_a_child_of_a_parent_that_was_busy_does_not_touch_the_file(open_store, path):
    store = open_store()
    put(store, "a")
    # As a thread that is inside a call for longer than a fork waits for it.
    connection = store._database.take()
    connection.execute("BEGIN IMMEDIATE")

    def work():
        with pytest.raises(UsedAfterFork, match="spawn"):
            open_store()

    assert forked(work) == ""
    connection.execute("ROLLBACK")
    store._database.give(connection)
    put(store, "a")


def test_forks_beside_writing_threads(open_store, path):
    everything = 1_000_000  # a quick machine writes more than the log usually keeps
    store = open_store(history=everything)
    stop = threading.Event()
    done = []

    def write(name):
        count = 0
        while not stop.is_set():
            put(store, f"{name}/{count}")
            count += 1
        done.append(count)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()

    def work():
        mine = open_store(history=everything)
        put(mine, "child")
        mine.commit(Transaction((), (Delete("child"),)), timeout=T)
        mine.close()

    assert {forked(work) for _ in range(10)} == {""}
    stop.set()
    for thread in threads:
        thread.join()
    with closing(sqlite3.connect(path)) as other:
        assert other.execute("SELECT count(DISTINCT revision) FROM log").fetchone() == (sum(done) + 20,)
    assert store.server_info(timeout=T).details["integrity"] == "ok"


def test_opening_one_new_file_from_many_threads(open_store, path):
    stores = []
    barrier = threading.Barrier(6)

    def open_one():
        barrier.wait()
        stores.append(open_store())

    threads = [threading.Thread(target=open_one) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    revisions = [put(store, "a") for store in stores]
    assert revisions == sorted(set(revisions))
    other = sqlite3.connect(path)
    assert other.execute("SELECT count(*) FROM store").fetchone() == (1,)
    other.close()
