"""The store of a user who names no file: where it is, and that one of before the rename is found."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest

import tenure
from tenure.errors import PermissionDenied, StoreCorrupted
from tenure_sqlite.file_location import locate


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's state folder, as nothing has been put there yet."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state"


def store_of_before(state: Path) -> Path:
    """A store in the place that the old version chose, with one key."""
    path = state / "leasehold" / "leasehold.db"
    path.parent.mkdir(parents=True)
    with tenure.connect(f"sqlite://{path}") as store:
        store.put("a", b"of before")
    return path


def test_the_default_place(state: Path) -> None:
    assert locate("") == str(state / "tenure" / "tenure.db")
    assert (state / "tenure").is_dir()
    assert not (state / "leasehold").exists()


def test_without_a_usable_variable_it_is_in_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for unusable in ("relative", ""):
        monkeypatch.setenv("XDG_STATE_HOME", unusable)
        assert locate("") == str(tmp_path / ".local" / "state" / "tenure" / "tenure.db")
    before = store_of_before(tmp_path / ".local" / "state")
    assert locate("") == str(before)


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    with pytest.raises(PermissionDenied, match="XDG_STATE_HOME"):
        locate("")


def test_the_default_store_of_before_the_rename_is_opened_where_it_is(state: Path) -> None:
    before = store_of_before(state)
    with tenure.connect("sqlite://") as store:
        item = store.get("a")
        assert item is not None
        assert item.value == b"of before"
        store.put_if_unchanged("a", b"of after", revision=item.mod_revision)
    with tenure.connect(f"sqlite://{before}") as store, tenure.connect("sqlite://") as again:
        assert [item.value for item in store.list()] == [b"of after"]
        assert again.list() == store.list()
    assert sorted(state.rglob("*")) == [before.parent, before]


def test_the_new_file_goes_before_the_one_of_before_the_rename(state: Path) -> None:
    with tenure.connect("sqlite://") as store:
        store.put("a", b"of after")
    store_of_before(state)
    with tenure.connect("sqlite://") as store:
        assert [item.value for item in store.list()] == [b"of after"]


def test_an_old_store_that_was_renamed_to_the_new_place_is_the_same_store(state: Path) -> None:
    before = store_of_before(state)
    (state / "tenure").mkdir()
    before.rename(state / "tenure" / "tenure.db")
    with tenure.connect("sqlite://") as store:
        assert [item.value for item in store.list()] == [b"of before"]


def test_what_is_no_file_in_the_old_place_is_left_alone(state: Path) -> None:
    (state / "leasehold" / "leasehold.db").mkdir(parents=True)
    assert locate("") == str(state / "tenure" / "tenure.db")


def test_a_damaged_store_in_the_old_place_is_an_error_and_not_an_empty_store(state: Path) -> None:
    before = store_of_before(state)
    before.write_bytes(b"no database at all")
    with pytest.raises(StoreCorrupted, match=r"leasehold\.db"):
        tenure.connect("sqlite://")
    assert before.read_bytes() == b"no database at all"
    assert not (state / "tenure").exists()


def test_the_store_of_another_application_in_the_old_place_is_left_alone(state: Path) -> None:
    path = state / "leasehold" / "leasehold.db"
    path.parent.mkdir(parents=True)
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE t (x)")
    other.close()
    content = path.read_bytes()
    with pytest.raises(StoreCorrupted, match="another application"):
        tenure.connect("sqlite://")
    assert path.read_bytes() == content


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to another user")
@pytest.mark.parametrize("what", ["folder", "link", "target", "file"])
def test_a_default_place_that_another_user_made_is_refused(state: Path, tmp_path: Path, what: str) -> None:
    folder, other = state / "tenure", tmp_path / "other"
    state.mkdir()
    other.mkdir()
    (folder.symlink_to if what in ("link", "target") else folder.mkdir)(
        *((other,) if what in ("link", "target") else ())
    )
    if what == "file":
        (folder / "tenure.db").touch()
    theirs = {"folder": folder, "link": folder, "target": other, "file": folder / "tenure.db"}[what]
    os.chown(theirs, 54321, -1, follow_symlinks=False)
    with pytest.raises(PermissionDenied, match="another user"):
        tenure.connect("sqlite://")
    assert not (other / "tenure.db").exists()


def test_a_default_folder_that_others_can_write_into_is_refused(state: Path) -> None:
    (state / "tenure").mkdir(parents=True)
    (state / "tenure").chmod(0o777)
    with pytest.raises(PermissionDenied, match="chmod go-w"):
        tenure.connect("sqlite://")


def test_a_link_of_the_users_own_is_followed(state: Path, tmp_path: Path) -> None:
    state.mkdir()
    (tmp_path / "own").mkdir(mode=0o700)
    (state / "tenure").symlink_to(tmp_path / "own")
    with tenure.connect("sqlite://") as store:
        store.put("a", b"")
    assert (tmp_path / "own" / "tenure.db").exists()


def test_nobody_else_can_read_the_files_of_the_default_store(state: Path) -> None:
    before = os.umask(0)
    try:
        with tenure.connect("sqlite://") as store:
            store.put("secret", b"hunter2")
            modes = {path.name: path.stat().st_mode & 0o077 for path in (state / "tenure").iterdir()}
    finally:
        os.umask(before)
    assert {"tenure.db", "tenure.db-wal"} <= set(modes)
    assert set(modes.values()) == {0}
