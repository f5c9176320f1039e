"""Tenure: one key-value, lease and watch contract over many stores, and a service registry on top.

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
    Compacted,
    ConfigError,
    Conflict,
    DeadlineExceeded,
    InvalidArgument,
    InvalidEntry,
    InvalidKey,
    LeaseLost,
    LeaseNotFound,
    LimitExceeded,
    OutcomeUnknown,
    PermissionDenied,
    PluginError,
    RegistryError,
    ServiceNotFound,
    StoreClosed,
    StoreCorrupted,
    StoreForked,
    StoreFull,
    TakenOver,
    TenureError,
    Unavailable,
    UnknownScheme,
    Unsupported,
)
from tenure.leases import Lease, LeaseState
from tenure.spi.capabilities import Capabilities
from tenure.spi.types import Committed, KeyValue, LeaseInfo, Read, ServerInfo
from tenure.watch import Batch, BatchKind, Event, EventKind, Watch

__version__ = "0.1.0"

__all__ = [
    "AlreadyRegistered",
    "AuthenticationFailed",
    "Batch",
    "BatchKind",
    "Capabilities",
    "Clock",
    "Committed",
    "Compacted",
    "ConfigError",
    "Conflict",
    "DeadlineExceeded",
    "Event",
    "EventKind",
    "InvalidArgument",
    "InvalidEntry",
    "InvalidKey",
    "KeyValue",
    "Lease",
    "LeaseInfo",
    "LeaseLost",
    "LeaseNotFound",
    "LeaseState",
    "LimitExceeded",
    "Listing",
    "ManualClock",
    "OutcomeUnknown",
    "PermissionDenied",
    "PluginError",
    "Read",
    "RegistryError",
    "ServerInfo",
    "ServiceNotFound",
    "Store",
    "StoreClosed",
    "StoreCorrupted",
    "StoreForked",
    "StoreFull",
    "SystemClock",
    "TakenOver",
    "TenureError",
    "TransactionBuilder",
    "Unavailable",
    "UnknownScheme",
    "Unsupported",
    "Watch",
    "connect",
]
