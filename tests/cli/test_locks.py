"""`tenure locks`: who holds, who waits, and taking it away."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest

import tenure
from tenure_testkit.waiting import until

from .conftest import Run
from .processes import Command


def test_nothing_is_held(run: Run, run_json: Any) -> None:
    assert run_json("locks") == []
    assert run("locks").stdout == ""
    assert run("locks", "show", "job").exit_code == 1
    assert run("locks", "release", "job", "--yes").exit_code == 1


def test_every_kind_with_its_holder_and_token(store: tenure.Store, run_json: Any) -> None:
    with (
        tenure.Lock(store, "a/b", owner="me").hold() as lock,
        tenure.Lock(store, "quick", owner="me", fair=False).hold() as unfair,
        tenure.ReadWriteLock(store, "index", owner="reader").read.hold() as reader,
        tenure.Semaphore(store, "uploads", limit=2, owner="one").hold() as one,
        tenure.Semaphore(store, "uploads", limit=2, owner="two").hold() as two,
        tenure.Election(store, "leader", candidate="node").lead() as term,
    ):
        found = {(r["kind"], r["name"], r["owner"], r["token"]) for r in run_json("locks")}
        assert found == {
            ("lock", "a/b", "me", lock.token),
            ("lock", "quick", "me", unfair.token),
            ("shared lock", "index", "reader", reader.token),
            ("semaphore", "uploads", "one", one.token),
            ("semaphore", "uploads", "two", two.token),
            ("election", "leader", "node", term.token),
        }
        assert all(0 <= record["age"] < 60 for record in run_json("locks"))


def test_those_who_wait_are_shown_in_order(store: tenure.Store, run: Run, run_json: Any) -> None:
    waiting = [threading.Thread(target=_once, args=(store, owner)) for owner in ("second", "third")]
    with tenure.Lock(store, "job", owner="first").hold():
        for number, thread in enumerate(waiting, start=2):
            thread.start()
            until(lambda number=number: len(store.list("tenure/lock/job/").items) == number)  # type: ignore[misc]
        shown = run_json("locks", "show", "job")
        assert [(r["owner"], r["holds"]) for r in shown] == [("first", True), ("second", False), ("third", False)]
        assert [r["token"] is None for r in shown] == [False, True, True]
        assert run("locks").stdout.split("\t")[-1].strip() == "2"
    for thread in waiting:
        thread.join()


def _once(store: tenure.Store, owner: str) -> None:
    tenure.Lock(store, "job", owner=owner).acquire(timeout=60).release()


def test_release_asks_first(store: tenure.Store, run: Run) -> None:
    with tenure.Lock(store, "job", owner="me").hold() as held:
        refused = run("locks", "release", "job", stdin=b"n\n")
        assert refused.exit_code == 1
        assert str(held.token) in refused.stderr
        assert store.get(held.key) is not None
        held.guard(store.transaction().put("x", b"1")).commit()


def test_what_was_taken_away_can_be_had_and_guards_no_more(store: tenure.Store, run: Run, run_json: Any) -> None:
    held = tenure.Lock(store, "job", owner="me").acquire()
    assert run_json("locks", "release", "job", "--yes")["released"][0]["token"] == held.token
    with tenure.Lock(store, "job").hold(timeout=10), pytest.raises(tenure.Conflict):
        held.guard(store.transaction().put("x", b"1")).commit()
    held.release()


def test_one_name_of_several_kinds(store: tenure.Store, run: Run, run_json: Any) -> None:
    term = tenure.Election(store, "job").campaign()
    permit = tenure.Semaphore(store, "job", limit=1).acquire()
    assert run("locks", "release", "job", "--yes").exit_code == 2
    assert len(run_json("locks", "release", "job", "--kind", "election", "--yes")["released"]) == 1
    assert store.get(term.key) is None
    assert permit.release()


def test_the_command_of_a_lock_that_was_taken_away_is_killed(file_url: str) -> None:
    with Command("lock", "job", "--json", "--", "sh", "-c", "echo up; exec sleep 1000", url=file_url) as holder:
        token = holder.err.record(type="acquired")["token"]
        holder.out.with_text("up")
        with Command("locks", "release", "job", "--yes", "--json", url=file_url) as operator:
            assert operator.wait() == 0
            assert json.loads("".join(operator.out.rest()))["released"][0]["token"] == token
        holder.err.record(type="lost")
        assert holder.wait() == 79
