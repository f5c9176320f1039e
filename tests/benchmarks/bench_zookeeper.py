"""ZooKeeper against kazoo: ``get``, ``set``, and a transaction of ``check`` and ``set_data`` on one node.

kazoo can neither read many nodes by one packet nor watch a folder, so it reads, and watches, each key by itself, all
of them under way at once. That takes seconds, hence a single round.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

from measure import Result
from server import KEY, MANY_ROOT, VALUE, Targets, compare_calls, compare_many, with_server

import tenure

TARGETS = Targets(get=1.1, put=1.1, replace=1.1)
MANY_HERE = (100, 2_000)


def run(quick: bool) -> Iterator[Result]:
    def measure(store: tenure.Store, stack: contextlib.ExitStack) -> Iterator[Result]:
        store.put(KEY, VALUE)
        with contextlib.closing(Raw(store)) as raw:
            notes = {"compare-and-set": "ours also holds the folders above, against ABA"}
            yield from compare_calls("zookeeper", store, raw, TARGETS, seconds=0.8 if quick else 4.0, notes=notes)
            notes = dict.fromkeys(("listed", "watched"), "against a request for each key")
            yield from compare_many("zookeeper", store, raw, quick=quick, rounds=1, sizes=MANY_HERE, notes=notes)

    yield from with_server("zookeeper", _container, measure)


def _container() -> AbstractContextManager[Any]:
    from tenure_testkit.servers.zookeeper import ZooKeeperServer

    return ZooKeeperServer()


class Raw:
    """A ``KazooClient`` of its own."""

    def __init__(self, store: tenure.Store) -> None:
        from kazoo.client import KazooClient

        from tenure_zookeeper import keys

        backend: Any = store._backend
        self._client = KazooClient(str(backend._connection.endpoints))
        self._client.start(10)
        self._path, _ = keys.leaves(store._prefix + KEY)
        self._own = f"{self._path}-raw"  # as deep as ours
        self._many = keys.folder_path((store._prefix + MANY_ROOT).removesuffix("/"))
        self._client.ensure_path(self._own)
        self._version = 0

    def get(self) -> object:
        return self._client.get(self._path)

    def put(self) -> object:
        self._version = self._client.set(self._own, VALUE).version
        return self._version

    def replace(self) -> object:
        transaction = self._client.transaction()
        transaction.check(self._own, self._version)
        transaction.set_data(self._own, VALUE)
        checked, stat = transaction.commit()
        assert checked is True
        self._version = stat.version
        return stat

    def list(self) -> int:
        names = self._client.get_children(self._many)
        answers = [self._client.get_async(f"{self._many}/{name}") for name in names]
        return sum(len(answer.get(60)) == 2 for answer in answers)

    def watch(self) -> int:
        names = self._client.get_children(self._many, watch=_ignore)
        answers = [self._client.get_async(f"{self._many}/{name}", watch=_ignore) for name in names]
        return sum(len(answer.get(60)) == 2 for answer in answers)

    def close(self) -> None:
        self._client.delete(self._own)
        self._client.stop()
        self._client.close()


def _ignore(event: object) -> None:
    """The watcher of every node; nothing changes while it is there."""
