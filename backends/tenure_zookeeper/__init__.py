"""ZooKeeper as a Tenure store: ``zookeeper://[user:password@]host[:port][,host[:port]...][/namespace]``.

How things map: the key ``a/b`` is a leaf node in the folder ``/a``, ``/a/@b`` while it has no lease and ``/a/~b``
while it has one (``keys``); a revision is a zxid; a transaction is one ``multi`` (``transactions``); a lease is a
ZooKeeper session without a client of its own (``leases``, ``session``); a watch is a share of persistent
recursive watches (``watch``).

The client is kazoo's, which has neither persistent watches nor reads of many nodes in a packet, and hides the
zxid of answers. ``client`` adds these on kazoo's connection handler, ``encoding`` holds the packets. Deadlines, and
the difference between "surely not sent" and "unknown", are made in ``connection``, since kazoo has neither.
"""
