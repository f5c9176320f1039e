"""The SPI: what the author of a store plugin implements. Ten methods, all blocking, all with a deadline.

Three more are optional, each with a capability: :meth:`Backend.get_many`, :meth:`Backend.delete_prefix` and
:meth:`Backend.leases`. Core does without them where a store does not declare them.

Core does the following once for all stores, so a backend does **not**: namespaces (keys arrive complete),
validation, retries, keeping leases alive, resuming watches, computing differences, callbacks, caching.

Rules for every method:

* Thread-safe: called from many threads at once.
* ``timeout`` is in seconds and greater than zero. The method returns or raises within it, plus a moment. A request with
  ``patience`` allows a long answer that keeps arriving more: ``plugin_kit.ProgressDeadline.of_request`` counts both.
* Only errors of ``tenure.errors`` are raised. ``Unavailable`` (and ``DeadlineExceeded``) mean *certainly not
  applied*. If a write may have been applied, the method raises ``OutcomeUnknown``.
* The client library's own retries are turned off.
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
from tenure.spi.diagnosis import Finding
from tenure.spi.feed import Feed, Sink
from tenure.spi.types import (
    CommitResult,
    LeaseGrant,
    LeaseId,
    LeaseInfo,
    ListRequest,
    MultiReadResult,
    Page,
    PrefixDeletion,
    ReadResult,
    ServerInfo,
    Transaction,
    WatchRequest,
)


class Backend(ABC):
    """One opened connection (or pool) to a store. All methods are thread-safe and blocking.

    The plugin's ``open`` makes the backend after it has verified that the store answers and accepts the credentials.

    Each method except ``close`` raises more than the errors that it lists. These are ``Unavailable`` (certainly not
    applied), its subclass ``DeadlineExceeded``, ``AuthenticationFailed``, ``PermissionDenied`` and ``StoreCorrupted``.
    After ``close`` it is ``StoreClosed``. No other exception leaves a backend: the plugin translates its client's
    errors.
    """

    @property
    @abstractmethod
    def capabilities(self) -> Capabilities:
        """The guarantees and limits of this opened store. Constant; reading it makes no call to the store."""

    @property
    def native(self) -> object:
        """The client library's own object, which applications may use as it is.

        Raises:
            Unsupported: the plugin has no such object. This is the default.
        """
        raise Unsupported(
            "store.native: this store's plugin has no client object to offer; use the methods of the store"
        )

    @property
    def clock(self) -> Clock | None:
        """The clock of leases and waits on this store, if it isn't the one that ``open`` was given.

        Only stores made for tests have one. ``None``, the default, is right for all others.
        """
        return None

    @property
    def immediate(self) -> bool:
        """Whether no call ever waits: not for a server, a file, another process, or a lock that is held for long.

        The asyncio face then makes the calls on the event loop, without a thread. ``False``, the default, is right for
        all stores but those in the memory of this process.
        """
        return False

    @property
    def history(self) -> str:
        """The identity of the history that this backend's answers belong to, as far as it has noticed. No call is made.

        Changes once the backend has noticed that the store's data were lost or replaced by a backup. Core reads it
        after each answer, on stores that do not declare ``unique_revisions``: revisions that were read before a change
        are refused from then on. ``""``, the default, is right for stores whose revisions are unique.
        """
        return ""

    # -- reading: no side effects, core repeats them after ``Unavailable`` until the caller's deadline --

    @abstractmethod
    def get(self, key: str, *, timeout: float) -> ReadResult:
        """Read one key as it is now. Core repeats the call after ``Unavailable``.

        Linearizable where declared: the result shows every write acknowledged before the call. A key whose lease has
        expired by the store's clock (plus the declared slack) is not returned.

        Args:
            key: the complete key, with its namespace.
            timeout: seconds that the call may take.

        Returns:
            The key with its value, or ``None`` in ``item`` if it does not exist, and the store revision of the read.

        Raises:
            Unavailable: no answer came; ``DeadlineExceeded`` if ``timeout`` ran out.
        """

    @abstractmethod
    def list(self, request: ListRequest, *, timeout: float) -> Page:
        """Read keys that start with ``request.prefix``, in UTF-8 byte order. Core repeats it after ``Unavailable``.

        One page shows one point in time where ``consistent_list`` is declared.

        Args:
            request: the prefix, where to begin, how many items, at which revision, and whether values are wanted.
            timeout: seconds that the call may take.

        Returns:
            The items, whether keys were left out after them, and the store revision that the page shows.

        Raises:
            Compacted: the state at ``request.revision`` has left the store's history.
            Unsupported: a revision was given and ``consistent_pagination`` is not declared.
            Unavailable: no answer came; ``DeadlineExceeded`` if ``timeout`` ran out.
        """

    def get_many(self, keys: Sequence[str], *, timeout: float) -> MultiReadResult:
        """Read several keys as they were at one revision. Implemented where ``multi_get`` is declared.

        Elsewhere core reads the keys one by one, and proves by a transaction without operations that all were so at
        one revision. Core repeats the call after ``Unavailable``.

        Args:
            keys: the complete keys, distinct, at least one and at most ``max_transaction_operations``.
            timeout: seconds that the call may take.

        Returns:
            One entry for each key, in the order of ``keys``, and their common store revision.

        Raises:
            Unsupported: ``multi_get`` is not declared. This is the default.
            Unavailable: no answer came; ``DeadlineExceeded`` if ``timeout`` ran out.
        """
        raise Unsupported(
            f"reading {len(keys)} keys at once: this store does not declare multi_get; check "
            "store.capabilities.multi_get before"
        )

    # -- writing: never repeated by core after ``OutcomeUnknown`` --

    @abstractmethod
    def commit(self, transaction: Transaction, *, timeout: float) -> CommitResult:
        """Apply all operations at one new revision if all preconditions hold; otherwise change nothing.

        Atomic for every reader, list and watcher. Applied at most once. A put identical to the present value is a
        change. Core repeats the call after ``Unavailable``, never after ``OutcomeUnknown``.

        Args:
            transaction: the preconditions and operations, within the declared limits.
            timeout: seconds that the call may take.

        Returns:
            The transaction's revision and the number of keys deleted.

        Raises:
            Conflict: a precondition did not hold; nothing was changed.
            LeaseNotFound: a put names a lease that isn't alive; nothing was changed.
            OutcomeUnknown: the transaction was sent and no answer came; it may be applied, at most once.
            LimitExceeded: the server refused the size; nothing was changed.
            StoreFull: the store has no room; nothing was changed.
            Unavailable: certainly not applied; ``DeadlineExceeded`` if ``timeout`` ran out.
        """

    def delete_prefix(self, prefix: str, *, timeout: float) -> PrefixDeletion:
        """Delete keys that start with ``prefix`` by one transaction. Implemented where ``prefix_delete`` is declared.

        Elsewhere core lists the keys and deletes them in transactions of many keys. Watchers see the deletes as one
        transaction, as for :meth:`commit`. A plugin may bound the number of keys and report that there are more; core
        then calls again. No key outside the prefix is ever touched.

        Args:
            prefix: the complete prefix, with its namespace; ``""`` for every key of the store.
            timeout: seconds that the call may take.

        Returns:
            The number of keys deleted, the transaction's revision, and whether keys may be left.

        Raises:
            Unsupported: ``prefix_delete`` is not declared. This is the default.
            OutcomeUnknown: the call was sent and no answer came; it may be applied, at most once.
            Unavailable: certainly not applied; ``DeadlineExceeded`` if ``timeout`` ran out.
        """
        raise Unsupported(
            f"deleting the prefix {prefix!r} at once: this store does not declare prefix_delete; check "
            "store.capabilities.prefix_delete before"
        )

    # -- leases --

    @abstractmethod
    def grant(self, ttl: float, *, timeout: float) -> LeaseGrant:
        """Grant a new lease of ``ttl`` seconds or a little more, never less.

        Core repeats the call after ``OutcomeUnknown`` too: it leaves at worst a lease without keys, which expires.

        Args:
            ttl: the TTL in seconds, within the declared bounds.
            timeout: seconds that the call may take.

        Returns:
            The lease's id and its effective TTL in seconds.

        Raises:
            OutcomeUnknown: no answer came; a lease may exist and will expire.
            StoreFull: the store has no room for another lease.
            Unavailable: certainly not granted; ``DeadlineExceeded`` if ``timeout`` ran out.
        """

    @abstractmethod
    def refresh(self, lease_ids: Sequence[LeaseId], *, timeout: float) -> dict[LeaseId, float]:
        """Give each lease its full TTL again, counted from now. An expired lease never comes back to life.

        One call takes many leases, so that stores can batch. Refreshing a lease twice does no harm.

        Args:
            lease_ids: the leases to refresh.
            timeout: seconds that the call may take.

        Returns:
            The TTL in seconds of each refreshed lease. An id that is missing here has expired or was revoked.

        Raises:
            OutcomeUnknown: an answer for at least one lease is missing.
            Unavailable: an answer is missing and no lease was refreshed.
        """

    @abstractmethod
    def revoke(self, lease_ids: Sequence[LeaseId], *, timeout: float) -> frozenset[LeaseId]:
        """End leases now and delete their keys, one transaction per lease. Watchers see the deletes.

        Ids of leases that aren't alive are ignored. Core repeats the call after ``OutcomeUnknown`` too.

        Args:
            lease_ids: the leases to end.
            timeout: seconds that the call may take.

        Returns:
            The ids that were alive.

        Raises:
            OutcomeUnknown: no answer came for at least one lease; it may have ended.
            Unavailable: certainly none has ended; ``DeadlineExceeded`` if ``timeout`` ran out.
        """

    def leases(self, lease_id: LeaseId | None, *, timeout: float) -> tuple[LeaseInfo, ...]:
        """List the leases that are alive, with their keys. Implemented where ``list_leases`` is declared.

        Args:
            lease_id: the only lease to return; ``None`` for all.
            timeout: seconds that the call may take.

        Returns:
            The leases; an empty tuple if none is alive.

        Raises:
            Unsupported: ``list_leases`` is not declared. This is the default.
            Unavailable: no answer came; ``DeadlineExceeded`` if ``timeout`` ran out.
        """
        raise Unsupported(
            f"listing {'all leases' if lease_id is None else f'lease {lease_id!r}'}: this store does not declare "
            "list_leases; check store.capabilities.list_leases before"
        )

    # -- watching --

    @abstractmethod
    def watch(self, request: WatchRequest, *, sink: Sink, timeout: float) -> Feed:
        """Start delivering changes of ``request.prefix`` into ``sink``, by the rules in ``tenure.spi.feed``.

        Many feeds may run at once and don't stall each other. A resumed feed must have been accepted by the server
        before ``watch`` returns. A new feed counts as connected once it delivers its snapshot.

        Args:
            request: the prefix or the only key, and where to resume.
            sink: where to deliver, from any thread. Its methods never block.
            timeout: seconds that opening the feed may take.

        Returns:
            A feed that is running or about to. Errors found later end it by ``sink.fail``.

        Raises:
            Compacted: the changes after ``request.after`` are no longer in the store's history.
            HistoryReplaced: ``request.after`` and ``request.mark`` belong to a history that the store no longer has.
            Unavailable: the feed could not be opened; ``DeadlineExceeded`` if ``timeout`` ran out.
        """

    # -- housekeeping --

    @abstractmethod
    def server_info(self, *, timeout: float) -> ServerInfo:
        """Read version, revision, clock and risky settings of the server, for diagnosis.

        Args:
            timeout: seconds that the call may take.

        Returns:
            What the server reports. A fact that the server hides is left out; that is no error.

        Raises:
            Unavailable: no answer came; ``DeadlineExceeded`` if ``timeout`` ran out.
        """

    def diagnose(self, *, timeout: float) -> tuple[Finding, ...]:
        """Look closer at the server and the way to it, for ``tenure doctor``. Optional; changes nothing.

        For what only the plugin can know: settings that throw keys away, connections that run out, certificates of
        single members. A history that is never cut off is another. A finding whose text is one of the warnings of
        :meth:`server_info` takes its place, with a name and advice.

        Args:
            timeout: seconds that the call may take.

        Returns:
            What was found, good things too. What the user may not ask for is left out. By default nothing.

        Raises:
            Unavailable: no answer came; ``DeadlineExceeded`` if ``timeout`` ran out.
        """
        return ()

    @abstractmethod
    def close(self) -> None:
        """Release connections and threads, in bounded time. Idempotent; never raises.

        Running feeds end without ``fail``. Core has revoked its leases before. Calls running in other threads soon
        fail with ``Unavailable`` or ``OutcomeUnknown``; later calls, and those that have not begun, raise
        ``StoreClosed``.
        """
