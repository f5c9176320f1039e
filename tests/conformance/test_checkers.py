"""The checkers of operation histories: they agree with each other, they find each kind of break, and they are quick."""

from __future__ import annotations

import json
import math
import time

import pytest

from tenure.conformance.checkers import by_name
from tenure.conformance.checkers.linearizability import by_revision, checkers, exhaustive, search
from tenure.conformance.checkers.linearizability.models import Lock, Revisions, Values
from tenure.conformance.checkers.linearizability.operations import (
    ABSENT,
    Condition,
    Item,
    Kind,
    Operation,
    Outcome,
    beginning,
    describe,
    from_json,
    to_json,
)

from .random_histories import FAULTS, broken, history

HISTORIES = 1_000
LENGTH = 7


def no_revisions_explain(operations: list[Operation]) -> bool:
    return not exhaustive.explained(operations, Revisions)


# -- against each other ----------------------------------------------------------------------------


def test_the_checkers_agree_on_a_thousand_random_histories():
    wrong = seen_without_revisions = doubtful = 0
    for seed in range(HISTORIES):
        operations = broken(seed, LENGTH, no_revisions_explain) if seed % 2 else history(seed, LENGTH)
        truth = no_revisions_explain(operations)
        wrong += truth
        shown = "\n".join(map(describe, operations))
        assert bool(checkers.problems(operations)) is truth, f"seed {seed}, by revision:\n{shown}"
        searched = search.check(operations, Revisions, split=False).answer
        assert searched is (search.Answer.NO if truth else search.Answer.YES), f"seed {seed}, search:\n{shown}"
        doubtful += bool(by_revision.check(operations).doubtful)
        # Without revisions less is wrong, and the search splits by key.
        values = not exhaustive.explained(operations, Values)
        seen_without_revisions += values
        assert truth or not values, f"seed {seed}, values:\n{shown}"
        searched = search.check(operations, Values).answer
        assert searched is (search.Answer.NO if values else search.Answer.YES), f"seed {seed}, by values:\n{shown}"
    assert wrong == HISTORIES // 2
    assert seen_without_revisions > HISTORIES // 4
    assert doubtful > 50


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_found_in_a_longer_history(fault):
    for seed in range(20):

        def wrong(operations: list[Operation]) -> bool:
            return bool(checkers.problems(operations))

        operations = broken(seed, 60, wrong, fault=fault)
        found = checkers.problems(operations)
        assert found
        assert all(len(problem) > 40 for problem in found)


def test_long_true_histories_have_no_problem():
    for seed in range(30):
        assert checkers.problems(history(seed, 300, clients=10, keys=4)) == []
        assert checkers.problems(history(seed, 300, clients=10, keys=4, doubt=0)) == []


def test_a_hundred_thousand_operations_take_seconds():
    operations = history(1, 100_000, clients=20, keys=50, doubt=0.001)
    began = time.process_time()
    found = by_revision.check(operations)
    took = time.process_time() - began
    assert found.problems == []
    assert took < 10.0, "the CPU time of this process"


# -- each kind of break, by hand -------------------------------------------------------------------


def op(client: int, span: tuple[float, float], kind: Kind, **rest: object) -> Operation:
    return Operation(client, kind, *span, Outcome.DONE)._replace(**rest)  # type: ignore[arg-type]


def put(client: int, span: tuple[float, float], value: str, revision: int, *preconditions: Condition) -> Operation:
    kind = Kind.COMPARE_AND_SET if preconditions else Kind.PUT
    guarded = tuple(("k", precondition) for precondition in preconditions)
    return op(client, span, kind, revision=revision, puts=(("k", value),), preconditions=guarded)


def delete(client: int, span: tuple[float, float], revision: int, deleted: int) -> Operation:
    return op(client, span, Kind.DELETE, revision=revision, deletes=("k",), deleted=deleted)


def read(client: int, span: tuple[float, float], item: Item | None, revision: int) -> Operation:
    return op(client, span, Kind.READ, revision=revision, seen=(("k", item),))


def doubt(operation: Operation) -> Operation:
    return operation._replace(outcome=Outcome.UNKNOWN, returned=math.inf, revision=None, deleted=0)


def refused(operation: Operation) -> Operation:
    return operation._replace(outcome=Outcome.REFUSED, revision=None)


ONE, TWO = put(0, (1, 2), "one", 1), put(0, (3, 4), "two", 2)

BREAKS = {
    "a stale read": ([ONE, TWO, read(1, (5, 6), ("one", 1, 1), 1)], "out of date"),
    "a read from before the last write, told as later": ([ONE, TWO, read(1, (5, 6), ("one", 1, 1), 2)], "'two'"),
    "a read that goes back": (
        [ONE, TWO._replace(returned=9), read(1, (5, 6), ("two", 1, 2), 2), read(1, (7, 8), ("one", 1, 1), 1)],
        "out of date",
    ),
    "a lost update": ([ONE, TWO, read(1, (5, 6), ("one", 1, 1), 3)], "'two'"),
    "a value nobody wrote": ([ONE, read(1, (5, 6), ("six", 1, 1), 1)], "no client wrote"),
    "a key nobody deleted": ([ONE, read(1, (5, 6), None, 1)], "'one'"),
    "a delete that left the key": ([ONE, delete(0, (3, 4), 2, 1), read(1, (5, 6), ("one", 1, 1), 2)], "nothing"),
    "a delete that says it found nothing": ([ONE, delete(0, (3, 4), 1, 0)], "nothing to delete"),
    "a delete that says it found something": ([delete(0, (3, 4), 1, 1)], "deleted 1"),
    "a wrong create revision": ([ONE, TWO, read(1, (5, 6), ("two", 2, 2), 2)], "created at 1"),
    "an answered write applied twice": ([ONE, read(1, (5, 6), ("one", 1, 3), 3)], "applied again"),
    "an unanswered write applied twice": (
        [doubt(ONE), read(1, (5, 6), ("one", 1, 1), 1), read(1, (7, 8), ("one", 1, 3), 3)],
        "more than once",
    ),
    "an unanswered write that guards forbid": (
        [ONE, TWO, doubt(put(1, (5, 6), "six", 0, 1)), read(0, (7, 8), ("six", 1, 3), 3)],
        "precondition on 'k' failed",
    ),
    "a refused write applied": ([ONE, refused(put(1, (3, 4), "x", 0, ABSENT)), read(0, (5, 6), ("x", 1, 2), 2)], "ref"),
    "two winners": ([ONE, put(1, (3, 4), "a", 2, 1), put(2, (3, 4), "b", 3, 1)], "a precondition on 'k' failed"),
    "two writes at one revision": ([ONE, TWO._replace(revision=1)], "two writes have one revision"),
    "no winner": ([ONE, refused(put(1, (3, 4), "x", 0, 1))], "held all the time"),
    "refused for what came later": ([ONE, refused(put(1, (2.5, 2.7), "x", 0, 1)), TWO], "held all the time"),
    "against real time": ([put(0, (1, 2), "one", 2), put(1, (3, 4), "two", 1)], "it began after the end"),
    "seen before it began": ([read(0, (1, 2), ("two", 1, 1), 1), put(1, (3, 4), "two", 1)], "it began after the end"),
}


@pytest.mark.parametrize("name", BREAKS)
def test_each_kind_of_break_is_found_and_told(name):
    operations, words = BREAKS[name]
    found = checkers.problems(operations)
    assert any(words in problem for problem in found), found
    assert all("client" in problem for problem in found)
    assert no_revisions_explain(operations)


TRUE = {
    "nothing": [],
    "one after another": [
        ONE,
        TWO,
        read(1, (5, 6), ("two", 1, 2), 2),
        delete(0, (7, 8), 3, 1),
        read(1, (9, 10), None, 3),
    ],
    "a read beside a write sees it or not": [
        ONE,
        TWO._replace(returned=9),
        read(1, (5, 6), ("one", 1, 1), 1),
        read(1, (7, 8), ("two", 1, 2), 2),
    ],
    "a read's revision is a lower bound": [
        ONE,
        op(2, (3, 4), Kind.PUT, revision=7, puts=(("other", "x"),)),
        read(1, (5, 6), ("one", 1, 1), 1),
    ],
    "an unanswered write was never applied": [ONE, doubt(TWO), read(1, (5, 6), ("one", 1, 1), 1)],
    "an unanswered write was applied later": [
        ONE,
        doubt(TWO),
        read(1, (5, 6), ("one", 1, 1), 1),
        read(1, (7, 8), ("two", 1, 4), 4),
    ],
    "an unanswered delete was applied": [ONE, doubt(delete(1, (3, 4), 0, 0)), read(0, (5, 6), None, 2)],
    "an unanswered write that nobody saw made a guard fail": [
        ONE,
        doubt(TWO),
        refused(put(1, (5, 6), "x", 0, 1)),
        delete(0, (7, 8), 4, 1),
    ],
    "one winner": [ONE, put(1, (3, 4), "a", 2, 1), refused(put(2, (3, 4), "b", 0, 1))],
    "refused for what was under way": [ONE, TWO._replace(returned=9), refused(put(1, (5, 6), "x", 0, 1))],
}


@pytest.mark.parametrize("name", TRUE)
def test_what_is_possible_is_no_problem(name):
    assert checkers.problems(TRUE[name]) == []
    assert not no_revisions_explain(TRUE[name])


def test_a_client_alone_is_held_to_its_own_order_only():
    stale_elsewhere = [ONE, TWO, read(1, (5, 6), ("one", 1, 1), 1)]
    assert by_revision.check(stale_elsewhere, order=by_revision.CLIENT).problems == []
    stale_to_itself = [ONE, TWO, read(0, (5, 6), ("one", 1, 1), 1)]
    assert by_revision.check(stale_to_itself, order=by_revision.CLIENT).problems
    goes_back = [ONE, TWO, read(1, (5, 6), ("two", 1, 2), 2), read(1, (7, 8), ("one", 1, 1), 1)]
    assert by_revision.check(goes_back, order=by_revision.CLIENT).problems
    backwards = BREAKS["against real time"][0]
    assert by_revision.check(backwards, order=by_revision.CLIENT).problems


# -- the search ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["a stale read", "a lost update", "two winners", "no winner", "seen before it began", "a value nobody wrote"],
)
def test_the_search_finds_it_without_revisions(name):
    found = search.check(BREAKS[name][0])
    assert found.answer is search.Answer.NO
    assert "no order explains" in found.problem
    assert "client" in found.problem


def acquire(client: int, span: tuple[float, float], outcome: Outcome = Outcome.DONE) -> Operation:
    return Operation(client, Kind.ACQUIRE, *span, outcome)


def release(client: int, span: tuple[float, float], outcome: Outcome = Outcome.DONE) -> Operation:
    return Operation(client, Kind.RELEASE, *span, outcome)


def test_a_lock_is_held_by_one():
    fine = [
        acquire(1, (1, 2)),
        acquire(
            2,
            (
                1.5,
                2,
            ),
            Outcome.REFUSED,
        ),
        release(1, (3, 5)),
        acquire(2, (4, 6)),
    ]
    assert search.check(fine, Lock).answer is search.Answer.YES
    for wrong in (
        [acquire(1, (1, 2)), acquire(2, (3, 4)), release(1, (5, 6))],  # held twice
        [acquire(1, (1, 2)), release(2, (3, 4))],  # released by another
        [acquire(1, (1, 2), Outcome.REFUSED)],  # refused while it is free
        [acquire(1, (1, 2)), release(1, (3, 4), Outcome.REFUSED)],  # its holder can't release it
    ):
        assert search.check(wrong, Lock).answer is search.Answer.NO
        assert not exhaustive.explained(wrong, Lock)
        assert by_name.check("locks", {"operations": to_json(wrong)})


def test_a_budget_that_runs_out_is_neither_yes_nor_no():
    operations = history(1, 300, clients=20, keys=1, doubt=0)
    assert search.check(operations, budget=50).answer is search.Answer.UNKNOWN
    assert by_name.check("search", {"operations": to_json(operations), "budget": 50}) == []


def test_the_beginning_of_a_true_history_is_true():
    for seed in range(30):
        whole = history(seed, 120, clients=6, keys=2)
        part = beginning(whole, 40)
        assert 10 < len(part) <= 40
        assert checkers.problems(part) == []
        assert search.check(part).answer is search.Answer.YES
    assert len(beginning(whole, 500)) == len(whole)


def test_too_many_orders_are_not_tried():
    with pytest.raises(ValueError, match="too many orders"):
        exhaustive.explained(history(1, 30), Values)


# -- checkers and their data -------------------------------------------------------------------------


def test_histories_survive_json():
    for seed in range(20):
        operations = history(seed, 50)
        assert from_json(json.loads(json.dumps(to_json(operations)))) == operations


@pytest.mark.parametrize("checker", ["linearizability", "search"])
def test_checkers_read_json(checker):
    stale = json.loads(json.dumps({"operations": to_json(BREAKS["a stale read"][0])}))
    assert by_name.check(checker, stale)
    assert by_name.check(checker, {"operations": to_json(TRUE["one after another"])}) == []


@pytest.mark.parametrize(
    ("acknowledged", "unknown", "final", "words"),
    [
        (5, 0, 5, None),
        (5, 2, 7, None),
        (5, 2, 4, "1 acknowledged increments are missing"),
        (5, 2, 8, "2 more had no answer"),
        (5, 0, 6, "only 5 increments"),
        (5, 0, None, "counter is missing"),
    ],
)
def test_a_counter_ends_where_answers_say(acknowledged, unknown, final, words):
    data = {"start": 0, "acknowledged": acknowledged, "unknown": unknown, "final": final}
    found = by_name.check("counter", data)
    assert (words is None) is (found == [])
    assert words is None or words in found[0]
