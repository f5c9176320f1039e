"""`tenure export` and `tenure import`: what comes back is what was there, whole or with exact words."""

from __future__ import annotations

import dataclasses
import json
import os
import stat
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import tenure
from tenure.errors import OutcomeUnknown

from .conftest import Run

HOSTILE = {
    "text": b"hello\n",
    "empty": b"",
    "bytes": bytes(range(256)),
    "a//b/": b"\xff",
    'quote"\\\n\u202e': "grün 🙂\x1b[2J".encode(),
    "lone": b"\xed\xa0\x80",
}


@pytest.fixture
def other() -> Iterator[tenure.Store]:
    with tenure.connect(f"memory://{uuid.uuid4().hex}") as opened:
        yield opened


def content(store: tenure.Store) -> dict[str, bytes]:
    return {item.key: item.value for item in store.list()}


def test_every_value_comes_back(run: Run, store: tenure.Store, other: tenure.Store, tmp_path: Path) -> None:
    for key, value in HOSTILE.items():
        store.put(key, value)
    file = tmp_path / "saved.jsonl"
    assert run("export", str(file)).exit_code == 0
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    header, *lines = map(json.loads, file.read_text(encoding="ascii").splitlines())
    assert (header["tenure_export"], header["keys"], len(lines)) == (1, len(HOSTILE), len(HOSTILE))
    result = run("--url", other.url, "import", str(file), "--json")
    assert (result.exit_code, json.loads(result.stdout)["whole"]) == (0, True), result.output
    assert content(other) == HOSTILE
    piped = run("export", "-", "--prefix", "te").stdout_bytes
    assert run("--url", other.url, "import", "-", "--merge", "--json", stdin=piped).exit_code == 0
    assert os.listdir(tmp_path) == ["saved.jsonl"]


def test_nothing_but_leased_keys_is_no_failed_import(
    run: Run, store: tenure.Store, other: tenure.Store, tmp_path: Path
) -> None:
    file = str(tmp_path / "saved")
    with store.lease(30) as lease:
        for key in ("a", "b"):
            store.put(key, b"2", lease=lease)
        run("export", file)
    said = run("--url", other.url, "import", file)
    assert (said.exit_code, said.stdout.partition(",")[0]) == (0, "nothing to restore: all 2 keys belong to leases")
    counted = run("--url", other.url, "import", file, "--json")
    assert json.loads(counted.stdout)["skipped_leased"] == 2


def test_leases_are_said(run: Run, store: tenure.Store, other: tenure.Store, tmp_path: Path) -> None:
    file = str(tmp_path / "saved")
    store.put("stays", b"1")
    with store.lease(30) as lease:
        store.put("goes", b"2", lease=lease)
        assert "1 hang on a lease" in run("export", file).stdout
    assert "1 key with a lease left out" in run("--url", other.url, "import", file).stdout
    assert content(other) == {"stays": b"1"}
    assert run("--url", other.url, "import", file, "--merge", "--include-leased").exit_code == 0
    assert content(other) == {"stays": b"1", "goes": b"2"}


def test_an_export_that_fails_leaves_the_old_file(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "saved"
    file.write_text("yesterday's")

    def broken(*_: Any, **__: Any) -> Iterator[Any]:
        raise tenure.Unavailable("cut off")

    monkeypatch.setattr(tenure.Store, "scan", broken)
    assert run("export", str(file)).exit_code == 3
    assert (file.read_text(), os.listdir(tmp_path)) == ("yesterday's", ["saved"])


def test_a_pipe_gets_what_is_exported_and_stays_one(run: Run, store: tenure.Store, tmp_path: Path) -> None:
    """As ``/dev/stdout`` does, and ``/dev/null``, which a new file must not take the place of."""
    store.put("a", b"1")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with ThreadPoolExecutor(1) as pool:
        read = pool.submit(pipe.read_bytes)
        assert run("export", str(pipe)).exit_code == 0
        assert b'"a"' in read.result(30)
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert os.listdir(tmp_path) == ["pipe"]


HEADER = '{"tenure_export": 1, "keys": 1}\n'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "line 1: it is no JSON"),
        ('{"key": "a"}\n', "no export of Tenure"),
        ('{"tenure_export": 2, "keys": 1}\n', "version 2"),
        ('{"tenure_export": 1}\n', "number of keys"),
        (HEADER, "the header counts 1 keys and 0 are there"),
        (HEADER + '{"key": "a", "value": "1"', "line 2: it is no JSON"),
        (HEADER + '{"key": "a"}', "one of 'value' and 'base64'"),
        (HEADER + '{"key": 1, "value": ""}', "'key' is text"),
        (HEADER + '{"key": "a", "base64": "%"}', "can't be read"),
        (HEADER + '{"key": "a", "value": "\\ud800"}', "can't be read"),
        (HEADER + '{"key": "a", "value": ""}\n{"key": "a", "value": ""}', "line 3: the key 'a' is there twice"),
        (HEADER + "[" * 100_000, "line 2: it is no JSON"),
    ],
)
def test_a_file_that_is_wrong_changes_nothing(
    run: Run, store: tenure.Store, tmp_path: Path, text: str, words: str
) -> None:
    file = tmp_path / "wrong"
    file.write_text(text)
    result = run("import", str(file))
    assert result.exit_code == 2
    assert words in result.stderr
    assert not store.list().keys


def test_keys_that_are_there_need_merge(run: Run, store: tenure.Store, tmp_path: Path) -> None:
    file = str(tmp_path / "saved")
    store.put("a", b"old")
    store.put("b", b"same")
    run("export", file)
    store.put("a", b"new")
    refused = run("import", file)
    assert (refused.exit_code, "--merge" in refused.stderr, content(store)["a"]) == (1, True, b"new")
    merged = json.loads(run("import", file, "--merge", "--json").stdout)
    assert (merged["written"], merged["equal"], content(store)["a"]) == (1, 1, b"old")


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stores whose transactions have room for two keys."""
    real = tenure.Store.capabilities.fget  # type: ignore[attr-defined]  # mypy takes a property for its value
    monkeypatch.setattr(
        tenure.Store,
        "capabilities",
        property(lambda self: dataclasses.replace(real(self), max_transaction_operations=4)),
    )


@pytest.mark.usefixtures("small")
def test_a_failure_in_the_middle_says_what_was_done(
    run: Run, store: tenure.Store, other: tenure.Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = str(tmp_path / "saved")
    for number in range(5):
        store.put(f"k{number}", b"x")
    run("export", file)
    commits = []
    real = tenure.Store._commit_built

    def unknown(self: tenure.Store, *args: Any, **more: Any) -> Any:
        commits.append(args)
        if len(commits) == 2:
            raise OutcomeUnknown("no answer")
        return real(self, *args, **more)

    with monkeypatch.context() as patch:
        patch.setattr(tenure.Store, "_commit_built", unknown)
        result = run("--url", other.url, "import", file)
    assert result.exit_code == 4
    assert "2 of 5 keys were imported, up to 'k1'; 2 keys from 'k2' to 'k3' may have been imported" in result.stderr
    assert "--merge" in result.stderr
    rest = json.loads(run("--url", other.url, "import", file, "--merge", "--json").stdout)
    assert (rest["written"], rest["equal"], content(other)) == (3, 2, content(store))


@pytest.mark.usefixtures("small")
def test_what_another_client_writes_meanwhile_is_not_replaced(
    run: Run, store: tenure.Store, other: tenure.Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = str(tmp_path / "saved")
    for number in range(4):
        store.put(f"k{number}", b"x")
    run("export", file)
    real = tenure.Store._commit_built

    def late(self: tenure.Store, *args: Any, **more: Any) -> Any:
        result = real(self, *args, **more)
        other.put_if_absent("k3", b"mine")
        return result

    with monkeypatch.context() as patch:
        patch.setattr(tenure.Store, "_commit_built", late)
        result = run("--url", other.url, "import", file)
    assert result.exit_code == 1
    assert "another client wrote to 'k3'" in result.stderr
    assert content(other) == {"k0": b"x", "k1": b"x", "k3": b"mine"}
