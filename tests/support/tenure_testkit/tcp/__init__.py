"""A toy store behind TCP: a memory server that clients reach over sockets, with every control over a server.

It exists for tests of what acts on connections: it starts in milliseconds, is as sound as the memory store it stands
on, and its client can be broken on purpose. Not for use outside of them: what it sends are pickles.
"""

from tenure_testkit.tcp.client import TcpBackend, capabilities
from tenure_testkit.tcp.server import TcpServer

__all__ = ["TcpBackend", "TcpServer", "capabilities"]
