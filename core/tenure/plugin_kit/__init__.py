"""What plugins of stores on a network share: the parts that each of them would otherwise write again.

=======================  ==================================================================================
:class:`Deadline`        the time that one call of the SPI has, from its first step to its last
:class:`Resolver`        addresses of hosts within a deadline; the last known ones while no name server answers
:class:`TlsContext`      TLS with files that are read again after they were renewed
:class:`Endpoints`       several servers, one policy: who is asked first, and how long each may take
:func:`dial`             a connected socket, by the three above
:class:`ConnectionPool`  connections for calls, safe against interruption at any line
:class:`ErrorTable`      from messages of servers to errors, with one rule for doubt
=======================  ==================================================================================
"""

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
