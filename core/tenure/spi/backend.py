"""The SPI: what the author of a store plugin implements. Ten methods, all blocking, all with a deadline.

What a backend does **not** do, because core does it once for all stores: namespaces (keys arrive complete),
validation, retrying, keeping leases alive, resuming watches, finding differences, callbacks, caching.

Rules for every method:

* Thread-safe: called from many threads at once.
* ``timeout`` is in seconds and greater than zero; the method answers or raises within it, plus a moment.
* Only errors of ``tenure.errors`` come out. ``Unavailable`` (and ``DeadlineExceeded``) mean *surely not
  applied*; a write that may have been applied raises ``OutcomeUnknown``. When in doubt it is in doubt.
* Whatever the client library retries by itself is turned off.
* Keys are text of at most 1,400 bytes of UTF-8 without NUL, otherwise arbitrary: ``a//b``, ``a/``, ``.``,
  ``..``, ``%``, ``*`` and a leading ``/`` are all different keys. ``a`` and ``a/b`` can both have values.
  Values are ``bytes``, possibly empty; an empty value isn't a missing key.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from tenure._runtime.clock import Clock
from tenure.errors import Unsupported
from tenure.spi.capabilities import Capabilities
from tenure.spi.feed import Feed, Sink
from tenure.spi.types import (
    CommitResult,
    LeaseGrant,
    LeaseId,
    LeaseInfo,
    Page,
    ReadResult,
    ServerInfo,
    Transaction,
)


class Backend(ABC):
    """One opened connection (or pool) to a store. Made by the plugin's ``open``, which has verified that
    the store answers and accepts the credentials."""

    @property
    @abstractmethod
    def capabilities(self) -> Capabilities:
        """What this opened store promises. Constant, doesn't touch the store."""

    @property
    def native(self) -> object:
        """The client library's own object, offered to applications as it is. Raises ``Unsupported`` without one."""
        raise Unsupported("this store's plugin has no client object to offer")

    @property
    def clock(self) -> Clock | None:
        """The clock that leases and waits on this store go by, where it isn't the one ``open`` was asked to use.

        For stores that tests make up; ``None``, the default, is right for all others.
        """
        return None

    # -- reading: no side effects, core repeats them after ``Unavailable`` until the caller's deadline --

    @abstractmethod
    def get(self, key: str, *, timeout: float) -> ReadResult:
        """The key's present value, or ``None`` in the answer if it doesn't exist.

        Linearizable where declared: sees every write acknowledged before the call. A key whose lease has
        ended by the store's clock (plus the declared slack) is not returned.
        """

    @abstractmethod
    def list(self, prefix: str, *, after: str | None, limit: int | None, revision: int | None, timeout: float) -> Page:
        """Keys that start with the string ``prefix`` (``""``: all), in byte order, with their values.

        ``after``: only keys greater than this one. ``limit``: at most so many items (``None``: the plugin
        chooses; it may return all). ``more`` in the answer says that keys were left out.
        ``revision``: read the state at this revision, which an earlier page of this list answered; only
        given where ``consistent_pagination`` is declared (elsewhere it raises ``Unsupported``); raises ``Compacted`` when
        that state is gone.
        """

    # -- writing: never repeated by core after ``OutcomeUnknown`` --

    @abstractmethod
    def commit(self, transaction: Transaction, *, timeout: float) -> CommitResult:
        """Apply all operations at one new revision if all preconditions hold, else raise ``Conflict``.

        Atomic for every reader, list and watcher. Applied at most once. A put on a lease that isn't alive
        raises ``LeaseNotFound`` and applies nothing. A put identical to the present value is a change.
        """

    # -- leases --

    @abstractmethod
    def grant(self, ttl: float, *, timeout: float) -> LeaseGrant:
        """A new lease of ``ttl`` seconds (already within the declared bounds) or a little more, never less.

        The answer tells the effective ttl. Unanswered, it raises ``OutcomeUnknown``; such a lease ends by itself.
        """

    @abstractmethod
    def refresh(self, lease_ids: Sequence[LeaseId], *, timeout: float) -> dict[LeaseId, float]:
        """Give each lease its full ttl again, counted from now. One call for many, so that stores can batch.

        The answer maps the id of each refreshed lease to its ttl in seconds; an id that is missing from it is
        gone for good. A lease that has ended can't come back to life. Raises (``Unavailable`` or
        ``OutcomeUnknown``) if any answer is missing; refreshing twice does no harm.
        """

    @abstractmethod
    def revoke(self, lease_ids: Sequence[LeaseId], *, timeout: float) -> frozenset[LeaseId]:
        """End leases now: their keys are deleted, one transaction per lease, and watchers see it.

        Answers the ids that were alive; unknown ones are no error. May be repeated after ``OutcomeUnknown``.
        """

    def leases(self, lease_id: LeaseId | None, *, timeout: float) -> tuple[LeaseInfo, ...]:
        """All leases in the store, or the one asked for (an empty tuple if it isn't alive), with their keys.

        Only where ``list_leases`` is declared; this default raises ``Unsupported``.
        """
        raise Unsupported("this store can't list leases (its capabilities declare list_leases=False)")

    # -- watching --

    @abstractmethod
    def watch(self, prefix: str, *, after: int | None, sink: Sink, timeout: float) -> Feed:
        """Start delivering changes of keys under ``prefix`` into ``sink``; rules in ``tenure.spi.feed``.

        Returns, within ``timeout``, a feed that is running or about to: errors found later end it by
        ``sink.fail``. Many feeds may run at once and don't stall each other. One that resumes, ``after`` a revision,
        counts as connected from then on, so the server has agreed to it; others do with their first item.
        """

    # -- housekeeping --

    @abstractmethod
    def server_info(self, *, timeout: float) -> ServerInfo:
        """Version, revision, clock and risky settings of the server, for diagnosis."""

    @abstractmethod
    def close(self) -> None:
        """Release connections and threads, in bounded time. Idempotent. Running feeds end without ``fail``.

        Leases are left to core, which has revoked them before. Other calls running in other threads fail
        with ``Unavailable`` or ``OutcomeUnknown`` soon; those not begun and later ones raise ``StoreClosed``.
        """
