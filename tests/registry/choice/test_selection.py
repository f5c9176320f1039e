"""Picking one of several."""

from __future__ import annotations

from collections import Counter

import pytest

from tenure.errors import InvalidArgument, ServiceNotFound
from tenure.registry import Instance, Strategy
from tenure.registry.choice.strategies import Picker

ZONES = {"1": "a", "2": "a", "3": "b", "4": "b"}


@pytest.fixture
def own(registry, store):
    for id_, zone in ZONES.items():
        store.put(f"/registry/default/web/{id_}@h", b'{"meta":{"zone":"%s"}}' % zone.encode())
    return registry()


def ids(own, count: int, strategy: Strategy | str, **arguments: object) -> list[str]:
    return [own.pick("web", strategy, **arguments).id for _ in range(count)]


def test_round_robin_takes_turns(own):
    assert ids(own, 8, Strategy.ROUND_ROBIN) == ["1", "2", "3", "4"] * 2


def test_filters_have_turns_of_their_own(own):
    picked = [own.pick("web", meta={"zone": zone}).id for _ in range(4) for zone in "ab"]
    assert Counter(picked) == {"1": 2, "2": 2, "3": 2, "4": 2}
    assert set(ids(own, 4, "round_robin", meta=lambda instance: instance.id in "14")) == {"1", "4"}


def test_random_takes_any(own):
    assert set(ids(own, 200, Strategy.RANDOM)) == set(ZONES)


def test_least_recent_takes_who_waited_longest(own, store):
    assert ids(own, 4, Strategy.LEAST_RECENTLY_USED) == ["1", "2", "3", "4"]
    store.put("/registry/default/web/5@h", b"{}")
    own.wait_for("web", 5)
    assert ids(own, 3, "least_recently_used") == ["5", "1", "2"]
    assert ids(own, 2, "least_recently_used", meta={"zone": "b"}) == ["3", "4"]


def test_an_unknown_strategy_or_service(own):
    with pytest.raises(InvalidArgument, match="round_robin, random, least_recently_used"):
        own.pick("web", "best")
    with pytest.raises(ServiceNotFound):
        own.pick("db")


def test_what_is_remembered_is_bounded():
    picker = Picker()
    for number in range(3000):
        candidates = [Instance("s", id=f"{number}", host="h", host_name="n")]
        picker.pick(f"s{number}", candidates, "round_robin", {"n": number})
        picker.pick(f"s{number}", candidates, "least_recently_used", None)
        picker.pick("same", candidates, "least_recently_used", None)
    assert len(picker._turns) <= 1024
    assert len(picker._last) <= 1024
    assert len(picker._last["same"]) <= 70
