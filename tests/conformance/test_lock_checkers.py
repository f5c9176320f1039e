"""The checkers of locks find what they are for, and nothing in what is well."""

from __future__ import annotations

import json

import pytest

from tenure.conformance.checkers import by_name


def span(who: str, token: int, began: float, ended: float) -> dict[str, object]:
    return {"who": who, "token": token, "began": began, "ended": ended}


def write(who: str, token: int, revision: int) -> dict[str, object]:
    return {"who": who, "token": token, "revision": revision}


A, B, C = span("a", 3, 1.0, 2.0), span("b", 5, 2.0, 3.0), span("c", 9, 4.0, 5.0)
LOSS = {"sent": 0.0, "ttl": 1.0, "tolerance": 0.2, "valid": 0.99, "found": 1.001, "taken": 1.3}


def check(name: str, data: object) -> list[str]:
    return by_name.check(name, json.loads(json.dumps(data)))


def test_what_is_well_has_no_problem():
    spans = {"spans": [C, A, B]}
    assert check("exclusion", spans) == check("fencing-tokens", spans) == []
    assert check("fenced-writes", {"writes": [write("b", 5, 12), write("a", 3, 10), write("b", 5, 14)]}) == []
    assert check("loss-reported", LOSS) == []


@pytest.mark.parametrize(
    ("spans", "words"),
    [
        ([A, span("b", 5, 1.9, 3.0)], "b had the lock from 1.900000 to 3.000000 s while a had the lock"),
        ([span("b", 5, 1.9, 3.0), A], "while a"),
        ([span("a", 3, 1.0, 9.0), B, C], "c had the lock from 4.000000 to 5.000000 s while a"),
        ([A, A], "while a"),
    ],
)
def test_a_lock_held_twice_is_found(spans, words):
    found = check("exclusion", {"spans": spans})
    assert words in found[-1]


def permit(who: str, takes: int, began: float, ended: float) -> dict[str, object]:
    return {"who": who, "takes": takes, "began": began, "ended": ended}


READ, READ_LATER, WRITE = permit("r", 1, 1.0, 3.0), permit("s", 1, 2.0, 4.0), permit("w", 2, 4.0, 5.0)


def test_permits_within_the_limit_have_no_problem():
    assert check("permits", {"limit": 2, "spans": [WRITE, READ_LATER, READ, permit("n", 2, 2.5, 2.5)]}) == []
    assert check("permits", {"limit": 2, "spans": []}) == []


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (permit("w", 2, 3.9, 5.0), "3 of 2 are taken at 3.900000 s: s 1, w 2"),
        (permit("t", 1, 2.5, 2.6), "3 of 2 are taken at 2.500000 s: r 1, s 1, t 1"),
        (permit("w", 2, 0.0, 9.0), "3 of 2 are taken at 1.000000 s: w 2, r 1"),
    ],
)
def test_more_than_the_limit_is_found(wrong, words):
    assert words in check("permits", {"limit": 2, "spans": [READ, READ_LATER, wrong]})[0]


@pytest.mark.parametrize("token", [2, 3])
def test_a_token_that_does_not_grow_is_found(token):
    found = check("fencing-tokens", {"spans": [A, span("b", token, 2.0, 3.0), C]})
    assert len(found) == 1
    assert f"its token {token} isn't greater than the one before, 3" in found[0]


def test_a_stale_write_is_found():
    found = check("fenced-writes", {"writes": [write("a", 3, 10), write("b", 5, 12), write("a", 3, 15)]})
    assert len(found) == 1
    assert "by a with the token 3 at revision 15, after b had written with the token 5" in found[0]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"found": 1.25}, "found its lease lost after 1.250 s, its TTL is 1 s"),
        ({"taken": 0.9}, "another client had the lock 0.900 s after the last refresh"),
    ],
)
def test_a_loss_told_too_late_is_found(change, words):
    found = check("loss-reported", LOSS | change)
    assert len(found) == 1
    assert words in found[0]


def test_every_checker_can_be_called():
    for name, place in by_name.CHECKERS.items():
        module, _, function = place.partition(":")
        assert module.startswith("tenure.conformance.")
        assert function
        with pytest.raises(KeyError):  # found, and it misses its data
            by_name.check(name, {})
    with pytest.raises(LookupError, match="no such checker: 'none'"):
        by_name.check("none", {})
