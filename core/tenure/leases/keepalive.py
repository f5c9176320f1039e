"""Keep all leases of a store alive with one thread: what to do is decided in ``machine.py``, and done here.

* The thread starts with the first lease. It ends soon after none is left and every lost lease's callback has begun, so
  that one lease after the other costs no thread each.
* A lease whose deadline passes is LOST at that moment for every reader of its state. ``on_lost`` follows within a
  quarter of a second. The thread sees to it, and a timer while the thread waits for the answer to a refresh: the
  machine may have been suspended meanwhile, and a plugin may overrun its timeout.
* ``on_lost`` is called once for each lost lease. An interrupt may end the thread that has found the loss at any line.
  So the callback is handed over before the lease is forgotten, and what is handed over twice runs once.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

from tenure._runtime import retry
from tenure._runtime.callback_pool import CallbackPool
from tenure._runtime.clock import Clock
from tenure._runtime.deadline import Deadline, monotonic
from tenure._runtime.exits import after_interrupted_call, ending
from tenure._runtime.monitor import Monitor
from tenure._runtime.observed_work import Tell, told
from tenure._runtime.thread_start import start_thread
from tenure._runtime.timers import Timers
from tenure.errors import CallInterrupted, LeaseLost, OutcomeUnknown, StoreClosed, TenureError, Unavailable
from tenure.leases.lease import HeldLease, LeaseState
from tenure.leases.machine import BATCH, SHORTEST_ATTEMPT, LeaseMachine
from tenure.spi.backend import Backend
from tenure.spi.types import LeaseId

_log = logging.getLogger("tenure.leases")

_TRY_AGAIN = 0.1
_LOOK_AGAIN = 0.25
"""Seconds between two looks for overdue leases while a refresh is under way."""
_LINGER = 0.25
"""Seconds for which the thread waits for another lease once none is left."""
_GONE = "the store no longer knows the lease"


class LeaseKeepAlive:
    """The leases of one store. The ``on_lost`` callbacks of leases run on ``callbacks``, each exactly once."""

    def __init__(
        self,
        backend: Backend,
        *,
        clock: Clock,
        callbacks: CallbackPool,
        timers: Timers,
        timeout: float,
        name: str,
        on_lost: Callable[[HeldLease], None],
        tell: Tell | None = None,
    ) -> None:
        """``tell`` is given if anybody listens to grants, refreshes and ends of leases."""
        self._backend = backend
        self._clock = clock
        self._callbacks = callbacks
        self._timers = timers
        self._timeout = timeout
        self._name = name
        self._on_lost = on_lost
        self._tell = tell
        self._suspects: set[LeaseId] = set()
        """Of which was told that no refresh succeeds."""
        self.before_refresh: Callable[[], object] = _nothing
        """Called before each refresh, on the thread that refreshes. Never blocks or raises."""
        self._condition = Monitor()
        self._machine = LeaseMachine()
        self._thread: threading.Thread | None = None
        self._added = 0
        """The number of leases that were added."""
        self._next_look = -math.inf
        """When the thread looks at the leases again, unless it is notified."""
        self._sent: float | None = None
        """When the refresh that is under way on the thread was sent."""
        self._closed = False
        self._handed_over: dict[LeaseId, None] = {}
        """Leases that a signal handler revoked in the middle of another call, until they are."""

    # -- for the store --

    def add(self, lease: HeldLease) -> None:
        """Keep ``lease`` from now on. If the store closed meanwhile, revoke the lease and raise ``StoreClosed``."""
        with self._condition:
            closed = self._closed
            if not closed:
                self._keep(lease)
        if not closed:
            if self._tell is not None and lease.tells("granted"):
                self._tell("lease_granted", lease_id=lease.id, ttl=lease.ttl)
            return
        lease.mark_revoked()
        self.revoke_all([lease.id], Deadline(self._timeout))
        raise StoreClosed(
            f"taking a lease: the store was closed while lease {lease.id} was being granted; call connect() again"
        )

    def _keep(self, lease: HeldLease) -> None:
        try:
            self._added += 1
            if self._thread is None:
                self._start_thread()
            if self._machine.add(lease) < self._next_look:
                self._condition.notify()
        except BaseException:  # no thread, or an interrupt: the caller doesn't get the lease
            lease.abandon()
            raise

    def _start_thread(self) -> None:
        """Raises ``Unavailable`` if that isn't possible."""
        try:
            self._thread = threading.Thread(target=self._run, name=f"{self._name}-leases", daemon=True)
            start_thread(self._thread)
        except RuntimeError as exc:  # too many threads
            self._thread = None
            if not ending(exc):
                raise Unavailable(
                    f"taking a lease: no thread can be started to keep it alive ({exc}); raise the limit of threads, "
                    "or try again when others have ended"
                ) from exc
            # A lease that is taken as the interpreter ends just expires.
            _log.info("%s: the thread that refreshes leases can't be started: %s", self._name, exc)
        except BaseException:
            if self._thread is not None and self._thread.ident is None:
                self._thread = None
            raise

    def find(self, lease_id: LeaseId) -> HeldLease | None:
        """Return the lease with this id if this store object holds it."""
        return self._machine.find(lease_id)

    def stop(self, deadline: Deadline) -> list[LeaseId]:
        """Stop refreshing, by ``deadline``. Returns the leases that are left to :meth:`revoke_all`."""
        with self._condition:
            self._closed = True
            self._condition.notify()
            thread = self._thread
        if thread is not None and thread.ident is not None and thread is not threading.current_thread():
            thread.join(deadline.remaining())
        with self._condition:
            leases = self._machine.leases
        # An overdue lease is LOST, and its callback is called. The others end here: their holders can't rely on them.
        for lease in leases:
            if lease.alive:
                self._handed_over[lease.id] = None  # first, so that an interrupt loses none
                lease.mark_revoked()
                self._tell_end(lease)
        with self._condition:
            self._machine.clear()
        return list(self._handed_over)

    # -- for the leases (see tenure.leases.lease.Keeper) --

    def refresh_now(self, lease: HeldLease, timeout: float | None) -> None:
        def attempt(seconds: float) -> None:
            started = self._clock.now()
            lease.mark_tried(started)
            try:
                ttls = self._backend.refresh([lease.id], timeout=seconds)
            except TenureError as exc:
                lease.mark_failed(exc)
                raise
            if lease.id in ttls:
                now = self._clock.now()
                self._tell_refreshed((lease,), ttls, started, now)
                lease.mark_refreshed(started, ttls[lease.id], now)
            else:
                lease.mark_lost(_GONE)

        seconds = self._timeout if timeout is None else retry.check_timeout(timeout)
        retry.read(attempt, seconds, self._clock)
        if not lease.alive:
            raise LeaseLost(f"refreshing lease {lease.id}: the lease is lost ({lease.reason}); take a new lease")
        lease._tell_refreshed()

    def revoke(self, lease: HeldLease, timeout: float | None) -> None:
        self.forget(lease)
        seconds = self._timeout if timeout is None else retry.check_timeout(timeout)
        try:
            self._revoke_batch([lease.id], seconds)
        except CallInterrupted:
            self._handed_over[lease.id] = None
            after_interrupted_call(lambda: self._revoke_later(lease.id, seconds), f"revoking lease {lease.id}")

    def _revoke_later(self, lease_id: LeaseId, timeout: float) -> None:
        try:
            self._revoke_batch([lease_id], timeout)
        except StoreClosed:  # the close has revoked it
            return
        finally:
            self._handed_over.pop(lease_id, None)

    def busy_since(self) -> float | None:
        return self._sent

    def lost(self, lease: HeldLease) -> None:
        hook = lease.on_lost
        self._callbacks.submit(lambda: self._report(lease))
        if hook is not None:
            call_hook = partial(told, partial(hook, lease), "lease", self._callbacks.observed)
            self._callbacks.submit(lambda: call_hook() if lease.tells("on_lost") else None)
        self.forget(lease)

    def _report(self, lease: HeldLease) -> None:
        if lease.tells("observers"):
            _log.warning("%s: lease %s is lost: %s", self._name, lease.id, lease.reason)
            self._on_lost(lease)

    def revoke_all(self, ids: Sequence[LeaseId], deadline: Deadline) -> None:
        """Revoke as many leases as ``deadline`` allows; the rest is logged and expires.

        Raises ``CallInterrupted`` and nothing else.
        """
        for start in range(0, len(ids), BATCH):
            try:
                self._revoke_batch(ids[start : start + BATCH], max(SHORTEST_ATTEMPT, deadline.remaining()))
            except CallInterrupted:
                raise
            except TenureError as exc:
                _log.warning(
                    "%s: %d leases could not be revoked at close and will expire: %s",
                    self._name,
                    len(ids) - start,
                    exc,
                )
                return

    # -- inside --

    def _revoke_batch(self, ids: Sequence[LeaseId], timeout: float) -> None:
        # Revoking a lease twice does no harm, so this may be repeated like a read.
        retry.read(lambda seconds: self._backend.revoke(ids, timeout=seconds), timeout, self._clock)

    def forget(self, lease: HeldLease) -> None:
        with self._condition:
            self._machine.forget(lease)
        self._tell_end(lease)

    # -- for observers --

    def _tell_end(self, lease: HeldLease) -> None:
        """Tell that a lease has ended by its holder, once, if it was told that it was granted."""
        if self._tell is None:
            return
        self._suspects.discard(lease.id)
        if lease.ended and lease.state is LeaseState.REVOKED and not lease.tells("granted") and lease.tells("revoked"):
            self._tell("lease_revoked", lease_id=lease.id)

    def _tell_refreshed(
        self, batch: Iterable[HeldLease], ttls: Mapping[LeaseId, float], sent: float, now: float
    ) -> None:
        """Tell of an answer, before it is recorded: how much time the leases had left without it."""
        if self._tell is None:
            return
        for lease in batch:
            if lease.id in ttls and not lease.ended:
                self._suspects.discard(lease.id)
                remaining = max(0.0, lease.deadline - now)
                self._tell("lease_refreshed", lease_id=lease.id, seconds=now - sent, remaining=remaining)

    def _tell_suspects(self, batch: Iterable[HeldLease]) -> None:
        """Tell of leases whose refresh has failed, or is under way, for too long."""
        if self._tell is None:
            return
        for lease in batch:
            if lease.id not in self._suspects and lease.state is LeaseState.AT_RISK:
                self._suspects.add(lease.id)
                self._tell("lease_suspect", lease_id=lease.id, remaining=lease.remaining)

    # -- the thread --

    def _run(self) -> None:
        with self._condition:
            self._thread = threading.current_thread()  # one whose start was interrupted may have a successor
        while True:
            try:
                self._keep_alive()
            except BaseException:  # noqa: BLE001 - nothing may end the thread that all leases depend on
                _log.exception("%s: keeping leases alive failed, trying again", self._name)
                time.sleep(_TRY_AGAIN)
            else:
                return

    def _keep_alive(self) -> None:
        seen = 0
        while True:
            with self._condition:
                if self._thread is not threading.current_thread():
                    return
                waiting = self._callbacks.waiting
                if self._closed or not (self._machine or waiting or self._added != seen):
                    self._thread = None
                    return
                seen = self._added
                now = self._clock.now()
                step = self._machine.step(now)
                if not step.overdue and not step.batch:
                    self._rest(now, step.wait, waiting=waiting)
                    continue
            self._end(step.overdue)
            if step.batch:
                self.before_refresh()
                self._refresh(step.batch, step.attempt)

    def _rest(self, now: float, seconds: float, *, waiting: bool) -> None:
        """Wait for ``seconds`` after ``now`` at most. ``waiting``: a callback waits, as its thread couldn't start."""
        if waiting:
            self._callbacks.ensure()
            seconds = min(seconds, _TRY_AGAIN)
        elif not self._machine:
            seconds = _LINGER
        self._next_look = now + seconds
        self._clock.wait(self._condition, seconds)

    def _end(self, overdue: Iterable[HeldLease]) -> None:
        for lease in overdue:
            state = lease.state  # reading this turns the lease LOST, unless an answer came at the last moment
            if lease.ended and self._machine.holds(lease):
                # An interrupt has kept another thread from finishing this.
                (self.lost if state is LeaseState.LOST else self.forget)(lease)

    def _refresh(self, batch: Sequence[HeldLease], timeout: float) -> None:
        sent = self._clock.now()
        for lease in batch:
            lease.mark_tried(sent)
        self._sent = sent
        under_way = [True]
        self._look_later(under_way)
        ttls: dict[LeaseId, float] | None = None
        failure: Exception | None = None
        try:
            answer = self._backend.refresh([lease.id for lease in batch], timeout=timeout)
            ttls = {lease_id: float(ttl) for lease_id, ttl in answer.items()}
        except TenureError as exc:
            failure = exc
            level = logging.INFO if isinstance(exc, Unavailable | OutcomeUnknown) else logging.ERROR
            _log.log(level, "%s: refreshing %d leases failed, trying again: %s", self._name, len(batch), exc)
        except Exception as exc:  # noqa: BLE001 - a plugin's bug must not end the thread that all leases depend on
            failure = exc
            _log.exception("%s: the plugin failed to refresh %d leases, trying again", self._name, len(batch))
        finally:
            under_way.clear()
            now = self._clock.now()
            if ttls is not None:
                self._tell_refreshed(batch, ttls, sent, now)
            with self._condition:
                if ttls is None:
                    gone = []
                    self._machine.failed(batch, sent=sent, error=failure)
                else:
                    gone = self._machine.answered(batch, ttls, sent=sent, now=now)
            self._sent = None
            if ttls is None:
                self._tell_suspects(batch)
        for lease in gone:
            lease.mark_lost(_GONE)
        if ttls is not None:
            for lease in batch:
                lease._tell_refreshed()

    def _look_later(self, under_way: list[bool]) -> None:
        """Let a timer look for overdue leases while a refresh is ``under_way``."""
        self._timers.call_at(monotonic() + _LOOK_AGAIN, lambda: self._look(under_way))

    def _look(self, under_way: list[bool]) -> None:
        if not under_way:
            return
        with self._condition:
            overdue = self._machine.overdue(self._clock.now())
            leases = [] if self._tell is None else self._machine.leases  # also those that wait for their turn
        self._end(overdue)
        self._tell_suspects(lease for lease in leases if lease.keep_alive)
        self._look_later(under_way)


def _nothing() -> None:
    return
