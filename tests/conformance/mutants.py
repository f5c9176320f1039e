"""Stores that are broken on purpose, each in one way: wrappers around the memory store's backend."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import leasehold_memory
from leasehold import plugins
from leasehold.clock import SystemClock
from leasehold.errors import Conflict
from leasehold.hookspecs import hookimpl
from leasehold.spi import (
    Address,
    Backend,
    BackendPlugin,
    Capabilities,
    Changes,
    Committed,
    Delete,
    Feed,
    FeedItem,
    LeaseGrant,
    LeaseId,
    LeaseInfo,
    OpenRequest,
    Page,
    Put,
    Read,
    ServerInfo,
    Sink,
    Transaction,
)
from leasehold_memory.connection import open_backend


class Faithful(Backend):
    """Breaks nothing: passes everything on."""

    rule = ""
    """Id of the rule that has to find what a subclass breaks."""

    def __init__(self, inner: Backend) -> None:
        self.inner = inner

    @property
    def capabilities(self) -> Capabilities:
        return self.inner.capabilities

    def get(self, key: str, *, timeout: float) -> Read:
        return self.inner.get(key, timeout=timeout)

    def list(self, prefix: str, *, after: str | None, limit: int | None, revision: int | None, timeout: float) -> Page:
        return self.inner.list(prefix, after=after, limit=limit, revision=revision, timeout=timeout)

    def commit(self, transaction: Transaction, *, timeout: float) -> Committed:
        return self.inner.commit(transaction, timeout=timeout)

    def grant(self, ttl: float, *, timeout: float) -> LeaseGrant:
        return self.inner.grant(ttl, timeout=timeout)

    def refresh(self, lease_ids: Sequence[LeaseId], *, timeout: float) -> dict[LeaseId, float]:
        return self.inner.refresh(lease_ids, timeout=timeout)

    def revoke(self, lease_ids: Sequence[LeaseId], *, timeout: float) -> frozenset[LeaseId]:
        return self.inner.revoke(lease_ids, timeout=timeout)

    def leases(self, lease_id: LeaseId | None, *, timeout: float) -> tuple[LeaseInfo, ...]:
        return self.inner.leases(lease_id, timeout=timeout)

    def watch(self, prefix: str, *, after: int | None, sink: Sink, timeout: float) -> Feed:
        return self.inner.watch(prefix, after=after, sink=sink, timeout=timeout)

    def server_info(self, *, timeout: float) -> ServerInfo:
        return self.inner.server_info(timeout=timeout)

    def close(self) -> None:
        self.inner.close()


class BentSink:
    """Passes on what :meth:`bend` makes of each item."""

    def __init__(self, sink: Sink) -> None:
        self.sink = sink
        self.fail = sink.fail
        self.count = itertools.count(1)

    def deliver(self, item: FeedItem, /) -> None:
        for bent in self.bend(item) if isinstance(item, Changes) else [item]:
            self.sink.deliver(bent)

    def bend(self, item: Changes) -> list[FeedItem]:
        return [item]


class BentWatch(Faithful):
    sink_type = BentSink

    def watch(self, prefix: str, *, after: int | None, sink: Sink, timeout: float) -> Feed:
        return self.inner.watch(prefix, after=after, sink=self.sink_type(sink), timeout=timeout)


class LostUpdate(Faithful):
    """Every seventh write is acknowledged and forgotten."""

    rule = "kv.writes_from_many_threads_all_arrive"
    count = itertools.count(1)

    def commit(self, transaction: Transaction, *, timeout: float) -> Committed:
        if next(self.count) % 7 == 0 and not transaction.guards:
            return Committed(self.inner.server_info(timeout=timeout).revision + 1)
        return self.inner.commit(transaction, timeout=timeout)


class PrefixLeak(Faithful):
    """A prefix is taken for a folder's name: its last slash doesn't count."""

    rule = "kv.delete_prefix_deletes_the_prefix_alone"

    def list(self, prefix: str, *, after: str | None, limit: int | None, revision: int | None, timeout: float) -> Page:
        return self.inner.list(prefix.rstrip("/"), after=after, limit=limit, revision=revision, timeout=timeout)


class EmptyIsMissing(Faithful):
    rule = "kv.an_empty_value_is_not_a_missing_key"

    def get(self, key: str, *, timeout: float) -> Read:
        found = self.inner.get(key, timeout=timeout)
        return Read(None, found.revision) if found.item and not found.item.value else found


class HalfApplied(Faithful):
    """The operations of a transaction go one by one."""

    rule = "transactions.are_whole_in_every_list"

    def commit(self, transaction: Transaction, *, timeout: float) -> Committed:
        self.inner.commit(Transaction(transaction.guards, ()), timeout=timeout)
        committed = Committed(self.inner.server_info(timeout=timeout).revision)
        for operation in transaction.operations:
            committed = self.inner.commit(Transaction((), (operation,)), timeout=timeout)
        return committed


class GuardIgnored(Faithful):
    """Only the first guard counts."""

    rule = "transactions.with_a_guard_that_fails_change_nothing"

    def commit(self, transaction: Transaction, *, timeout: float) -> Committed:
        return self.inner.commit(Transaction(transaction.guards[:1], transaction.operations), timeout=timeout)


class TwoWinners(Faithful):
    """Guards are checked first, and then the operations applied: others may come in between."""

    rule = "transactions.racing_for_a_key_have_one_winner"

    def commit(self, transaction: Transaction, *, timeout: float) -> Committed:
        self.inner.commit(Transaction(transaction.guards, ()), timeout=timeout)
        time.sleep(0.001)  # the way to the server and back
        return self.inner.commit(Transaction((), transaction.operations), timeout=timeout)


class RefusedBumps(Faithful):
    rule = "transactions.refused_make_no_revision"

    def commit(self, transaction: Transaction, *, timeout: float) -> Committed:
        try:
            return self.inner.commit(transaction, timeout=timeout)
        except Conflict:
            self.inner.commit(Transaction((), (Put("bump", b""),)), timeout=timeout)
            raise


class LeaseNeverEnds(Faithful):
    rule = "leases.left_alone_end_in_time"

    def grant(self, ttl: float, *, timeout: float) -> LeaseGrant:
        return LeaseGrant(self.inner.grant(ttl * 100, timeout=timeout).lease_id, ttl)


class LeaseEndsEarly(Faithful):
    rule = "leases.never_end_before_their_ttl"

    def grant(self, ttl: float, *, timeout: float) -> LeaseGrant:
        return LeaseGrant(self.inner.grant(ttl * 0.8, timeout=timeout).lease_id, ttl)


class RefreshDoesNothing(Faithful):
    rule = "leases.are_extended_by_refreshing"

    def refresh(self, lease_ids: Sequence[LeaseId], *, timeout: float) -> dict[LeaseId, float]:
        alive = {info.lease_id: info.ttl for info in self.inner.leases(None, timeout=timeout)}
        return {lease_id: alive[lease_id] for lease_id in lease_ids if lease_id in alive}


class RevokeLeavesKeys(Faithful):
    rule = "leases.revoked_take_their_keys_at_once"

    def revoke(self, lease_ids: Sequence[LeaseId], *, timeout: float) -> frozenset[LeaseId]:
        for lease_id in lease_ids:
            for info in self.inner.leases(lease_id, timeout=timeout):
                for key in info.keys:
                    item = self.inner.get(key, timeout=timeout).item
                    if item is not None:
                        self.inner.commit(Transaction((), (Put(key, item.value),)), timeout=timeout)
        return self.inner.revoke(lease_ids, timeout=timeout)


class EventDropped(BentWatch):
    rule = "watches.w3_watchers_converge"

    class sink_type(BentSink):  # noqa: N801 - takes the place of an attribute
        def bend(self, item: Changes) -> list[FeedItem]:
            deleted = [entry for entry in item.entries if hasattr(entry, "revision")]
            return [] if deleted and len(deleted) == len(item.entries) and next(self.count) % 3 == 0 else [item]


class EventDoubled(BentWatch):
    """Core drops what it has told already, so only who looks at the feed can see this."""

    rule = "spi.feeds_resume_with_the_next_revision"

    class sink_type(BentSink):  # noqa: N801 - takes the place of an attribute
        def bend(self, item: Changes) -> list[FeedItem]:
            return [item, item] if next(self.count) % 3 == 0 else [item]


class TransactionTorn(BentWatch):
    rule = "watches.see_every_transaction_whole"

    class sink_type(BentSink):  # noqa: N801 - takes the place of an attribute
        def bend(self, item: Changes) -> list[FeedItem]:
            return [Changes((entry,), item.revision) for entry in item.entries]


class WrongValue(BentWatch):
    rule = "watches.w2_nothing_is_invented"

    class sink_type(BentSink):  # noqa: N801 - takes the place of an attribute
        def bend(self, item: Changes) -> list[FeedItem]:
            first, *rest = item.entries
            if isinstance(first, tuple) and next(self.count) % 9 == 0:
                first = first._replace(value=first.value + b"?")
            return [Changes((first, *rest), item.revision)]


class ResumeTooLate(Faithful):
    rule = "watches.resume_after_any_revision_exactly"

    def watch(self, prefix: str, *, after: int | None, sink: Sink, timeout: float) -> Feed:
        present = self.inner.server_info(timeout=timeout).revision
        later = None if after is None else after + 1 if after < present else after
        return self.inner.watch(prefix, after=later, sink=sink, timeout=timeout)


class ResumeTooEarly(Faithful):
    """Core drops what isn't after the asked-for revision, so only who looks at the feed can see this."""

    rule = "spi.feeds_resume_with_the_next_revision"

    def watch(self, prefix: str, *, after: int | None, sink: Sink, timeout: float) -> Feed:
        return self.inner.watch(prefix, after=after - 1 if after else after, sink=sink, timeout=timeout)


class ListOutOfOrder(Faithful):
    """Sorted as UTF-16."""

    rule = "lists.are_in_byte_order"

    def list(self, prefix: str, *, after: str | None, limit: int | None, revision: int | None, timeout: float) -> Page:
        page = self.inner.list(prefix, after=after, limit=limit, revision=revision, timeout=timeout)
        items = sorted(page.items, key=lambda item: item.key.encode("utf-16-be", "surrogatepass"))
        return Page(tuple(items), page.more, page.revision)


class DeleteCountsMissing(Faithful):
    rule = "transactions.count_only_what_they_deleted"

    def commit(self, transaction: Transaction, *, timeout: float) -> Committed:
        committed = self.inner.commit(transaction, timeout=timeout)
        return Committed(committed.revision, sum(isinstance(each, Delete) for each in transaction.operations))


MUTANTS: tuple[type[Faithful], ...] = (
    LostUpdate,
    PrefixLeak,
    EmptyIsMissing,
    HalfApplied,
    GuardIgnored,
    TwoWinners,
    RefusedBumps,
    LeaseNeverEnds,
    LeaseEndsEarly,
    RefreshDoesNothing,
    RevokeLeavesKeys,
    EventDropped,
    EventDoubled,
    TransactionTorn,
    WrongValue,
    ResumeTooLate,
    ResumeTooEarly,
    ListOutOfOrder,
    DeleteCountsMissing,
)


@contextmanager
def installed(mutant: type[Faithful]) -> Iterator[str]:
    """Make the mutant a plugin of this process; gives the URL of a store that no one else has."""
    scheme = f"mutant-{mutant.__name__.lower()}"

    class Plugin:
        @hookimpl
        def leasehold_backend(self) -> BackendPlugin:
            return BackendPlugin(scheme=scheme, summary="broken", open=open_mutant, address=Address.NAME)

    def open_mutant(request: OpenRequest) -> Backend:
        return mutant(
            open_backend(
                OpenRequest(
                    url=request.url,
                    variants=frozenset(),
                    path=scheme,
                    options={"history": None},
                    timeout=request.timeout,
                    clock=SystemClock(),
                )
            )
        )

    plugins.register(Plugin(), scheme)
    try:
        yield f"{scheme}://store"
    finally:
        plugins.unregister(scheme)
        leasehold_memory.forget(scheme)
