"""`tenure copy`: both sides are equal afterwards, or the command says why not and nothing is lost."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import tenure
from tenure._failed import Failed
from tenure.errors import Unavailable
from tenure.migration.copier import RECORD, Copier

from .conftest import Run


@pytest.fixture
def source(url: str) -> Iterator[tenure.Store]:
    with tenure.connect(f"{url}/from") as opened:
        yield opened


@pytest.fixture
def target(url: str) -> Iterator[tenure.Store]:
    with tenure.connect(f"{url}/to") as opened:
        yield opened


@pytest.fixture
def copy(run: Run, url: str) -> Callable[..., Any]:
    return lambda *options: run("copy", f"{url}/from", f"{url}/to", *options)


def content(store: tenure.Store) -> dict[str, bytes]:
    return {item.key: item.value for item in store.list()}


def fill(store: tenure.Store, count: int = 250) -> dict[str, bytes]:
    for i in range(count):
        store.put(f"key/{i}", bytes([i % 256]) * (i % 7))
    return content(store)


def test_everything_arrives(source: tenure.Store, target: tenure.Store, copy: Callable[..., Any]) -> None:
    expected = fill(source)
    result = copy("--json")
    assert result.exit_code == 0, result.output
    record = json.loads(result.stdout)
    assert (record["keys"], record["written"], record["compared"], record["verified"]) == (250, 250, 250, True)
    assert content(target) == expected
    assert target.get(RECORD) is None


def test_a_dry_run_writes_nothing(source: tenure.Store, target: tenure.Store, copy: Callable[..., Any]) -> None:
    fill(source, 3)
    before = target.get_with_revision("x").revision
    result = copy("--dry-run", "--json")
    assert (result.exit_code, json.loads(result.stdout)["keys"]) == (0, 3)
    assert target.get_with_revision("x").revision == before


def test_a_target_with_keys_is_refused(source: tenure.Store, target: tenure.Store, copy: Callable[..., Any]) -> None:
    source.put("a", b"new")
    target.put("b", b"old")
    result = copy()
    assert result.exit_code == 1
    assert "--merge" in result.stderr
    assert content(target) == {"b": b"old"}


def test_merge_replaces_what_both_have_and_keeps_the_rest(
    source: tenure.Store, target: tenure.Store, copy: Callable[..., Any]
) -> None:
    source.put("a", b"new")
    target.put("a", b"old")
    target.put("b", b"old")
    assert copy("--merge").exit_code == 0
    assert content(target) == {"a": b"new", "b": b"old"}


def test_keys_with_a_lease_stay_behind_unless_asked_for(
    source: tenure.Store, target: tenure.Store, copy: Callable[..., Any]
) -> None:
    source.put("stays", b"1", lease=source.lease(60))
    source.put("goes", b"2")
    result = copy("--json")
    assert json.loads(result.stdout)["skipped_leased"] == 1
    assert content(target) == {"goes": b"2"}
    assert copy("--merge", "--include-leased").exit_code == 0
    item = target.get("stays")
    assert item is not None
    assert item.lease_id is None


def test_values_too_large_are_reported_before_anything_is_written(
    source: tenure.Store, target: tenure.Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    import dataclasses

    from tenure.cli.commands.copy import _check_sizes
    from tenure.errors import LimitExceeded

    source.put("a", b"fits")
    source.put("b", b"far too large")
    small = dataclasses.replace(target.capabilities, max_value_bytes=5)
    monkeypatch.setattr(target, "_capabilities", small)
    survey = Copier(source, target, merge=False, include_leased=False).survey()
    assert survey.too_large == (("b", 13),)
    with pytest.raises(LimitExceeded, match="'b'"):
        _check_sizes(survey)
    assert content(target) == {}


def test_an_interrupted_copy_goes_on(
    source: tenure.Store,
    target: tenure.Store,
    copy: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    expected = fill(source)
    commits = iter(range(1))
    original = tenure.Store._commit_built

    def failing(self: tenure.Store, *transaction: Any) -> tenure.CommitResult:
        if next(commits, None) is None:
            raise Unavailable("the store went away")
        return original(self, *transaction)

    with monkeypatch.context() as patch:
        patch.setattr(tenure.Store, "_commit_built", failing)
        result = copy()
    assert result.exit_code == 3
    assert "run the same command again to continue" in result.stderr
    assert target.get(RECORD) is not None
    assert 0 < len(content(target)) < len(expected)
    result = copy("--json")
    assert result.exit_code == 0, result.output
    record = json.loads(result.stdout)
    assert record["resumed"] is True
    assert record["written"] == 150  # the batch of 100 that arrived is only compared
    assert content(target) == expected


def test_an_unfinished_copy_of_another_source_is_skipped(
    source: tenure.Store, target: tenure.Store, copy: Callable[..., Any]
) -> None:
    source.put("a", b"1")
    target.put(RECORD, json.dumps({"source": "memory://elsewhere", "merge": False}).encode())
    result = copy()
    assert result.exit_code == 1
    assert "memory://elsewhere" in result.stderr
    target.put(RECORD, b"not a record")
    assert copy().exit_code == 1


def test_an_unfinished_copy_is_no_source(source: tenure.Store, target: tenure.Store, copy: Callable[..., Any]) -> None:
    source.put(RECORD, b"{}")
    result = copy()
    assert result.exit_code == 1
    assert "unfinished copy" in result.stderr


def test_keys_that_appear_in_the_target_meanwhile_are_told(
    source: tenure.Store, target: tenure.Store, copy: Callable[..., Any]
) -> None:
    source.put("a", b"1")
    copier = Copier(source, target, merge=False, include_leased=False)
    copier.survey()
    target.put("foreign", b"x")
    with pytest.raises(Failed, match="foreign"):
        copier.run(lambda done: None)
    assert copier.begun
    target.delete("foreign")
    assert copy().exit_code == 0
    assert content(target) == {"a": b"1"}


def test_a_source_that_never_rests_is_told(source: tenure.Store, target: tenure.Store) -> None:
    source.put("a", b"0")
    copier = Copier(source, target, merge=False, include_leased=False)
    copier.survey()
    with pytest.raises(Failed, match="keeps changing"):
        copier.run(lambda done: source.put("a", str(source.get_with_revision("a").revision).encode()))


def test_both_sides_the_same(run: Run, url: str, store: tenure.Store) -> None:
    result = run("copy", url, url)
    assert result.exit_code == 2
    assert "both sides" in result.stderr


def test_a_target_that_is_the_source_or_inside_it(run: Run, url: str, store: tenure.Store) -> None:
    result = run("copy", f"{url}/n", f"{url}?namespace=n")
    assert result.exit_code == 2
    assert "the same namespace" in result.stderr
    result = run("copy", url, f"{url}/inside")
    assert result.exit_code == 2
    assert "lies inside it" in result.stderr
    with tenure.connect(f"{url}/n") as opened:
        assert content(opened) == {}
    assert content(store) == {}
