"""A small company's store, for screenshots: services, settings, locks, and changes that somebody could have made."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import tenure
from tenure.registry import Instance, encode, key_of
from tenure_testkit.waiting import until

REGISTRY = "/registry/prod/"
_SERVICES = (
    ("checkout", 6, ("4.2.0", "4.3.0"), 2),
    ("geo-tiles", 3, ("1.9.4",), None),
    ("mailer", 2, ("2.0.1",), None),
    ("payments", 5, ("7.1.3",), None),
    ("search", 4, ("3.8.0", "3.8.1"), 1),
    ("web", 12, ("5.0.2", "5.1.0"), 5),
)
_LIMITS = {
    "requests_per_second": 400,
    "burst": 80,
    "regions": {"eu-west": 250, "eu-north": 150},
    "block_unknown": False,
}


@dataclass(frozen=True, slots=True)
class Scene:
    """What a page can be about."""

    instance: str
    setting: str
    lock: str


def before(store: tenure.Store) -> None:
    """Write what was there before the console began."""
    for service, count, versions, draining in _SERVICES:
        for number in range(count):
            meta: dict[str, object] = {
                "zone": "eu-" + ("west", "north", "south")[number % 3],
                "version": versions[number % len(versions)],
                "commit": f"{(number + 1) * 7919 + len(service) * 104729:07x}",
                "team": "platform" if service in ("web", "search") else "commerce",
            }
            if number == draining:
                meta["status"] = "draining"
            if number == 1:
                meta["weight"] = 0.5
            enter(store, service, number, meta)
    for key, value in {
        "settings/limits": _LIMITS,
        "settings/banner": {"text": "Maintenance on Sunday", "until": "2026-12-06T06:00:00Z"},
        "settings/features/new-checkout": {"enabled": True, "share": 0.25},
        "settings/features/fast-search": {"enabled": False, "share": 0},
        "jobs/nightly-report/last": {"finished": "2026-11-29T02:14:07Z", "rows": 182_344},
    }.items():
        store.put(key, json.dumps(value).encode())
    store.put("settings/motd", b"Be kind to the database.\n")


def enter(store: tenure.Store, service: str, number: int, meta: dict[str, object]) -> str:
    """Register an instance as its own program does, and return its key."""
    at = sum(map(ord, service)) % 200
    instance = Instance(
        service,
        id=f"{service}-{number + 1}",
        host=f"10.4.{at}.{20 + number}",
        host_name=f"node-{(at + number) % 9 + 1}",
        port=8000 + number,
        meta=meta,
    )
    key = key_of(REGISTRY, instance)
    store.put(key, encode(instance), lease=store.lease(15))
    return key


@contextlib.contextmanager
def happening(store: tenure.Store, url: str) -> Iterator[Scene]:
    """Have people and programs change things, hold locks and wait for them, until the end."""
    held = [
        tenure.Lock(store, "nightly-report", owner="node-3:report").acquire(),
        tenure.Lock(store, "schema-migration", owner="ci-runner-12").acquire(),
        tenure.Semaphore(store, "render-slots", limit=2, owner="geo-tiles-1").acquire(),
        tenure.Semaphore(store, "render-slots", limit=2, owner="geo-tiles-3").acquire(),
    ]
    leader = tenure.Election(store, "billing-scheduler", candidate="payments-2").campaign()
    waiting = tenure.connect(url)
    for name, owner in (("nightly-report", "node-7:report"), ("nightly-report", "node-1:report")):
        before_it = len(store.list(f"tenure/lock/{name}/").items)
        threading.Thread(target=_wait, args=(tenure.Lock(waiting, name, owner=owner),), daemon=True).start()
        until(lambda name=name, n=before_it: len(store.list(f"tenure/lock/{name}/").items) > n, what="it waits")
    instance = enter(
        store, "mailer", 2, {"zone": "eu-south", "version": "2.0.2", "commit": "9c41aa0", "team": "commerce"}
    )
    ticket = store.list("tenure/lock/nightly-report/").items[0]
    store.put("jobs/nightly-report/progress", b'{"rows": 61000, "of": 190000}', lease=ticket.lease_id)
    store.put("jobs/nightly-report/progress", b'{"rows": 118000, "of": 190000}', lease=ticket.lease_id)
    store.put("settings/features/new-checkout", b'{"enabled": true, "share": 0.5}')
    gone = enter(store, "search", 4, {"zone": "eu-north", "version": "3.8.1"})
    store.delete(gone)
    try:
        yield Scene(instance, "settings/limits", "nightly-report")
    finally:
        waiting.close()
        leader.release()
        for one in held:
            one.release()


def _wait(lock: tenure.Lock) -> None:
    with contextlib.suppress(tenure.TenureError):  # the scene is over
        lock.acquire()
