"""What plugins of stores on a network share: the parts that each of them would otherwise write again.

=========================  ==============================================================================
``core/docs/write-a-backend.md`` has a whole example, which runs.
"""

from tenure._runtime.deadline import Deadline, ProgressDeadline, RealTime, monotonic, wall_clock
from tenure._runtime.interruption import interruption
from tenure._runtime.monitor import Monitor
from tenure._runtime.worker import Worker, untranslated
from tenure.plugin_kit.connection_pool import Connection, ConnectionPool, Pooled
from tenure.plugin_kit.endpoints import DEFINITE, Endpoints, dial
from tenure.plugin_kit.errors import ErrorTable, Row, shorten
from tenure.plugin_kit.feed_hub import FeedHub, HubFeed
from tenure.plugin_kit.resolver import Address, Resolver
from tenure.plugin_kit.revisions import next_revision
from tenure.plugin_kit.tls import TlsContext, TlsFiles

__all__ = [
    "DEFINITE",
    "Address",
    "Connection",
    "ConnectionPool",
    "Deadline",
    "Endpoints",
    "ErrorTable",
    "FeedHub",
    "HubFeed",
    "Monitor",
    "Pooled",
    "ProgressDeadline",
    "RealTime",
    "Resolver",
    "Row",
    "TlsContext",
    "TlsFiles",
    "Worker",
    "dial",
    "interruption",
    "monotonic",
    "next_revision",
    "shorten",
    "untranslated",
    "wall_clock",
]
