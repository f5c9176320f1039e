"""The judgement of recipes under faults finds what it is there for."""

from __future__ import annotations

from typing import Any

from tenure_testkit.recipe_faults import judge


def _held(holder: str, token: int, *moments: float, most: int = 1, weight: int = 1) -> list[dict[str, Any]]:
    one = {"kind": "held", "lock": "l", "token": token, "holder": holder, "most": most, "weight": weight}
    return [{**one, "at": at} for at in moments]


def test_holders_one_after_the_other_are_right() -> None:
    assert judge.holder_problems([*_held("a", 1, 0.0, 1.0), *_held("b", 2, 1.0, 2.0)]) == []


def test_two_holders_at_a_moment_are_found() -> None:
    found = judge.holder_problems([*_held("a", 1, 0.0, 1.0), *_held("b", 2, 0.9, 2.0)])
    assert "too many holders" in found[0]


def test_a_token_that_does_not_grow_is_found() -> None:
    found = judge.holder_problems([*_held("a", 2, 0.0, 1.0), *_held("b", 1, 1.5, 2.0)])
    assert "came after 2" in found[0]


def test_as_many_permits_as_there_are_may_be_held() -> None:
    two = [*_held("a", 1, 0.0, 1.0, most=2), *_held("b", 2, 0.5, 1.0, most=2)]
    assert judge.holder_problems(two) == []
    assert judge.holder_problems([*two, *_held("c", 3, 0.9, 1.0, most=2)])


def test_a_reader_beside_a_writer_is_found() -> None:
    readers = [*_held("a", 1, 0.0, 1.0, most=9), *_held("b", 2, 0.5, 1.0, most=9)]
    assert judge.holder_problems(readers) == []
    assert judge.holder_problems([*readers, *_held("w", 3, 0.9, 1.0, most=9, weight=9)])


def test_a_guarded_write_of_an_earlier_token_is_found() -> None:
    writes = [{"kind": "guarded", "lock": "l", "token": token, "revision": at} for at, token in ((5, 1), (7, 3))]
    assert judge.guard_problems(writes) == []
    assert judge.guard_problems([*writes, {"kind": "guarded", "lock": "l", "token": 2, "revision": 8}])


def _item(*how: str) -> list[dict[str, Any]]:
    return [{"kind": "item", "item": "i", "how": one} for one in ("try", *how)]


def test_items_are_done_once() -> None:
    assert judge.item_problems(_item("done", "acknowledged"), {"i"}, drained=True) == []
    assert judge.item_problems(_item("unknown"), set(), drained=True) == []
    assert judge.item_problems(_item("done"), set(), drained=False) == []


def test_a_lost_item_and_one_done_twice_are_found() -> None:
    assert "never done" in judge.item_problems(_item("done"), set(), drained=True)[0]
    assert "2 times" in judge.item_problems(_item("done", *["acknowledged"] * 2), {"i"}, drained=True)[0]
    assert "missing" in judge.item_problems(_item("unknown", "acknowledged"), set(), drained=True)[0]
    assert "refused" in judge.item_problems(_item("refused"), {"i"}, drained=True)[0]
    assert "never put" in judge.item_problems([], {"i"}, drained=True)[0]


def test_two_results_of_one_run_are_found() -> None:
    results = [{"kind": "once", "name": "n", "result": result} for result in "112"]
    assert judge.once_problems(results[:2]) == []
    assert judge.once_problems(results)
