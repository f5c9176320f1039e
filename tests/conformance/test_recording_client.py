"""Recorded clients: every answer is written down as it came, and what has no answer as unknown."""

from __future__ import annotations

import math

import pytest

import tenure
from tenure.conformance.checkers.linearizability import checkers
from tenure.conformance.checkers.linearizability.operations import Kind, Outcome
from tenure.conformance.workloads.recording_client import Recorder
from tenure.errors import OutcomeUnknown, Unavailable


@pytest.fixture
def store():
    with tenure.connect("memory://recorder") as opened:
        yield opened
        opened.delete_prefix("", allow_empty_prefix=True)


def test_what_was_done_and_answered_is_a_history_without_problems(store):
    recorder = Recorder()
    client, other = recorder.client(1, store), recorder.client(2, store)
    assert client.read("k") is None
    assert client.put("k", b"\xff\x00")
    item = other.read("k")
    assert item is not None
    assert not other.put_if_absent("k", b"2")
    assert other.compare_and_set("k", b"3", item.mod_revision)
    assert not client.compare_and_set("k", b"4", item.mod_revision)
    assert not client.delete("k", item.mod_revision)
    latest = client.read("k")
    assert latest is not None
    assert client.transaction(puts={"l": b"5"}, deletes=("k", "m"), unchanged={"k": latest.mod_revision})
    client.list("", ("k", "l"))
    assert client.delete("k")
    found = recorder.operations
    assert [each.outcome for each in found].count(Outcome.REFUSED) == 3
    assert recorder.count(Kind.READ) == 3
    assert recorder.count(Kind.COMPARE_AND_SET) == recorder.count(Kind.COMPARE_AND_SET, Outcome.REFUSED) == 1
    assert found[1].puts == (("k", "\xff\x00"),)
    assert found[-3].deleted == 1
    assert found[-2].seen[0][0] in ("k", "l")
    assert dict(found[-2].seen)["k"] is None
    assert all(each.invoked <= each.returned < math.inf for each in found)
    assert checkers.problems(found) == []


def test_what_has_no_answer_is_unknown_and_what_was_not_applied_is_left_out(store, monkeypatch):
    recorder = Recorder()
    client = recorder.client(1, store)

    def fail(error: Exception) -> None:
        def raising(*_: object, **__: object) -> None:
            raise error

        monkeypatch.setattr(store, "put", raising)
        with pytest.raises(type(error)):
            client.put("k", b"1")

    fail(Unavailable("gone"))
    assert recorder.operations == []
    fail(OutcomeUnknown("who knows"))
    (unknown,) = recorder.operations
    assert (unknown.outcome, unknown.returned, unknown.puts) == (Outcome.UNKNOWN, math.inf, (("k", "1"),))
