"""Fences and gates on every store: what a former holder writes is refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tenure import Fence, Gate, Lock, Session, Store
from tenure.errors import Conflict, LeaseLost
from tenure_testkit.waiting import PATIENCE


@pytest.fixture
def store(store_url: str, opened: Callable[..., Store]) -> Store:
    return opened(store_url, timeout=PATIENCE)


def test_each_holder_has_a_greater_fence_whichever_client_it_is(
    store_url: str, opened: Callable[..., Store], store: Store
) -> None:
    other = opened(store_url, timeout=PATIENCE)
    fences = []
    for client in (store, other, store):
        with Lock(client, "job").hold(timeout=PATIENCE) as held:
            fences.append(held.fence())
            assert held.fence() == fences[-1]
            assert fences[-1].token == held.token
    assert fences == sorted(set(fences))
    assert [Fence.parse(text) for text in sorted(map(str, fences))] == fences


def test_a_gate_refuses_a_former_holder_and_lets_the_present_one_pass_again(store: Store) -> None:
    gate = Gate(store, "report")
    with Lock(store, "job").hold(timeout=PATIENCE) as held:
        former = held.fence()
    gate.guard(store.transaction().put("report", b"former"), former).commit()
    in_between = gate.guard(store.transaction().put("report", b"in between"), former)
    with Lock(store, "job").hold(timeout=PATIENCE) as held:
        present = held.fence()
    gate.admit(present)
    with pytest.raises(Conflict):
        in_between.commit()
    with pytest.raises(Conflict):
        gate.admit(former)
    with pytest.raises(Conflict):
        Gate(store, "report").guard(store.transaction().put("report", b"late"), former)
    for value in (b"present", b"again"):
        gate.guard(store.transaction().put("report", value), present).commit()
    item = store.get("report")
    assert item is not None
    assert item.value == b"again"


def test_what_is_lost_has_no_fence(store: Store) -> None:
    with Session.open(store, ttl=30) as session:
        held = Lock(store, "job", session=session).acquire(timeout=PATIENCE)
    with pytest.raises(LeaseLost):
        held.fence()
