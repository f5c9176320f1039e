"""What people see on a terminal: tables and colours, text as text, bytes not at all."""

from __future__ import annotations

import pytest

import tenure
from tenure._outages import Outage, OutageTracker
from tenure.errors import PermissionDenied, Unavailable

from .processes import terminal


@pytest.fixture
def filled(file_url: str) -> str:
    with tenure.connect(file_url) as store:
        store.put("text", b"two\nlines\x1b[2J")
        store.put("bytes", b"\xff\xfe")
    return file_url


def test_get_shows_text_with_its_lines_and_obeys_nothing(filled: str) -> None:
    assert terminal("kv", "get", "text", url=filled) == (0, "two\nlines\\x1b[2J\n")


def test_get_does_not_send_bytes_to_a_terminal(filled: str) -> None:
    code, text = terminal("kv", "get", "bytes", url=filled)
    assert code == 0
    assert "2 B that aren't text" in text


def test_list_is_a_table(filled: str) -> None:
    code, text = terminal("kv", "list", url=filled)
    assert code == 0
    assert "\x1b[1mtext" in text
    assert "revision" in text
    assert "<2 bytes>" in text


def test_no_color_is_respected(filled: str) -> None:
    code, text = terminal("kv", "list", url=filled, NO_COLOR="1")
    assert code == 0
    assert "\x1b[3" not in text


def test_doctor(filled: str) -> None:
    code, text = terminal("doctor", url=filled)
    assert code == 0
    assert "the store ..." in text
    assert "max_value_bytes" in text


def test_copy_moves_a_bar(filled: str) -> None:
    with tenure.connect(f"{filled}?namespace=from") as store:
        store.put("k", b"v")
    code, text = terminal("copy", f"{filled}?namespace=from", f"{filled}?namespace=to", url=filled)
    assert code == 0
    assert "copying" in text
    assert "equal" in text


def test_an_empty_answer_says_so(file_url: str) -> None:
    assert terminal("kv", "list", url=file_url) == (0, "no keys\n")


def test_outages_are_told_when_they_begin_now_and_then_and_when_they_end() -> None:
    tracker = OutageTracker()
    told = [tracker.look(age) for age in (0.0, 0.4, 0.9, 31.0, 45.0, 0.0, 0.0)]
    assert told == [None, Outage(0.4), None, Outage(31.0), None, Outage(45.0, over=True), None]


def test_the_cause_of_an_outage_is_told_when_it_is_known_and_when_it_is_another() -> None:
    tracker = OutageTracker()
    away, still, refused = Unavailable("away"), Unavailable("still away"), PermissionDenied("no")
    looks = [(0.1, None), (0.2, away), (0.3, still), (0.4, None), (0.5, refused), (0.0, None), (0.1, refused)]
    assert [tracker.look(*look) for look in looks] == [
        Outage(0.1),
        Outage(0.2, cause=away),
        None,
        None,
        Outage(0.5, cause=refused),
        Outage(0.5, over=True),
        Outage(0.1, cause=refused),
    ]
