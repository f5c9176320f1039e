"""`tenure kv`: values go in and come out as they are, conditions hold, exit codes tell."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import tenure
import tenure_memory

from .conftest import Run

BINARY = bytes(range(256))


def test_put_and_get_text(run: Run) -> None:
    assert run("kv", "put", "greeting", "hello").exit_code == 0
    result = run("kv", "get", "greeting")
    assert (result.exit_code, result.stdout_bytes) == (0, b"hello")


def test_put_from_stdin_and_get_are_binary_safe(run: Run, store: tenure.Store) -> None:
    assert run("kv", "put", "blob", "-", stdin=BINARY).exit_code == 0
    item = store.get("blob")
    assert item is not None
    assert item.value == BINARY
    assert run("kv", "get", "blob").stdout_bytes == BINARY


def test_put_from_a_file(run: Run, tmp_path: Path) -> None:
    source = tmp_path / "value"
    source.write_bytes(BINARY)
    assert run("kv", "put", "blob", "--file", str(source)).exit_code == 0
    assert run("kv", "get", "blob").stdout_bytes == BINARY


def test_a_file_that_is_not_there_is_a_usage_error(run: Run, tmp_path: Path) -> None:
    result = run("kv", "put", "blob", "--file", str(tmp_path / "nothing"))
    assert result.exit_code == 2
    assert "can't read the value" in result.stderr


def test_an_argument_that_is_not_text_keeps_its_bytes(run: Run) -> None:
    assert run("kv", "put", "k", b"a\xffb".decode(errors="surrogateescape")).exit_code == 0
    assert run("kv", "get", "k").stdout_bytes == b"a\xffb"


def test_the_empty_value_is_not_a_missing_key(run: Run) -> None:
    assert run("kv", "put", "empty", "").exit_code == 0
    result = run("kv", "get", "empty")
    assert (result.exit_code, result.stdout_bytes) == (0, b"")


def test_a_missing_key(run: Run) -> None:
    result = run("kv", "get", "nothing")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "tenure: no such key: 'nothing'\n"


def test_json_shows_text_as_text_and_bytes_as_base64(run: Run, run_json: Any) -> None:
    run("kv", "put", "text", "grün")
    run("kv", "put", "blob", "-", stdin=BINARY)
    text, blob = run_json("kv", "get", "text"), run_json("kv", "get", "blob")
    assert (text["value"], text["encoding"]) == ("grün", "utf-8")
    assert blob["encoding"] == "base64"
    assert base64.b64decode(blob["value"]) == BINARY


def test_json_is_taken_before_and_after_the_command(run: Run) -> None:
    run("kv", "put", "k", "v")
    before, after = run("--json", "kv", "get", "k"), run("kv", "get", "k", "--json")
    assert json.loads(before.stdout) == json.loads(after.stdout)


def test_put_if_absent(run: Run, store: tenure.Store) -> None:
    assert run("kv", "put", "k", "first", "--if-absent").exit_code == 0
    result = run("kv", "put", "k", "second", "--if-absent")
    assert result.exit_code == 1
    assert "look at the present state" in result.stderr
    assert run("kv", "get", "k").stdout == "first"


def test_compare_and_set(run: Run, run_json: Any) -> None:
    revision = run_json("kv", "put", "k", "1")["revision"]
    assert run("kv", "put", "k", "2", "--revision", str(revision)).exit_code == 0
    assert run("kv", "put", "k", "3", "--revision", str(revision)).exit_code == 1
    assert run("kv", "get", "k").stdout == "2"


def test_the_value_is_given_exactly_once(run: Run, tmp_path: Path) -> None:
    assert run("kv", "put", "k").exit_code == 2
    assert run("kv", "put", "k", "v", "--file", str(tmp_path / "f")).exit_code == 2
    assert run("kv", "put", "k", "v", "--if-absent", "--revision", "1").exit_code == 2


def test_delete(run: Run) -> None:
    run("kv", "put", "k", "v")
    assert run("kv", "delete", "k").exit_code == 0
    assert run("kv", "delete", "k").exit_code == 1
    assert run("kv", "delete", "k", "--missing-ok").exit_code == 0


def test_delete_at_a_revision(run: Run, run_json: Any) -> None:
    old = run_json("kv", "put", "k", "1")["revision"]
    new = run_json("kv", "put", "k", "2")["revision"]
    assert run("kv", "delete", "k", "--revision", str(old)).exit_code == 1
    assert run("kv", "delete", "k", "--revision", str(new)).exit_code == 0


def test_delete_a_prefix(run: Run, run_json: Any) -> None:
    for key in ("a/1", "a/2", "b"):
        run("kv", "put", key, "v")
    assert run_json("kv", "delete", "--prefix", "a/")["deleted"] == 2
    assert run("kv", "list", "--keys-only").stdout == "b\n"


def test_deleting_everything_has_to_be_confirmed(run: Run, store: tenure.Store) -> None:
    run("kv", "put", "k", "v")
    assert run("kv", "delete", "--prefix", "").exit_code == 2
    assert store.get("k") is not None
    assert run("kv", "delete", "--prefix", "", "--yes").exit_code == 0
    assert store.get("k") is None


def test_delete_needs_a_key_or_a_prefix(run: Run) -> None:
    assert run("kv", "delete").exit_code == 2
    assert run("kv", "delete", "k", "--prefix", "a").exit_code == 2
    assert run("kv", "delete", "--prefix", "a", "--revision", "1").exit_code == 2


def test_list_in_a_pipe_is_tab_separated_lines(run: Run, store: tenure.Store) -> None:
    store.put("a", b"one\ntwo")
    store.put("b", b"\xff")
    rows = [line.split("\t") for line in run("kv", "list").stdout.splitlines()]
    assert [row[:2] for row in rows] == [["a", "one\\ntwo"], ["b", "\\xff"]]


def test_list_takes_prefix_limit_and_keys_only(run: Run, run_json: Any) -> None:
    for key in ("a1", "a2", "a3", "b"):
        run("kv", "put", key, "v")
    assert run("kv", "list", "--prefix", "a", "--limit", "2", "--keys-only").stdout == "a1\na2\n"
    assert run("kv", "list", "a", "--keys-only").stdout == "a1\na2\na3\n"
    assert set(run_json("kv", "list", "b", "--keys-only")[0]) == {"key", "create_revision", "mod_revision", "lease_id"}


def test_escape_sequences_from_the_store_are_not_obeyed(run: Run, store: tenure.Store) -> None:
    store.put("evil\x1b[2J", b"\x1b]0;title\x07")
    output = run("kv", "list").stdout
    assert "\x1b" not in output
    assert "\\x1b" in output


def test_watch_shows_the_state_and_ends_after_so_many_changes(run: Run, store: tenure.Store) -> None:
    before = store.put("a/1", b"x").revision
    store.put("a/1", b"y")
    store.delete("a/1")
    store.put("other", b"z")
    result = run("kv", "watch", "--prefix", "a/", "--after", str(before), "--changes", "2", "--json")
    assert result.exit_code == 0, result.output
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(line["type"], line["key"]) for line in lines] == [("update", "a/1"), ("delete", "a/1")]


def test_watch_shows_all_that_the_store_keeps(run: Run, store: tenure.Store) -> None:
    """No revision is needed; what happened before the command has no time of its own, and doesn't get one of ours."""
    store.put("a/1", b"x")
    store.put("a/1", b"y")
    command = ("kv", "watch", "--prefix", "a/", "--after", "oldest", "--changes", "2")
    lines = [json.loads(line) for line in run(*command, "--json").stdout.splitlines()]
    assert [(line["type"], line["earlier"]) for line in lines] == [("create", True), ("update", True)]
    assert [line.split()[0] for line in run(*command).stdout.splitlines()] == ["earlier", "earlier"]
    result = run("kv", "watch", "--after", "yesterday")
    assert (result.exit_code, "oldest" in result.stderr) == (2, True)


def test_watch_takes_the_oldest_revision_from_the_refusal(run: Run, store: tenure.Store, url: str) -> None:
    store.put("a", b"x")
    tenure_memory.server(url.removeprefix("memory://")).compact()
    store.put("a", b"y")
    result = run("kv", "watch", "--after", "oldest", "--changes", "1", "--json")
    assert json.loads(result.stdout)["value"] == "y"


def test_a_key_that_is_no_key(run: Run) -> None:
    result = run("kv", "put", "k" * 2000, "v")
    assert result.exit_code == 2
    assert "1024" in result.stderr.replace(",", "")


def test_a_value_too_large_is_refused(run: Run, store: tenure.Store) -> None:
    result = run("kv", "put", "k", "-", stdin=bytes(store.capabilities.max_value_bytes + 1))
    assert result.exit_code == 1
    assert "keep large data elsewhere" in result.stderr
