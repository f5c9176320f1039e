"""Bad files, bad places, no room, no permission, no lock: what is said, and that nothing is harmed."""

from __future__ import annotations

import os
import sqlite3
import tempfile
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from tenure.errors import (
    ConfigError,
    DeadlineExceeded,
    LimitExceeded,
    OutcomeUnknown,
    PermissionDenied,
    PluginError,
    StoreCorrupted,
    StoreFull,
    Unavailable,
)
from tenure.spi import ListRequest, Put, Transaction
from tenure_sqlite import database
from tenure_sqlite.errors import translate
from tenure_sqlite.file_location import filesystem, is_network
from tenure_sqlite.plugin import tenure_backend
from tenure_sqlite.schema import APPLICATION_ID
from tenure_testkit.probes import forked
from tenure_testkit.probes.mounts import mounted, remount

T = 10.0


def put(store, key, value=b"", timeout=T):
    return store.commit(Transaction((), (Put(key, value),)), timeout=timeout).revision


def folder_as_it_is(path):
    return {file.name: file.read_bytes() for file in path.parent.iterdir()}


# -- files that aren't ours or are damaged -------------------------------------------------------------


@pytest.mark.parametrize("content", [b"x", b"just some notes\n" * 1000, b"SQLite format 3\x00", bytes(8192)])
def test_a_file_that_is_no_database_is_left_alone(open_store, path, content):
    path.write_bytes(content)
    with pytest.raises(StoreCorrupted, match="isn't a SQLite database") as caught:
        open_store()
    assert str(path) in str(caught.value)
    assert folder_as_it_is(path) == {path.name: content}


def test_the_database_of_another_application_is_left_alone(open_store, path):
    other = sqlite3.connect(path)
    other.execute("PRAGMA journal_mode = WAL")
    other.execute("CREATE TABLE t (x)")
    other.execute("INSERT INTO t VALUES (1)")
    other.commit()
    before = folder_as_it_is(path)
    with pytest.raises(StoreCorrupted, match="another application"):
        open_store()
    assert folder_as_it_is(path) == before
    other.close()


def test_a_store_without_one_of_its_tables_is_damaged(open_store, path):
    store = open_store()
    put(store, "a")
    with closing(sqlite3.connect(path)) as other:
        other.execute("DROP TABLE item")
    for call in (lambda: store.get("a", timeout=T), lambda: put(store, "b")):
        with pytest.raises(StoreCorrupted, match="it lacks a part of a store: no such table: item"):
            call()


def test_a_damaged_store_is_left_alone(open_store, path):
    store = open_store()
    for number in range(200):
        put(store, f"{number}", bytes(500))
    store.close()
    content = path.read_bytes()
    damaged = content[:4096] + b"\xff" * (len(content) - 4096)
    path.write_bytes(damaged)
    with pytest.raises(StoreCorrupted, match="backup"):
        open_store()
    assert path.read_bytes() == damaged


def test_damage_is_told_by_reads_and_by_the_doctor(open_store, path):
    store = open_store()
    for number in range(200):
        put(store, f"{number:03}", bytes(500))
    store.close()
    with sqlite3.connect(path) as other:
        page = other.execute("SELECT rootpage FROM sqlite_master WHERE name = 'item'").fetchone()[0]
    other.close()
    with path.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(b"\x0f" * 4096)
    store = open_store()
    with pytest.raises(StoreCorrupted):
        store.get("000", timeout=T)
    with pytest.raises(StoreCorrupted):
        put(store, "000")
    with pytest.raises(StoreCorrupted):
        store.list(ListRequest(prefix=""), timeout=T)


@pytest.mark.parametrize("removed", [True, False])
def test_a_restore_gets_a_moment_to_remove_the_log_of_the_file_before(open_store, path, tmp_path, monkeypatch, removed):
    store, backup = open_store(), tmp_path / "backup.db"
    put(store, "a")
    with closing(sqlite3.connect(path)) as one, closing(sqlite3.connect(backup)) as other:
        one.backup(other)
    put(store, "b")
    log = path.with_name(path.name + "-wal")

    def sleep(_seconds: float) -> None:
        if removed:  # what the restore does after the store has looked
            for suffix in ("-wal", "-shm"):
                path.with_name(path.name + suffix).unlink(missing_ok=True)

    monkeypatch.setattr(database.time, "sleep", sleep)
    os.replace(backup, path)
    assert log.exists()
    if not removed:
        with pytest.raises(StoreCorrupted, match="-wal file of the one before"):
            store.get("a", timeout=T)
        return
    assert store.get("a", timeout=T).item is not None
    assert store.get("b", timeout=T).item is None


def test_a_file_whose_maker_died_in_the_middle_is_finished(open_store, path):
    other = sqlite3.connect(path)
    other.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    other.close()
    assert path.stat().st_size > 0
    assert put(open_store(), "a")


def test_a_newer_format_is_refused(open_store, path):
    open_store().close()
    with sqlite3.connect(path) as other:
        other.execute("PRAGMA user_version = 3")
    other.close()
    with pytest.raises(ConfigError, match="newer Tenure"):
        open_store()


# -- places --------------------------------------------------------------------------------------------


def test_a_missing_folder_and_a_folder_for_a_file(open_store, tmp_path):
    with pytest.raises(ConfigError, match="doesn't exist"):
        open_store(tmp_path / "no" / "store.db")
    with pytest.raises(ConfigError, match="isn't a file"):
        open_store(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_names_that_mean_something_to_sqlite(open_store, tmp_path):
    for name in ("a?b#c%20.db", ":memory:", "ä ö.db"):
        put(open_store(tmp_path / name), "a")
        assert (tmp_path / name).is_file()


def test_network_filesystems_are_recognised(tmp_path, monkeypatch):
    mounts = tmp_path / "mounts"
    mounts.write_text("disk / ext4 rw 0 0\nsrv:/x /net nfs4 rw 0 0\nd /net/with\\040space xfs rw 0 0\n")
    monkeypatch.setattr("tenure_sqlite.file_location._MOUNTS", mounts)
    assert filesystem("/home/x.db") == "ext4"
    assert filesystem("/net/x.db") == "nfs4"
    assert filesystem("/network/x.db") == "ext4"
    assert filesystem("/net/with space/x.db") == "xfs"
    assert is_network("nfs4")
    assert not is_network("ext4")


# -- no room, no permission ----------------------------------------------------------------------------


def test_a_full_file_refuses_writes_and_keeps_serving(open_store, monkeypatch):
    store = open_store()
    revision = put(store, "a", b"1")
    connection = store._database.take()
    connection.execute("PRAGMA max_page_count = 20")
    store._database.give(connection)
    with pytest.raises(StoreFull, match="no room"):
        put(store, "b", bytes(200_000))
    assert store.get("b", timeout=T) == (None, revision)
    assert store.get("a", timeout=T).item.value == b"1"
    assert put(store, "a", b"2") > revision


def test_a_full_disk(open_store, tmp_path):
    with mounted(tmp_path, "size=1m"):
        store = open_store(tmp_path / "store.db")
        put(store, "a", b"1")
        try:
            for written in range(100):
                put(store, f"key/{written}", bytes(50_000))
        except StoreFull:
            assert written > 2
        else:
            pytest.fail("a disk of 1 MiB took 5 MB")
        assert store.get("a", timeout=T).item.value == b"1"
        items = store.list(ListRequest(prefix="key/"), timeout=T).items
        assert len(items) == written
        store.close()
        store = open_store(tmp_path / "store.db")
        assert store.get("a", timeout=T).item.value == b"1"
        assert "memory" in " ".join(store.server_info(timeout=T).warnings)
        store.close()


def test_a_read_only_disk(open_store, tmp_path):
    with mounted(tmp_path, "size=2m"):
        open_store(tmp_path / "store.db").close()
        remount(tmp_path, "ro")
        for name in ("store.db", "new.db"):
            with pytest.raises(PermissionDenied, match=name):
                open_store(tmp_path / name)


@pytest.mark.parametrize(("folder_mode", "file_mode"), [(0o555, 0o666), (0o755, 0o444), (0o777, 0o000)])
def test_permissions(open_store, folder_mode, file_mode):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        open_store(folder / "store.db").close()
        (folder / "store.db").chmod(file_mode)
        folder.chmod(folder_mode)

        def work():
            if os.geteuid() == 0:  # root may do anything, so become nobody
                os.setuid(65534)
            with pytest.raises(PermissionDenied):
                open_store(folder / "store.db")

        assert forked(work) == ""
        folder.chmod(0o700)


# -- locks, interruptions, broken disks ----------------------------------------------------------------


@pytest.fixture
def lock(open_store, path):
    """Another connection that keeps the file locked for writing, as a process stopped in the middle would."""
    open_store().close()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    yield other
    other.close()


def test_a_locked_file_refuses_writes_in_time_and_serves_reads(open_store, lock):
    store = open_store()
    began = time.monotonic()
    with pytest.raises(DeadlineExceeded, match="locked"):
        put(store, "a", timeout=0.3)
    assert 0.25 < time.monotonic() - began < 5.0
    assert store.get("a", timeout=T).item is None
    lock.execute("ROLLBACK")
    assert put(store, "a")


def test_threads_wait_for_each_other_only_until_their_deadline(open_store, lock):
    store = open_store()
    errors = []

    def write():
        try:
            put(store, "a", timeout=0.3)
        except DeadlineExceeded as exc:
            errors.append(exc)

    threads = [threading.Thread(target=write) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(T)
    assert len(errors) == 3


def test_closing_frees_those_who_wait(open_store, lock):
    store = open_store()
    errors = []

    def write():
        try:
            put(store, "a", timeout=60.0)
        except Unavailable as exc:
            errors.append(exc)

    thread = threading.Thread(target=write)
    thread.start()
    while store._database._idle:  # until the thread has taken the one connection there is
        threading.Event().wait(0.001)
    store.close()
    thread.join(T)
    assert not thread.is_alive()
    assert "closed" in str(errors[0])


class _BrokenDisk(database.Connection):
    """Fails at COMMIT as a disk does that stops answering: SQLite has given the transaction up."""

    def execute(self, sql, *arguments):
        if sql == "COMMIT" and self.total_changes:
            super().execute("ROLLBACK")
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC
            raise error
        return super().execute(sql, *arguments)


def test_a_disk_that_fails_at_the_last_step_leaves_the_outcome_unknown(open_store, monkeypatch):
    open_store().close()
    monkeypatch.setattr(database, "Connection", _BrokenDisk)
    store = open_store()
    with pytest.raises(OutcomeUnknown, match="last step"):
        put(store, "a")


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (sqlite3.SQLITE_BUSY_SNAPSHOT, DeadlineExceeded),
        (sqlite3.SQLITE_LOCKED, DeadlineExceeded),
        (sqlite3.SQLITE_FULL, StoreFull),
        (sqlite3.SQLITE_IOERR_SHMSIZE, StoreFull),
        (sqlite3.SQLITE_READONLY_DBMOVED, Unavailable),
        (sqlite3.SQLITE_READONLY_DIRECTORY, PermissionDenied),
        (sqlite3.SQLITE_PERM, PermissionDenied),
        (sqlite3.SQLITE_AUTH, PermissionDenied),
        (sqlite3.SQLITE_CANTOPEN, Unavailable),
        (sqlite3.SQLITE_CORRUPT_INDEX, StoreCorrupted),
        (sqlite3.SQLITE_NOTADB, StoreCorrupted),
        (sqlite3.SQLITE_INTERRUPT, Unavailable),
        (sqlite3.SQLITE_NOMEM, Unavailable),
        (sqlite3.SQLITE_IOERR_READ, Unavailable),
        (sqlite3.SQLITE_TOOBIG, LimitExceeded),
        (sqlite3.SQLITE_ERROR, PluginError),
    ],
)
def test_each_code_has_its_error_and_names_the_file(code, expected, path):
    error = sqlite3.OperationalError("so it is")
    error.sqlite_errorcode = code
    translated = translate(error, str(path))
    assert type(translated) is expected
    assert str(path) in str(translated)


# -- what it says of itself ----------------------------------------------------------------------------


def test_server_info(open_store):
    store = open_store(synchronous="full")
    revision = put(store, "a")
    info = store.server_info(timeout=T)
    assert (info.product, info.version, info.revision) == ("SQLite", sqlite3.sqlite_version, revision)
    assert info.details["integrity"] == "ok"
    assert info.details["journal mode"] == "wal"
    assert info.details["synchronous"] == "full"
    assert not [risk for risk in info.warnings if "power" in risk]
    assert [risk for risk in open_store().server_info(timeout=T).warnings if "power" in risk]


def test_the_plugin_describes_itself(open_store):
    plugin = tenure_backend()
    assert plugin.scheme == "sqlite"
    assert {option.name for option in plugin.options} == {"history", "poll", "synchronous"}
    assert open_store().capabilities.durable
