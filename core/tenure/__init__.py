"""Coordination for Python: keys, leases and watches on interchangeable stores.

Public API; everything in a module or folder that starts with ``_`` is private.

>>> import tenure
>>> with tenure.connect("memory://") as store:
...     store.put("greeting", b"hello").deleted
...     store.get("greeting").value
0
b'hello'
"""

from tenure._client.opening import connect
from tenure._client.pagination import Listing
from tenure._client.store import Store
from tenure._client.transaction import TransactionBuilder
from tenure._runtime.clock import Clock, ManualClock, SystemClock
from tenure.errors import (
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
)
from tenure.leases import Lease, LeaseState
from tenure.spi.capabilities import Capabilities
from tenure.spi.types import CommitResult, KeyValue, LeaseInfo, MultiReadResult, ReadResult, ServerInfo
from tenure.watch import Batch, BatchType, Event, EventType, Watch

__version__ = "0.1.0"

__all__ = [
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
    "Event",
    "EventType",
    "HistoryReplaced",
    "InvalidArgument",
    "InvalidKey",
    "KeyValue",
    "Lease",
    "LeaseInfo",
    "LeaseLost",
    "LeaseNotFound",
    "LeaseState",
    "LimitExceeded",
    "Listing",
    "MalformedEntry",
    "ManualClock",
    "MultiReadResult",
    "NoInstanceAvailable",
    "OutcomeUnknown",
    "PartiallyApplied",
    "PermissionDenied",
    "PluginError",
    "ReadResult",
    "RegistrationReplaced",
    "RegistryError",
    "ServerInfo",
    "ServiceNotFound",
    "Store",
    "StoreClosed",
    "StoreCorrupted",
    "StoreFull",
    "SystemClock",
    "TenureError",
    "TransactionBuilder",
    "Unavailable",
    "UnknownScheme",
    "Unsupported",
    "UsedAfterFork",
    "Watch",
    "connect",
]
