"""What plugins of stores on a network share: the parts that each of them would otherwise write again.

=======================  ==========================================================================="""

from tenure._runtime.deadline import Deadline, monotonic
from tenure.plugin_kit.connection_pool import Connection, ConnectionPool, Pooled
from tenure.plugin_kit.endpoints import DEFINITE, Endpoints, dial
from tenure.plugin_kit.errors import ErrorTable, Row, shorten
from tenure.plugin_kit.resolver import Address, Resolver
from tenure.plugin_kit.tls import TlsContext, TlsFiles

__all__ = [
    "DEFINITE",
    "Address",
    "Connection",
    "ConnectionPool",
    "Deadline",
    "Endpoints",
    "ErrorTable",
    "Pooled",
    "Resolver",
    "Row",
    "TlsContext",
    "TlsFiles",
    "dial",
    "monotonic",
    "shorten",
]
