"""etcd as a Tenure store: ``etcd://[user:password@]host[:port][,host[:port]...][/namespace]``, etcd 3.4 and later.

How things map: a key is the same key in etcd, in UTF-8; a revision is etcd's own; a transaction is one ``Txn``;
a lease is an etcd lease, named by the sixteen hex digits that ``etcdctl lease list`` prints; a watch is one of
many on a single ``Watch`` stream. Keys in etcd that aren't UTF-8 were written by somebody else and aren't shown.

The client, its channel and its TLS are etcd3's, and ``Backend.native`` gives it to applications that need
more of etcd. Calls go through stubs of our own on that channel (``messages``), since etcd3 0.12.0 doesn't load on
current protobuf by itself (``etcd3_import``) and its watch, tokens and range options don't work.

Where to find what: ``plugin`` is what the entry point names, ``backend`` the methods of the SPI, ``connection`` tokens
and deadlines, ``members`` the channels, ``history`` and ``proof`` what tells a replaced history, ``errors`` the only
place where gRPC's errors are understood.
"""
