"""The store inside this process, and the contract of Tenure as a program that can be read and run.

``connect("memory://name")`` shares one :class:`MemoryServer` by name within the process; ``memory://`` alone
is private to whoever opened it. Nothing survives the process, nothing leaves it: for tests, for trying things
out, and for applications of one process that want the same API now and another store later.

An application's own tests can do to the store what operators and networks do to a real one::

    server = tenure_memory.server("orders")
    server.expire_lease(lease_id)     # the holder was cut off for too long
    server.cut_watches()              # every watch loses its connection and resumes
    with server.outage():             # nothing answers, the data stays
        ...

Time moves by hand with ``connect("memory://orders", clock=tenure.ManualClock())``.
"""

from tenure_memory.server import MemoryServer
from tenure_memory.servers import forget, server

__all__ = ["MemoryServer", "forget", "server"]
