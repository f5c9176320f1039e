"""The API that applications use: a store opened by ``tenure.connect(url)``.

``Store`` implements everything common to all stores. It checks keys and puts them into their namespace, checks sizes
against the limits of the opened store, gives every call a deadline, repeats what is safe to repeat until then, keeps
leases alive and keeps watches open. The plugin does the rest.
"""

from __future__ import annotations

import logging
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from sys import is_finalizing
from types import TracebackType
from typing import Any, Self, TypeVar, cast

from tenure._client.committing import Committer
from tenure._client.history import HistoryGuard
from tenure._client.keys import check_callback, check_key, check_prefix
from tenure._client.multi_read import read_until_proven
from tenure._client.observers import ObservedLeases, Observers
from tenure._client.open_watches import OpenWatches, WatchArguments
from tenure._client.pagination import Listing, Pager
from tenure._client.prefix_deletion import MOST_AT_ONCE, delete_by_store, delete_listed
from tenure._client.transaction import TransactionBuilder, lease_id
from tenure._client.validation import check_distinct_keys, check_unique_keys
from tenure._runtime import retry
from tenure._runtime.callback_pool import CallbackPool, Strand
from tenure._runtime.clock import Clock, SystemClock
from tenure._runtime.deadline import Deadline
from tenure._runtime.exits import after_interrupted_call
from tenure._runtime.fork import fork_generation, left_behind
from tenure._runtime.interruption import interruption
from tenure._runtime.monitor import Monitor
from tenure._runtime.observed_work import ObservedWork
from tenure._runtime.timers import Timers
from tenure._text import shown
from tenure.errors import (
    CallInterrupted,
    InvalidArgument,
    LeaseNotFound,
    LimitExceeded,
    StoreClosed,
    UsedAfterFork,
)
from tenure.leases.keepalive import LeaseKeepAlive
from tenure.leases.lease import HeldLease, Lease
from tenure.spi.backend import Backend
from tenure.spi.capabilities import Capabilities
from tenure.spi.feed import Feed, Sink
from tenure.spi.types import (
    CommitResult,
    Delete,
    KeyAbsent,
    KeyValue,
    LeaseGrant,
    LeaseId,
    LeaseInfo,
    ListRequest,
    MultiReadResult,
    Operation,
    Page,
    Precondition,
    PrefixDeletion,
    Put,
    ReadResult,
    RevisionEquals,
    ServerInfo,
    Transaction,
)
from tenure.watch import callbacks as watch_callback
from tenure.watch.buffer import MAX_ENTRIES
from tenure.watch.diff import strip_namespace
from tenure.watch.engine import Watch

T = TypeVar("T")
L = TypeVar("L", bound=HeldLease)

DEFAULT_TIMEOUT = 5.0
"""Seconds that a call may take by default."""

_log = logging.getLogger("tenure._client.store")
SCAN_PAGE = 500
_MOST_CONNECTING = 4
"""Threads that open the feeds of watches again after an outage."""
_MOST_LOSSES = 256
"""``on_lost`` callbacks that may block before others wait."""


class Store:
    """A store opened by :func:`tenure.connect`. All methods are thread-safe. Close it when done, or use it in ``with``.

    Closing revokes the leases of this store object, ends its watches and its threads. If a process dies without
    closing, its leases expire. Each call ends within its timeout, plus a moment. Reads are repeated until then; a write
    is repeated only if it was certainly not applied.

    >>> import tenure
    >>> with tenure.connect("memory://") as store:
    ...     first = store.put("color", b"red")
    ...     second = store.put_if_unchanged("color", b"blue", revision=first.revision)
    ...     store.get("color").value
    b'blue'
    """

    def __init__(
        self,
        backend: Backend,
        *,
        url: str,
        namespace_prefix: str,
        timeout: float,
        clock: Clock,
        observers: Observers,
    ) -> None:
        self._backend = backend
        self._url = url
        self._prefix = namespace_prefix
        self._strip = len(namespace_prefix)
        self._timeout = timeout
        self._clock = clock
        self._observers = observers
        self._fork_generation = fork_generation.value
        self._closed = False
        self._lock = Monitor()
        self._open_watches = OpenWatches(
            backend,
            namespace_prefix=namespace_prefix,
            clock=clock,
            observers=observers,
            check_process=self._check_fork,
            ends=lambda: self._closed,
        )
        self._abandoned = self._open_watches.abandoned
        self._before_close: set[Callable[[], object]] = set()
        """Called, quickly, when the close begins: for a registry on this store, whose lease and watch end by it."""
        self._capabilities = backend.capabilities
        self._history = HistoryGuard(backend)
        self._pager = Pager(self._page, consistent=self._capabilities.consistent_pagination, strip=self._strip)
        self._timers = Timers("tenure")
        self._callbacks = CallbackPool("tenure", clock, self._timers)
        self._connecting = CallbackPool("tenure-connecting", clock, self._timers, most_threads=_MOST_CONNECTING)
        # Pools of their own: a callback of a watch that blocks must not keep a holder from learning of its loss.
        self._losses = CallbackPool("tenure-lost", clock, self._timers, most_threads=_MOST_LOSSES)
        if observers.of_callbacks:
            self._callbacks.observed = ObservedWork("callbacks", observers.tell, self._timers)
            self._connecting.observed = ObservedWork("connecting", observers.tell, self._timers)
            self._losses.observed = ObservedWork("losses", observers.tell, self._timers)
        self._threads = watch_callback.Threads(self._callbacks, self._connecting, self._timers)
        kept = cast("Backend", ObservedLeases(backend, observers, clock)) if observers.active else backend
        self._keeper = LeaseKeepAlive(
            kept,
            clock=clock,
            callbacks=self._losses,
            timers=self._timers,
            timeout=timeout,
            name="tenure",
            on_lost=lambda lease: observers.tell("lease_lost", lease_id=lease.id, reason=lease.reason),
            tell=observers.tell if observers.of_leases else None,
        )
        self._committer = Committer(backend, self._history, self._keeper, namespace_prefix)
        observers.tell("store_opened")

    @classmethod
    def from_backend(
        cls,
        backend: Backend,
        *,
        url: str,
        prefix: str = "",
        timeout: float = DEFAULT_TIMEOUT,
        clock: Clock | None = None,
        observers: Iterable[object] = (),
    ) -> Store:
        """Return a store over a backend that is already open, for tests of plugins. Makes no call to the backend.

        Args:
            backend: an opened backend. Closing the store closes the backend.
            url: the store's name in messages.
            prefix: text in front of every key, as a namespace puts it there.
            timeout: default timeout per call, in seconds.
            clock: the clock of leases and waits; by default the system's.
            observers: objects with observer hooks (``tenure.hookspecs``).

        Returns:
            The store.

        Raises:
            ConfigError: an observer has no hook, or one that doesn't exist.
            InvalidArgument: the timeout isn't a positive number.
        """
        return cls(
            backend,
            url=url,
            namespace_prefix=prefix,
            timeout=retry.check_timeout(timeout),
            clock=clock or SystemClock(),
            observers=Observers(observers, url),
        )

    # -- about the store ---------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """The URL that the store was opened with, any password replaced by ``***``."""
        return self._url

    @property
    def capabilities(self) -> Capabilities:
        """The guarantees and limits of this opened store. Constant."""
        return self._capabilities

    @property
    def clock(self) -> Clock:
        """The clock that measures leases, waits and staleness."""
        return self._clock

    @property
    def timeout(self) -> float:
        """The default timeout per call, in seconds."""
        return self._timeout

    @property
    def closed(self) -> bool:
        """Whether :meth:`close` was called."""
        return self._closed

    @property
    def native(self) -> object:
        """The client library's own object, for features that this API lacks. Its keys include the namespace.

        Raises:
            Unsupported: the store's plugin offers no such object.
            StoreClosed: the store was closed. ``UsedAfterFork`` if it belongs to the parent process.
        """
        self._check_process()
        return self._backend.native

    def server_info(self, *, timeout: float | None = None) -> ServerInfo:
        """Read version, revision, clock and risky settings of the server.

        Args:
            timeout: seconds that the call may take; by default the store's timeout.

        Returns:
            What the server reports about itself.

        Raises:
            Unavailable: the store can't be reached. ``DeadlineExceeded`` if the time ran out.
            PermissionDenied: the store forbids the call. ``AuthenticationFailed`` if it no longer accepts the
                credentials.
            StoreClosed: the store was closed. ``UsedAfterFork`` if it belongs to the parent process.
        """
        return self._read("server_info", lambda seconds: self._backend.server_info(timeout=seconds), timeout)

    # -- reading -----------------------------------------------------------------------------------

    def get(self, key: str, *, timeout: float | None = None) -> KeyValue | None:
        """Read one key as it is now. Where ``linearizable`` is declared, every acknowledged write is seen.

        Args:
            key: the key, 1 to 1,024 bytes of UTF-8 without NUL.
            timeout: seconds that the call may take; by default the store's timeout.

        Returns:
            The key with its value, ``None`` if it does not exist. A key with an empty value exists.

        Raises:
            InvalidKey: the key is empty, too long or not valid text.
            Unavailable: the store can't be reached. ``DeadlineExceeded`` if the time ran out.
            PermissionDenied: the store forbids the call. ``AuthenticationFailed`` if it no longer accepts the
                credentials.
            StoreClosed: the store was closed. ``UsedAfterFork`` if it belongs to the parent process.
        """
        return self.get_with_revision(key, timeout=timeout).item

    def get_with_revision(self, key: str, *, timeout: float | None = None) -> ReadResult:
        """Read one key as it is now, with a store revision at which the result was true, also for a missing key.

        A watch after that revision misses no later change.

        Args:
            key: the key, 1 to 1,024 bytes of UTF-8 without NUL.
            timeout: seconds that the call may take; by default the store's timeout.

        Returns:
            ``item``: the key with its value, ``None`` if it does not exist. ``revision``: the store revision.

        Raises:
            InvalidKey: the key is empty, too long or not valid text.
            Unavailable: the store can't be reached. ``DeadlineExceeded`` if the time ran out.
            PermissionDenied: the store forbids the call. ``AuthenticationFailed`` if it no longer accepts the
                credentials.
            StoreClosed: the store was closed. ``UsedAfterFork`` if it belongs to the parent process.
        """
        check_key(key)
        physical = self._prefix + key
        result = self._get(physical, timeout)
        if self._history.replaced:
            self._history.note((physical,))
        if self._strip and result.item is not None:
            return ReadResult(strip_namespace(result.item, self._strip), result.revision)
        return result

    def get_many(self, keys: Iterable[str], *, timeout: float | None = None) -> MultiReadResult:
        """Read several keys as they were at one revision.

        One request where ``multi_get`` is declared. Elsewhere the keys are read one by one. That is repeated until a
        transaction without operations proves that all were so at one revision, or the time runs out.

        Args:
            keys: distinct keys, at most ``capabilities.max_transaction_operations``.
            timeout: seconds that the whole call may take; by default the store's timeout.

        Returns:
            ``items``: one entry for each key in the order of ``keys``, ``None`` for a key that does not exist.
            ``revision``: the store revision that all entries belong to.

        Raises:
            InvalidKey: a key is empty, too long or not valid text.
            InvalidArgument: no key was given, or one of them twice.
            LimitExceeded: more keys were given than the store reads at once.
            Unavailable: the store can't be reached. ``DeadlineExceeded`` if the time ran out, also because others kept
                changing the keys.
            PermissionDenied: the store forbids the call. ``AuthenticationFailed`` if it no longer accepts the
                credentials.
            StoreClosed: the store was closed. ``UsedAfterFork`` if it belongs to the parent process.
        """
        wanted = tuple(keys)
        check_distinct_keys(wanted, most=self._capabilities.max_transaction_operations)
        physical = [self._prefix + key for key in wanted]
        deadline = Deadline(self._seconds(timeout))
        if self._capabilities.multi_get:
            result = self._read(
                "get_many",
                lambda seconds: self._backend.get_many(physical, timeout=seconds),
                deadline.remaining(),
                len(physical),
            )
        else:
            result = read_until_proven(self._get, self._prove, physical, deadline)
        if self._history.replaced:
            self._history.note(physical)
        if not self._strip:
            return result
        return MultiReadResult(
            tuple(None if item is None else strip_namespace(item, self._strip) for item in result.items),
            result.revision,
        )

    def list(
        self, prefix: str = "", *, limit: int | None = None, keys_only: bool = False, timeout: float | None = None
    ) -> Listing:
        """Read the keys that start with ``prefix``, in UTF-8 byte order. The prefix ``foo`` matches ``foobar`` too.

        The result shows one point in time, its ``revision``, where ``consistent_list`` is declared and ``limit`` is
        ``None``. All items are in memory at once; :meth:`scan` reads them page by page.

        Args:
            prefix: the string that the keys start with; ``""`` for every key of the namespace.
            limit: the largest number of keys to return; ``None`` for all.
            keys_only: leave out the values: every item's ``value`` is ``b""``. Stores that can send no values save
                their bytes.
            timeout: seconds that the whole call may take; by default the store's timeout.

        Returns:
            The keys with their values, the store revision, and whether ``limit`` left keys out.

        Raises:
            InvalidKey: the prefix is too long or not valid text.
            InvalidArgument: ``limit`` is not a positive integer.
            Compacted: the store dropped the state while its pages were read, until the time ran out.
            Unavailable: the store can't be reached. ``DeadlineExceeded`` if the time ran out.
            PermissionDenied: the store forbids the call. ``AuthenticationFailed`` if it no longer accepts the
                credentials.
            StoreClosed: the store was closed. ``UsedAfterFork`` if it belongs to the parent process.
        """
        check_prefix(prefix)
        if limit is not None and (not isinstance(limit, int) or limit < 1):
            raise InvalidArgument(
                f"limit={shown(limit)}: limit is a number of keys, at least 1; leave it out for all keys"
            )
        return self._list(prefix, None, limit=limit, keys_only=keys_only, timeout=timeout)

    def _list(
        self, prefix: str, after: str | None, *, limit: int | None, keys_only: bool, timeout: float | None
    ) -> Listing:
        """:meth:`list` of the keys after ``after``, which starts with ``prefix``; of all keys without it."""
        listing = self._pager.fetch_all(
            self._prefix + prefix,
            limit,
            self._seconds(timeout),
            keys_only=keys_only,
            after=None if after is None else self._prefix + after,
        )
        if self._history.replaced:
            self._history.note([self._prefix + item.key for item in listing.items])
        return listing

    def scan(self, prefix: str = "", *, page_size: int = SCAN_PAGE, timeout: float | None = None) -> Iterator[KeyValue]:
        """Iterate over the keys that start with ``prefix``, in UTF-8 byte order, one page in memory at a time.

        Where ``consistent_pagination`` is declared, all pages show the revision of the first. On other stores each page
        shows the moment at which it was read. No key is returned twice, and a key that exists all the time is returned.
        Arguments are checked at once; pages are read while the result is iterated over.

        Args:
            prefix: the string that the keys start with; ``""`` for every key of the namespace.
            page_size: the number of keys that are read at once.
            timeout: seconds that reading one page may take; by default the store's timeout.

        Returns:
            An iterator over the keys with their values.

        Raises:
            InvalidKey: the prefix is too long or not valid text.
            InvalidArgument: ``page_size`` is not a positive integer.
            Compacted: the scan was so slow that the store dropped the revision of the first page; scan again.
            Unavailable: the store can't be reached. ``DeadlineExceeded`` if the time ran out.
            PermissionDenied: the store forbids the call. ``AuthenticationFailed`` if it no longer accepts the
                credentials.
            StoreClosed: the store was closed. ``UsedAfterFork`` if it belongs to the parent process.
        """
        check_prefix(prefix)
        if not isinstance(page_size, int) or page_size < 1:
            raise InvalidArgument(
                f"page_size={shown(page_size)}: page_size is a number of keys, at least 1; leave it out for {SCAN_PAGE}"
            )
        return self._pager.iter_items(self._prefix + prefix, page_size, self._seconds(timeout))

    def _get(self, key: str, timeout: float | None) -> ReadResult:
        return self._read("get", lambda seconds: self._backend.get(key, timeout=seconds), timeout)

    def _prove(self, transaction: Transaction, timeout: float) -> CommitResult:
        """Commit a transaction without operations: a read, so it is repeated like one."""
        return self._read("commit", lambda seconds: self._backend.commit(transaction, timeout=seconds), timeout, 0)

    def _page(self, make: Callable[..., ListRequest], seconds: float) -> Page:
        deadline = Deadline(seconds)

        def attempt(timeout: float) -> Page:
            # What is still arriving at the end of the attempt's time isn't thrown away.
            return self._backend.list(make(patience=deadline.remaining()), timeout=timeout)

        return self._read("list", attempt, seconds)

    # -- writing -----------------------------------------------------------------------------------

    def put(
        self, key: str, value: bytes, *, lease: HeldLease | LeaseId | None = None, timeout: float | None = None
    ) -> CommitResult:
        """Set ``key``, whether or not it exists, in one atomic transaction. Applied at most once.

        Args:
            key: the key, 1 to 1,024 bytes of UTF-8 without NUL.
            value: the new value, possibly empty, at most ``capabilities.max_value_bytes`` bytes.
            lease: the lease that the key is removed with. Without one, the key is detached from the lease it had.
            timeout: seconds that the call may take; by default the store's timeout.

        Returns:
            ``revision``: the write's own revision, now the key's ``mod_revision``.

        Raises:
            OutcomeUnknown: the write was sent and no answer came; it is applied at most once, now or later.
            InvalidKey: the key is empty, too long or not valid text; nothing was sent.
            InvalidArgument: another argument has the wrong type; nothing was sent.
            LimitExceeded: the value is larger than the store takes; nothing was applied.
            LeaseLost: the lease, held by this process, has ended; nothing was sent.
            LeaseNotFound: the store has no lease alive under this id; nothing was applied.
            StoreFull: the store has no room; nothing was applied.
            Unavailable: the store can't be reached; nothing was applied. ``DeadlineExceeded`` if the time ran out.
            PermissionDenied: the store forbids the call; nothing was applied. ``AuthenticationFailed`` if it no longer
                accepts the credentials.
            StoreClosed: the store was closed. ``UsedAfterFork`` if it belongs to the parent process.
        """
        return self._write((), (Put(key, value, lease_id(lease)),), lease, timeout)

    def put_if_absent(
        self, key: str, value: bytes, *, lease: HeldLease | LeaseId | None = None, timeout: float | None = None
    ) -> CommitResult:
        """Set ``key`` only if it does not exist, atomically: of any number of concurrent callers, one succeeds.

        Args:
            key: the key, 1 to 1,024 bytes of UTF-8 without NUL.
            value: the new value, possibly empty, at most ``capabilities.max_value_bytes`` bytes.
            lease: the lease that the key is removed with, ``None`` for a key without a lease.
            timeout: seconds that the call may take; by default the store's timeout.

        Returns:
            ``revision``: the write's own revision, now the key's ``create_revision`` and ``mod_revision``.

        Raises:
            Conflict: the key exists; nothing was changed.
            OutcomeUnknown: the write was sent and no answer came; it is applied at most once, now or later.
            InvalidKey: the key is empty, too long or not valid text; nothing was sent.
            InvalidArgument: another argument has the wrong type; nothing was sent.
            LimitExceeded: the value is larger than the store takes; nothing was applied.
            LeaseLost: the lease, held by this process, has ended; nothing was sent.
            LeaseNotFound: the store has no lease alive under this id; nothing was applied.
            StoreFull: the store has no room; nothing was applied.
            Unavailable: the store can't be reached; nothing was applied. ``DeadlineExceeded`` if the time ran out.
            PermissionDenied: the store forbids the call; nothing was applied. ``AuthenticationFailed`` if it no longer
                accepts the credentials.
            StoreClosed: the store was closed. ``UsedAfterFork`` if it belongs to the parent process.
        """
        return self._write((KeyAbsent(key),), (Put(key, value, lease_id(lease)),), lease, timeout)

    def put_if_unchanged(
        self,
        key: str,
        value: bytes,
        *,
        revision: int,
        lease: HeldLease | LeaseId | None = None,
        timeout: float | None = None,
    ) -> CommitResult:
        """Set ``key`` only if it was last put at ``revision``, atomically (compare-and-set).

        Args:
            key: the key, 1 to 1,024 bytes of UTF-8 without NUL.
            value: the new value, possibly empty, at most ``capabilities.max_value_bytes`` bytes.
            revision: the ``mod_revision`` that the key must have.
            lease: the lease that the key is removed with. Without one, the key is detached from the lease it had.
            timeout: seconds that the call may take; by default the store's timeout.

        Returns:
            ``revision``: the write's own revision, now the key's ``mod_revision``.

        Raises:
            Conflict: the key was changed or deleted since; nothing was changed.
            OutcomeUnknown: the write was sent and no answer came; it is applied at most once, now or later.
            InvalidKey: the key is empty, too long or not valid text; nothing was sent.
            InvalidArgument: another argument has the wrong type; nothing was sent.
            LimitExceeded: the value is larger than the store takes; nothing was applied.
            LeaseLost: the lease, held by this process, has ended; nothing was sent.
            LeaseNotFound: the store has no lease alive under this id; nothing was applied.
            StoreFull: the store has no room; nothing was applied.
            Unavailable: the store can't be reached; nothing was applied. ``DeadlineExceeded`` if the time ran out.
            PermissionDenied: the store forbids the call; nothing was applied. ``AuthenticationFailed`` if it no longer
                accepts the credentials.
            StoreClosed: the store was closed. ``UsedAfterFork`` if it belongs to the parent process.
        """
        return self._write((RevisionEquals(key, revision),), (Put(key, value, lease_id(lease)),), lease, timeout)

    def delete(self, key: str, *, revision: int | None = None, timeout: float | None = None) -> CommitResult:
        """Delete ``key`` in one atomic transaction. Deleting a missing key changes nothing and is no error.

        Args:
            key: the key, 1 to 1,024 bytes of UTF-8 without NUL.
            revision: delete only if the key was last put at this revision; ``None`` to delete in any case.
            timeout: seconds that the call may take; by default the store's timeout.

        Returns:
            ``deleted``: 1 if the key existed, otherwise 0. ``revision``: the delete's own revision, or the store's
            present one if nothing was deleted.

        Raises:
            Conflict: ``revision`` was given, and the key was changed or deleted since; nothing was changed.
            OutcomeUnknown: the delete was sent and no answer came; it is applied at most once, now or later.
            InvalidKey: the key is empty, too long or not valid text; nothing was sent.
            InvalidArgument: ``revision`` has the wrong type; nothing was sent.
            Unavailable: the store can't be reached; nothing was applied. ``DeadlineExceeded`` if the time ran out.
            PermissionDenied: the store forbids the call; nothing was applied. ``AuthenticationFailed`` if it no longer
                accepts the credentials.
            StoreClosed: the store was closed. ``UsedAfterFork`` if it belongs to the parent process.
        """
        preconditions = () if revision is None else (RevisionEquals(key, revision),)
        return self._write(preconditions, (Delete(key),), None, timeout)

    def delete_prefix(
        self, prefix: str, *, allow_empty_prefix: bool = False, timeout: float | None = None
    ) -> CommitResult:
        """Delete the keys that start with ``prefix`` and existed when the call began.

        The call is not one transaction: each batch of keys is atomic, with as many keys as the store takes. Where
        ``prefix_delete`` is declared, the store finds the keys itself and a batch is larger. A key that another client
        puts during the call may be deleted too.

        Args:
            prefix: the string that the keys start with. The empty prefix matches every key of the namespace.
            allow_empty_prefix: confirms that an empty prefix is meant.
            timeout: seconds that the whole call may take; by default the store's timeout.

        Returns:
            ``deleted``: the number of keys deleted. ``revision``: the store's revision after the last batch.

        Raises:
            InvalidArgument: an empty prefix was not confirmed; nothing was sent.
            InvalidKey: the prefix is too long or not valid text; nothing was sent.
            PartiallyApplied: some batches were applied, then an error stopped the call. Deleting again is safe.
            OutcomeUnknown: the first batch was sent and no answer came; it is applied at most once, now or later.
            Unavailable: the store can't be reached; nothing was applied. ``DeadlineExceeded`` if the time ran out.
            PermissionDenied: the store forbids the call; nothing was applied. ``AuthenticationFailed`` if it no longer
                accepts the credentials.
            StoreClosed: the store was closed. ``UsedAfterFork`` if it belongs to the parent process.
        """
        if not prefix and not allow_empty_prefix:
            raise InvalidArgument(
                "delete_prefix(''): the empty prefix matches every key; give allow_empty_prefix=True to delete them all"
            )
        check_prefix(prefix)
        deadline = Deadline(self._seconds(timeout))
        if self._capabilities.prefix_delete:
            return delete_by_store(prefix, lambda seconds: self._delete_prefix(prefix, seconds), deadline)
        listing = self.list(prefix, keys_only=True, timeout=deadline.remaining())
        return delete_listed(
            prefix,
            listing.keys,
            lambda operations, seconds: self._write((), operations, None, seconds),
            deadline,
            revision=listing.revision,
            size=min(self._capabilities.max_transaction_operations, MOST_AT_ONCE),
        )

    def _delete_prefix(self, prefix: str, seconds: float) -> PrefixDeletion:
        complete = self._prefix + prefix
        return self._run(
            "delete_prefix",
            retry.write,
            lambda attempt: self._backend.delete_prefix(complete, timeout=attempt),
            seconds,
        )

    def transaction(self) -> TransactionBuilder:
        """Begin a transaction of several preconditions, puts and deletes. Nothing is sent before its ``commit()``.

        Returns:
            A builder; its methods can be chained, and ``commit()`` applies all or nothing.

        Raises:
            StoreClosed: the store was closed. ``UsedAfterFork`` if it belongs to the parent process.
        """
        self._check_process()
        return TransactionBuilder(self._commit_built)

    def _commit_built(
        self, transaction: Transaction, leases: tuple[HeldLease, ...], timeout: float | None
    ) -> CommitResult:
        for lease in leases:
            lease.ensure_valid()
        check_unique_keys(transaction.operations)
        return self._write(transaction.preconditions, transaction.operations, None, timeout)

    def _write(
        self,
        preconditions: tuple[Precondition, ...],
        operations: tuple[Operation, ...],
        lease: HeldLease | LeaseId | None,
        timeout: float | None,
    ) -> CommitResult:
        if isinstance(lease, HeldLease):
            lease.ensure_valid()
        return self._committer.commit(
            preconditions,
            operations,
            lambda attempt: self._run("commit", retry.write, attempt, timeout, len(operations)),
        )

    # -- leases ------------------------------------------------------------------------------------

    def lease(
        self,
        ttl: float,
        *,
        keep_alive: bool = True,
        margin: float = 0.0,
        on_lost: Callable[[Lease], object] | None = None,
        timeout: float | None = None,
    ) -> Lease:
        """Take a lease of ``ttl`` seconds that is refreshed in the background until it is revoked or the store closes.

        The holder never relies on the lease longer than the store does: see :class:`tenure.Lease`.

        Args:
            ttl: the TTL in seconds. The store may give a longer one, which is ``lease.ttl``.
            keep_alive: whether to refresh the lease in the background. Otherwise only ``lease.refresh()`` does.
            margin: seconds before the end of the TTL from which this holder counts the lease as lost. So it has time to
                stop its work before the store removes the keys. Less than half of ``ttl``.
            on_lost: called once with the lease if it is lost, on a thread for callbacks. What it raises is logged.
            timeout: seconds that the grant may take; by default the store's timeout.

        Returns:
            The lease, alive. In ``with`` it is revoked at the end.

        Raises:
            InvalidArgument: ``ttl`` is not a positive number, or ``margin`` is not between 0 and half of it.
            LimitExceeded: ``ttl`` is longer than ``capabilities.max_ttl``.
            StoreFull: the store has no room for another lease.
            Unavailable: the store can't be reached. ``DeadlineExceeded`` if the time ran out.
            PermissionDenied: the store forbids the call. ``AuthenticationFailed`` if it no longer accepts the
                credentials.
            StoreClosed: the store was closed. ``UsedAfterFork`` if it belongs to the parent process.
        """
        check_callback("on_lost", on_lost)
        return self._take_lease(Lease, ttl, keep_alive=keep_alive, margin=margin, on_lost=on_lost, timeout=timeout)

    def _take_lease(
        self,
        make: Callable[..., L],
        ttl: float,
        *,
        keep_alive: bool,
        margin: float,
        on_lost: Callable[[Any], object] | None,
        timeout: float | None,
    ) -> L:
        """Take a lease with the face that ``make`` gives it."""
        if not isinstance(ttl, int | float) or not 0 < ttl <= sys.float_info.max:
            raise InvalidArgument(
                f"taking a lease: a TTL is a positive, finite number of seconds, not {shown(ttl)}; give such a number"
            )
        if not isinstance(margin, int | float) or not 0 <= margin < ttl / 2:
            raise InvalidArgument(
                f"taking a lease: margin={shown(margin)} is no number of seconds from 0 to half of the TTL, {ttl:g} s; "
                "give such a number"
            )
        limits = self._capabilities
        if ttl > limits.max_ttl:
            raise LimitExceeded(
                f"taking a lease: this store takes a TTL of at most {limits.max_ttl:g} s, not {ttl:g} s; give a "
                "shorter one"
            )
        wanted = max(float(ttl), limits.min_ttl)
        if limits.ttl_granularity > 0:
            wanted = min(math.ceil(wanted / limits.ttl_granularity - 1e-9) * limits.ttl_granularity, limits.max_ttl)
        started = 0.0

        def attempt(seconds: float) -> LeaseGrant:
            nonlocal started
            started = self._clock.now()
            return self._backend.grant(wanted, timeout=seconds)

        # An unanswered grant leaves at worst a lease without keys, which expires: asking again is safe.
        grant = self._read("grant", attempt, timeout)
        lease = make(
            grant,
            requested_ttl=float(ttl),
            max_lifetime_after_refresh=limits.max_lifetime_after_refresh(grant.ttl),
            keep_alive=keep_alive,
            started=started,
            margin=float(margin),
            clock=self._clock,
            keeper=self._keeper,
            on_lost=on_lost,
        )
        try:
            self._keeper.add(lease)
            return lease  # in here: an interrupt on this line, too, leaves a lease that no caller has
        except BaseException:  # an interrupt: the caller doesn't get the lease, so nothing may refresh it
            lease.abandon()
            raise

    def leases(self, *, timeout: float | None = None) -> tuple[LeaseInfo, ...]:
        """List all leases that are alive in the store, of every client, with their keys in this namespace.

        Args:
            timeout: seconds that the call may take; by default the store's timeout.

        Returns:
            The leases as the store sees them.

        Raises:
            Unsupported: the store does not declare ``list_leases``.
            Unavailable: the store can't be reached. ``DeadlineExceeded`` if the time ran out.
            PermissionDenied: the store forbids the call. ``AuthenticationFailed`` if it no longer accepts the
                credentials.
            StoreClosed: the store was closed. ``UsedAfterFork`` if it belongs to the parent process.
        """
        found = self._read("leases", lambda seconds: self._backend.leases(None, timeout=seconds), timeout)
        return tuple(self._local_lease(info) for info in found)

    def describe_lease(self, lease: HeldLease | LeaseId, *, timeout: float | None = None) -> LeaseInfo:
        """Read one lease as the store sees it, with its keys in this namespace.

        Args:
            lease: the lease or its id; any client may hold it.
            timeout: seconds that the call may take; by default the store's timeout.

        Returns:
            TTL, remaining time in seconds and keys.

        Raises:
            LeaseNotFound: no lease with this id is alive.
            InvalidArgument: ``lease`` names no lease.
            Unsupported: the store does not declare ``list_leases``.
            Unavailable: the store can't be reached. ``DeadlineExceeded`` if the time ran out.
            PermissionDenied: the store forbids the call. ``AuthenticationFailed`` if it no longer accepts the
                credentials.
            StoreClosed: the store was closed. ``UsedAfterFork`` if it belongs to the parent process.
        """
        wanted = _required_id(lease)
        found = self._read("leases", lambda seconds: self._backend.leases(wanted, timeout=seconds), timeout)
        if not found:
            raise LeaseNotFound(
                f"describing the lease {wanted!r}: no lease {wanted!r} is alive in this store; the lease expired, was "
                "revoked, or belongs to another store"
            )
        return self._local_lease(found[0])

    def revoke_lease(self, lease: HeldLease | LeaseId, *, timeout: float | None = None) -> None:
        """End a lease of any client now: the store deletes its keys in one transaction.

        Args:
            lease: the lease or its id; any client may hold it. A :class:`tenure.Lease` that has ended is ignored.
            timeout: seconds that the call may take; by default the store's timeout.

        Raises:
            LeaseNotFound: no lease with this id is alive; nothing was changed.
            InvalidArgument: ``lease`` names no lease; nothing was sent.
            OutcomeUnknown: the call was sent and no answer came; the lease may have ended. Revoking again is safe.
            Unavailable: the store can't be reached. ``DeadlineExceeded`` if the time ran out.
            PermissionDenied: the store forbids the call. ``AuthenticationFailed`` if it no longer accepts the
                credentials.
            StoreClosed: the store was closed. ``UsedAfterFork`` if it belongs to the parent process.
        """
        wanted = _required_id(lease)
        if isinstance(lease, HeldLease):
            lease.revoke_now(timeout)
            return
        attempts = 0

        def attempt(seconds: float) -> frozenset[LeaseId]:
            nonlocal attempts
            attempts += 1
            return self._backend.revoke([wanted], timeout=seconds)

        revoked = self._read("revoke", attempt, timeout)
        held = self._keeper.find(wanted)
        if held is not None:  # this store object's own: its holder would only learn of it by the next refresh
            held.mark_lost("it was revoked by its id")
        if not revoked and attempts == 1:  # a second attempt may find the work of the first, whose answer got lost
            raise LeaseNotFound(
                f"revoking the lease {wanted!r}: no lease {wanted!r} is alive in this store; the lease expired, was "
                "revoked, or belongs to another store"
            )

    # -- watching ----------------------------------------------------------------------------------

    def watch(
        self,
        prefix: str = "",
        *,
        exact: bool = False,
        previous: bool = False,
        after: int | None = None,
        callback: watch_callback.WatchCallback | None = None,
        on_error: watch_callback.ErrorCallback | None = None,
        on_outage: watch_callback.OutageCallback | None = None,
        max_pending: int = MAX_ENTRIES,
        timeout: float | None = None,
    ) -> Watch:
        """Watch the keys that start with ``prefix``: first the present state, then SYNCED, then changes in order.

        The watch survives reconnects, restarts and compactions, and never silently loses a change. After a gap it
        delivers the difference as a RESYNC batch, deletes included. Iterate over the result, or give ``callback``.

        Args:
            prefix: the string that the keys start with; ``""`` for every key of the namespace.
            exact: watch only the key that equals ``prefix``, not those that start with it.
            previous: whether events carry the value before the change. Needs memory for all values of the prefix.
            after: deliver no present state, but every change after this revision. Needs a store that declares
                ``lossless_watch``, and excludes ``previous``.
            callback: called with each batch, in order, on the store's pool of threads. What it raises is logged.
            on_error: called once with the error that ended the watch, after the last batch.
            on_outage: called with the error that keeps the watch from the store, and with ``None`` once it is connected
                again. Like ``on_error`` it needs ``callback``.
            max_pending: how many changes may wait for a slow consumer, 64 MiB of values at most. More are replaced by a
                RESYNC batch; with ``after`` the watch resumes after its last revision instead.
            timeout: seconds that opening the watch may take; by default the store's timeout.

        Returns:
            The open watch. Close it when done, or use it in ``with``.

        Raises:
            InvalidKey: the prefix is too long or not valid text.
            InvalidArgument: ``after`` or ``max_pending`` is not a number in its range, or ``previous`` comes with
                ``after``.
            Unsupported: ``after`` was given, and the store does not declare ``lossless_watch``.
            Compacted: the store's history no longer has the changes after ``after``. ``HistoryReplaced`` if the store's
                data were lost or replaced by a backup since.
            Unavailable: the store can't be reached. ``DeadlineExceeded`` if the time ran out.
            PermissionDenied: the store forbids the call. ``AuthenticationFailed`` if it no longer accepts the
                credentials.
            StoreClosed: the store was closed. ``UsedAfterFork`` if it belongs to the parent process.
        """
        driver = None
        for name, function in (("callback", callback), ("on_error", on_error), ("on_outage", on_outage)):
            check_callback(name, function)
        if callback is not None:
            driver = watch_callback.CallbackWatch(callback, on_error, on_outage, self._threads)
        return self._open_watch(WatchArguments(prefix, exact, previous, after, max_pending), timeout, driver)

    def _open_watch(
        self, arguments: WatchArguments, timeout: float | None, driver: watch_callback.Driver | None
    ) -> Watch:
        """Open a watch. Without a driver the application's thread drives it, in :meth:`Watch.next`."""
        arguments.check(lossless=self._capabilities.lossless_watch)
        self._check_process()
        return self._open_watches.open(arguments, driver, timeout=self._seconds(timeout))

    def _open_feed(self, prefix: str, sink: Sink, timeout: float | None) -> Feed:
        """Open a feed without a watch, for recipes: see :meth:`OpenWatches.open_feed`."""
        check_prefix(prefix)
        self._check_process()
        return self._open_watches.open_feed(prefix, sink, timeout=self._seconds(timeout))

    # -- closing -----------------------------------------------------------------------------------

    def close(self, *, timeout: float | None = None) -> None:
        """End watches, revoke this store's leases, release connections and threads. Idempotent.

        If the store is down, leases that could not be revoked expire. Does nothing in a forked child. A registry on
        this store is no longer registered; close it first.

        Args:
            timeout: seconds for revoking leases and for callbacks that are running, together; default: the store's
                timeout.

        Raises:
            InvalidArgument: ``timeout`` is not a positive number.
        """
        if self._inherited:
            return  # inherited connections belong to the parent
        deadline = Deadline(self._seconds(timeout))
        with self._lock:
            if self._closed:
                return
            self._closed = True
        try:
            self._close(deadline)
        except BaseException:  # an interrupt: what is left of the close is done without the caller
            after_interrupted_call(lambda: self._close(Deadline(deadline.seconds)), f"closing {self._url}")
            raise

    def _close(self, deadline: Deadline) -> None:
        """End everything. May be called again after an interrupt."""
        for tell in tuple(self._before_close):
            tell()
        self._open_watches.close()
        leases = self._keeper.stop(deadline)
        self._timers.close()
        try:
            self._end(leases, deadline)
        except CallInterrupted:  # by a signal handler, in the middle of a call that holds what this needs
            after_interrupted_call(lambda: self._end(leases, Deadline(deadline.seconds)), f"closing {self._url}")

    def _end(self, leases: Sequence[LeaseId], deadline: Deadline) -> None:
        self._keeper.revoke_all(leases, deadline)
        self._connecting.close(deadline)
        self._losses.close(deadline)  # first: what is told of a session's loss is called by the other pool
        self._callbacks.close(deadline)
        try:
            self._backend.close()
        except CallInterrupted:
            raise
        except Exception as exc:
            if interruption(exc) is not None:
                raise
            _log.exception("the plugin failed to close %s", self._url)
        self._observers.tell("store_closed")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Store {self._url}{' (closed)' if self._closed else ''}>"

    # -- on every call -----------------------------------------------------------------------------

    @property
    def _inherited(self) -> bool:
        """Whether this process is a fork of the one that opened the store, or is ending: its threads are gone."""
        return left_behind(self._fork_generation)

    def _check_fork(self) -> None:
        if is_finalizing():
            raise StoreClosed(
                f"using {self._url}: the interpreter is ending, and has stopped the threads of the store; call it "
                "before the program ends, or in a function of atexit"
            )
        if self._inherited:
            raise UsedAfterFork(
                f"using {self._url}: the store was opened before the process forked, and connections can't be shared; "
                "call connect() again in the child"
            )

    def _check_process(self) -> None:
        self._check_fork()
        if self._closed:
            raise StoreClosed(f"using {self._url}: the store {self._url} is closed; call connect() again")

    def _seconds(self, timeout: float | None) -> float:
        return self._timeout if timeout is None else retry.check_timeout(timeout)

    def _read(self, operation: str, call: Callable[[float], T], timeout: float | None, batch_size: int = 1) -> T:
        return self._run(operation, retry.read, call, timeout, batch_size)

    def _run(
        self,
        operation: str,
        policy: Callable[[Callable[[float], T], float, Clock], T],
        call: Callable[[float], T],
        timeout: float | None,
        batch_size: int = 1,
    ) -> T:
        if self._closed or self._fork_generation != fork_generation.value or is_finalizing():
            self._check_process()
        if self._abandoned:
            self._callbacks.submit(self._open_watches.close_abandoned)  # which may wait for the server
        seconds = self._timeout if timeout is None else retry.check_timeout(timeout)
        if not self._observers.active:
            return policy(call, seconds, self._clock)
        return self._observers.operation(operation, batch_size, policy, call=call, seconds=seconds, clock=self._clock)

    def _strand(self, function: Callable[[], object]) -> Strand:
        """Return what runs ``function`` on the pool for callbacks, never twice at a time. For the registry."""
        return Strand(self._callbacks.submit, function)

    def _local_lease(self, info: LeaseInfo) -> LeaseInfo:
        own = tuple(key[self._strip :] for key in info.keys if key.startswith(self._prefix))
        return LeaseInfo(info.lease_id, info.ttl, info.remaining, own)


def _required_id(lease: HeldLease | LeaseId) -> LeaseId:
    """Return the id of the lease that is meant. ``None``, which elsewhere means no lease, is refused here."""
    found = lease_id(lease)
    if not found:
        raise InvalidArgument(f"lease={lease!r}: no lease is named; pass what store.lease() returned, or its id")
    return found
