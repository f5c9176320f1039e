"""A right that is taken away while a watch, a lease and a registration run, and comes back before the lease ends."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

import tenure
from tenure import Batch, LeaseState, Store
from tenure.errors import AuthenticationFailed, PermissionDenied, TenureError
from tenure.registry import Instance, Registry, RegistryConfig, Status
from tenure_testkit.waiting import PATIENCE, until

REFUSALS = (AuthenticationFailed, PermissionDenied)
TTL = 60.0
"""Longer than any step below takes, and what every store grants."""
WATCHED = "watched/"
OTHER = "/registry/default/web/2@h"


@dataclass
class Rights:
    """Where two users have a store, and how the second one loses its rights and has them again.

    ``restrict`` leaves the running connections as they are, or cuts those that the server would serve regardless.
    """

    admin: str
    app: str
    restrict: Callable[[], object]
    permit: Callable[[], object]


@contextmanager
def _seen(store: Store) -> Iterator[tuple[tenure.Watch, list[Batch], queue.SimpleQueue[TenureError | None]]]:
    batches: list[Batch] = []
    outages: queue.SimpleQueue[TenureError | None] = queue.SimpleQueue()
    ended: list[TenureError] = []
    with store.watch(WATCHED, callback=batches.append, on_outage=outages.put, on_error=ended.append) as watch:
        yield watch, batches, outages
        assert not ended


def survives_the_loss_of_rights(rights: Rights) -> None:
    """Told at once, nothing deleted, nothing given up, everything healed; calls meanwhile change nothing."""
    lost: list[object] = []
    with tenure.connect(rights.admin, timeout=PATIENCE) as admin, tenure.connect(rights.app, timeout=PATIENCE) as app:
        admin.put(f"{WATCHED}there", b"1")
        lease = app.lease(TTL, on_lost=lost.append)
        app.put(f"{WATCHED}leased", b"", lease=lease)
        instance = Instance("web", id="1", host="h")
        admin.put(OTHER, b"{}")
        with (
            _seen(app) as (watch, batches, outages),
            Registry(app, RegistryConfig(heartbeat=TTL), instance) as registry,
        ):
            statuses: list[Any] = []
            registry.add_status_handler(statuses.append)
            until(lambda: _keys(batches) >= {f"{WATCHED}there", f"{WATCHED}leased"}, PATIENCE)
            rights.restrict()
            try:
                _while_restricted(admin, app, lease)
                # A server that had to restart for this was away for a moment before.
                until(lambda: isinstance(outages.get(timeout=PATIENCE), REFUSALS), PATIENCE)
                assert isinstance(watch.outage, REFUSALS)
                until(lambda: watch.staleness > 0.0, PATIENCE)
                assert not watch.closed
                until(lambda: any(it.part == "cache" and isinstance(it.error, REFUSALS) for it in statuses), PATIENCE)
                assert isinstance(registry.error, REFUSALS)
                assert instance in registry.get_service("web").instances
            finally:
                rights.permit()
            until(lambda: f"{WATCHED}meanwhile" in _keys(batches), PATIENCE, "the watch delivers what it missed")
            until(lambda: outages.get(timeout=PATIENCE) is None, PATIENCE, "the watch says that it is connected")
            until(lambda: registry.staleness == 0.0 and registry.error is None, PATIENCE)
            assert watch.staleness == 0.0
            lease.refresh()
            assert lease.state is LeaseState.ALIVE
            assert registry.status is Status.REGISTERED
            assert [it for it in statuses if it.part == "registration"] == []
            app.put(f"{WATCHED}after", b"")
            until(lambda: f"{WATCHED}after" in _keys(batches), PATIENCE)
            deleted = [event.key for batch in batches for event in batch.events if event.type == "delete"]
            assert deleted == []
            assert instance in registry.get_service("web").instances
            assert not lost


def _while_restricted(admin: Store, app: Store, lease: tenure.Lease) -> None:
    until(lambda: _refused(lambda: app.get(f"{WATCHED}there")), PATIENCE, "the store refuses a read")
    calls: list[Callable[[], object]] = [
        lambda: app.list(WATCHED),
        lambda: app.get_many([f"{WATCHED}there", f"{WATCHED}none"]),
        lambda: app.put(f"{WATCHED}there", b"x"),
        lambda: app.put(f"{WATCHED}leased", b"x", lease=lease),
        lambda: app.put_if_absent(f"{WATCHED}new", b"x"),
        lambda: app.delete(f"{WATCHED}there"),
        lambda: app.transaction().put(f"{WATCHED}there", b"x").delete(f"{WATCHED}leased").commit(),
        lambda: app.delete_prefix(WATCHED),
        lambda: app.watch(WATCHED, timeout=PATIENCE).next(PATIENCE),
    ]
    for number, call in enumerate(calls):
        assert _refused(call), f"call {number} was not refused"
    assert lease.alive
    found = {item.key: item.value for item in admin.list(WATCHED)}
    assert found == {f"{WATCHED}there": b"1", f"{WATCHED}leased": b""}
    # Some stores refuse a waiting watch only when there is something to deliver, or to read for it.
    admin.put(f"{WATCHED}there", b"2")
    admin.put(f"{WATCHED}meanwhile", b"")
    admin.put(OTHER, b'{"id": "2"}')


def _refused(call: Callable[[], object]) -> bool:
    """Whether the store refuses it. An unknown outcome or a wrong answer is no refusal."""
    try:
        call()
    except REFUSALS:
        return True
    except TenureError as exc:
        pytest.fail(f"a missing right was told as {exc!r}")
    return False


def _keys(batches: list[Batch]) -> set[str]:
    return {event.key for batch in list(batches) for event in batch.events}
