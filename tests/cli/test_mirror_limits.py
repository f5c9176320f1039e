"""`tenure mirror` into a store that takes less at once than the source."""

from __future__ import annotations

import dataclasses

import pytest

import tenure
from tenure.errors import LimitExceeded
from tenure.migration.mirror import Change, packed

from .mirrors import Running, content, equal


def test_a_value_too_large_is_told_before_anything_is_written(
    source: tenure.Store, target: tenure.Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    source.put("a", b"fits")
    source.put("b", b"x" * 300)
    small = dataclasses.replace(target.capabilities, max_value_bytes=250)
    monkeypatch.setattr(target, "_capabilities", small)
    with Running(source, target) as running:
        running.until("ended")
    assert isinstance(running.error, LimitExceeded)
    assert "'b'" in str(running.error)
    assert content(target) == {}


def test_a_target_of_small_transactions(
    source: tenure.Store, target: tenure.Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease = source.lease(60)
    small = dataclasses.replace(target.capabilities, max_transaction_operations=5, max_transaction_leases=1)
    monkeypatch.setattr(target, "_capabilities", small)
    for i in range(20):
        source.put(f"{i}", b"x", lease=lease if i % 2 else None)
    with Running(source, target) as running:
        running.until("synced")
        transaction = source.transaction()
        for i in range(20):
            transaction.put(f"{i}", b"y", lease=lease if i % 3 else None)
        transaction.commit()
        equal(source, target)
    assert running.error is None


def test_packing_keeps_groups_together_and_keys_apart() -> None:
    def change(key: str, *, guarded: bool = False, value: bytes = b"") -> Change:
        return Change(key, tenure.KeyValue(key, value, 1, 1), guarded)

    def keys(groups: list[list[Change]], most: int = 4, most_bytes: int = 10_000) -> list[str]:
        return ["".join(each.key for each in chunk) for chunk in packed(groups, most, most_bytes)]

    a, b, c, d, e = (change(key) for key in "abcde")
    assert keys([]) == []
    assert keys([[a, b], [c, d], [e]]) == ["abcd", "e"]
    assert keys([[a, b, c], [d, e]]) == ["abc", "de"]
    assert keys([[a, b, c, d, e]]) == ["abcd", "e"]
    assert keys([[a], [a], [b]]) == ["a", "ab"]
    assert keys([[change("a", guarded=True)], [change("b", guarded=True)], [c]]) == ["ab", "c"]
    assert keys([[change("a", value=bytes(6_000))], [change("b", value=bytes(6_000))]]) == ["a", "b"]
