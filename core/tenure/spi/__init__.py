"""The service provider interface: everything that the author of a store plugin needs, in one import.

Start at :class:`Backend`; ``tenure guide write-a-backend`` is the guided tour.

Attributes:
    LeaseId: a lease's name in the store, a ``str`` that only the plugin interprets.
    Precondition: :class:`KeyAbsent`, :class:`KeyExists` or :class:`RevisionEquals`.
    Operation: :class:`Put` or :class:`Delete`.
    FeedItem: :class:`Changes`, :class:`Snapshot` or :class:`Bookmark`.
"""

from tenure._runtime.clock import Clock, SystemClock
from tenure.spi.backend import Backend
from tenure.spi.capabilities import Capabilities, Guarantee, Limit, field_notes
from tenure.spi.credentials import Credentials, Login, Secret
from tenure.spi.diagnosis import Finding, Right, Use, Verdict, named_warnings
from tenure.spi.feed import Away, Bookmark, Changes, Deleted, Feed, FeedItem, PollingFeed, Sink, Snapshot
from tenure.spi.keys import namespace_prefix
from tenure.spi.plugin import SPI_VERSION, BackendPlugin, Caveat, Host, OpenRequest, Option, Tls, UrlForm
from tenure.spi.types import (
    CommitResult,
    Delete,
    KeyAbsent,
    KeyExists,
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
    WatchRequest,
)

__all__ = [
    "SPI_VERSION",
    "Away",
    "Backend",
    "BackendPlugin",
    "Bookmark",
    "Capabilities",
    "Caveat",
    "Changes",
    "Clock",
    "CommitResult",
    "Credentials",
    "Delete",
    "Deleted",
    "Feed",
    "FeedItem",
    "Finding",
    "Guarantee",
    "Host",
    "KeyAbsent",
    "KeyExists",
    "KeyValue",
    "LeaseGrant",
    "LeaseId",
    "LeaseInfo",
    "Limit",
    "ListRequest",
    "Login",
    "MultiReadResult",
    "OpenRequest",
    "Operation",
    "Option",
    "Page",
    "PollingFeed",
    "Precondition",
    "PrefixDeletion",
    "Put",
    "ReadResult",
    "RevisionEquals",
    "Right",
    "Secret",
    "ServerInfo",
    "Sink",
    "Snapshot",
    "SystemClock",
    "Tls",
    "Transaction",
    "UrlForm",
    "Use",
    "Verdict",
    "WatchRequest",
    "field_notes",
    "named_warnings",
    "namespace_prefix",
]
