"""What every server store promises of a server that freezes, and of a holder that is cut off."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable

import pytest

from tenure import Store
from tenure.errors import Conflict, OutcomeUnknown, Unavailable
from tenure.leases import Lease, LeaseState
from tenure.watch import Batch, BatchType, EventType
from tenure_testkit.servers import until
from tenure_testkit.servers.container import ServerContainer

pytestmark = pytest.mark.faults

FREEZE = 5.0
TTL = 2.0

HOLDER = """
import sys, tenure
store = tenure.connect(sys.argv[1])
lease = store.lease(float(sys.argv[2]), on_lost=lambda lost: None)
store.put("held", b"holder", lease=lease)
print(store.capabilities.max_lifetime_after_refresh(lease.ttl), flush=True)
sys.stdin.readline()
print(lease.state, flush=True)
sys.stdin.readline()
"""


class Writer:
    """Puts a new key with a value of its own again and again, and deletes every other one."""

    def __init__(self, store: Store) -> None:
        self.put: dict[str, int] = {}
        self.deleted: dict[str, int] = {}
        self.unclear: set[str] = set()
        self._store = store
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="writer")
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(60.0)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        number = 0
        # At a pace that leaves the store time for its watchers; whatever the pace, nothing may be lost.
        while not self._stop.wait(0.005):
            number += 1
            key = f"w/{number:05}"
            try:
                self.put[key] = self._store.put_if_absent(key, key.encode(), timeout=1.0).revision
                if number % 2:
                    self.deleted[key] = self._store.delete(key, timeout=1.0).revision
            except OutcomeUnknown:
                self.unclear.add(key)
            except Unavailable:
                continue


class Watcher:
    """What a watch told, batch by batch."""

    def __init__(self, store: Store) -> None:
        self.batches: list[Batch] = []
        self.known: dict[str, bytes] = {}
        self.puts: list[tuple[str, int]] = []
        self.deletes: list[tuple[str, int]] = []
        self._more = threading.Condition()
        store.watch("w/", callback=self._take)

    def wait(self, probe: Callable[[], bool], timeout: float, what: str) -> None:
        with self._more:
            assert self._more.wait_for(probe, timeout), f"not within {timeout:g} s: {what}"

    @property
    def resyncs(self) -> list[str]:
        return [batch.reason for batch in self.batches if batch.type is BatchType.RESYNC]

    def _take(self, batch: Batch) -> None:
        with self._more:
            self.batches.append(batch)
            for event in batch.events:
                if event.type is EventType.DELETE:
                    del self.known[event.key]
                    self.deletes.append((event.key, event.revision))
                else:
                    assert event.item is not None
                    self.known[event.key] = event.item.value
                    self.puts.append((event.key, event.item.mod_revision))
            self._more.notify_all()


def test_a_freeze_loses_and_doubles_nothing(node: ServerContainer, opened: Callable[..., Store]) -> None:
    url: str = node.url  # type: ignore[attr-defined]  # every kind of server has one, their base doesn't
    store, other = opened(url), opened(url)
    watcher, writer = Watcher(other), Writer(store)
    try:
        watcher.wait(lambda: len(watcher.deletes) >= 10, 30.0, "the watcher follows the writer")
        node.pause()
        # Not waiting for anything: this long is the fault.
        threading.Event().wait(FREEZE)
        node.resume()
        before = len(writer.put)
        until(lambda: len(writer.put) >= before + 20, 60.0, "the writer writes again")
    finally:
        writer.stop()
    store.put("w/end", b"end", timeout=10.0)
    watcher.wait(lambda: "w/end" in watcher.known, 60.0, "the watcher has come to the end")

    # It has converged, and that takes every delete: a missed one would leave its key behind.
    listed = {item.key: item.value for item in store.list("w/")}
    watcher.wait(lambda: watcher.known == listed, 30.0, "the watcher knows what is there, and nothing else")
    certain = {key for key in writer.put if key not in writer.deleted} - writer.unclear
    assert certain <= listed.keys()
    assert listed.keys().isdisjoint(writer.deleted)

    # A key is put by one call: told with two revisions it was applied twice.
    assert [key for key, times in Counter(key for key, _ in set(watcher.puts)).items() if times > 1] == []
    if store.capabilities.lossless_watch:
        assert watcher.resyncs == []
        assert [told for told, times in Counter(watcher.puts + watcher.deletes).items() if times > 1] == []
        assert set(writer.put.items()) <= set(watcher.puts)
        assert set(writer.deleted.items()) <= set(watcher.deletes)


def take(store: Store, within: float) -> None:
    """Take the key as soon as the store gives it away."""

    def taken() -> bool:
        try:
            store.put_if_absent("held", b"contender")
        except Conflict:
            return False
        return True

    until(taken, within, "the contender has the key", interval=0.01)


@pytest.mark.parametrize("lost", ["requests", "answers"])
def test_a_holder_that_is_cut_off_knows_first(
    server_url: str, opened: Callable[..., Store], monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    store, contender = opened(server_url), opened(server_url)
    told: list[Lease] = []
    lease = store.lease(TTL, on_lost=told.append)
    store.put("held", b"holder", lease=lease)
    granted = lease.deadline
    until(lambda: lease.deadline > granted, 60.0, "the lease is kept alive")

    backend = store._backend
    refresh, refused = backend.refresh, threading.Event()

    def cut(lease_ids: list[str], *, timeout: float) -> dict[str, float]:
        if lost == "answers" and not refused.is_set():
            refresh(lease_ids, timeout=timeout)
        refused.set()
        raise Unavailable("the test has cut the holder off")

    with pytest.raises(Conflict):
        contender.put_if_absent("held", b"contender")
    monkeypatch.setattr(backend, "refresh", cut)
    assert refused.wait(60.0)
    take(contender, 2 * contender.capabilities.max_lifetime_after_refresh(lease.ttl) + 10.0)
    assert lease.state is LeaseState.LOST
    until(lambda: told == [lease], 60.0, "the holder's callback was called, once")
    item = contender.get("held")
    assert item is not None
    assert item.value == b"contender"


def test_a_holder_that_was_stopped_knows_when_it_goes_on(server_url: str, opened: Callable[..., Store]) -> None:
    contender = opened(server_url)
    child = subprocess.Popen(
        [sys.executable, "-c", HOLDER, server_url, str(TTL)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with child:
        try:
            assert child.stdin is not None
            assert child.stdout is not None
            worst = float(child.stdout.readline())
            with pytest.raises(Conflict):
                contender.put_if_absent("held", b"contender")
            child.send_signal(signal.SIGSTOP)
            os.waitid(os.P_PID, child.pid, os.WSTOPPED | os.WNOWAIT)
            take(contender, 2 * worst + 10.0)
            child.stdin.write(b"\n")
            child.stdin.flush()
            child.send_signal(signal.SIGCONT)
            # The first thing it looks at when it runs again: before any answer from the store can have come.
            assert child.stdout.readline() == b"lost\n"
        finally:
            child.kill()
