"""Redis as a store: every write is one script, every transaction one entry of a stream.

``plugin`` is what the entry point names. The way of a call: ``backend`` -> ``transactions``, ``reads``, ``leases`` or
``watch`` -> ``pool`` (a connection, and what may be repeated) -> ``connection`` (a socket, and a deadline). What the
scripts in ``lua/`` keep in Redis is described in ``keys``. ``endpoints`` finds the server that takes writes, and
``login`` makes a connection to it ready for use.
"""
