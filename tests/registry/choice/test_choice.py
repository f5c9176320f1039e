"""How one of several is chosen: turns by weight, sticky keys, zones, exclusion, rests after failures. By property."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from fractions import Fraction
from functools import partial
from math import gcd
from types import SimpleNamespace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tenure import ManualClock, NoInstanceAvailable
from tenure.errors import ConfigError, InvalidArgument
from tenure.registry import Instance, Registry, RegistryConfig, Strategy, encode
from tenure.registry.choice.narrowing import nearest, without
from tenure.registry.choice.rendezvous import by_key
from tenure.registry.choice.rests import Rests
from tenure.registry.choice.strategies import Picker
from tenure.registry.choice.turns import WeightedTurns
from tenure_testkit.counting import steps

NO_WEIGHTS = ["x", "2", None, True, -1, -0.5, [1], {"w": 1}]
weights = st.lists(st.integers(0, 12), min_size=1, max_size=9)
law = settings(deadline=None, max_examples=50)
zone_names = st.sampled_from(["", "a", "b", "c", "d"])


def one(id_: object, **meta: object) -> Instance:
    return Instance("web", id=str(id_), host="h", host_name="n", port=80, meta=meta)


def weighted(given_weights: list[float]) -> list[Instance]:
    return [one(number, weight=weight) for number, weight in enumerate(given_weights)]


def cycle_of(given_weights: list[int]) -> tuple[int, dict[str, int]]:
    """The length of a cycle, and how often each has its turn in it."""
    counts = given_weights if any(given_weights) else [1] * len(given_weights)
    part = gcd(*counts)
    return sum(counts) // part, {str(number): count // part for number, count in enumerate(counts) if count}


# -- weights ---------------------------------------------------------------------------------------


@law
@given(weights, st.integers(0, 40))
@example([5, 1, 1], 0)
@example([0, 0, 0], 3)
@example([7], 2)
def test_each_has_as_many_turns_as_its_weight_in_any_whole_cycle(given_weights, start):
    turns, candidates = WeightedTurns(), weighted(given_weights)
    length, expected = cycle_of(given_weights)
    taken = [turns.take(("web",), candidates).id for _ in range(start + 2 * length)]
    for begin in (0, start, start + length):
        assert Counter(taken[begin : begin + length]) == expected


@law
@given(st.lists(st.integers(1, 12), min_size=1, max_size=9))
def test_turns_are_spread_over_the_cycle(given_weights):
    """At any moment each instance has had its part of the turns, as far as whole turns allow."""
    turns, candidates = WeightedTurns(), weighted(given_weights)
    taken = Counter()
    for _ in range(sum(given_weights)):
        taken[turns.take(("web",), candidates).id] += 1
        # The last turn that each has had is not after the next turn of any other.
        latest = max(Fraction(2 * taken[each.id] - 1, int(each.weight)) for each in candidates)
        assert latest <= min(Fraction(2 * taken[each.id] + 1, int(each.weight)) for each in candidates)


def test_a_heavy_one_does_not_have_all_its_turns_in_a_row():
    turns = WeightedTurns()
    assert "".join(turns.take((), weighted([5, 1, 1])).id for _ in range(7)) == "0001200"


@law
@given(st.lists(st.floats(0.001, 50, allow_nan=False), min_size=1, max_size=5))
def test_fractions_count_in_thousandths(given_weights):
    turns, candidates = WeightedTurns(), weighted(given_weights)
    counts = [round(weight * 1000) for weight in given_weights]
    length = min(sum(counts) // gcd(*counts), 600)
    taken = Counter(turns.take((), candidates).id for _ in range(length))
    for number, count in enumerate(counts):
        assert taken[str(number)] == pytest.approx(length * count / sum(counts), abs=len(counts))


@pytest.mark.parametrize("weight", NO_WEIGHTS)
def test_what_is_no_weight_counts_as_one(weight):
    assert one(1, weight=weight).weight == 1.0
    assert one(1).weight == 1.0


@pytest.mark.parametrize(("weight", "expected"), [(0, 0), (0.0, 0), (1e-9, 0.001), (2.5, 2.5), (10**400, 1_000_000)])
def test_weights_have_a_step_and_a_bound(weight, expected):
    assert one(1, weight=weight).weight == expected


@law
@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 40), st.integers(0, 40))
def test_one_that_comes_or_comes_back_has_no_turns_in_advance(first, second, together, away):
    """Neither a newcomer nor one that rested makes up for the time before; the others keep their order."""
    turns, candidates = WeightedTurns(), weighted([first, second, 4])
    for _ in range(together):
        turns.take((), candidates)
    for _ in range(away):
        turns.take((), candidates[:2])
    taken = Counter(turns.take((), candidates).id for _ in range(first + second + 4))
    for number, weight in enumerate((first, second, 4)):
        assert abs(taken[str(number)] - weight) <= 2


@law
@given(st.integers(1, 300), st.integers(1, 300))
def test_another_weight_counts_at_once(before, after):
    turns = WeightedTurns()
    for _ in range(before):
        turns.take((), weighted([before, 1]))
    taken = Counter(turns.take((), weighted([after, after])).id for _ in range(20))
    assert abs(taken["0"] - taken["1"]) <= 2


def test_threads_share_the_turns():
    picker, candidates, taken = Picker(), weighted([3, 2, 1]), Counter()
    lock = threading.Lock()

    def take() -> None:
        mine = Counter(picker.pick("web", candidates, "weighted", None).id for _ in range(600))
        with lock:
            taken.update(mine)

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert taken == {"0": 1200, "1": 800, "2": 400}


def test_what_turns_remember_is_bounded():
    turns = WeightedTurns()
    for number in range(3_000):
        turns.take((str(number),), [one(number)])
        turns.take(("same",), [one(number)])
    assert len(turns._times) <= 1024
    assert len(turns._times[("same",)].turns) <= 70


@pytest.mark.parametrize("weight", [*NO_WEIGHTS, float("nan"), 1_000_001])
def test_a_wrong_weight_is_refused_where_it_is_given(weight):
    with pytest.raises(InvalidArgument, match="a weight is a number from 0 to 1000000"):
        one(1).with_weight(weight)


def test_a_weight_is_metadata_and_leaves_the_rest_alone():
    changed = one(1, zone="a").with_weight(2.5)
    assert dict(changed.meta) == {"zone": "a", "weight": 2.5}
    assert encode(changed).endswith(b'"meta":{"weight":2.5,"zone":"a"}}')


# -- sticky keys -----------------------------------------------------------------------------------

KEYS = [f"user-{number}".encode() for number in range(300)]


@law
@given(st.lists(st.integers(1, 5), min_size=1, max_size=6), st.integers(1, 5))
def test_a_newcomer_takes_keys_and_moves_no_other(given_weights, weight):
    before = weighted(given_weights)
    newcomer = one("new", weight=weight)
    for key in KEYS[:100]:
        assert by_key([*before, newcomer], key) in (by_key(before, key), newcomer)


@law
@given(st.lists(st.integers(1, 5), min_size=2, max_size=6), st.data())
def test_one_that_leaves_moves_only_its_own_keys(given_weights, data):
    before = weighted(given_weights)
    gone = data.draw(st.sampled_from(before))
    left = [each for each in before if each is not gone]
    for key in KEYS[:100]:
        if by_key(before, key) is not gone:
            assert by_key(left, key) is by_key(before, key)


@law
@given(st.integers(1, 5), st.integers(1, 5), st.integers(1, 5))
def test_a_greater_weight_only_takes_keys(first, second, more):
    before, after = weighted([first, second]), weighted([first, second + more])
    for key in KEYS[:100]:
        assert int(by_key(after, key).id) >= int(by_key(before, key).id)


@law
@given(st.permutations(range(6)), st.binary(max_size=30))
def test_the_order_of_the_entries_means_nothing(order, key):
    candidates = weighted([1, 2, 3, 4, 5, 6])
    assert by_key([candidates[number] for number in order], key) is by_key(candidates, key)


def test_keys_are_spread_by_weight():
    taken = Counter(by_key(weighted([1, 2, 5, 0]), str(number).encode()).id for number in range(8_000))
    assert set(taken) == {"0", "1", "2"}
    for id_, weight in zip("012", (1, 2, 5), strict=True):
        assert taken[id_] == pytest.approx(1_000 * weight, rel=0.12)


def test_what_a_key_chooses_is_the_same_in_each_release():
    """Processes of different releases choose alike, so this never changes."""
    candidates = weighted([1, 2, 3, 4])
    assert "".join(by_key(candidates, key).id for key in KEYS[:24]) == "232021331132101122233130"


# -- exclusion and zones ---------------------------------------------------------------------------


@law
@given(st.lists(zone_names, min_size=1, max_size=8), st.lists(zone_names, max_size=5))
@example(["", "b"], [""])
def test_zones_are_preferred_in_their_order_and_then_any(present, zones):
    candidates = [one(number, zone=zone) for number, zone in enumerate(present)]
    zone, found = nearest("web", candidates, zones)
    wanted = next((name for name in zones if name and name in present), "")
    assert zone == wanted
    assert list(found) == [each for each in candidates if not wanted or each.zone == wanted]


@law
@given(st.sets(st.integers(0, 7)), st.sets(st.integers(0, 7)))
def test_instances_and_ids_are_excluded(ids, instances):
    candidates = [one(number) for number in range(8)]
    exclude = [*map(str, ids), *(one(number, another="version of it") for number in instances)]
    assert [int(each.id) for each in without("web", candidates, exclude)] == sorted(set(range(8)) - ids - instances)


def test_an_id_on_another_host_is_not_the_instance():
    elsewhere = Instance("web", id="1", host="other")
    assert without("web", [one(1), elsewhere], [one(1)]) == [elsewhere]
    assert without("web", [one(1), elsewhere], ["1"]) == []


# -- rests -----------------------------------------------------------------------------------------


def rests() -> tuple[Rests, ManualClock]:
    clock = ManualClock()
    return Rests(clock, 1.0, 8.0), clock


@law
@given(st.integers(1, 80))
def test_rests_double_up_to_the_bound_and_end_by_the_clock(failures):
    book, clock = rests()
    for number in range(failures):
        seconds = book.failed(one(1))
        assert seconds == pytest.approx(min(8.0, 2.0**number))
        clock.jump(seconds * 0.99)
        assert book.awake([one(1), one(2)]) == [one(2)]
        assert book.left()["web/1@h"] == pytest.approx(seconds * 0.01)
        clock.jump(seconds * 0.01 + 1e-6)
        assert book.awake([one(1), one(2)]) == [one(1), one(2)]
        assert book.left() == {}


def test_failures_of_calls_that_began_before_add_nothing():
    book, clock = rests()
    assert [book.failed(one(1)) for _ in range(20)] == [1.0] * 20
    clock.jump(0.5)
    assert book.failed(one(1)) == 0.5


def test_a_failure_of_one_that_was_tried_while_it_rests_adds():
    book, _ = rests()
    book.failed(one(1))
    assert book.least_bad("web", [one(1)]) == (one(1), True)
    assert [book.failed(one(1)) for _ in range(3)] == [2.0] * 3
    assert book.least_bad("web", [one(1)]) == (one(1), False)
    assert book.failed(one(1)) == 4.0


def test_a_success_ends_the_rest_and_forgets():
    book, clock = rests()
    for _ in range(3):
        clock.jump(book.failed(one(1)))
    assert book.failed(one(1)) == 8.0
    book.succeeded(one(1, another="version of it"))
    assert not book.remembered
    assert book.failed(one(1)) == 1.0


def test_failures_are_forgotten_some_time_after_the_rest():
    book, clock = rests()
    clock.jump(book.failed(one(1)))
    clock.jump(7.9)
    assert book.awake([one(1)]) == [one(1)]
    assert book.remembered
    clock.jump(0.2)
    assert book.awake([one(1)]) == [one(1)]
    assert not book.remembered  # from now on a pick costs what it did before
    assert book.failed(one(1)) == 1.0


@law
@given(st.lists(st.tuples(st.integers(0, 4), st.floats(0, 3)), max_size=40))
def test_never_all_rest(reports):
    """Whatever was reported, one is found, and it is an awake one if there is any, else the one that rests least."""
    book, clock = rests()
    candidates = [one(number) for number in range(5)]
    for number, seconds in reports:
        book.failed(candidates[number])
        clock.jump(seconds)
        awake = book.awake(candidates)
        left = book.left()
        assert {each.identity() for each in awake} == {each.identity() for each in candidates} - set(left)
        if not awake:
            chosen, _ = book.least_bad("web", candidates)
            assert left[chosen.identity()] == min(left.values())


def test_what_rests_remember_is_bounded():
    book, _ = rests()
    for number in range(10_500):
        book.failed(one(number))
    assert len(book.remembered) == 10_000
    assert ("web", "10499", "h") in book.remembered


def test_rests_of_different_services_are_apart():
    book, _ = rests()
    book.failed(one(1))
    other = Instance("db", id="1", host="h")
    assert book.awake([other]) == [other]


# -- through a registry ----------------------------------------------------------------------------

FOUR = [one(1, zone="a", weight=3), one(2, zone="a"), one(3, zone="b"), one(4)]


@pytest.fixture
def own(registry, store):
    for instance in FOUR:
        store.put(f"/registry/default/{instance.identity()}", encode(instance))
    return registry()


def ids(own: Registry, count: int, *arguments: object, **options: object) -> list[str]:
    return [own.pick("web", *arguments, **options).id for _ in range(count)]


def test_a_caller_that_tries_one_after_another_tries_each_once(own):
    tried: list[Instance] = []
    while len(tried) < 4:
        tried.append(own.pick("web", exclude=tried))
    assert {each.id for each in tried} == set("1234")
    with pytest.raises(NoInstanceAvailable, match="all 4 are excluded"):
        own.pick("web", exclude=tried)


def test_retries_leave_the_turns_of_all_alone(own):
    """The first of three always fails, and is excluded then: the others get the same number of retries."""
    retries = Counter()
    for _ in range(60):
        if (first := own.pick("web", exclude=())).id == "1":
            retries[own.pick("web", exclude=[first]).id] += 1
    assert retries == {"2": 5, "3": 5, "4": 5}


def test_weights_zones_and_keys_go_together(own):
    assert Counter(ids(own, 12, Strategy.WEIGHTED)) == {"1": 6, "2": 2, "3": 2, "4": 2}
    assert Counter(ids(own, 8, "weighted", zones=["a"])) == {"1": 6, "2": 2}
    assert set(ids(own, 4, zones=["c", "b", "a"])) == {"3"}
    assert set(ids(own, 8, zones=["c"])) == set("1234")
    assert len(set(ids(own, 8, sticky="user-1"))) == 1
    assert {own.pick("web", sticky=f"user-{number}", zones=["a"]).id for number in range(40)} == {"1", "2"}


def test_one_that_failed_rests_and_its_zone_falls_back(own, clock):
    own.report_failure(FOUR[0])
    assert set(ids(own, 12)) == set("234")
    assert set(ids(own, 4, zones=["a", "b"])) == {"2"}
    own.report_failure(FOUR[1])
    assert set(ids(own, 4, zones=["a", "b"])) == {"3"}
    assert set(own.resting) == {"web/1@h", "web/2@h"}
    clock.jump(1.0)
    assert set(ids(own, 4, zones=["a", "b"])) == {"1", "2"}
    assert own.resting == {}


def test_a_key_comes_back_to_its_instance_after_the_rest(own, clock):
    first = own.pick("web", sticky="user-1")
    assert own.pick("web", sticky="user-1", exclude=[first]) != first
    own.report_failure(first)
    others = {own.pick("web", sticky="user-1").id for _ in range(5)}
    assert len(others) == 1
    assert first.id not in others
    own.report_success(first)
    assert own.pick("web", sticky="user-1") == first


def test_if_all_rest_the_least_bad_is_returned_and_it_is_said_at_times(own, clock, caplog):
    for instance in FOUR:
        own.report_failure(instance)
        clock.jump(0.1)
    with caplog.at_level(logging.WARNING, "tenure.registry"):
        assert ids(own, 3) == ["1", "1", "1"]
        assert ids(own, 1, exclude=["1"]) == ["2"]
        assert own.report_failure(FOUR[0]) == 2.0
        assert ids(own, 1) == ["2"]
    expected = (
        "picking an instance of 'web': all that are left (4) rest after failures that were reported; taking web/1@h, "
        "whose rest ends first"
    )
    assert [record.getMessage() for record in caplog.records] == [expected]
    caplog.clear()
    clock.jump(60.0)  # the longest rest
    for instance in FOUR:
        own.report_failure(instance)
    with caplog.at_level(logging.WARNING, "tenure.registry"):
        ids(own, 3)
    assert len(caplog.records) == 1


def test_rests_share_the_turns_of_all(own, clock):
    assert ids(own, 2) == ["1", "2"]
    own.report_failure(FOUR[3])
    assert ids(own, 3) == ["3", "1", "2"]


WRONG = [
    ({"exclude": "1"}, "exclude is a collection of instances or ids, not '1'"),
    ({"exclude": 7}, "exclude is a collection"),
    ({"exclude": [7]}, "exclude takes instances and ids, not 7"),
    ({"zones": "a"}, "zones is a list of names in the order of preference, not 'a'"),
    ({"zones": 7}, "zones is a list"),
    ({"zones": [None]}, "a zone is text, not None"),
    ({"sticky": 7}, "a sticky key is text or bytes, not int: 7"),
    ({"sticky": "x", "strategy": "weighted"}, "strategy='weighted' and sticky=... exclude each other"),
    ({"zones": ["a"], "strategy": "best"}, "no such strategy: 'best'"),
]


def test_wrong_arguments_are_refused(own):
    for options, message in WRONG:
        with pytest.raises(InvalidArgument, match=message):
            own.pick("web", **options)


def test_wrong_reports_and_settings_are_refused(own):
    with pytest.raises(InvalidArgument, match="reporting a failure: it takes an Instance, not str: 'web'"):
        own.report_failure("web")
    with pytest.raises(InvalidArgument, match="reporting a success: it takes an Instance, not None"):
        own.report_success(None)
    with pytest.raises(ConfigError, match=r"rest_longest \(1 s\) is below rest_first \(2 s\)"):
        RegistryConfig(rest_first=2, rest_longest=1)
    with pytest.raises(ConfigError, match="rest_first is a positive"):
        RegistryConfig(rest_first=0)


def test_a_plain_pick_asks_for_nothing_of_all_this(own, clock):
    """While no failure is remembered, it takes no lock, reads no clock and builds no list for it."""

    own._rests = SimpleNamespace(remembered={})
    assert ids(own, 4) == list("1234")
    assert Counter(ids(own, 6, "weighted")) == {"1": 3, "2": 1, "3": 1, "4": 1}


def test_a_choice_costs_by_the_number_of_instances(registry, store):
    """Ten times as many cost about ten times as much, and not a hundred times."""
    for service, count in (("few", 100), ("many", 1_000)):
        transaction = store.transaction()
        for number in range(count):
            instance = Instance(service, id=str(number), host="h", host_name="n", meta={"weight": number})
            transaction.put(f"/registry/default/{instance.identity()}", encode(instance))
        transaction.commit()
    own = registry()

    for options in ({"strategy": "weighted"}, {"zones": ["a"]}, {"sticky": "x"}, {"exclude": ["1"]}, {}):
        if not options:
            own.report_failure(own.pick("few"))
            own.report_failure(own.pick("many"))
        few, many = (steps(partial(own.pick, service, **options)) for service in ("few", "many"))
        assert few < many < 15 * few, options


@pytest.mark.parametrize("registry_url", ["memory", "sqlite"], indirect=True)
def test_two_registries_of_one_store_choose_alike_and_rest_apart(registry_store):
    """What is carried goes through the store as metadata; what failed stays with the one who saw it."""
    with Registry(registry_store()) as first, Registry(registry_store()) as second:
        store = registry_store()
        for instance in FOUR:
            store.put(f"/registry/default/{instance.identity()}", encode(instance))
        first.wait_for("web", 4, timeout=60.0)
        second.wait_for("web", 4, timeout=60.0)
        for own in (first, second):
            assert Counter(ids(own, 6, "weighted")) == {"1": 3, "2": 1, "3": 1, "4": 1}
            assert set(ids(own, 4, zones=["nowhere", "b"])) == {"3"}
        keys = [f"user-{number}" for number in range(50)]
        chosen = [first.pick("web", sticky=key) for key in keys]
        assert [second.pick("web", sticky=key) for key in keys] == chosen
        first.report_failure(FOUR[0])
        assert set(ids(first, 6)) == set("234")
        assert set(ids(second, 8)) == set("1234")
        with Registry(registry_store(), instance=one(5, zone="b").with_weight(6)) as third:
            second.wait_for("web", 5, timeout=60.0)
            third.wait_for("web", 5, timeout=60.0)
            assert Counter(ids(third, 12, "weighted")) == {"1": 3, "2": 1, "3": 1, "4": 1, "5": 6}
            now = [second.pick("web", sticky=key) for key in keys]
            assert {after.id for before, after in zip(chosen, now, strict=True) if after != before} == {"5"}
            assert {each.id for each in now} > {"5"}
