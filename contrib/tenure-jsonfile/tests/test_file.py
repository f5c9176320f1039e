"""What the shared suite can't ask of every store: several processes, a crash, a damaged file, a full disk."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import tenure

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


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.json"


@pytest.fixture
def store(path: Path) -> Iterator[tenure.Store]:
    with tenure.connect(f"jsonfile://{path}") as store:
        store.put("count", b"0")
        yield store


def counter(store: tenure.Store, times: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", COUNT, store.url, str(times)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_processes_take_turns(store: tenure.Store) -> None:
    counters = [counter(store, 40) for _ in range(3)]
    for process in counters:
        process.communicate(timeout=60)
        assert process.returncode == 0
    assert store.get("count").value == b"120"


def test_a_killed_writer_takes_nothing_with_it(store: tenure.Store, path: Path) -> None:
    process = counter(store, 1_000_000)
    assert process.stdout is not None
    for _ in range(20):
        acknowledged = int(process.stdout.readline())
    process.send_signal(signal.SIGKILL)
    rest = process.communicate(timeout=60)[0].split()
    acknowledged = int(rest[-1]) if rest else acknowledged
    # One more may have been applied without the news having come out.
    assert int(store.get("count").value) - acknowledged in (0, 1)
    store.put("next", b"goes on", timeout=2)
    assert json.loads(path.read_text())["keys"]["next"]["text"] == "goes on"


def test_a_held_lock_ends_the_call_in_time(store: tenure.Store, path: Path) -> None:
    with open(path.with_name(path.name + ".lock")) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        started = time.monotonic()
        with pytest.raises(tenure.DeadlineExceeded, match="another process held the lock"):
            store.put("count", b"1", timeout=0.3)
        assert time.monotonic() - started < 2
        assert store.get("count").value == b"0"  # reading needs no lock


@pytest.mark.parametrize("text", [b"", b"[]", b"{", b'{"format": 7}', b"\xff\xfe"])
def test_a_damaged_file_is_told_and_left_alone(store: tenure.Store, path: Path, text: bytes) -> None:
    path.write_bytes(text)
    for call in (lambda: store.get("count"), lambda: store.put("count", b"1")):
        with pytest.raises(tenure.StoreCorrupted, match=r"state\.json isn't a state file"):
            call()
    assert path.read_bytes() == text


@pytest.mark.parametrize(
    ("number", "error"), [(errno.ENOSPC, tenure.StoreFull), (errno.EROFS, tenure.PermissionDenied)]
)
def test_a_write_that_fails_is_refused(
    store: tenure.Store, monkeypatch: pytest.MonkeyPatch, number: int, error: type[Exception]
) -> None:
    def fail(_descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", fail)
        with pytest.raises(error):
            store.put("count", b"1", timeout=0.3)
    assert store.get("count").value == b"0"


def test_revisions_stay_unique_when_a_copy_is_put_back(store: tenure.Store, path: Path) -> None:
    copy = path.read_bytes()
    with store.watch("") as watch:
        lost = [store.put("count", b"lost").revision, store.put("lost", b"").revision]
        while (batch := watch.next(10)) is None or batch.revision < lost[-1]:
            pass
        path.write_bytes(copy)
        with pytest.raises(tenure.Conflict):
            store.put_if_unchanged("count", b"1", revision=lost[0])
        new = [store.put("count", b"new").revision for _ in range(3)]
        assert sorted({*lost, *new}) == [*lost, *new]
        told: dict[str, bool] = {}
        while "lost" not in told:
            batch = watch.next(10)
            assert batch is not None
            told |= {event.key: event.item is not None for event in batch.events}
        assert told["lost"] is False
        assert told["count"] is True


def test_a_file_of_the_version_before_is_continued(store: tenure.Store, path: Path) -> None:
    document = json.loads(path.read_text())
    document["revision"] = document["keys"]["count"]["created"] = document["keys"]["count"]["modified"] = 7
    path.write_text(json.dumps(document))
    assert store.get("count").mod_revision == 7
    before = time.time()
    revision = store.put_if_unchanged("count", b"1", revision=7).revision
    assert revision >= int(before * 1e6)
    assert store.get("count") == tenure.KeyValue("count", b"1", 7, revision)


def test_an_exact_watch_many_keys_and_a_prefix(store: tenure.Store) -> None:
    for key in ("a", "a/", "a/b", "a0", "ab"):
        store.put(key, key.encode())
    with store.watch("a", exact=True) as watch:
        assert [event.key for event in watch.next(10).events] == ["a"]
    assert [item and item.value for item in store.get_many(["ab", "no", "a"]).items] == [b"ab", None, b"a"]
    assert store.delete_prefix("a/").deleted == 2
    assert store.list("a", keys_only=True).keys == ("a", "a0", "ab")


def test_leases_end_with_the_machines_run(store: tenure.Store, path: Path) -> None:
    lease = store.lease(3600)
    store.put("held", b"", lease=lease)
    document = json.loads(path.read_text())
    document["boot"] = "another one"
    path.write_text(json.dumps(document))
    assert store.get("held") is None


@pytest.mark.parametrize("url", ["jsonfile://", "jsonfile:///", "jsonfile:///tmp", "jsonfile:///no/such/folder/x.json"])
def test_a_url_without_a_file_is_explained(url: str) -> None:
    with pytest.raises(tenure.ConfigError, match="name"):
        tenure.connect(url)


def test_no_file_takes_the_place_of_a_device(tmp_path: Path) -> None:
    device = tmp_path / "null"
    device.symlink_to("/dev/null")
    with pytest.raises(tenure.errors.TenureError), tenure.connect(f"jsonfile://{device}") as store:
        store.put("a", b"")
    assert device.is_symlink()
