"""The API that applications use: a store opened by ``tenure.connect(url)``.

Everything that can be done once for all stores happens on the way from here to the plugin: names are checked
and put into their namespace, sizes are checked against what the opened store takes, every call gets a
deadline, what is safe to repeat is repeated until then, leases are kept alive, watches are kept going.

Every method takes ``timeout`` in seconds (default: what ``connect`` was given) and raises, besides what it
names itself: ``InvalidKey``, ``InvalidArgument``, ``Unavailable`` (nothing was applied), ``DeadlineExceeded``,
``AuthenticationFailed``, ``PermissionDenied``, ``StoreClosed``, ``UsedAfterFork``. All are thread-safe.
"""

from __future__ import annotations

import logging
import math
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Self, TypeVar

from tenure._client.keys import check_key, check_prefix
from tenure._client.observers import Observers
from tenure._client.pagination import Listing, Pager
from tenure._client.transaction import TransactionBuilder, lease_id
from tenure._client.validation import check_distinct, named_by_caller, prepare
from tenure._runtime import fork, retry
from tenure._runtime.clock import Clock, SystemClock
from tenure._runtime.deadline import Deadline
from tenure._runtime.executor import CallbackExecutor
from tenure.errors import (
    Conflict,
    InvalidArgument,
    LeaseNotFound,
    LimitExceeded,
    PartiallyApplied,
    StoreClosed,
    TenureError,
    Unsupported,
    UsedAfterFork,
)
from tenure.leases.keepalive import LeaseKeepAlive
from tenure.leases.lease import Lease
from tenure.spi.backend import Backend
from tenure.spi.capabilities import Capabilities
from tenure.spi.types import (
    CommitResult,
    Delete,
    KeyAbsent,
    KeyValue,
    LeaseGrant,
    LeaseId,
    LeaseInfo,
    Operation,
    Page,
    Precondition,
    Put,
    ReadResult,
    RevisionEquals,
    ServerInfo,
    Transaction,
)
from tenure.watch import callbacks as watch_callback
from tenure.watch.buffer import MAX_ENTRIES
from tenure.watch.diff import local
from tenure.watch.engine import Watch, WatchSettings

T = TypeVar("T")

DEFAULT_TIMEOUT = 5.0
"""Seconds that a call may take unless the caller says otherwise."""

_log = logging.getLogger("tenure._client.store")
_SCAN_PAGE = 500


class Store:
    """An opened store. Close it when done, or use it in ``with``: closing revokes its leases, ends its watches
    and leaves no thread behind. A process that dies without closing leaves its leases to expire."""

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
        self._epoch = fork.epoch.value
        self._closed = False
        self._lock = threading.Lock()
        self._watches: set[Watch] = set()
        self._watch_threads: weakref.WeakSet[threading.Thread] = weakref.WeakSet()
        self._capabilities = backend.capabilities
        self._pager = Pager(self._page, pinned=self._capabilities.consistent_pagination, strip=self._strip)
        self._executor = CallbackExecutor("tenure")
        self._keeper = LeaseKeepAlive(
            backend,
            clock=clock,
            executor=self._executor,
            timeout=timeout,
            name="tenure",
            on_lost=lambda lease: observers.lease_lost(lease.id, lease.reason),
        )

        observers.store_opened()

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
        """A store over a backend that is open already: for tests of plugins.

        Args:
            backend: an opened backend. Closing the store closes it.
            url: what the store calls itself in messages.
            prefix: text in front of every key, as a namespace puts it there.
            timeout: default of every call, in seconds.
            clock: what leases and waits go by; the system's clock by default.
            observers: objects with observer hooks (``tenure.hookspecs``).

        Raises:
            ConfigError: an observer has no hook.
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
        """The URL it was opened with, any password replaced by ``***``."""
        return self._url

    @property
    def capabilities(self) -> Capabilities:
        """What this opened store promises, and its limits."""
        return self._capabilities

    @property
    def clock(self) -> Clock:
        """The clock that leases and ages are measured with."""
        return self._clock

    @property
    def timeout(self) -> float:
        """Seconds that a call may take unless it says otherwise."""
        return self._timeout

    @property
    def closed(self) -> bool:
        """Whether :meth:`close` was called."""
        return self._closed

    @property
    def native(self) -> object:
        """The client library's own object, for what this API lacks. Raises ``Unsupported`` if there is none."""
        self._check_process()
        return self._backend.native

    def server_info(self, *, timeout: float | None = None) -> ServerInfo:
        """Version, revision, clock and risky settings of the server."""
        return self._read("server_info", lambda seconds: self._backend.server_info(timeout=seconds), timeout)

    # -- reading -----------------------------------------------------------------------------------

    def get(self, key: str, *, timeout: float | None = None) -> KeyValue | None:
        """The key as it is now, ``None`` if it doesn't exist. An empty value is not a missing key."""
        return self.get_with_revision(key, timeout=timeout).item

    def get_with_revision(self, key: str, *, timeout: float | None = None) -> ReadResult:
        """Like :meth:`get`, with the store revision at which the answer, missing keys included, was true."""
        check_key(key)
        physical = self._prefix + key
        found = self._read("get", lambda seconds: self._backend.get(physical, timeout=seconds), timeout)
        if self._strip and found.item is not None:
            return ReadResult(local(found.item, self._strip), found.revision)
        return found

    def list(self, prefix: str = "", *, limit: int | None = None, timeout: float | None = None) -> Listing:
        """Keys that start with the string ``prefix``, in UTF-8 byte order: ``foo`` matches ``foobar`` too.

        One point in time where ``consistent_list`` is declared and ``limit`` is ``None``, at ``revision`` of the
        answer. With ``limit`` at most so many; ``has_more`` tells whether there are others.
        """
        check_prefix(prefix)
        if limit is not None and (not isinstance(limit, int) or limit < 1):
            raise InvalidArgument(f"limit is a number of keys, at least 1, not {limit!r}")
        return self._pager.all(self._prefix + prefix, limit, self._seconds(timeout))

    def scan(
        self, prefix: str = "", *, page_size: int = _SCAN_PAGE, timeout: float | None = None
    ) -> Iterator[KeyValue]:
        """Like :meth:`list`, a page at a time, for more keys than should be in memory at once.

        Where ``consistent_pagination`` is declared, all pages show the revision of the first, and a scan so slow that
        the store has dropped that revision raises ``Compacted``. Elsewhere each page is as of when it was read:
        no key is seen twice, and one that exists all the while is seen. ``timeout`` is for each page.
        """
        check_prefix(prefix)
        if not isinstance(page_size, int) or page_size < 1:
            raise InvalidArgument(f"page_size is a number of keys, at least 1, not {page_size!r}")
        return self._pager.each(self._prefix + prefix, page_size, self._seconds(timeout))

    def _page(self, prefix: str, after: str | None, limit: int | None, revision: int | None, seconds: float) -> Page:
        return self._read(
            "list",
            lambda attempt: self._backend.list(prefix, after=after, limit=limit, revision=revision, timeout=attempt),
            seconds,
        )

    # -- writing -----------------------------------------------------------------------------------

    def put(
        self, key: str, value: bytes, *, lease: Lease | LeaseId | None = None, timeout: float | None = None
    ) -> CommitResult:
        """Set ``key``. Without a lease the key is detached from the one it had.

        Raises ``OutcomeUnknown``, ``LeaseLost`` or ``LeaseNotFound``, ``LimitExceeded``, ``StoreFull``.
        """
        return self._write((), (Put(key, value, lease_id(lease)),), lease, timeout)

    def put_if_absent(
        self, key: str, value: bytes, *, lease: Lease | LeaseId | None = None, timeout: float | None = None
    ) -> CommitResult:
        """Set ``key`` only if it doesn't exist, else ``Conflict``: of many callers one wins. Errors as :meth:`put`."""
        return self._write((KeyAbsent(key),), (Put(key, value, lease_id(lease)),), lease, timeout)

    def put_if_unchanged(
        self,
        key: str,
        value: bytes,
        *,
        revision: int,
        lease: Lease | LeaseId | None = None,
        timeout: float | None = None,
    ) -> CommitResult:
        """Compare-and-set: only if the key's ``mod_revision`` is still ``revision``, else ``Conflict``.

        Errors as for :meth:`put`.
        """
        return self._write((RevisionEquals(key, revision),), (Put(key, value, lease_id(lease)),), lease, timeout)

    def delete(self, key: str, *, revision: int | None = None, timeout: float | None = None) -> CommitResult:
        """Make ``key`` not exist; ``deleted`` of the answer is 0 if it didn't. With ``revision`` only if the key
        was last put at it, else ``Conflict``. Raises ``OutcomeUnknown``."""
        preconditions = () if revision is None else (RevisionEquals(key, revision),)
        return self._write(preconditions, (Delete(key),), None, timeout)

    def delete_prefix(
        self, prefix: str, *, allow_empty_prefix: bool = False, timeout: float | None = None
    ) -> CommitResult:
        """Delete the keys that start with ``prefix`` and were there when it began.

        Not one transaction: each batch is, of as many keys as the store takes.

        Args:
            prefix: what the keys start with. The empty prefix means every key of the namespace.
            allow_empty_prefix: confirms that an empty prefix is meant.
            timeout: seconds for all of it; default: the store's.

        Returns:
            ``deleted``: how many keys were deleted; ``revision``: the store's revision after the last batch.

        Raises:
            InvalidArgument: an empty prefix wasn't confirmed.
            PartiallyApplied: some batches were applied, then an error stopped it. Deleting again is safe.
            OutcomeUnknown: the first batch was sent and no answer came.
        """
        if not prefix and not allow_empty_prefix:
            raise InvalidArgument(
                "delete_prefix('') would delete every key: say allow_empty_prefix=True if that is meant"
            )
        deadline = Deadline(self._seconds(timeout))
        listing = self.list(prefix, timeout=deadline.remaining())
        keys = listing.keys
        size = min(self._capabilities.max_transaction_operations, _SCAN_PAGE)
        deleted, revision = 0, listing.revision
        for start in range(0, len(keys), size):
            operations = tuple(Delete(key) for key in keys[start : start + size])
            try:
                deadline.check(f"deleting {len(keys)} keys")
                done = self._write((), operations, None, deadline.remaining())
            except TenureError as exc:
                if not deleted:
                    raise
                raise PartiallyApplied(
                    f"deleting keys under {prefix!r}: {deleted} of {len(keys)} were deleted, then: {exc}. Deleting "
                    "again is safe",
                    deleted=deleted,
                ) from exc
            deleted, revision = deleted + done.deleted, done.revision
        return CommitResult(revision, deleted)

    def transaction(self) -> TransactionBuilder:
        """Begin a transaction of several guards, puts and deletes; finish it by ``commit()``."""
        self._check_process()
        return TransactionBuilder(self._commit_built)

    def _commit_built(self, transaction: Transaction, leases: tuple[Lease, ...], timeout: float | None) -> CommitResult:
        for lease in leases:
            lease.ensure_valid()
        check_distinct(transaction.operations)
        return self._write(transaction.preconditions, transaction.operations, None, timeout)

    def _write(
        self,
        preconditions: tuple[Precondition, ...],
        operations: tuple[Operation, ...],
        lease: Lease | LeaseId | None,
        timeout: float | None,
    ) -> CommitResult:
        if isinstance(lease, Lease):
            lease.ensure_valid()
        transaction = prepare(preconditions, operations, self._prefix, self._capabilities)

        def attempt(seconds: float) -> CommitResult:
            try:
                return self._backend.commit(transaction, timeout=seconds)
            except Conflict as exc:
                named_by_caller(exc, preconditions, transaction)
                raise

        try:
            return self._run("commit", retry.write, attempt, timeout)
        except LeaseNotFound as exc:
            self._mark_lost(operations, exc)
            raise

    def _mark_lost(self, operations: tuple[Operation, ...], error: LeaseNotFound) -> None:
        """The store refused a put for its lease: a lease of ours that it names is lost, whatever our clock says."""
        named = {operation.lease_id for operation in operations if isinstance(operation, Put) and operation.lease_id}
        if len(named) == 1:
            lease = self._keeper.find(named.pop())
            if lease is not None:
                lease.mark_lost(str(error))

    # -- leases ------------------------------------------------------------------------------------

    def lease(
        self,
        ttl: float,
        *,
        keep_alive: bool = True,
        on_lost: Callable[[Lease], object] | None = None,
        timeout: float | None = None,
    ) -> Lease:
        """A lease of ``ttl`` seconds that is refreshed in the background until it is revoked or the store closed.

        The store may give a longer ttl (``lease.ttl``). ``on_lost(lease)`` is called once, on a thread for
        callbacks, if the lease is lost. With ``keep_alive=False`` only ``lease.refresh()`` keeps it.
        Raises ``LimitExceeded`` for a ttl longer than the store takes.
        """
        if not isinstance(ttl, int | float) or not 0 < ttl < math.inf:
            raise InvalidArgument(f"a ttl is a positive, finite number of seconds, not {ttl!r}")
        limits = self._capabilities
        if ttl > limits.max_ttl:
            raise LimitExceeded(f"a ttl of {ttl:g} s is longer than this store takes: at most {limits.max_ttl:g} s")
        wanted = max(float(ttl), limits.min_ttl)
        if limits.ttl_granularity > 0:
            wanted = min(math.ceil(wanted / limits.ttl_granularity - 1e-9) * limits.ttl_granularity, limits.max_ttl)
        started = 0.0

        def attempt(seconds: float) -> LeaseGrant:
            nonlocal started
            started = self._clock.now()
            return self._backend.grant(wanted, timeout=seconds)

        # An unanswered grant leaves at worst a lease without keys, which ends by itself: asking again is safe.
        grant = self._read("grant", attempt, timeout)
        lease = Lease(
            grant,
            requested_ttl=float(ttl),
            max_lifetime_after_refresh=limits.max_lifetime_after_refresh(grant.ttl),
            keep_alive=keep_alive,
            started=started,
            clock=self._clock,
            keeper=self._keeper,
            on_lost=on_lost,
        )
        self._keeper.add(lease)
        return lease

    def leases(self, *, timeout: float | None = None) -> tuple[LeaseInfo, ...]:
        """All leases in the store, whoever holds them, with their keys. Raises ``Unsupported`` where undeclared."""
        found = self._read("leases", lambda seconds: self._backend.leases(None, timeout=seconds), timeout)
        return tuple(self._local_lease(info) for info in found)

    def describe_lease(self, lease: Lease | LeaseId, *, timeout: float | None = None) -> LeaseInfo:
        """One lease as the store sees it. Raises ``LeaseNotFound``, or ``Unsupported`` where undeclared."""
        wanted = _one(lease)
        found = self._read("leases", lambda seconds: self._backend.leases(wanted, timeout=seconds), timeout)
        if not found:
            raise LeaseNotFound(f"no lease {wanted!r} is alive in this store")
        return self._local_lease(found[0])

    def revoke_lease(self, lease: Lease | LeaseId, *, timeout: float | None = None) -> None:
        """End a lease by its id, whoever holds it: its keys are deleted. Raises ``LeaseNotFound``."""
        wanted = _one(lease)
        if isinstance(lease, Lease):
            lease.revoke(timeout=timeout)
            return
        attempts = 0

        def attempt(seconds: float) -> frozenset[LeaseId]:
            nonlocal attempts
            attempts += 1
            return self._backend.revoke([wanted], timeout=seconds)

        revoked = self._read("revoke", attempt, timeout)
        if not revoked and attempts == 1:  # a second attempt may find the work of the first, whose answer got lost
            raise LeaseNotFound(f"no lease {wanted!r} is alive in this store")

    # -- watching ----------------------------------------------------------------------------------

    def watch(
        self,
        prefix: str = "",
        *,
        previous: bool = False,
        after: int | None = None,
        callback: watch_callback.WatchCallback | None = None,
        on_error: watch_callback.ErrorCallback | None = None,
        max_pending: int = MAX_ENTRIES,
        timeout: float | None = None,
    ) -> Watch:
        """Watch the keys that start with ``prefix``: first the present state, then that it is in sync, then changes.

        Goes on over reconnects, restarts and compactions until closed; a gap is told as a RESYNC batch.
        Iterate over the result, or give ``callback``: it is called with each batch, in order, on a thread of
        its own, and ``on_error`` once if the watch can't go on. With ``previous=True`` events carry the value
        before. ``max_pending`` bounds the changes that wait for a slow consumer.

        With ``after=revision`` there is no state first but every change after that revision; it needs a store
        that declares ``lossless_watch`` (else ``Unsupported``), raises ``Compacted`` when the store's history
        doesn't reach back, and can't be combined with ``previous``. ``timeout`` is for opening the watch.
        """
        check_prefix(prefix)
        self._check_process()
        if after is not None:
            if not isinstance(after, int) or after < 0:
                raise InvalidArgument(f"after is a revision of this store, not {after!r}")
            if previous:
                raise InvalidArgument("a watch after a revision can't tell previous values: leave out one of the two")
            if not self._capabilities.lossless_watch:
                raise Unsupported("this store doesn't keep every revision: watch without 'after'")
        if not isinstance(max_pending, int) or max_pending < 1:
            raise InvalidArgument(f"max_pending is a number of changes, at least 1, not {max_pending!r}")
        watch = Watch(
            self._backend,
            WatchSettings(self._prefix + prefix, self._strip, previous, after, max_pending),
            clock=self._clock,
            timeout=self._seconds(timeout),
            check_process=self._check_fork,
            on_resync=lambda reason: self._observers.watch_resynced(prefix, reason),
            on_close=self._forget_watch,
        )
        with self._lock:
            if not watch.closed:
                self._watches.add(watch)
            if callback is not None:
                self._watch_threads.add(watch_callback.start(watch, callback, on_error, name="tenure"))
        if self._closed:
            watch.close()
        return watch

    def _forget_watch(self, watch: Watch) -> None:
        with self._lock:
            self._watches.discard(watch)

    # -- closing -----------------------------------------------------------------------------------

    def close(self) -> None:
        """End watches, revoke leases, release connections and threads. Idempotent; a store that is down is no error."""
        if self._epoch != fork.epoch.value:
            return  # what was inherited belongs to the parent
        with self._lock:
            if self._closed:
                return
            self._closed = True
            watches, threads = list(self._watches), list(self._watch_threads)
        for watch in watches:
            watch.close()
        self._keeper.close()
        self._executor.close()
        deadline = time.monotonic() + self._timeout
        for thread in threads:
            if thread is not threading.current_thread():
                thread.join(max(0.0, deadline - time.monotonic()))
        try:
            self._backend.close()
        except Exception:  # noqa: BLE001 - whatever a plugin raises here, the store is closed
            _log.exception("the plugin failed to close %s", self._url)
        self._observers.store_closed()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Store {self._url}{' (closed)' if self._closed else ''}>"

    # -- on every call -----------------------------------------------------------------------------

    def _check_fork(self) -> None:
        if self._epoch != fork.epoch.value:
            raise UsedAfterFork(
                "this store was opened before the process forked, and connections can't be shared: call connect() "
                "again in the child"
            )

    def _check_process(self) -> None:
        self._check_fork()
        if self._closed:
            raise StoreClosed(f"the store {self._url} is closed")

    def _seconds(self, timeout: float | None) -> float:
        return self._timeout if timeout is None else retry.check_timeout(timeout)

    def _read(self, operation: str, call: Callable[[float], T], timeout: float | None) -> T:
        return self._run(operation, retry.read, call, timeout)

    def _run(
        self,
        operation: str,
        policy: Callable[[Callable[[float], T], float, Clock], T],
        call: Callable[[float], T],
        timeout: float | None,
    ) -> T:
        if self._closed or self._epoch != fork.epoch.value:
            self._check_process()
        seconds = self._timeout if timeout is None else retry.check_timeout(timeout)
        if not self._observers.active:
            return policy(call, seconds, self._clock)
        started = time.monotonic()
        error: TenureError | None = None
        try:
            return policy(call, seconds, self._clock)
        except TenureError as exc:
            error = exc
            raise
        finally:
            self._observers.operation_finished(operation, time.monotonic() - started, error)

    def _local_lease(self, info: LeaseInfo) -> LeaseInfo:
        own = tuple(key[self._strip :] for key in info.keys if key.startswith(self._prefix))
        return LeaseInfo(info.lease_id, info.ttl, info.remaining, own)


def _one(lease: Lease | LeaseId) -> LeaseId:
    """The id of the lease that is meant; ``None``, which means no lease elsewhere, names none here."""
    found = lease_id(lease)
    if not found:
        raise InvalidArgument(f"name a lease: what store.lease() returned, or its id, not {lease!r}")
    return found
