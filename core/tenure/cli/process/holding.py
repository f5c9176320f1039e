"""Run a command while something is held: shared by ``lock`` and ``elect``.

States::

    WAITING --acquired, guardian and command started--> RUNNING --the command's group is dead--> release, exit
       | a signal, no time left                            | held no longer, or about to be: the guardian kills
       v                                                   v
     exit, nothing left in the store                     the same, with the exit code LOST

Only the main thread takes signals. Whatever may block, the acquisition included, runs on other threads.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tenure._runtime.deadline import monotonic
from tenure._steps.following import follow
from tenure.cli.process import guardian
from tenure.cli.process.guarded import End, Guarded
from tenure.cli.process.registration import GOODBYE, Reporter, retrying
from tenure.cli.process.signals import ENDING, Ended, SignalInbox
from tenure.cli.ui.errors import LOST, NOT_ACQUIRED
from tenure.errors import TenureError, WaitTimeout
from tenure.recipes.session import Session

if TYPE_CHECKING:
    from tenure._client.opening import Opening
    from tenure._client.store import Store
    from tenure.recipes._holding import Held
    from tenure.spi.types import KeyValue

_GRACE = 1 / 4
"""The part of the TTL between SIGTERM and SIGKILL, if no refresh succeeds."""
_LOOKS = 40
"""Looks at the lock per TTL. A refresh is told to the guardian, and a loss noticed, a look later at most."""
_LONGEST_LOOK = 0.25
_SAY_WAITING = 1.0

Acquire = Callable[["Store", Session], "Held | None"]
"""Acquires on a session. ``None``: others hold it."""


@dataclass(frozen=True, slots=True)
class Task:
    """What is held, and what runs meanwhile.

    Attributes:
        what: what is held, for people, such as ``the lock 'job'``.
        name: its name.
        acquire: acquires it.
        ttl: TTL of the session, in seconds.
        command: the command and its arguments.
    """

    what: str
    name: str
    acquire: Acquire
    ttl: float
    command: tuple[str, ...]


def run_while_held(opening: Opening, task: Task, report: Reporter) -> int:
    """Acquire, run the command, release. Returns the exit code."""
    with SignalInbox() as inbox:
        try:
            return _connected(opening, task, report, inbox)
        except Ended as exc:
            return 128 + exc.number


def _connected(opening: Opening, task: Task, report: Reporter, inbox: SignalInbox) -> int:
    ends = monotonic() + opening.wait
    store = retrying(opening.once, lambda: max(0.0, ends - monotonic()), inbox, report)
    try:
        acquisition = _Acquisition(store, task, inbox)
        held = acquisition.wait(report)
        if held is None:
            report.say("not-acquired", f"did not get {task.what} in time: others hold it", always=True)
            return NOT_ACQUIRED
        report.say("acquired", f"holds {task.what}, token {held.token}", name=task.name, token=held.token)
        running = _Running(store, held, task, inbox)
        end = running.wait()
        return _conclude(held, task, end, report, removed=running.removed)
    finally:
        store.close(timeout=min(GOODBYE, store.timeout))


class _Acquisition:
    """The wait for what is held, on a thread of its own, so that a signal ends it."""

    def __init__(self, store: Store, task: Task, inbox: SignalInbox) -> None:
        self._store = store
        self._task = task
        self._inbox = inbox
        self._held: Held | None = None
        self._error: BaseException | None = None
        self._done = False
        self._thread = threading.Thread(target=self._acquire, name="tenure-acquire", daemon=True)

    def wait(self, report: Reporter) -> Held | None:
        """Return what is held, ``None`` if others hold it. Raises :class:`Ended` on a signal; nothing is left then."""
        self._thread.start()
        say_at: float | None = monotonic() + _SAY_WAITING
        while not self._done:
            taken = self._inbox.take(_SAY_WAITING)
            if taken is not None and taken.si_signo in ENDING | {signal.SIGHUP}:
                self._store.close(timeout=min(GOODBYE, self._store.timeout))
                self._thread.join()
                raise Ended(taken.si_signo)
            if say_at is not None and monotonic() >= say_at:
                say_at = None
                report.say("waiting", f"waiting for {self._task.what}")
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._held

    def _acquire(self) -> None:
        try:
            session = Session.open(self._store, ttl=self._task.ttl)
            self._held = self._task.acquire(self._store, session)
        except WaitTimeout:
            pass
        except BaseException as exc:  # noqa: BLE001 - raised again by the main thread
            self._error = exc
        self._done = True
        self._inbox.wake()


class _Running:
    """The command while it runs."""

    def __init__(self, store: Store, held: Held, task: Task, inbox: SignalInbox) -> None:
        self._held = held
        self._inbox = inbox
        self._ttl = held.session.lease.ttl
        self._watch = store.watch(held.key, exact=True)
        self.removed = False
        fence = held.fence()
        environment: dict[str, Any] = {
            "TENURE_TOKEN": held.token,
            "TENURE_TOKEN_NAME": task.name,
            "TENURE_TOKEN_KEY": held.key,
            "TENURE_TOKEN_HISTORY": fence.history,
            "TENURE_FENCE": fence,
        }
        self._guarded = Guarded(
            task.command,
            {**os.environ, **{name: str(value) for name, value in environment.items()}},
            kill_at=self._kill_at(),
            grace=self._ttl * _GRACE,
        )

    def wait(self) -> End:
        """Pass signals on and tell the guardian the deadlines, until the command's group is dead."""
        look = min(_LONGEST_LOOK, self._ttl / _LOOKS)
        threading.Thread(target=self._look, name="tenure-look", daemon=True).start()
        try:
            while (end := self._guarded.poll()) is None:
                taken = self._inbox.take(look)
                if taken is not None and taken.si_signo != signal.SIGCHLD:
                    self._guarded.send_signal(taken.si_signo)  # the command's group has got nothing from a terminal
                self._guarded.may_run_until(self._kill_at())
        finally:
            self._guarded.close()
            self._watch.close()
        return end

    def _kill_at(self) -> float:
        """Until when the command may run. The clock is read first: a stop of this process in between loses time."""
        return guardian.now() + (0.0 if self.removed else self._held.remaining)

    def _look(self) -> None:
        """Notice that the store no longer has the key: an operator removed it, or data were lost."""
        present: dict[str, KeyValue] = {}
        try:
            for batch in self._watch:
                if follow(present, batch):
                    item = present.get(self._held.key)
                    if item is None or item.mod_revision != self._held.token:
                        self.removed = True
                        self._inbox.wake()
                        return
        except TenureError:
            pass  # the lease tells the rest


def _conclude(held: Held, task: Task, end: End, report: Reporter, *, removed: bool) -> int:
    """Release, and return the exit code."""
    if end.lost or removed or not held.held:
        if removed:
            what = f"lost {task.what}: its key was removed from the store; the command was killed"
        else:
            why = held.session.lease.reason or "it was not refreshed in time"
            what = f"lost {task.what}: {why}; the command was ended before others could get it"
        report.say(
            "lost",
            what,
            always=True,
            code=end.code,
        )
        held.session.lease.abandon()
        return LOST
    try:
        held.session.close()
    except TenureError as exc:
        report.say(
            "not-confirmed",
            f"could not confirm that {task.what} is released: {exc}; at the latest it is free when its lease expires "
            f"({held.session.lease.ttl:g} s)",
            always=True,
            code=end.code,
        )
    else:
        report.say("released", f"released {task.what}", code=end.code)
    return end.code
