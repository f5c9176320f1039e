"""The service provider interface: everything the author of a store plugin needs, in one import.

Start at :class:`Backend`; ``core/docs/write-a-backend.md`` is the guided tour.
"""

from tenure.spi.backend import Backend
from tenure.spi.capabilities import Capabilities, Limit, Promise, field_notes
from tenure.spi.feed import Bookmark, Changes, Deleted, Feed, FeedItem, PollingFeed, Sink, Snapshot
from tenure.spi.plugin import Address, BackendPlugin, Host, Note, OpenRequest, Option, Secret, Tls
from tenure.spi.types import (
    Absent,
    Committed,
    Delete,
    Exists,
    Guard,
    KeyValue,
    LeaseGrant,
    LeaseId,
    LeaseInfo,
    Operation,
    Page,
    Put,
    Read,
    ServerInfo,
    Transaction,
    Unchanged,
)

__all__ = [
    "Absent",
    "Address",
    "Backend",
    "BackendPlugin",
    "Bookmark",
    "Capabilities",
    "Changes",
    "Committed",
    "Delete",
    "Deleted",
    "Exists",
    "Feed",
    "FeedItem",
    "Guard",
    "Host",
    "KeyValue",
    "LeaseGrant",
    "LeaseId",
    "LeaseInfo",
    "Limit",
    "Note",
    "OpenRequest",
    "Operation",
    "Option",
    "Page",
    "PollingFeed",
    "Promise",
    "Put",
    "Read",
    "Secret",
    "ServerInfo",
    "Sink",
    "Snapshot",
    "Tls",
    "Transaction",
    "Unchanged",
    "field_notes",
]
