"""Stores that stand no fault: clients that repeat, wait for ever, hear nothing or say what they can't know."""

from __future__ import annotations

import pickle
import socket
import time
from collections.abc import Sequence
from typing import Any, ClassVar

from tenure.errors import OutcomeUnknown, StoreFull, TenureError, Unavailable
from tenure.spi import (
    Changes,
    CommitResult,
    Delete,
    Feed,
    FeedItem,
    LeaseGrant,
    LeaseId,
    Put,
    Sink,
    Snapshot,
    Transaction,
    WatchRequest,
)
from tenure_testkit.tcp import TcpServer

from .base import Mutant
from .tcp import Networked

_HASTE = 0.1
"""Seconds; less than the largest value takes over the slow link, and far more than any call takes over a good one."""


class RepeatsBlindly(Networked):
    """A write that got no answer is made again."""

    rules = (
        "faults.a_lost_answer_is_unknown_and_applied_at_most_once",
        "faults.a_counter_counts_every_acknowledged_step",
    )

    def commit(self, transaction: Transaction, *, timeout: float) -> CommitResult:
        try:
            return super().commit(transaction, timeout=timeout)
        except OutcomeUnknown:
            return super().commit(transaction, timeout=timeout)


class UnknownIsToldAsRefused(Networked):
    """A write that got no answer is said to be surely not applied."""

    rules = ("faults.a_lost_answer_is_unknown_and_applied_at_most_once",)

    def commit(self, transaction: Transaction, *, timeout: float) -> CommitResult:
        try:
            return super().commit(transaction, timeout=timeout)
        except OutcomeUnknown as exc:
            raise Unavailable(str(exc)) from exc


class UnansweredIsDone(Networked):
    """A write that got no answer is said to be done."""

    rules = (
        "faults.a_partition_loses_and_doubles_nothing",
        "faults.calls_keep_their_deadlines_in_a_partition",
        "faults.calls_keep_their_deadlines_on_a_frozen_server",
    )

    def commit(self, transaction: Transaction, *, timeout: float) -> CommitResult:
        try:
            return super().commit(transaction, timeout=timeout)
        except OutcomeUnknown:
            return CommitResult(1_000_000_000)


class RepeatsLater(Networked):
    """A write that got no answer is made again, together with the next one."""

    rules = ("faults.a_frozen_server_loses_and_doubles_nothing", "faults.a_partition_loses_and_doubles_nothing")
    unanswered: ClassVar[list[Transaction]] = []

    def commit(self, transaction: Transaction, *, timeout: float) -> CommitResult:
        try:
            committed = super().commit(transaction, timeout=timeout)
        except OutcomeUnknown:
            self.unanswered.append(transaction)
            raise
        while self.unanswered:
            super().commit(self.unanswered.pop(), timeout=timeout)
        return committed


class WaitsTooLong(Networked):
    """A call waits five seconds longer than it may."""

    rules = (
        "faults.calls_keep_their_deadlines_in_a_partition",
        "faults.calls_keep_their_deadlines_on_a_frozen_server",
    )

    def answer(self, sock: socket.socket, deadline: float) -> tuple[Any, ...]:
        return super().answer(sock, deadline + 5.0)


class GivesUpTooSoon(Networked):
    """A call gives up after a tenth of a second, whatever its timeout is."""

    rules = ("faults.a_slow_link_only_makes_slow",)

    def answer(self, sock: socket.socket, deadline: float) -> tuple[Any, ...]:
        return super().answer(sock, min(deadline, time.monotonic() + _HASTE))


class TakesOnePieceForAll(Networked):
    """The first piece of an answer that arrives is taken for the whole."""

    rules = ("faults.byte_by_byte_transfer_changes_nothing",)

    def answer(self, sock: socket.socket, deadline: float) -> tuple[Any, ...]:
        sock.settimeout(max(0.001, deadline - time.monotonic()))
        try:
            answer: tuple[Any, ...] = pickle.loads(sock.recv(1_000_000)[8:])
        except (EOFError, pickle.UnpicklingError) as exc:
            raise OSError("this is no answer") from exc
        return answer


class HearsNoSilence(Networked):
    """A watch whose server says nothing any more waits for ever."""

    silence = 3600.0
    rules = (
        "faults.a_watch_notices_a_partition_in_time",
        "faults.a_watch_notices_a_frozen_server_in_time",
        "faults.a_partitioned_observer_serves_the_last_known",
    )


class LostIsTakenForEmpty(Networked):
    """A watch that loses its connection says that everything is gone."""

    rules = ("faults.a_partitioned_observer_serves_the_last_known",)

    def watch(self, request: WatchRequest, *, sink: Sink, timeout: float) -> Feed:
        class Emptied:
            revision = request.after or 0

            def deliver(self, item: FeedItem, /) -> None:
                if isinstance(item, Snapshot | Changes):
                    self.revision = item.revision
                sink.deliver(item)

            def fail(self, error: TenureError, /) -> None:
                sink.deliver(Snapshot((), self.revision))
                sink.fail(error)

        return super().watch(request, sink=Emptied(), timeout=timeout)


class RefreshesByItself(Networked):
    """A refresh that got no answer, or that the store refused, is said to have worked."""

    rules = (
        "faults.a_holder_cut_off_knows_before_anyone_else",
        "faults.an_instance_cut_off_comes_back",
    )

    def refresh(self, lease_ids: Sequence[LeaseId], *, timeout: float) -> dict[LeaseId, float]:
        ttls: dict[LeaseId, float] = {}
        try:
            ttls = super().refresh(lease_ids, timeout=0.2)
        except (Unavailable, OutcomeUnknown):
            return dict.fromkeys(lease_ids, 1.0)
        return {lease_id: ttls.get(lease_id, 1.0) for lease_id in lease_ids}


class ForgetsInSilence(RefreshesByItself):
    """A store that lost its data tells neither those who refresh leases nor those who watch."""

    rules = ("faults.a_store_that_forgot_gets_its_instances_back",)

    def watch(self, request: WatchRequest, *, sink: Sink, timeout: float) -> Feed:
        class Silent:
            def deliver(self, item: FeedItem, /) -> None:
                sink.deliver(item)

            def fail(self, error: TenureError, /) -> None:
                return

        return super().watch(request, sink=Silent(), timeout=timeout)


class TellsALongerTtl(Networked):
    """A lease ends after a thirtieth of the ttl that its holder was told, long before the first refresh."""

    rules = ("faults.a_stopped_holder_knows_before_it_writes",)

    def grant(self, ttl: float, *, timeout: float) -> LeaseGrant:
        grant = super().grant(ttl, timeout=timeout)
        return LeaseGrant(grant.lease_id, 30 * grant.ttl)


class Faltering(TcpServer):
    """When its leader is killed, the one that takes over lacks what was written last."""

    def kill_leader(self) -> None:
        """Gone, with the last writes."""
        super().kill_leader()
        page = self.memory.page("", after=None, limit=None, revision=None)
        self.memory.commit(Transaction((), tuple(Delete(item.key) for item in page.items)))


class NewLeaderLacksWrites(Networked):
    """The server that takes over lacks what was written last."""

    server_type = Faltering
    rules = ("faults.a_lost_leader_loses_and_doubles_nothing",)


class Releasing(TcpServer):
    """When its leader is killed, the one that takes over ends all leases."""

    def kill_leader(self) -> None:
        """Gone, with the leases."""
        super().kill_leader()
        self.memory.revoke([info.lease_id for info in self.memory.leases(None)])


class NewLeaderEndsLeases(Networked):
    """The server that takes over ends all leases."""

    server_type = Releasing
    rules = ("faults.a_lost_leader_only_lengthens_leases",)


class Halving(TcpServer):
    """A full one that writes the first key of a transaction all the same."""

    def do(self, method: str, arguments: dict[str, Any]) -> Any:
        """One call of the backend."""
        try:
            return super().do(method, arguments)
        except StoreFull:
            first = arguments["transaction"].operations[0]
            if isinstance(first, Put):
                self.memory.commit(Transaction((), (first,)))
            raise


class HalfFitsOnAFullDisk(Networked):
    """On a full disk a transaction is refused with its first key written."""

    server_type = Halving
    rules = ("faults.a_full_disk_leaves_no_halves",)


MUTANTS: tuple[Mutant, ...] = (
    RepeatsBlindly,
    UnknownIsToldAsRefused,
    UnansweredIsDone,
    RepeatsLater,
    WaitsTooLong,
    GivesUpTooSoon,
    TakesOnePieceForAll,
    HearsNoSilence,
    LostIsTakenForEmpty,
    RefreshesByItself,
    ForgetsInSilence,
    TellsALongerTtl,
    NewLeaderLacksWrites,
    NewLeaderEndsLeases,
    HalfFitsOnAFullDisk,
)
