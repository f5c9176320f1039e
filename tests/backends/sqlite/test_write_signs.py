"""Signs of writes: they come for the database alone, and without them everything works as it did."""

from __future__ import annotations

import os
import sqlite3
import sys
import threading

import pytest

from tenure.spi import Changes, Put, Transaction, WatchRequest
from tenure_sqlite import write_signs
from tenure_sqlite.write_signs import WriteSigns
from tenure_testkit.waiting import PATIENCE, until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="inotify is Linux's")

T = 10.0


@pytest.fixture
def database(tmp_path):
    path = tmp_path / "signs.db"
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("CREATE TABLE t (x)")
    yield path, connection
    connection.close()


def test_a_write_is_told_until_the_close(database):
    path, connection = database
    told = threading.Event()
    signs = WriteSigns(str(path), told.set)
    try:
        assert signs.working
        connection.execute("INSERT INTO t VALUES (1)")
        assert told.wait(PATIENCE)
    finally:
        signs.close()
    assert not signs.working
    told.clear()
    connection.execute("INSERT INTO t VALUES (2)")
    assert not any(thread.name == "tenure-sqlite-signs" for thread in threading.enumerate())
    assert not told.is_set()


def test_descriptors_are_given_back(database):
    path, _ = database
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        WriteSigns(str(path), lambda: None).close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_file_of_another_name_is_not_the_database(tmp_path):
    signs = WriteSigns(str(tmp_path / "a.db"), lambda: None)
    try:
        header = write_signs._HEADER.pack(1, 2, 0, 16)
        assert signs._mine(header + b"a.db-wal".ljust(16, b"\0"))
        assert not signs._mine(header + b"b.db-wal".ljust(16, b"\0"))
        assert signs._mine(header + b"b.db".ljust(16, b"\0") + header + b"a.db".ljust(16, b"\0"))
        assert signs._mine(write_signs._HEADER.pack(-1, 0x4000, 0, 0))  # some were dropped
    finally:
        signs.close()


@pytest.mark.parametrize("wrong", ["no inotify", "no thread"])
def test_without_signs_another_backends_commits_are_found_by_looking(open_store, sink, monkeypatch, wrong):
    def refuse(*arguments: object, **options: object) -> int:
        raise OSError(24, "too many")

    if wrong == "no inotify":
        monkeypatch.setattr(write_signs, "_inotify", refuse)
    else:
        monkeypatch.setattr(write_signs.Worker, "start", _refuse_signs(write_signs.Worker.start))
    store, writer = open_store(), open_store()
    store.watch(WatchRequest(prefix="x/"), sink=sink, timeout=T)
    until(lambda: store._watches._signs is not None, PATIENCE, "the attempt to wait for signs")
    writer.commit(Transaction((), (Put("x/a", b"1", None),)), timeout=T)
    assert sink.items_when(lambda items: [item for item in items if isinstance(item, Changes)])
    assert not store._watches._signs.working


def _refuse_signs(start):
    def refused(self, action):
        if self._name == "tenure-sqlite-signs":
            raise RuntimeError("can't start new thread")
        return start(self, action)

    return refused
