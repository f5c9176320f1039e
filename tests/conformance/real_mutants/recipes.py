"""Faults of the recipes: queues of tickets, single keys, elections, permits, what is counted once, fences."""

from __future__ import annotations

from .model import Kind, RealMutant

_RECIPES = "core/tenure/recipes"
_ORDERS = ("tests/recipes/test_orders.py",)
_LONG = "tests/recipes/test_long_queues.py"


def _recipe(  # noqa: PLR0917 - the fields of a mutant, in its order
    name: str,
    module: str,
    old: str,
    new: str,
    wrong: str,
    rules: tuple[str, ...],
    tests: tuple[str, ...],
    *,
    store: str = "memory",
    unnoticeable: str = "",
) -> RealMutant:
    return RealMutant(
        id=f"core-recipe-{name}",
        kind=Kind.RECIPE,
        file=f"{_RECIPES}/{module}.py",
        old=old,
        new=new,
        wrong=wrong,
        rules=(*(f"recipes.{rule}" for rule in rules), "recipes.*"),
        tests=tests,
        unnoticeable=unnoticeable,
        stores=(store,),
    )


MUTANTS = (
    _recipe(
        "newest-first",
        "_queue",
        "    return ticket.place, ticket.key\n",
        "    return -ticket.place, ticket.key\n",
        "Who came last holds while an earlier one does.",
        ("fair_locks_exclude_each_other",),
        _ORDERS,
    ),
    _recipe(
        "later-names-forgotten",
        "_queue",
        "for ticket in view.before(mine) if ticket.key > self.key)",
        "for ticket in view.before(mine) if ticket.key < self.key)",
        "A waiter whose predecessor dies holds beside an earlier participant whose name sorts later.",
        ("a_long_queue_keeps_its_order",),
        (f"{_LONG}::test_one_with_a_later_name_is_in_the_way_of_those_that_came_after_it",),
    ),
    _recipe(
        "page-is-the-whole",
        "_queue",
        "return front if (yield from self._absent(unseen, attempt, limit)) else None",
        "return front",
        "A waiter takes a page of a long queue for all of it.",
        ("a_long_queue_keeps_its_order",),
        (f"{_LONG}::test_one_with_a_later_name_is_in_the_way_of_those_that_came_after_it",),
    ),
    _recipe(
        "names-of-others",
        "_queue",
        "if item is not None and item.lease_id == attempt.session.lease.id:",
        "if item is not None:",
        "A participant takes the ticket of another process with an equal name for its own.",
        ("fair_locks_exclude_each_other",),
        (f"{_LONG}::test_a_name_that_another_participant_has_is_given_up",),
        unnoticeable="Two processes have one name only if 26 random bits and a 256th of a second are the same.",
    ),
    _recipe(
        "token-of-the-candidacy",
        "_queue",
        "return replace(held, ticket=replace(ticket, value=value, revision=revision))",
        "return replace(held, ticket=replace(ticket, value=value))",
        "A leader's guarded write is refused, as its token is that of its candidacy.",
        ("leaders_follow_each_other",),
        _ORDERS,
    ),
    _recipe(
        "unanswered-ticket-stays",
        "_queue",
        "attempt.sent = attempt.uncertain  # certainly not applied",
        "attempt.sent = False  # certainly not applied",
        "A ticket whose put had no answer stays in everybody's way after the store was away.",
        ("lost_answers_are_cleared_up", "leave_nothing_behind"),
        _ORDERS,
        store="etcd",
    ),
    _recipe(
        "one-permit-too-many",
        "semaphore",
        "return before[-1] if len(before) >= self._limit(view, mine) else None",
        "return before[-1] if len(before) > self._limit(view, mine) else None",
        "One more holds than the limit allows.",
        ("shared_holds_keep_their_limits",),
        _ORDERS,
    ),
    _recipe(
        "readers-beside-a-writer",
        "read_write_lock",
        "            if not (shared and is_reader(ticket)):\n",
        "            if not shared:\n",
        "A reader holds while a writer does.",
        ("shared_holds_keep_their_limits",),
        _ORDERS,
    ),
    _recipe(
        "heir-not-called",
        "election",
        "        before = [one for one in view.before(heir)[-1:] if one.key != mine.key]\n",
        "        before: list[Ticket] = []\n",
        "A leader hands over, and nobody leads until the candidate looks again by itself.",
        ("leaders_follow_each_other",),
        (f"{_LONG}::test_a_leader_calls_the_candidate_that_it_hands_over_to",),
    ),
    _recipe(
        "another-holder-released",
        "_single_key",
        "yield from Commit((RevisionEquals(key, place),), (Delete(key),), limit)",
        "yield from Commit((), (Delete(key),), limit)",
        "A former holder's release removes the key of the present one.",
        ("locks_are_released_by_their_owner_alone",),
        ("tests/recipes/test_presence.py",),
    ),
    _recipe(
        "herd-of-losers",
        "_single_key",
        "self._longest = min(max(4 * self._longest, _SHORTEST_ABSENCE), _LONGEST_ABSENCE)",
        "self._longest = 0.0",
        "Each release of an unfair lock wakes all that wait.",
        ("unfair_locks_exclude_each_other",),
        (f"{_LONG}::test_those_that_lost_an_unfair_lock_look_away_ever_longer",),
        unnoticeable="Only the number of requests is larger; who holds, and when, is as before.",
    ),
    _recipe(
        "counted-twice",
        "_marks",
        "applied = yield from self._settle(mark, exc, limit)",
        "applied = False",
        "An addition whose answer was lost is made twice.",
        ("lost_answers_are_cleared_up", "numbers_are_given_once"),
        ("tests/recipes/test_counters.py",),
        store="etcd",
    ),
    _recipe(
        "gate-for-former-holders",
        "fencing",
        "        if passed is not None and fence < passed:\n",
        "        if passed is not None and fence > passed:\n",
        "A gate lets former holders through.",
        ("guards_refuse_stale_holders",),
        ("tests/recipes/test_fencing.py",),
    ),
)
