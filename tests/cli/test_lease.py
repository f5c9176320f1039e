"""`tenure lease`: what is there, one of them, and ending it."""

from __future__ import annotations

from typing import Any

import tenure
from tenure_testkit.waiting import until

from .conftest import Run
from .processes import DEADLINE


def test_list_show_and_revoke(run: Run, run_json: Any, store: tenure.Store) -> None:
    lease = store.lease(30)
    store.put("k", b"v", lease=lease)
    [listed] = run_json("lease", "list")
    shown = run_json("lease", "show", lease.id)
    assert listed["lease_id"] == shown["lease_id"] == lease.id
    assert shown["keys"] == ["k"]
    assert 0 < shown["remaining"] <= shown["ttl"] == 30
    assert run("lease", "revoke", lease.id).exit_code == 0
    assert store.get("k") is None
    assert run_json("lease", "list") == []


def test_a_lease_that_nobody_refreshes_is_late(run: Run, store: tenure.Store) -> None:
    lease = store.lease(0.4, keep_alive=False)
    until(lambda: lease.remaining < 0.15, DEADLINE, "most of the TTL has passed")
    shown = run("lease", "show", lease.id).stdout
    assert "; late" in shown or not shown  # a busy machine may be too late for the lease itself
    fresh = store.lease(600)
    assert "late" not in run("lease", "show", fresh.id).stdout


def test_a_lease_that_is_not_there(run: Run) -> None:
    for command in ("show", "revoke"):
        result = run("lease", command, "no-such-lease")
        assert result.exit_code == 1
        assert "no-such-lease" in result.stderr


def test_keys_can_be_put_on_a_lease(run: Run, store: tenure.Store) -> None:
    lease = store.lease(30)
    assert run("kv", "put", "k", "v", "--lease", lease.id).exit_code == 0
    lease.revoke()
    assert store.get("k") is None
