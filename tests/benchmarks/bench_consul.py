"""Consul against python-consul with its own transport: the same reads in the same mode, a put, and a transaction.

python-consul's put doesn't tell its index, so its compare-and-set is a transaction by the verb ``cas``, which does.
Its watch is the list and the index that came with it; the long poll that follows waits.
"""

from __future__ import annotations

import contextlib
from binascii import b2a_base64
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

from measure import Result
from server import KEY, MANY_ROOT, VALUE, ManyTargets, Targets, compare_calls, compare_many, with_server

import tenure

TARGETS = Targets(get=1.0, put=1.0, replace=1.0)
MANY_TARGETS = ManyTargets(listed=1.0)
OWN = "benchmark/raw"


def run(quick: bool) -> Iterator[Result]:
    def measure(store: tenure.Store, stack: contextlib.ExitStack) -> Iterator[Result]:
        raw = Raw(store)
        stack.callback(raw.close)
        notes = {"put": "ours is a transaction, which tells its index and detaches a lease"}
        yield from compare_calls("consul", store, raw, TARGETS, seconds=0.8 if quick else 4.0, notes=notes)
        yield from compare_many("consul", store, raw, quick=quick, targets=MANY_TARGETS)

    yield from with_server("consul", _container, measure)


def _container() -> AbstractContextManager[Any]:
    from tenure_testkit.servers.consul import ConsulServer

    return ConsulServer()


class Raw:
    """``consul.Consul`` as it ships, on ``requests``."""

    def __init__(self, store: tenure.Store) -> None:
        import consul

        backend: Any = store._backend
        request, layout = backend._request, backend._layout
        host = request.hosts[0]
        self._client = consul.Consul(host.name, host.port, consistency=request.options["consistency"])
        self._path = layout.path(store._prefix + KEY)
        self._many = layout.path(store._prefix + MANY_ROOT)
        self._index = 0

    def get(self) -> object:
        _, found = self._client.kv.get(self._path)
        assert found["Value"]
        return found

    def put(self) -> object:
        assert self._client.kv.put(OWN, VALUE)
        self._index = 0
        return None

    def replace(self) -> object:
        if not self._index:
            self._index = self._client.kv.get(OWN)[1]["ModifyIndex"]
        value = b2a_base64(VALUE, newline=False).decode()
        change = {"KV": {"Verb": "cas", "Key": OWN, "Value": value, "Index": self._index}}
        answer = self._client.txn.put([change])
        self._index = answer["Results"][0]["KV"]["ModifyIndex"]
        return self._index

    def list(self) -> int:
        _, found = self._client.kv.get(self._many, recurse=True)
        return len(found)

    def watch(self) -> int:
        return self.list()

    def close(self) -> None:
        self._client.kv.delete(OWN)
