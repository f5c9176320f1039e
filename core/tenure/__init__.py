"""Coordination for Python: keys, leases and watches on interchangeable stores.

Public API; everything in a module or folder that starts with ``_`` is private.

>>> import tenure
>>> with tenure.connect("memory://") as store:
...     store.put("greeting", b"hello").deleted
...     store.get("greeting").value
0
b'hello'
"""

from importlib import import_module
from typing import TYPE_CHECKING

from tenure._client.opening import connect
from tenure._client.pagination import Listing
from tenure._client.store import Store
from tenure._client.transaction import TransactionBuilder
from tenure._runtime.clock import Clock, ManualClock, SystemClock
from tenure.errors import (
    AlreadyHeld,
    AlreadyRegistered,
    AuthenticationFailed,
    CallInterrupted,
    Compacted,
    ConfigError,
    Conflict,
    DeadlineExceeded,
    HistoryReplaced,
    InvalidArgument,
    InvalidKey,
    LeaseLost,
    LeaseNotFound,
    LimitExceeded,
    MalformedEntry,
    NoInstanceAvailable,
    OutcomeUnknown,
    PartiallyApplied,
    PermissionDenied,
    PluginError,
    RegistrationReplaced,
    RegistryError,
    ServiceNotFound,
    StoreClosed,
    StoreCorrupted,
    StoreFull,
    TenureError,
    Unavailable,
    UnknownScheme,
    Unsupported,
    UsedAfterFork,
    WaitTimeout,
)
from tenure.leases import Lease, LeaseState
from tenure.spi.capabilities import Capabilities
from tenure.spi.types import CommitResult, KeyValue, LeaseInfo, MultiReadResult, ReadResult, ServerInfo
from tenure.watch import Batch, BatchType, Event, EventType, Watch

if TYPE_CHECKING:
    from tenure.recipes import (
        BYTES,
        JSON,
        TEXT,
        AtomicValue,
        Barrier,
        CachedPrefix,
        CachedValue,
        Claim,
        Codec,
        CountDownLatch,
        Counter,
        DeadLetter,
        DoubleBarrier,
        Election,
        Fence,
        Gate,
        Group,
        Held,
        IdBlock,
        Leader,
        Lock,
        Member,
        MultiLock,
        Partitioner,
        PersistentKey,
        RateLimiter,
        ReadWriteLock,
        Schedule,
        Semaphore,
        Session,
        TransactView,
        WorkQueue,
        once,
        transact,
    )

__version__ = "0.1.0"

__all__ = [
    "BYTES",
    "JSON",
    "TEXT",
    "AlreadyHeld",
    "AlreadyRegistered",
    "AtomicValue",
    "AuthenticationFailed",
    "Barrier",
    "Batch",
    "BatchType",
    "CachedPrefix",
    "CachedValue",
    "CallInterrupted",
    "Capabilities",
    "Claim",
    "Clock",
    "Codec",
    "CommitResult",
    "Compacted",
    "ConfigError",
    "Conflict",
    "CountDownLatch",
    "Counter",
    "DeadLetter",
    "DeadlineExceeded",
    "DoubleBarrier",
    "Election",
    "Event",
    "EventType",
    "Fence",
    "Gate",
    "Group",
    "Held",
    "HistoryReplaced",
    "IdBlock",
    "InvalidArgument",
    "InvalidKey",
    "KeyValue",
    "Leader",
    "Lease",
    "LeaseInfo",
    "LeaseLost",
    "LeaseNotFound",
    "LeaseState",
    "LimitExceeded",
    "Listing",
    "Lock",
    "MalformedEntry",
    "ManualClock",
    "Member",
    "MultiLock",
    "MultiReadResult",
    "NoInstanceAvailable",
    "OutcomeUnknown",
    "PartiallyApplied",
    "Partitioner",
    "PermissionDenied",
    "PersistentKey",
    "PluginError",
    "RateLimiter",
    "ReadResult",
    "ReadWriteLock",
    "RegistrationReplaced",
    "RegistryError",
    "Schedule",
    "Semaphore",
    "ServerInfo",
    "ServiceNotFound",
    "Session",
    "Store",
    "StoreClosed",
    "StoreCorrupted",
    "StoreFull",
    "SystemClock",
    "TenureError",
    "TransactView",
    "TransactionBuilder",
    "Unavailable",
    "UnknownScheme",
    "Unsupported",
    "UsedAfterFork",
    "WaitTimeout",
    "Watch",
    "WorkQueue",
    "connect",
    "once",
    "transact",
]

_RECIPES = {
    "AtomicValue": "tenure.recipes.atomic_value",
    "BYTES": "tenure.recipes.codec",
    "Barrier": "tenure.recipes.barrier",
    "CachedPrefix": "tenure.recipes.cached",
    "CachedValue": "tenure.recipes.cached",
    "Codec": "tenure.recipes.codec",
    "CountDownLatch": "tenure.recipes.count_down_latch",
    "Counter": "tenure.recipes.counter",
    "Claim": "tenure.recipes.work_queue",
    "DeadLetter": "tenure.recipes.work_queue",
    "DoubleBarrier": "tenure.recipes.double_barrier",
    "Election": "tenure.recipes.election",
    "Group": "tenure.recipes.group",
    "Fence": "tenure.recipes.fencing",
    "Gate": "tenure.recipes.fencing",
    "Held": "tenure.recipes._holding",
    "IdBlock": "tenure.recipes.id_block",
    "JSON": "tenure.recipes.codec",
    "Leader": "tenure.recipes.election",
    "Lock": "tenure.recipes.lock",
    "Member": "tenure.recipes.group",
    "MultiLock": "tenure.recipes.multi_lock",
    "Partitioner": "tenure.recipes.partitioner",
    "PersistentKey": "tenure.recipes.persistent_key",
    "RateLimiter": "tenure.recipes.rate_limiter",
    "ReadWriteLock": "tenure.recipes.read_write_lock",
    "Schedule": "tenure.recipes.schedule",
    "Semaphore": "tenure.recipes.semaphore",
    "Session": "tenure.recipes.session",
    "TEXT": "tenure.recipes.codec",
    "TransactView": "tenure.recipes.transact",
    "once": "tenure.recipes.once",
    "transact": "tenure.recipes.transact",
    "WorkQueue": "tenure.recipes.work_queue",
}
"""Where each recipe is. A program that uses none imports none."""


def __getattr__(name: str) -> object:
    if name not in _RECIPES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(_RECIPES[name]), name)
    return found
