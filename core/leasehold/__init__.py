"""Leasehold: one key-value, lease and watch contract over many stores, and a service registry on top.

>>> import leasehold
>>> with leasehold.connect("memory://") as store:
...     store.put("greeting", b"hello").deleted
...     store.get("greeting").value
0
b'hello'
"""

from leasehold.clock import Clock, ManualClock, SystemClock
from leasehold.connect import connect
from leasehold.errors import (
    AlreadyRegistered,
    AuthenticationFailed,
    Compacted,
    ConfigError,
    Conflict,
    DeadlineExceeded,
    InvalidArgument,
    InvalidEntry,
    InvalidKey,
    LeaseholdError,
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
    Unavailable,
    UnknownScheme,
    Unsupported,
)
from leasehold.leases import Lease, LeaseState
from leasehold.listing import Listing
from leasehold.spi.capabilities import Capabilities
from leasehold.spi.values import Committed, KeyValue, LeaseInfo, Read, ServerInfo
from leasehold.store import Store
from leasehold.transaction import TransactionBuilder
from leasehold.watch import Batch, BatchKind, Event, EventKind, Watch

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
    "LeaseholdError",
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
    "TransactionBuilder",
    "Unavailable",
    "UnknownScheme",
    "Unsupported",
    "Watch",
    "connect",
]
