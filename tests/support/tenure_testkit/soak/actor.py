"""One thread of an application: random acts on one store, and what the store may hold now as far as it knows.

Every act ends as done, refused or unknown; an exception of a signal handler in the middle of it makes it unknown. A key
whose write ended as unknown is never written again, since that write may still be applied.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import tenure
from tenure import Batch, Lease, LeaseState, Store, TenureError, Watch
from tenure.plugin_kit import monotonic
from tenure_testkit.soak.forks import forked
from tenure_testkit.soak.journal import Journal
from tenure_testkit.soak.machine import Lateness
from tenure_testkit.soak.replica import Replica

TIMEOUT = 3.0
"""Seconds for each call."""
TTL = 2.0
"""Seconds; a store may give a longer one."""
_SLOTS = 6
_IMPORTS = 30.0
"""Seconds that importing a client library may take on a busy machine."""
_LATE_NEWS = 1.0
"""Seconds after its deadline within which a loss is reported on a machine that is never late."""


class Interrupted(Exception):
    """What a soft time limit raises in the middle of a call."""


class Stopped(BaseException):
    """The same, of the kind that ``except Exception`` doesn't see."""


class Outcome(StrEnum):
    """How a call ended."""

    DONE = "done"
    REFUSED = "refused"
    UNKNOWN = "unknown"


_EXPECTED = (
    tenure.Unavailable,
    tenure.OutcomeUnknown,
    tenure.Conflict,
    tenure.LeaseLost,
    tenure.LeaseNotFound,
    tenure.Compacted,
    tenure.PermissionDenied,
    tenure.AuthenticationFailed,
)


@dataclass(slots=True)
class Ephemeral:
    """A lease and the key that was put on it, which lives as long."""

    lease: Lease
    key: str
    put: bool = False
    history: int = 0


@dataclass(slots=True, kw_only=True)
class Settings:
    """What the soak says to an actor."""

    url: str
    name: str
    seed: str
    folder: Path
    interrupts: bool = False
    """Whether signals may interrupt it: it runs on the main thread."""
    forks: bool = False


@dataclass(slots=True)
class Interrupter:
    """Raises an exception in the main thread, at a random moment of the call inside :meth:`armed`."""

    random: random.Random
    active: bool = False
    raised: int = 0
    kinds: tuple[type[BaseException], ...] = field(default=(Interrupted, Stopped))

    def install(self) -> None:
        """From now on SIGALRM belongs to this."""
        signal.signal(signal.SIGALRM, self._handler)

    def _handler(self, *_: object) -> None:
        if self.active:
            self.active = False
            self.raised += 1
            raise self.random.choice(self.kinds)

    def arm(self, within: float) -> None:
        """Interrupt in so many seconds at most, if it is still active then."""
        self.active = True
        signal.setitimer(signal.ITIMER_REAL, self.random.uniform(1e-5, within))

    def disarm(self) -> None:
        """No interrupt any more."""
        self.active = False
        signal.setitimer(signal.ITIMER_REAL, 0)


class Actor:
    """See above. ``step`` acts once; ``settle`` and ``check`` belong to a quiet moment."""

    def __init__(self, settings: Settings, journal: Journal, lateness: Lateness, epoch: int) -> None:
        self.settings = settings
        self.name = settings.name
        self.epoch = epoch
        self.problems: list[str] = []
        self.counts: Counter[str] = Counter()
        self.slowest: dict[str, float] = {}
        self._random = random.Random(settings.seed)
        self._journal = journal
        self._lateness = lateness
        self._interrupter = Interrupter(random.Random(f"{settings.seed}/interrupts"))
        if settings.interrupts:
            self._interrupter.install()
        self._number = 0
        self._history = 0
        self._possible: dict[str, set[bytes | None]] = {}
        self._slots: list[str | None] = [None] * _SLOTS
        self._acknowledged: list[tuple[str, int]] = []
        self._ephemeral: list[Ephemeral] = []
        self._ended: list[tuple[str, float, Lease]] = []
        """Keys of leases that have ended, and for how many seconds each may still be there."""
        self._callback_problems: list[str] = []
        self._usual = 0.01
        self._store: Store | None = None
        self._imported = False
        self._open()
        self._acts: list[tuple[Callable[[], object], int]] = [
            (self._put, 20),
            (self._read_own, 10),
            (self._delete, 4),
            (self._transaction, 6),
            (self._count, 10),
            (self._lock, 6),
            (self._ephemeral_key, 8),
            (self._look_at_ephemeral, 10),
            (self._end_ephemeral, 5),
            (self._consume, 25),
            (self._list, 4),
            (self._abandon_watch, 2),
            (self._callback_watch, 2),
            (self._reopen, 1),
        ]
        if settings.forks:
            self._acts.append((self._fork, 1))

    # -- calls --

    @property
    def store(self) -> Store:
        """The open store."""
        assert self._store is not None
        return self._store

    def _call(self, name: str, call: Callable[[], Any], *, limit: float = TIMEOUT) -> tuple[Outcome, Any]:
        """Make a call, perhaps interrupted, and return how it ended, and with what."""
        began = monotonic()
        try:
            outcome, result = self._interruptible(call)
        except (Interrupted, Stopped):  # in the moment after the call
            outcome, result = Outcome.UNKNOWN, None
        finally:
            self._interrupter.active = False
        took = monotonic() - began
        self._usual = 0.9 * self._usual + 0.1 * min(took, 0.1)
        if took > limit:
            allowed = limit + self._lateness.allowance(began)
            if took > allowed:
                self.problems.append(f"{name} took {took:.2f} s, allowed were {allowed:.2f} s; it ended as {result!r}")
        self.slowest[name] = max(self.slowest.get(name, 0.0), took)
        self.counts[f"{name} {outcome}"] += 1
        if isinstance(result, BaseException) and not isinstance(result, _EXPECTED):
            self.problems.append(f"{name} ended with an unexpected {result!r}, caused by {result.__cause__!r}")
        return outcome, result

    def _interruptible(self, call: Callable[[], Any]) -> tuple[Outcome, Any]:
        interrupt = self.settings.interrupts and self._random.random() < 0.15
        try:
            if interrupt:
                self._interrupter.arm(2 * self._usual)
            result = call()
            self._interrupter.active = False
        except (Interrupted, Stopped):
            return Outcome.UNKNOWN, None
        except tenure.OutcomeUnknown as exc:
            self._interrupter.active = False
            return Outcome.UNKNOWN, exc
        except TenureError as exc:
            self._interrupter.active = False
            return Outcome.REFUSED, exc
        finally:
            if interrupt:
                self._interrupter.disarm()
        return Outcome.DONE, result

    def step(self) -> None:
        """Do one thing."""
        acts, weights = zip(*self._acts, strict=True)
        self._random.choices(acts, weights)[0]()
        if self._callback_problems:
            found, self._callback_problems = self._callback_problems, []
            self.problems += found

    def _fresh(self, kind: str) -> str:
        self._number += 1
        return f"{kind}/{self.name}/{self._number}"

    # -- opening --

    def _open(self) -> None:
        ends = monotonic() + 90
        # The first one imports the client library, which no deadline can end.
        imports = 0.0 if self._imported else _IMPORTS
        while True:
            outcome, result = self._call(
                "connect", lambda: tenure.connect(self.settings.url, timeout=TIMEOUT), limit=TIMEOUT + imports
            )
            imports = 0.0
            if outcome is Outcome.DONE:
                break
            if monotonic() > ends:
                raise AssertionError(f"{self.name} can't connect: {result!r}")
            time.sleep(0.1)
        self._store, self._imported = result, True
        self._lossless = self.store.capabilities.lossless_watch
        self._watch: Watch | None = None
        self._replica = Replica(self.name, lossless=self._lossless)

    def _reopen(self) -> None:
        """Close the store and open it again: leases end, watches too."""
        self._collect_replica()
        store = self.store
        # Without confirmation of the store the leases expire, each within its time.
        for one in self._ephemeral:
            self._gone(one)
        self._ephemeral.clear()
        self._call("close", store.close, limit=TIMEOUT)
        if not store.closed:  # interrupted in the middle
            store.close()
        self._store = None
        self._open()

    # -- writes to keys of its own --

    def _slot(self) -> int:
        return self._random.randrange(_SLOTS)

    def _key_of(self, slot: int) -> str:
        key = self._slots[slot]
        if key is None:
            key = self._slots[slot] = self._fresh("w")
            self._possible[key] = {None}
        return key

    def _value(self) -> bytes:
        self._number += 1
        return f"{self.name}:{self._number}".encode() + b"." * self._random.choice((0, 0, 0, 100, 5_000))

    def _written(self, outcome: Outcome, result: Any, slots: dict[int, bytes | None]) -> None:
        for slot, value in slots.items():
            key = self._key_of(slot)
            if outcome is Outcome.DONE:
                self._possible[key] = {value}
                if value is not None:
                    self._acknowledged.append((key, result.revision))
            elif outcome is Outcome.UNKNOWN:
                self._possible[key].add(value)
                self._slots[slot] = None

    def _put(self) -> None:
        slot, value = self._slot(), self._value()
        key = self._key_of(slot)
        self._written(*self._call("put", lambda: self.store.put(key, value)), {slot: value})

    def _delete(self) -> None:
        slot = self._slot()
        key = self._key_of(slot)
        self._written(*self._call("delete", lambda: self.store.delete(key)), {slot: None})

    def _transaction(self) -> None:
        slots = self._random.sample(range(_SLOTS), 3)
        values: dict[int, bytes | None] = {slot: self._value() for slot in slots[:2]} | {slots[2]: None}
        keys = {slot: self._key_of(slot) for slot in slots}

        def commit() -> object:
            transaction = self.store.transaction()
            for slot, value in values.items():
                if value is None:
                    transaction.delete(keys[slot])
                else:
                    transaction.put(keys[slot], value)
            return transaction.commit()

        self._written(*self._call("commit", commit), values)

    def _read_own(self) -> None:
        key = self._key_of(self._slot())
        outcome, item = self._call("get", lambda: self.store.get(key))
        if outcome is Outcome.DONE:
            self._judge(key, None if item is None else item.value)

    def _judge(self, key: str, value: bytes | None) -> None:
        if value not in self._possible[key]:
            self.problems.append(f"{key} is {_short(value)}, possible were {sorted(map(_short, self._possible[key]))}")
            self._possible[key] = {value}  # told once

    def _list(self) -> None:
        outcome, items = self._call("list", lambda: self.store.list(f"w/{self.name}/"))
        if outcome is Outcome.DONE:
            found = {item.key: item.value for item in items}
            for key in self._possible:
                self._judge(key, found.get(key))

    # -- shared: a counter and locks --

    def _count(self) -> None:
        key = f"c/{self.epoch}"
        outcome, item = self._call("get", lambda: self.store.get(key))
        if outcome is not Outcome.DONE:
            return
        self._journal.write(kind="count", key=key, how="try")
        if item is None:
            outcome, _ = self._call("put_if_absent", lambda: self.store.put_if_absent(key, b"1"))
        else:
            value = b"%d" % (int(item.value) + 1)
            revision = item.mod_revision
            outcome, _ = self._call(
                "put_if_unchanged", lambda: self.store.put_if_unchanged(key, value, revision=revision)
            )
        self._journal.write(kind="count", key=key, how=str(outcome))

    def _lease(self, **options: Any) -> Lease | None:
        outcome, lease = self._call("lease", lambda: self.store.lease(TTL, on_lost=self._on_lost, **options))
        return lease if outcome is Outcome.DONE else None

    def _on_lost(self, lease: Lease) -> None:
        now = self.store.clock.now()
        late = now - lease.deadline
        if late > _LATE_NEWS:
            allowed = _LATE_NEWS + self._lateness.allowance(monotonic() - late)
            if late > allowed:
                self._callback_problems.append(f"on_lost came {late:.2f} s after the deadline, allowed: {allowed:.2f}")
        self.counts["leases lost"] += 1
        # Each of these has happened to a callback of an application.
        choice = hash(str(lease.id)) % 4
        if choice == 0:
            time.sleep(0.5)
        elif choice == 1:
            raise RuntimeError("a callback of the soak raises")

    def _lock(self) -> None:
        lock = f"l/{self._random.randrange(2)}"
        lease = self._lease()
        if lease is None:
            return
        outcome, result = self._call(
            "put_if_absent", lambda: self.store.put_if_absent(lock, self.name.encode(), lease=lease)
        )
        if outcome is Outcome.DONE:
            self._hold(lock, result.revision, lease)
        if self._random.random() < 0.7:
            self._call("revoke", lease.revoke)
        if lease.alive:  # an interrupt may come before the call has begun
            lease.abandon()

    def _hold(self, lock: str, token: int, lease: Lease) -> None:
        ends = monotonic() + self._random.choice((0.05, 0.3, 1.5)) * self._random.random() * lease.ttl
        while True:
            at = monotonic()
            if not lease.alive:
                return
            # It was still held at this moment: the state was read later.
            self._journal.write(kind="held", lock=lock, token=token, holder=self.name, at=at)
            if at > ends:
                return
            time.sleep(min(0.05, lease.ttl / 20))

    # -- leases with keys of its own --

    def _ephemeral_key(self) -> None:
        if len(self._ephemeral) >= 8:
            return
        lease = self._lease(keep_alive=self._random.random() < 0.8)
        if lease is None:
            return
        one = Ephemeral(lease, self._fresh("e"), history=self._history)
        outcome, _ = self._call("put", lambda: self.store.put(one.key, b"", lease=lease))
        one.put = outcome is Outcome.DONE
        self._ephemeral.append(one)

    def _look_at_ephemeral(self) -> None:
        """While the holder may rely on the lease, its key is there."""
        if not self._ephemeral:
            return
        one = self._random.choice(self._ephemeral)
        outcome, item = self._call("get", lambda: self.store.get(one.key))
        if outcome is Outcome.DONE and item is None and one.put and one.history == self._history and one.lease.alive:
            self.problems.append(f"{one.key} is gone, and its lease is alive: {one.lease!r}")
            one.put = False
        if not one.lease.alive:
            self._gone(one)
            self._ephemeral.remove(one)

    def _end_ephemeral(self) -> None:
        if not self._ephemeral:
            return
        one = self._ephemeral.pop(self._random.randrange(len(self._ephemeral)))
        if self._random.random() < 0.6:
            outcome, _ = self._call("revoke", one.lease.revoke)
            if outcome is Outcome.DONE and one.lease.state is LeaseState.REVOKED:
                found, item = self._call("get", lambda: self.store.get(one.key))
                if found is Outcome.DONE and item is not None and one.put and self.store.capabilities.linearizable:
                    self.problems.append(f"{one.key} is there after its lease was revoked")
        if one.lease.alive:  # an interrupt may come before the call has begun
            one.lease.abandon()
        self._gone(one)

    def _gone(self, one: Ephemeral) -> None:
        """From now on the store has to remove the key within its time."""
        self._ended.append((one.key, one.lease.max_lifetime_after_refresh, one.lease))

    # -- watches --

    def _consume(self) -> None:
        if self._watch is None:
            outcome, result = self._call("watch", lambda: self.store.watch(""))
            if outcome is not Outcome.DONE:
                return
            self._collect_replica()
            self._watch, self._replica = result, Replica(self.name, lossless=self._lossless)
            # What was written before the snapshot doesn't have to be delivered.
            self._acknowledged.clear()
        for _ in range(self._random.choice((1, 5, 50))):
            if not self._take(0.0):
                break

    def _take(self, timeout: float) -> bool:
        watch = self._watch
        assert watch is not None
        # While the watch reconnects, it may take an attempt longer.
        outcome, batch = self._call("next", lambda: watch.next(timeout), limit=TIMEOUT + 30)
        if outcome is Outcome.REFUSED:
            self.problems.append(f"the watch ended: {batch!r}")
            self._watch = None
        elif batch is not None and outcome is Outcome.DONE:
            self._replica.apply(batch)
            return True
        return False

    def _collect_replica(self) -> None:
        self.problems += self._replica.problems
        self._replica.problems = []

    def _abandon_watch(self) -> None:
        """Open a watch, look at it for a moment, and drop it; perhaps without closing it."""
        outcome, watch = self._call("watch", lambda: self.store.watch(f"w/{self.name}/"))
        if outcome is Outcome.DONE:
            self._call("next", lambda: watch.next(0.05), limit=TIMEOUT + 30)
            if self._random.random() < 0.5:
                self._call("close watch", watch.close)

    def _callback_watch(self) -> None:
        """A watch whose callback is slow, raises or closes its watch in the end."""
        seen = Counter[str]()
        way = self._random.choice(("slow", "raises", "calls"))

        def callback(batch: Batch) -> None:
            seen["batches"] += 1
            if way == "slow":
                time.sleep(0.2)
            elif way == "raises":
                raise RuntimeError("a callback of the soak raises")
            else:
                with contextlib.suppress(TenureError):
                    self.store.get("c/0", timeout=0.5)
            if seen["batches"] > 20:
                opened[0].close()

        opened: list[Watch] = []
        outcome, watch = self._call("watch", lambda: self.store.watch(f"w/{self.name}/", callback=callback))
        if outcome is Outcome.DONE:
            opened.append(watch)
            self._put()
            self._call("close watch", watch.close)

    # -- processes --

    def _fork(self) -> None:
        """A child uses a store of its own; what it has inherited refuses."""
        key, url, inherited = self._fresh("f"), self.settings.url, self.store

        def work() -> None:
            try:
                inherited.get(key)
            except tenure.UsedAfterFork:
                pass
            else:
                raise AssertionError("an inherited store answered")
            try:
                with tenure.connect(url, timeout=TIMEOUT) as own:
                    asked = monotonic()
                    try:
                        own.put(key, b"1", lease=own.lease(TTL))
                    except (tenure.LeaseLost, tenure.LeaseNotFound):
                        if monotonic() - asked < TTL:
                            raise
            except (tenure.Unavailable, tenure.OutcomeUnknown):
                pass
            except tenure.UsedAfterFork:  # said of a file that another thread was using at this moment
                if not url.startswith("sqlite:"):
                    raise

        began = monotonic()
        error = forked(work, limit=lambda: 8 * TIMEOUT + self._lateness.allowance(began))
        self.counts["forks"] += 1
        if error:
            self.problems.append(f"a forked child failed: {error}")

    # -- quiet moments: no faults, and nobody writes --

    def settle(self) -> None:
        """Stop acting: nothing is written from now on."""
        self._interrupter.disarm()

    def check(self, *, replaced: bool) -> None:
        """Check everything that can be said about a store in which nothing happens.

        Args:
            replaced: whether the store's data was replaced by an older state since the last check.
        """
        settings, interrupts = self.settings, self.settings.interrupts
        settings.interrupts = False
        try:
            if replaced:
                self._adopt()
            self._check_keys()
            self._check_ended()
            self._check_watch(replaced=replaced)
        finally:
            settings.interrupts = interrupts
        self._collect_replica()
        gc.collect()

    def _patiently(self, what: str, call: Callable[[], Any]) -> Any:
        """The answer of a store that has to answer by now."""
        ends = monotonic() + 60
        while True:
            outcome, result = self._call(what, call)
            if outcome is Outcome.DONE:
                return result
            if monotonic() > ends:
                self.problems.append(f"{what} at a quiet moment still fails after 60 s: {result!r}")
                raise result or AssertionError(what)
            time.sleep(0.1)

    def _adopt(self) -> None:
        """The store holds an older state: what it holds is what is known."""
        self._history += 1
        found = {item.key: item.value for item in self._patiently("list", lambda: self.store.list("w/"))}
        mine = {key: value for key, value in found.items() if key.startswith(f"w/{self.name}/")}
        self._possible = {key: {value} for key, value in (dict.fromkeys(self._possible) | mine).items()}
        self._acknowledged.clear()
        self._ended.clear()
        for one in self._ephemeral:
            one.lease.abandon()
        self._ephemeral.clear()

    def _check_keys(self) -> None:
        found = {item.key: item.value for item in self._patiently("list", lambda: self.store.list(f"w/{self.name}/"))}
        for key in list(self._possible):
            self._judge(key, found.pop(key, None))
            if key not in self._slots:
                del self._possible[key]
                self._patiently("delete", functools.partial(self.store.delete, key))
        for key in found:
            self.problems.append(f"{key} is there, and was never written")

    def _check_ended(self) -> None:
        """Keys of leases that have ended are gone, each within its time."""
        began = monotonic()  # a server that was killed or frozen may count from when it was back
        for key, lifetime, lease in self._ended:
            while self._patiently("get", functools.partial(self.store.get, key)) is not None:
                past = monotonic() - began - lifetime
                if past > self._lateness.allowance(began):
                    refreshed = self.store.clock.now() - lease.last_refreshed
                    self.problems.append(
                        f"{key} outlived its lease by {past:.1f} s: {lease!r}, refreshed {refreshed:.1f} s ago"
                    )
                    break
                time.sleep(0.1)
        self._ended.clear()

    def _check_watch(self, *, replaced: bool) -> None:
        if self._watch is None:
            self._consume()
        gaps, ends = self._replica.gaps, monotonic() + 90
        while self._watch is not None:
            while self._take(0.05):
                pass
            difference = self._replica.difference(self._patiently("list", lambda: self.store.list("")))
            if not difference:
                break
            if monotonic() > ends:
                self.problems += [f"{one} (gaps: {gaps}, now {self._replica.gaps})" for one in difference[:5]]
                self._watch.close()
                self._watch = None
                return
        # Caught up to the last acknowledged write, if the list is: the same revisions are in both.
        self.problems += self._replica.missing(self._acknowledged)[:5]
        self._acknowledged.clear()
        self._replica.forget_delivered()

    def close(self) -> None:
        """Close everything."""
        self._interrupter.disarm()
        self.settings.interrupts = False
        self._call("close", self.store.close)


def _short(value: bytes | None) -> str:
    return "missing" if value is None else repr(value[:40])


def resources() -> dict[str, int]:
    """What this process holds."""
    status = dict(
        line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines() if line.count(":") == 1
    )
    return {
        "threads": int(status["Threads"]),
        "files": len(os.listdir("/proc/self/fd")),
        "memory": int(status["VmRSS"].split()[0]) << 10,
    }
