"""A program on a store in memory to which everything happens that observers hear of."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import tenure
from tenure.errors import Compacted, Conflict, OutcomeUnknown, PermissionDenied, WaitTimeout
from tenure.registry import Instance, Registry, RegistryConfig
from tenure.testing import Sandbox
from tenure_testkit.waiting import until

NAMES = ("secret-job", "secret-service", "secret-prefix/", "secret-key")
"""Names of a lock, a service, a prefix and a key."""


class Ends(threading.Event):
    """An observer that knows when a lease has come to an end and which callbacks were slow."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[str] = []

    @tenure.hookspecs.hookimpl
    def tenure_lease_lost(self) -> None:
        self.heard.append("lost")

    @tenure.hookspecs.hookimpl
    def tenure_lease_suspect(self) -> None:
        self.heard.append("suspect")

    @tenure.hookspecs.hookimpl
    def tenure_lease_refreshed(self) -> None:
        self.heard.append("refreshed")

    @tenure.hookspecs.hookimpl
    def tenure_callback_slow(self) -> None:
        self.heard.append("slow")

    @tenure.hookspecs.hookimpl
    def tenure_callback_finished(self, error: BaseException | None) -> None:
        self.heard.append("failed" if error else "returned")

    @tenure.hookspecs.hookimpl
    def tenure_watch_disconnected(self) -> None:
        self.heard.append("disconnected")

    @tenure.hookspecs.hookimpl
    def tenure_registration_changed(self, status: str) -> None:
        self.heard.append(status)

    @tenure.hookspecs.hookimpl
    def tenure_recipe_lost(self) -> None:
        self.heard.append("lock lost")

    def wait(self, event: str, times: int = 1) -> None:  # type: ignore[override]  # for one kind of event
        until(lambda: self.heard.count(event) >= times, what=f"{times} times {event}: {self.heard}")


def happen(*observers: object, look: Callable[[], object] = lambda: None) -> None:
    """Let everything happen. ``look`` is called while a cache is old, and leases, locks and watches are there."""
    ends = Ends()
    with Sandbox() as box:
        store = box.connect(observers=[*observers, ends])
        _operations(box, store)
        _watches(box, store, ends)
        _locks(box, store, ends)
        _callbacks(store, ends)
        _registry(box, store, ends, look)
        _leases(box, store, ends)


def _operations(box: Sandbox, store: tenure.Store) -> None:
    key = "secret-key"
    store.put(key, b"1")
    with suppress(Conflict):
        store.put_if_absent(key, b"2")
    box.faults.fail_calls(2, kinds="get")
    store.get(key)
    box.faults.next_write_unknown(applied=False)
    with suppress(OutcomeUnknown):
        store.put(key, b"3")
    box.faults.fail_calls(error=PermissionDenied, kinds="list")
    with suppress(PermissionDenied):
        store.list("")


def _watches(box: Sandbox, store: tenure.Store, ends: Ends) -> None:
    with store.watch("secret-prefix/") as watch:
        for number in range(2):
            store.put(f"secret-prefix/{number}", b"")
        taken = 0
        while taken < 2:
            taken += len(watch.next(60.0).events)
        store.put("secret-prefix/late", b"")
        box.clock.jump(2.0)
        until(lambda: watch.next(0.01))
        with box.faults.watches_disconnected(force_resync=True):
            until(lambda: watch.next(0.01) is None and "disconnected" in ends.heard)
        until(lambda: watch.next(1.0))
    ended = store.watch("secret-prefix/", after=store.get_with_revision("secret-key").revision)
    box.faults.compact()
    box.faults.cut_watches(force_resync=True)
    with suppress(Compacted):
        ended.next(60.0)


def _locks(box: Sandbox, store: tenure.Store, ends: Ends) -> None:
    held = tenure.Lock(store, "secret-job").acquire()
    other = tenure.Lock(store, "secret-job")
    other.try_acquire()
    with suppress(WaitTimeout), _time_flies(box):
        other.acquire(timeout=0.5)
    held.release()
    term = tenure.Election(store, "secret-job").campaign()
    box.faults.expire_lease(term.session.lease)
    ends.wait("lock lost")


def _callbacks(store: tenure.Store, ends: Ends) -> None:
    def fails(batch: object) -> None:
        ends.wait("slow")
        raise ValueError("a bug")

    with store.watch("secret-prefix/", callback=fails):
        ends.wait("failed")


def _registry(box: Sandbox, store: tenure.Store, ends: Ends, look: Callable[[], object]) -> None:
    with Registry(store, RegistryConfig("prod"), Instance("secret-service", port=80)) as registry:
        store.delete(registry.key or "")
        until(lambda: box.clock.advance(0.1) or ends.heard.count("registered") >= 2)
        lock = tenure.Lock(store, "secret-job").acquire()
        disconnected = ends.heard.count("disconnected")
        with store.watch("secret-prefix/"), box.faults.watches_disconnected():
            ends.wait("disconnected", disconnected + 1)
            box.clock.jump(1.0)
            until(lambda: registry.staleness >= 1.0)
            look()
        lock.release()


def _leases(box: Sandbox, store: tenure.Store, ends: Ends) -> None:
    refreshed = ends.heard.count("refreshed")
    store.lease(9.0)
    box.clock.advance(3.1)
    ends.wait("refreshed", refreshed + 1)
    lost = ends.heard.count("lost")
    with box.faults.outage():
        box.clock.advance(7.0)
        ends.wait("suspect")
        box.clock.advance(9.0)
        ends.wait("lost", lost + 1)


@contextmanager
def _time_flies(box: Sandbox) -> Iterator[None]:
    """Move the sandbox's clock as long as the block runs, so that waits on it end."""
    end = threading.Event()

    def move() -> None:
        while not end.wait(0.01):
            box.clock.jump(0.1)

    thread = threading.Thread(target=move)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()
