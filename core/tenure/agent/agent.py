"""The agent: one follower of the store, one server for the programs, and a file for the next start.

The follower opens the store and watches each prefix once. It hands every batch to the server's thread, which alone
changes what is known, and waits until that has taken it: so what waits is bounded by the watch's own buffer. When the
store is away, the server goes on with what is known, and tells all programs how old that is.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Self

from tenure._client.keys import check_prefix
from tenure._client.opening import Opening
from tenure._client.store import Store
from tenure._runtime.clock import SystemClock
from tenure._runtime.deadline import Deadline, monotonic, wall_clock
from tenure._runtime.fork import fork_generation, left_behind
from tenure._runtime.monitor import Monitor
from tenure._runtime.retry import Backoff
from tenure._runtime.worker import Worker
from tenure.agent import _wire
from tenure.agent._desk import Desk, Knowledge
from tenure.agent._prefix import Held, Prefix
from tenure.agent._server import Limits, Server
from tenure.agent._socket_file import SocketFile
from tenure.agent._warm import Refused, WarmState
from tenure.errors import ConfigError, InvalidKey, OutcomeUnknown, StoreClosed, TenureError, Unavailable
from tenure.registry.model.config import check_file
from tenure.watch.engine import Watch
from tenure.watch.events import Batch

_log = logging.getLogger("tenure.agent")
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 5.0
_HANDED_OVER = 30.0
"""Seconds after which a batch counts as taken: the server's thread has ended."""
_EVERY, _AT_LEAST_EVERY, _PART = 10.0, 300.0, 50.0
"""When the file is written: as a registry's is (:mod:`tenure.registry.warm.copy`)."""
_RW = 0o666
_OWNER = 0o600

Report = Callable[[str, str, Mapping[str, object]], object]
"""Takes what happens: a word for programs, a sentence, and facts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSettings:
    """What an agent serves, and to whom.

    Attributes:
        socket: the path of the Unix socket, in a folder that exists.
        prefixes: the prefixes of keys that are watched and served, such as ``("/registry/default/",)``.
        mode: the permissions of the socket: who may write it may connect. By default the agent's own user alone.
        warm_file: a file that the agent keeps of what it knows, in a folder that exists; ``None`` for none.
        limits: what programs may cost.

    Raises:
        ConfigError: a value is out of its range.
    """

    socket: str | os.PathLike[str]
    prefixes: tuple[str, ...]
    mode: int = _OWNER
    warm_file: str | os.PathLike[str] | None = None
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        if not self.prefixes or len(set(self.prefixes)) < len(self.prefixes):
            raise ConfigError(
                f"configuring an agent: it serves at least one prefix, and each once, not {self.prefixes!r:.200}"
            )
        for prefix in self.prefixes:
            try:
                check_prefix(prefix)
            except InvalidKey as exc:
                raise ConfigError(f"configuring an agent: {exc}") from exc
        if self.warm_file is not None:
            check_file(self.warm_file)
        if self.mode & ~_RW or self.mode & _OWNER != _OWNER:
            raise ConfigError(
                f"configuring an agent: the socket's mode is 0600, 0660 or 0666, or something between, not "
                f"{self.mode:#o}; execute bits mean nothing, and the agent's own user has both others"
            )


class Agent:
    """One process's agent. Use it in ``with``, or call :meth:`start` and :meth:`close`.

    Args:
        opening: the store to watch, from ``tenure._client.opening.prepare``.
        settings: what to serve, and to whom.
        report: called with what happens, from any thread; it must not block.
    """

    def __init__(
        self, opening: Opening, settings: AgentSettings, report: Report = lambda _kind, _text, _facts: None
    ) -> None:
        self._opening = opening
        self._settings = settings
        self._report = report
        self._clock = SystemClock()
        self._held = Held(settings.limits.snapshots)
        self._prefixes = tuple(Prefix(prefix, self._held) for prefix in settings.prefixes)
        self._file = SocketFile(Path(settings.socket), settings.mode)
        self._warm: WarmState | None = None
        if settings.warm_file is not None:
            self._warm = WarmState(Path(settings.warm_file), prefixes=settings.prefixes, store=opening.request.url)
        request = opening.request
        self._never = Unavailable("the store was not reached yet")
        self._told: type[TenureError] | None = None
        """The kind of the outage that was reported."""
        self._known = Knowledge(
            self._prefixes, request.url, request.namespace, None, (float("-inf"), self._never), self._clock.now
        )
        self._good_at = float("-inf")
        """When what is known was the state of the store, on the agent's clock."""
        self._outage: TenureError = self._never
        self._started = self._clock.now()
        self._started_at = wall_clock()
        self._server: Server | None = None
        self._store: Store | None = None
        self._watches: tuple[Watch, ...] = ()
        self._changed = Monitor()
        self._closing = False
        self._ended: TenureError | None = None
        self._generation = fork_generation.value
        self._follower = Worker(self._follow, name="tenure-agent-store", lasting=True)
        self._writer = Worker(self._save, name="tenure-agent-file")
        self._saved: tuple[tuple[int, ...], float] | None = None
        self._last_took = 0.0
        self._batches = 0

    # -- starting and ending --

    def start(self, *, timeout: float | None = None) -> None:
        """Take the socket, serve what the file has, and follow the store.

        If the store can't be reached, the agent goes on trying, and serves what its file has until then.

        Args:
            timeout: seconds for the first attempt to reach the store; default: the store's timeout.

        Raises:
            ConfigError: the socket's path, or the store's URL, is wrong.
            PermissionDenied: the socket can't be made there, or the store forbids a call.
            AuthenticationFailed: the store refused the credentials.
            Unavailable: another agent has the socket.
        """
        self._file.claim()
        try:
            self._load()
            server = Server(
                self._file.listen,
                lambda: self._file.in_place,
                Desk(self._known, self._settings.limits, self.status, self._tick),
                self._settings.limits,
                self._held,
            )
            self._server = server
            server.start()
            path = os.fspath(self._file.path)
            self._report("listening", f"listening at {path}", {"socket": path, "mode": f"{self._settings.mode:04o}"})
            try:
                self._store = self._opening.once(timeout)
            except (Unavailable, OutcomeUnknown) as exc:
                self._lost(exc)
            self._follower.start("following the store")
        except BaseException:
            self.close()
            raise

    def close(self, *, timeout: float = 5.0) -> None:
        """Stop serving, write the file, and close the store. Idempotent; does nothing in a forked child.

        Args:
            timeout: seconds for everything together.
        """
        if left_behind(self._generation) or self._closing:
            return
        self._closing = True
        deadline = Deadline(timeout)
        with self._changed:
            self._changed.notify_all()
        # The store first: it hands batches to the server, and waits for it.
        self._follower.stop()
        store = self._store
        if store is not None:
            store.close(timeout=deadline.within(timeout / 2))
        self._follower.join(deadline.remaining())
        self._writer.stop()
        self._writer.join(deadline.remaining())
        if self._server is not None:
            self._server.stop(deadline.remaining())
        self._save()
        self._file.release()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    # -- following the store: the follower's thread, and those of the watches --

    def _follow(self) -> None:
        backoff = Backoff(first=_FIRST_PAUSE, longest=_LONGEST_PAUSE)
        while not self._closing:
            try:
                self._watch()
                backoff.reset()
                self._wait_for_the_end()
            except TenureError as exc:
                store, self._store, self._watches = self._store, None, ()
                if self._closing:
                    return
                if not isinstance(exc, StoreClosed):
                    self._lost(exc)
                if store is not None:
                    store.close()
                with self._changed:
                    if not self._closing:
                        self._changed.wait(backoff.delay())

    def _wait_for_the_end(self) -> None:
        with self._changed:
            while self._ended is None and not self._closing:
                self._changed.wait(_EVERY)
        if self._ended is not None:
            raise self._ended

    def _watch(self) -> None:
        self._ended = None
        store = self._store = self._store or self._opening.once()
        capabilities = store.capabilities.as_dict()
        self._call(lambda: setattr(self._known, "capabilities", capabilities))
        watches = []
        for prefix in self._prefixes:
            self._call(prefix.restart)
            watches.append(
                store.watch(
                    prefix.prefix,
                    callback=partial(self._take, prefix),
                    on_error=self._watch_ended,
                    on_outage=lambda error: self._call(partial(self._noticed, error)),
                )
            )
        self._watches = tuple(watches)

    def _take(self, prefix: Prefix, batch: Batch) -> None:
        """Have a batch taken over, and wait for that: what waits is then in the watch's buffer, which has a bound."""
        taken = threading.Event()

        def take() -> None:
            try:
                self._batches += 1
                prefix.apply(batch)
                self._look()
            finally:
                taken.set()

        self._call(take)
        taken.wait(_HANDED_OVER)

    def _watch_ended(self, error: TenureError) -> None:
        with self._changed:
            self._ended = error
            self._changed.notify_all()

    def _lost(self, error: TenureError) -> None:
        self._call(partial(self._noticed, error))

    def _call(self, function: Callable[[], object]) -> None:
        if self._server is not None:
            self._server.call(function)

    # -- on the server's thread --

    def _noticed(self, error: TenureError | None) -> None:
        self._outage = error or self._outage
        self._look()

    def _tick(self) -> None:
        self._look()
        if self._warm is not None and self._due():
            self._writer.request()

    def _look(self) -> None:
        """Find out how old everything is, and tell the programs when the store goes away or is back."""
        now = self._clock.now()
        watches = self._watches
        stale = max((watch.staleness for watch in watches), default=None)
        in_sync = stale is not None and all(prefix.synced for prefix in self._prefixes)
        if in_sync and stale is not None:
            self._good_at = max(self._good_at, now - stale)
        if in_sync and not stale:
            if self._known.away is not None:
                self._known.away = self._told = None
                self._tell_programs()
                count = self.entries
                self._report(
                    "following", f"following {self._known.store}: {count} entries", {"entries": count, "age": 0.0}
                )
            return
        outage = next((watch.outage for watch in watches if watch.outage is not None), self._outage)
        before = self._known.away
        self._known.away = (self._good_at, outage)
        if before is None or type(before[1]) is not type(outage) or before[0] != self._good_at:
            self._tell_programs()
        if outage is not self._never and type(outage) is not self._told:
            self._told = type(outage)
            age = self.age
            self._report(
                "away",
                f"the store is away, serving what is {_age_text(age)} old: {outage}",
                {"age": _finite(age), "error": str(outage)},
            )

    def _tell_programs(self) -> None:
        if self._server is not None:
            words = self._known.away_words()
            if words is None:
                self._server.broadcast(_wire.message(0, "back"))
            elif self._good_at > float("-inf"):
                self._server.broadcast(_wire.message(0, "away", *words))

    @property
    def age(self) -> float:
        """Seconds since what is served was the state of the store: 0.0 while it is followed, infinite before that."""
        return 0.0 if self._known.away is None else self._clock.now() - self._good_at

    @property
    def entries(self) -> int:
        """How many keys are served."""
        return sum(len(prefix.items) for prefix in self._prefixes)

    def status(self) -> dict[str, object]:
        """Return what the agent serves, how old it is, and to how many programs, as plain data."""
        server = self._server
        away = self._known.away
        outage = None if away is None else str(away[1])
        sources = {prefix.source for prefix in self._prefixes}
        served: list[dict[str, Any]] = [
            {"prefix": prefix.prefix, "entries": len(prefix.items), "revision": prefix.revision}
            for prefix in self._prefixes
        ]
        connections = () if server is None else tuple(server.connections)
        return {
            "pid": os.getpid(),
            "store": self._known.store,
            "age": _finite(self.age),
            "source": "store" if sources == {"store"} else "file" if "file" in sources else "nothing",
            "outage": outage,
            "serves": served,
            "entries": self.entries,
            "batches": self._batches,
            "programs": len({each.peer.pid or id(each) for each in connections}),
            "connections": len(connections),
            "watches": sum(len(each.watches) for each in connections),
            "waiting_bytes": sum(each.waiting for each in connections),
            "refused": 0 if server is None else server.refused,
            "cut_off": 0 if server is None else server.cut_off,
            "overflows": 0 if server is None else server.overflows + sum(each.overflows for each in connections),
            "running_for": round(self._clock.now() - self._started, 1),
            "warm_file": None if self._warm is None else os.fspath(self._warm.path),
        }

    # -- the file --

    def _load(self) -> None:
        if self._warm is None:
            return
        try:
            remembered = self._warm.read()
        except Refused as exc:
            _log.warning("starting without the file %s: %s", self._warm.path, exc)
            self._report("no-file", f"starting without the file {self._warm.path}: {exc}", {"reason": str(exc)})
            return
        for prefix, items, revision in zip(self._prefixes, remembered.items, remembered.revisions, strict=True):
            prefix.load(items, revision)
        self._good_at = self._clock.now() - remembered.age
        self._known.capabilities = remembered.capabilities
        self._known.away = (self._good_at, self._outage)
        self._report(
            "loaded",
            f"serving what the file {self._warm.path} has, {_age_text(remembered.age)} old: {self.entries} entries",
            {"entries": self.entries, "age": _finite(remembered.age)},
        )

    def _due(self) -> bool:
        if any(prefix.source != "store" for prefix in self._prefixes):
            return False
        if self._saved is None:
            return True
        versions, at = self._saved
        since = monotonic() - at
        changed = versions != tuple(prefix.changed for prefix in self._prefixes)
        return since >= max(_AT_LEAST_EVERY if not changed else _EVERY, _PART * self._last_took)

    def _save(self) -> None:
        """Write the file, if the store was reached. What goes wrong is logged: nothing depends on the file."""
        capabilities = self._known.capabilities
        if self._warm is None or capabilities is None or any(prefix.source != "store" for prefix in self._prefixes):
            return
        started = monotonic()
        versions, items, revisions = self._copied()
        try:
            self._warm.write(items, revisions, capabilities, wall_clock() - self.age)
        except OSError as exc:
            _log.warning("the file %s can't be written: %s", self._warm.path, exc)
        self._saved, self._last_took = (versions, monotonic()), monotonic() - started

    def _copied(self) -> tuple[tuple[int, ...], list[list[Any]], list[int]]:
        """Return the state of one moment; on another thread than the server's that is asked for it."""
        copied: list[tuple[tuple[int, ...], list[list[Any]], list[int]]] = []
        done = threading.Event()

        def copy() -> None:
            copied.append(
                (
                    tuple(prefix.changed for prefix in self._prefixes),
                    [list(prefix.items.values()) for prefix in self._prefixes],
                    [prefix.revision for prefix in self._prefixes],
                )
            )
            done.set()

        if self._closing:  # the server has ended
            copy()
        else:
            self._call(copy)
            done.wait(_HANDED_OVER)
        if not copied:
            copy()
        return copied[0]


def _finite(age: float) -> float | None:
    return round(age, 3) if age < float("inf") else None


def _age_text(age: float) -> str:
    return f"{age:.0f} s" if age < float("inf") else "of unknown age"
