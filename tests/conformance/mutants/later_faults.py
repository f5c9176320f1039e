"""Stores and clients that are wrong when answers come late, data or rights go back, or a clock is wrong."""

from __future__ import annotations

import pickle
import socket
import time
from contextlib import AbstractContextManager, ExitStack
from typing import Any
from unittest.mock import patch

import tenure_memory
from tenure._client.store import Store
from tenure.conformance import ServerControls
from tenure.errors import Compacted, OutcomeUnknown, PermissionDenied
from tenure.leases import Lease
from tenure.spi import CommitResult, Feed, KeyValue, Page, ReadResult, Sink, Transaction, WatchRequest
from tenure_memory.history import History
from tenure_testkit.tcp import TcpServer
from tenure_testkit.tcp.client import DETECTION

from .base import Faithful, Mutant
from .tcp import Networked


class CountsFromTheAnswer(Networked):
    """The holder of a lease counts its time from the answer to a grant or refresh."""

    rules = ("faults.a_late_answer_lengthens_no_lease",)

    @classmethod
    def bent(cls) -> AbstractContextManager[object]:
        granted, refreshed = Store.lease, Lease.mark_refreshed

        def lease(store: Store, ttl: float, **arguments: Any) -> Lease:
            made = granted(store, ttl, **arguments)
            made._refreshed = store.clock.now()
            return made

        def mark_refreshed(lease: Lease, started: float, ttl: float, now: float) -> None:
            refreshed(lease, now, ttl, now)

        patches = ExitStack()
        patches.enter_context(patch.object(Store, "lease", lease))
        patches.enter_context(patch.object(Lease, "mark_refreshed", mark_refreshed))
        return patches


class RefreshCountsFromTheAnswer(Networked):
    """The holder of a lease counts its time from the answer to a refresh."""

    rules = ("faults.a_late_answer_lengthens_no_lease",)

    @classmethod
    def bent(cls) -> AbstractContextManager[object]:
        refreshed = Lease.mark_refreshed

        def mark_refreshed(lease: Lease, started: float, ttl: float, now: float) -> None:
            refreshed(lease, now, ttl, now)

        return patch.object(Lease, "mark_refreshed", mark_refreshed)


class RepeatsUntilAnswered(Networked):
    """A write without an answer is sent again, and nothing tells the server that the two are one."""

    rules = ("faults.an_acknowledged_write_is_applied_once",)

    def commit(self, transaction: Transaction, *, timeout: float) -> CommitResult:
        try:
            return super().commit(transaction, timeout=timeout)
        except OutcomeUnknown:
            return super().commit(transaction, timeout=timeout)


class TimeoutIsForEachPiece(Networked):
    """The timeout of a call begins again with each piece of the answer."""

    rules = ("faults.trickling_answers_keep_deadlines",)

    def answer(self, sock: socket.socket, deadline: float) -> tuple[Any, ...]:
        sock.settimeout(max(0.001, deadline - time.monotonic()))
        size = int.from_bytes(_piecemeal(sock, 8), "big")
        answer: tuple[Any, ...] = pickle.loads(_piecemeal(sock, size))
        return answer


def _piecemeal(sock: socket.socket, size: int) -> bytes:
    parts = bytearray()
    while len(parts) < size:
        part = sock.recv(size - len(parts))
        if not part:
            raise OSError("the other side closed the connection")
        parts += part
    return bytes(parts)


class FallsAsleep(Networked):
    """A watch that had nothing to tell for a moment no longer notices silence."""

    rules = ("faults.a_quiet_watch_notices_a_frozen_server_in_time",)

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._opened = time.monotonic()
        super().__init__(*arguments, **options)

    @property
    def silence(self) -> float:  # type: ignore[override]
        """Seconds without a message after which a watch counts as broken."""
        return DETECTION / 2 if time.monotonic() < self._opened + DETECTION else 3600.0


class RestoreRollsBack(Faithful):
    """Restored data take their old revisions, and a watch goes on from the revision that it knew."""

    rules = ("restarts.restored_data_reach_every_watch", "restarts.restored_data_refuse_later_revisions")

    @classmethod
    def controls(cls, server: tenure_memory.MemoryServer) -> ServerControls:
        kept: list[tuple[int, tuple[KeyValue, ...]]] = []

        def back_up() -> None:
            with server._monitor.alone("backing up"):
                kept.append((server._revision, tuple(server._state.under(""))))

        def restore() -> None:
            revision, items = kept[-1]
            with server._monitor.alone("restoring"):
                server._state = type(server._state)()
                for item in items:
                    server._state.set(item)
                server._revision = revision
                server._history = History(10_000, start=revision)

        return ServerControls(kill=server.pause, start=server.resume, backup=back_up, restore=restore)


class RestoreIsNotTold(Faithful):
    """Restored data are taken for changes that nobody watched: a watch goes on with what comes."""

    rules = ("restarts.restored_data_reach_every_watch",)

    def watch(self, request: WatchRequest, *, sink: Sink, timeout: float) -> Feed:
        after = None if request.after is None else self.present
        return self.inner.watch(
            WatchRequest(prefix=request.prefix, after=after, exact=request.exact), sink=sink, timeout=timeout
        )


class ResumesInRestoredData(Faithful):
    """A watch after a revision that restored data lack goes on from the present."""

    rules = ("restarts.restored_data_refuse_later_revisions",)

    def watch(self, request: WatchRequest, *, sink: Sink, timeout: float) -> Feed:
        try:
            return self.inner.watch(request, sink=sink, timeout=timeout)
        except Compacted:
            present = WatchRequest(prefix=request.prefix, after=self.present, exact=request.exact)
            return self.inner.watch(present, sink=sink, timeout=timeout)


class WithoutRightsIsEmpty(Networked):
    """To a user without rights the store looks empty."""

    rules = (
        "faults.missing_rights_are_told_and_never_empty",
        "faults.rights_that_come_back_heal_watches_and_leases",
    )

    def get(self, key: str, *, timeout: float) -> ReadResult:
        try:
            return super().get(key, timeout=timeout)
        except PermissionDenied:
            return ReadResult(None, 0)

    def list(self, request: Any, *, timeout: float) -> Page:
        try:
            return super().list(request, timeout=timeout)
        except PermissionDenied:
            return Page((), False, 0)


class Telling(TcpServer):
    """Ends leases by the clock of whoever asks."""

    def __init__(self, name: str) -> None:
        self.until: dict[str, float] = {}
        super().__init__(name)

    def do(self, method: str, arguments: dict[str, Any]) -> Any:
        """One call of the backend."""
        now = arguments.pop("now", None)
        if now is not None:
            self.memory.revoke([lease_id for lease_id, until in self.until.items() if until < now])
        done = super().do(method, arguments)
        if method == "grant":
            self.until[done.lease_id] = time.time() + done.ttl
        elif method == "refresh":
            self.until.update({lease_id: time.time() + ttl for lease_id, ttl in done.items()})
        return done


class EndsLeasesByItsOwnClock(Networked):
    """A client that reads ends the leases that are over by its own wall clock."""

    server_type = Telling
    rules = ("faults.a_client_whose_clock_is_ahead_ends_no_lease",)

    def get(self, key: str, *, timeout: float) -> ReadResult:
        found: ReadResult = self.call("get", key=key, timeout=timeout, now=time.time())
        return found


class Jumping(TcpServer):
    """Its leases end by the wall clock."""

    def advance_clock(self) -> None:
        """Two minutes pass, for the leases too."""
        super().advance_clock()
        self.memory.revoke([info.lease_id for info in self.memory.leases(None) if (info.remaining or 0.0) < 120.0])


class LeasesEndByTheWallClock(Networked):
    """A server whose wall clock jumps ends the leases that would be over by then."""

    server_type = Jumping
    rules = ("faults.a_server_whose_clock_jumps_ends_no_lease",)


MUTANTS: tuple[Mutant, ...] = (
    CountsFromTheAnswer,
    RefreshCountsFromTheAnswer,
    RepeatsUntilAnswered,
    TimeoutIsForEachPiece,
    FallsAsleep,
    WithoutRightsIsEmpty,
    EndsLeasesByItsOwnClock,
    LeasesEndByTheWallClock,
    RestoreRollsBack,
    RestoreIsNotTold,
    ResumesInRestoredData,
)
