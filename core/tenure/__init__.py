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
from tenure._client.transaction import TransactionBuilder, TransactionDraft
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
from tenure.leases import HeldLease, Lease, LeaseState
from tenure.spi.capabilities import Capabilities
from tenure.spi.types import CommitResult, KeyValue, LeaseInfo, MultiReadResult, ReadResult, ServerInfo
from tenure.watch import Batch, BatchType, Event, EventType, Watch

if TYPE_CHECKING:
    from tenure.recipes import Election, Held, Leader, Lock, ReadWriteLock, Semaphore, Session

__version__ = "0.1.0"

__all__ = [
    "AlreadyHeld",
    "AlreadyRegistered",
    "AuthenticationFailed",
    "Batch",
    "BatchType",
    "CallInterrupted",
    "Capabilities",
    "Clock",
    "CommitResult",
    "Compacted",
    "ConfigError",
    "Conflict",
    "DeadlineExceeded",
    "Election",
    "Event",
    "EventType",
    "Held",
    "HeldLease",
    "HistoryReplaced",
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
    "MultiReadResult",
    "NoInstanceAvailable",
    "OutcomeUnknown",
    "PartiallyApplied",
    "PermissionDenied",
    "PluginError",
    "ReadResult",
    "ReadWriteLock",
    "RegistrationReplaced",
    "RegistryError",
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
    "TransactionBuilder",
    "TransactionDraft",
    "Unavailable",
    "UnknownScheme",
    "Unsupported",
    "UsedAfterFork",
    "WaitTimeout",
    "Watch",
    "connect",
]

_RECIPES = {
    "Election": "tenure.recipes.election",
    "Held": "tenure.recipes._holding",
    "Leader": "tenure.recipes.election",
    "Lock": "tenure.recipes.lock",
    "ReadWriteLock": "tenure.recipes.read_write_lock",
    "Semaphore": "tenure.recipes.semaphore",
    "Session": "tenure.recipes.session",
}
"""Where each recipe is. A program that uses none imports none."""


def __getattr__(name: str) -> object:
    if name not in _RECIPES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(_RECIPES[name]), name)
    return found
